//! The system that all machines share: one read-only disk with a busybox system, the command `dormouse`, Python, Java, the
//! workloads and, for kexec, the kernels; and one initial file system a kernel. Built once for all tests of a run.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};

use crate::archive::Archive;
use crate::failure::{Failure, Outcome, run};
use crate::kernel::{Kernel, Series, kernel};

/// The scripts of the machines.
pub const GUEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kernels/guest");
const WORKLOADS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kernels/workloads");

/// Who is known: root, the message bus, and nobody.
const USERS: &str = "root:x:0:0:root:/disk/tmp:/bin/sh\nmessagebus:x:101:101::/:/bin/false\npolkitd:x:103:103::/:/bin/false\nnobody:x:65534:65534::/:/bin/false\n";
const GROUPS: &str =
    "root:x:0:\ntty:x:5:\nutmp:x:43:\nmessagebus:x:101:\nsystemd-journal:x:102:\npolkitd:x:103:\nnogroup:x:65534:\n";

/// What a machine is started from.
#[derive(Debug)]
pub struct System {
    /// The read-only disk.
    pub disk: PathBuf,
    /// The kernel of Debian 12.
    old: Kernel,
    /// The newer one.
    new: Kernel,
}

impl System {
    /// Builds the system, or finds that it is built.
    pub fn ready() -> Outcome<Self> {
        let cache = cache();
        fs::create_dir_all(&cache)?;
        // Tests run side by side, each in a process of its own: the first builds, the others wait.
        let lock = File::create(cache.join("lock"))?;
        let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
        let (old, new) = (kernel(Series::Linux6_1, &cache)?, kernel(Series::Linux6_12, &cache)?);
        let system = Self { disk: cache.join("system.ext4"), old, new };

        let command = command()?;
        let stamp_file = cache.join("system.stamp");
        let stamp = system.stamp(&command)?;
        if !fs::read_to_string(&stamp_file).is_ok_and(|found| found == stamp) {
            system.build(&cache, &command)?;
            fs::write(stamp_file, stamp)?;
        }
        Ok(system)
    }

    /// The kernel of a series.
    pub fn kernel(&self, series: Series) -> &Kernel {
        match series {
            Series::Linux6_1 => &self.old,
            Series::Linux6_12 => &self.new,
        }
    }

    /// The initial file system that goes with a kernel.
    pub fn initial(&self, series: Series) -> PathBuf {
        cache().join(format!("initrd-{}", self.kernel(series).release))
    }

    /// All that the disk is made of, so that it is made anew when one of them has changed.
    fn stamp(&self, command: &Path) -> Outcome<String> {
        let mut hasher = DefaultHasher::new();
        fs::read(command)?.hash(&mut hasher);
        for folder in [GUEST, WORKLOADS] {
            let mut files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Outcome<Vec<_>>>()?;
            files.sort();
            for file in files {
                file.hash(&mut hasher);
                fs::read(file)?.hash(&mut hasher);
            }
        }
        fs::read(std::env::current_exe()?)?.hash(&mut hasher);
        Ok(format!("{} {} {:x}", self.old.release, self.new.release, hasher.finish()))
    }

    fn build(&self, cache: &Path, command: &Path) -> Outcome {
        for series in [Series::Linux6_1, Series::Linux6_12] {
            fs::write(self.initial(series), initial_files(self.kernel(series))?)?;
        }
        let aside = tempfile::tempdir_in(cache)?;
        let tree = Tree { root: aside.path().join("root"), libraries: BTreeSet::new() };
        tree.fill(self, command)?;

        let disk = aside.path().join("disk");
        File::create(&disk)?.set_len(1 << 30)?;
        make_file_system(&disk, &aside.path().join("root"))?;
        fs::rename(disk, &self.disk)?;
        Ok(())
    }
}

/// Where the built things are kept.
pub fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("kernels")
}

