//! Another kernel, which the one that runs starts by itself: kexec(8).

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::call;
use crate::exit::Failure;

/// A kernel and what it is started with.
#[derive(Debug)]
pub struct Kernel {
    image: PathBuf,
    initial: Option<PathBuf>,
    command_line: Option<String>,
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.image.display())?;
        match &self.initial {
            Some(initial) => write!(f, ", with {}", initial.display()),
            None => write!(f, ", without an initial file system"),
        }
    }
}

impl Kernel {
    /// A file, or the release of a kernel in /boot; its initial file system is looked for beside it.
    pub fn find(wanted: &str, initial: Option<&Path>, command_line: Option<&str>) -> Result<Self, Failure> {
        let places = [PathBuf::from(wanted), Path::new("/boot").join(format!("vmlinuz-{wanted}"))];
        let tried = if wanted.contains('/') { &places[..1] } else { &places[..] };
        let image = tried.iter().find(|path| path.is_file()).cloned().ok_or_else(|| {
            let tried: Vec<String> = tried.iter().map(|path| path.display().to_string()).collect();
            Failure::new(format!("There is no kernel {wanted}.")).hint(format!("Looked for: {}.", tried.join(", ")))
        })?;
        let initial = match initial {
            Some(path) if path == Path::new("none") => None,
            Some(path) if !path.is_file() => {
                return Err(Failure::new(format!("There is no initial file system {}.", path.display())));
            }
            Some(path) => Some(path.to_owned()),
            // `/vmlinuz` is a link to the kernel that has a release in its name, and so is `/boot/vmlinuz` in some places.
            None => {
                let found = beside(&image).or_else(|| beside(&image.canonicalize().ok()?));
                let missing = || Failure::new(format!("No initial file system is found for {}.", image.display()));
                // The kernel of a distribution finds no disk without.
                Some(found.ok_or_else(|| {
                    missing().hint("Name it: --initrd FILE. For a kernel that needs none: --initrd none.")
                })?)
            }
        };
        Ok(Self { image, initial, command_line: command_line.map(str::to_owned) })
    }

    fn arguments(&self) -> Vec<OsString> {
        let option = |name: &str, value: &std::ffi::OsStr| {
            let mut option = OsString::from(name);
            option.push(value);
            option
        };
        // The call that takes files first: it is the only one where the kernel wants signatures.
        let mut arguments: Vec<OsString> = ["-a", "-l"].map(OsString::from).into();
        arguments.push(self.image.clone().into());
        arguments.extend(self.initial.as_ref().map(|path| option("--initrd=", path.as_os_str())));
        arguments.push(match &self.command_line {
            Some(line) => option("--command-line=", line.as_ref()),
            None => OsString::from("--reuse-cmdline"),
        });
        arguments
    }

    /// Loads it, for the restart.
    pub fn load(&self) -> Result<(), Failure> {
        let arguments = self.arguments();
        let mut command = vec!["kexec".as_ref()];
        command.extend(arguments.iter().map(OsString::as_os_str));
        call(&command).map_err(|why| {
            let failure = Failure::new(format!("The kernel cannot be loaded, and nothing has changed: {why}"));
            failure.hint("kexec comes with kexec-tools. Without --kernel, the machine restarts by its firmware.")
        })
    }
}

/// Forgets the kernel that is loaded: a restart is the usual one then.
pub fn unload() {
    if let Err(why) = call(&["kexec".as_ref(), "-u".as_ref()]) {
        tracing::warn!(why, "the kernel stays loaded");
    }
}

/// The initial file system that is named like the kernel, as the distributions do it.
fn beside(image: &Path) -> Option<PathBuf> {
    let release = image.file_name()?.to_str()?.strip_prefix("vmlinuz-")?;
    let names = [
        format!("initrd.img-{release}"),
        format!("initramfs-{release}.img"),
        format!("initrd-{release}"),
        format!("initrd-{release}.img"),
    ];
    names.iter().map(|name| image.with_file_name(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::Kernel;

    #[test]
    fn what_belongs_to_a_kernel_is_found_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        for name in ["vmlinuz-6.12.9", "initrd.img-6.12.9", "vmlinuz-6.1", "plain"] {
            fs::write(path(name), "").expect("a file");
        }
        let find = |name: &str| Kernel::find(&path(name).to_string_lossy(), None, None);
        assert_eq!(find("vmlinuz-6.12.9").expect("it is there").initial, Some(path("initrd.img-6.12.9")));
        for name in ["vmlinuz-6.1", "plain"] {
            assert!(find(name).expect_err("it finds no disk").sentence.contains("No initial file system"));
        }
        let without = Kernel::find(&path("plain").to_string_lossy(), Some(Path::new("none")), None);
        let plain = without.expect("it was said to need none");
        assert_eq!(plain.initial, None);
        assert!(plain.to_string().ends_with("without an initial file system"), "{plain}");
        std::os::unix::fs::symlink("vmlinuz-6.12.9", path("vmlinuz")).expect("a link");
        let real = folder.path().canonicalize().expect("it is there");
        assert_eq!(find("vmlinuz").expect("it is there").initial, Some(real.join("initrd.img-6.12.9")));
        assert!(find("absent").expect_err("it is not there").sentence.contains("absent"));
        let image = path("plain").to_string_lossy().into_owned();
        assert!(Kernel::find(&image, Some(&path("absent")), None).is_err());
    }

    #[test]
    fn the_command_line_is_the_same_unless_another_is_wanted() {
        let folder = tempfile::tempdir().expect("a folder");
        let image = folder.path().join("vmlinuz");
        fs::write(&image, "").expect("a file");
        let last = |line| {
            let none = Some(Path::new("none"));
            let kernel = Kernel::find(&image.to_string_lossy(), none, line).expect("it is there");
            kernel.arguments().pop().map(|argument| argument.to_string_lossy().into_owned())
        };
        assert_eq!(last(None).as_deref(), Some("--reuse-cmdline"));
        assert_eq!(last(Some("root=/dev/sda1 quiet")).as_deref(), Some("--command-line=root=/dev/sda1 quiet"));
    }
}