/// Makes an ext4 file system with the contents of a folder in an image file.
pub fn make_file_system(disk: &Path, contents: &Path) -> Outcome {
    run(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4", "-E", "root_owner=0:0", "-d"]).args([contents, disk]))?;
    Ok(())
}

/// The command under test: `$DORMOUSE`, or the one that was built beside this test.
fn command() -> Outcome<PathBuf> {
    if let Some(path) = std::env::var_os("DORMOUSE") {
        return Ok(path.into());
    }
    let test = std::env::current_exe()?;
    let beside = test.parent().and_then(Path::parent).map(|folder| folder.join("dormouse"));
    beside.filter(|path| path.exists()).ok_or_else(|| {
        Failure::new("the command is not built; run `cargo build -p dormouse-cli` before, or name it in $DORMOUSE")
    })
}

fn initial_files(kernel: &Kernel) -> Outcome<Vec<u8>> {
    let mut archive = Archive::default();
    for name in ["bin", "modules"] {
        archive.directory(name);
    }
    archive.file("init", &fs::read(Path::new(GUEST).join("init"))?);
    archive.file("bin/busybox", &fs::read("/usr/bin/busybox").or_else(|_| fs::read("/bin/busybox"))?);
    let mut order = String::new();
    for (name, data) in kernel.drivers()? {
        archive.file(&format!("modules/{name}"), &data);
        order.push_str(&name);
        order.push('\n');
    }
    archive.file("modules/order", order.as_bytes());
    Ok(archive.finish())
}

/// The root file system while it is put together in a folder.
pub struct Tree {
    /// Where.
    pub root: PathBuf,
    libraries: BTreeSet<PathBuf>,
}

impl Tree {
    fn fill(mut self, system: &System, command: &Path) -> Outcome {
        self.skeleton()?;
        self.program(command, "usr/bin/dormouse")?;
        self.program(&which("kexec")?, "usr/sbin/kexec")?;
        self.python()?;
        self.java()?;
        self.workloads()?;
        self.busybox()?;
        self.put(&Path::new(GUEST).join("inittab"), "etc/inittab")?;
        for name in ["start", "run", "detached", "systemd", "workbench"] {
            self.put(&Path::new(GUEST).join(name), &format!("lib/kernels/{name}"))?;
            fs::set_permissions(self.root.join("lib/kernels").join(name), fs::Permissions::from_mode(0o755))?;
        }
        for series in [Series::Linux6_1, Series::Linux6_12] {
            let release = &system.kernel(series).release;
            self.put(&system.kernel(series).image, &format!("boot/vmlinuz-{release}"))?;
            self.put(&system.initial(series), &format!("boot/initrd-{release}"))?;
        }
        self.systemd()?;
        for library in &self.libraries {
            self.put(library, library.to_string_lossy().trim_start_matches('/'))?;
        }
        Ok(())
    }

    /// The folders of a distribution with one /usr, and who its users are.
    fn skeleton(&self) -> Outcome {
        for name in ["usr/bin", "usr/sbin", "usr/lib/kernels", "usr/lib64", "etc", "boot", "disk"] {
            fs::create_dir_all(self.root.join(name))?;
        }
        for name in ["dev", "proc", "sys", "run", "tmp", "var"] {
            fs::create_dir(self.root.join(name))?;
        }
        for name in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{name}"), self.root.join(name))?;
        }
        fs::write(self.root.join("etc/passwd"), USERS)?;
        fs::write(self.root.join("etc/group"), GROUPS)?;
        Ok(())
    }

    fn busybox(&self) -> Outcome {
        let busybox = which("busybox")?;
        self.put(&busybox, "usr/bin/busybox")?;
        for name in String::from_utf8_lossy(&run(Command::new(busybox).arg("--list"))?).lines() {
            let link = self.root.join(if name == "init" { "usr/sbin" } else { "usr/bin" }).join(name);
            if !link.exists() {
                symlink("/usr/bin/busybox", link)?;
            }
        }
        Ok(())
    }

    fn python(&mut self) -> Outcome {
        let python = fs::canonicalize("/usr/bin/python3")?;
        self.program(&python, "usr/bin/python3")?;
        let query = "import sysconfig; print(sysconfig.get_path('stdlib'))";
        let library = run(Command::new(python).args(["-ISc", query]))?;
        let library = PathBuf::from(String::from_utf8_lossy(&library).trim());
        let unused = |name: &str| {
            name.starts_with("config-") || matches!(name, "test" | "idlelib" | "lib2to3" | "pydoc_data" | "ensurepip")
        };
        self.folder(&library, library.to_string_lossy().trim_start_matches('/'), &unused)
    }

    /// The Java machine of Debian's default-jre-headless, without what only desktops and compilers need.
    fn java(&mut self) -> Outcome {
        let launcher = fs::canonicalize("/usr/bin/java")
            .map_err(|error| Failure::new(format!("java cannot be found, install default-jre-headless: {error}")))?;
        let home = launcher.ancestors().nth(2).ok_or_else(|| Failure::new("java lies in an odd place"))?;
        self.program(&launcher, "usr/lib/java/bin/java")?;
        let unused = |name: &str| name.contains("awt") || matches!(name, "src.zip" | "ct.sym" | "jexec");
        self.folder(&home.join("lib"), "usr/lib/java/lib", &unused)?;
        self.folder(&home.join("conf"), "usr/lib/java/conf", &|_| false)?;
        for name in
            ["libjava.so", "libjli.so", "libjimage.so", "libnio.so", "libnet.so", "libzip.so", "server/libjvm.so"]
        {
            self.add_libraries(&home.join("lib").join(name))?;
        }
        let target = self.root.join("lib/kernels");
        let compiler = ["-m", "jdk.compiler/com.sun.tools.javac.Main", "-d"];
        run(Command::new(launcher).args(compiler).arg(target).arg(Path::new(WORKLOADS).join("CarryOn.java")))?;
        Ok(())
    }

    fn workloads(&mut self) -> Outcome {
        for (source, options, name) in [
            ("counter.c", &[][..], "counter"),
            ("counter.c", &["-static"], "counter-static"),
            ("clocks.c", &[], "clocks"),
            ("clocks.c", &["-static"], "clocks-static"),
        ] {
            let target = self.root.join("lib/kernels").join(name);
            let mut compiler = Command::new("gcc");
            compiler.args(["-O2", "-Wall", "-Wextra", "-pthread"]).args(options);
            run(compiler.arg("-o").arg(&target).arg(Path::new(WORKLOADS).join(source)))?;
            if options.is_empty() {
                self.add_libraries(&target)?;
            }
        }
        for name in ["pipeline.sh", "carry_on.py", "server.py", "client.py"] {
            self.put(&Path::new(WORKLOADS).join(name), &format!("lib/kernels/{name}"))?;
        }
        Ok(())
    }

    /// Copies a program, and remembers its libraries.
    fn program(&mut self, source: &Path, target: &str) -> Outcome {
        self.put(source, target)?;
        fs::set_permissions(self.root.join(target), fs::Permissions::from_mode(0o755))?;
        self.add_libraries(source)
    }

    /// Remembers the libraries that ldd(1) finds; a static program or a script has none.
    pub fn add_libraries(&mut self, program: &Path) -> Outcome {
        let output = Command::new("ldd").arg(program).output()?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let path = line.split_whitespace().find(|word| word.starts_with('/') && !word.ends_with(':'));
            // Java's own come with its folder; some of them are not found from here, but by the launcher.
            let own = path.is_some_and(|path| path.contains("/jvm/"));
            self.libraries.extend(path.filter(|_| !own).map(PathBuf::from));
        }
        Ok(())
    }

    /// Copies a file, or what a link leads to, with its time of change and permissions.
    pub fn put(&self, source: &Path, target: &str) -> Outcome {
        let target = self.root.join(target);
        fs::create_dir_all(target.parent().unwrap_or(&self.root))?;
        fs::copy(source, &target)?;
        File::options().write(true).open(&target)?.set_modified(fs::metadata(source)?.modified()?)?;
        Ok(())
    }

    /// Copies a folder, but not the entries that are unused and links that lead nowhere.
    fn folder(&self, source: &Path, target: &str, unused: &dyn Fn(&str) -> bool) -> Outcome {
        fs::create_dir_all(self.root.join(target))?;
        for entry in fs::read_dir(source)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(kind) = fs::metadata(entry.path()) else { continue };
            if unused(&name) {
                continue;
            }
            let target = format!("{target}/{name}");
            if kind.is_dir() {
                self.folder(&entry.path(), &target, unused)?;
            } else {
                self.put(&entry.path(), &target)?;
            }
        }
        Ok(())
    }
}

/// Finds a program of the host.
fn which(name: &str) -> Outcome<PathBuf> {
    ["/usr/bin", "/usr/sbin", "/bin", "/sbin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists())
        .ok_or_else(|| Failure::new(format!("{name} is not installed")))
}
