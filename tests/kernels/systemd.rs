//! systemd as the first process of a machine, with logins (systemd-logind(8)) and what Dormouse installs for it, from Debian's packages as they
//! are here.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Outcome, run};
use crate::system::{GUEST, Tree};

/// What the kernel is told to start it instead of busybox.
pub const START: &str = "dormouse.init=systemd";
const PACKAGES: [&str; 8] = [
    "systemd",
    "libsystemd-shared",
    "libpam-systemd",
    "libpam-modules",
    "dbus",
    "dbus-daemon",
    "dbus-system-bus-common",
    "polkitd",
];
const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data");
const UNITS: &str = "usr/lib/systemd/system";
/// Whoever logs in is who he says, and has a session.
const PAM: &str = "account required pam_permit.so\nsession required pam_systemd.so\n";
/// What a machine without a screen, a network or a clock of its own has no use for.
const MASKED: [&str; 4] =
    ["getty.target", "serial-getty@ttyS0.service", "systemd-timesyncd.service", "systemd-networkd.service"];

impl Tree {
    /// Puts all of it there.
    pub fn systemd(&mut self) -> Outcome {
        let listed = run(Command::new("dpkg").arg("-L").args(PACKAGES))?;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        let wanted = |path: &&Path| {
            ["/etc", "/lib", "/usr/lib", "/usr/bin", "/bin", "/usr/share/dbus-1", "/usr/share/polkit-1"]
                .iter()
                .any(|folder| path.starts_with(folder))
        };
        for path in listed.lines().map(Path::new).filter(wanted) {
            self.packaged(path)?;
        }
        for (name, text) in [
            ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
            ("etc/pam.d/dormouse-login", PAM),
            ("etc/pam.d/systemd-user", PAM),
            // The user's systemd ends with the last login.
            ("etc/systemd/logind.conf.d/50-test.conf", "[Login]\nUserStopDelaySec=0\nKillUserProcesses=no\n"),
        ] {
            self.write(name, text)?;
        }
        let masks = self.root.join("etc/systemd/system");
        fs::create_dir_all(&masks)?;
        for name in MASKED {
            symlink("/dev/null", masks.join(name))?;
        }
        let first = self.root.join(UNITS).join("default.target");
        fs::remove_file(&first)?;
        symlink("multi-user.target", first)?;
        self.put(&Path::new(GUEST).join("dormouse-run.service"), &format!("{UNITS}/dormouse-run.service"))?;
        fs::create_dir_all(self.root.join(UNITS).join("multi-user.target.wants"))?;
        symlink("../dormouse-run.service", self.root.join(UNITS).join("multi-user.target.wants/dormouse-run.service"))?;
        self.of_dormouse()
    }

    /// What `make install` puts beside systemd, the message bus and polkit.
    fn of_dormouse(&self) -> Outcome {
        let data = Path::new(DATA);
        let id = "io.github.dormouse.Dormouse1";
        for (source, target) in [
            ("dormouse-session@.service.in".to_owned(), format!("{UNITS}/dormouse-session@.service")),
            ("dormouse.service.in".to_owned(), format!("{UNITS}/dormouse.service")),
            (format!("dbus/{id}.service.in"), format!("usr/share/dbus-1/system-services/{id}.service")),
            (format!("dbus/{id}.conf"), format!("usr/share/dbus-1/system.d/{id}.conf")),
            (format!("{id}.policy.in"), format!("usr/share/polkit-1/actions/{id}.policy")),
        ] {
            self.write(&target, &fs::read_to_string(data.join(source))?.replace("@bindir@", "/usr/bin"))?;
        }
        self.put(&data.join("dormouse-logins.target"), &format!("{UNITS}/dormouse-logins.target"))?;
        self.put(&data.join("order/user.conf"), &format!("{UNITS}/user@.service.d/50-dormouse.conf"))?;
        for scope in ["session-", "app-dormouse-"] {
            self.put(&data.join("order/scope.conf"), &format!("{UNITS}/{scope}.scope.d/50-dormouse.conf"))?;
        }
        Ok(())
    }

    /// A file of a package, with the name that it has where all of /bin, /sbin and /lib is in /usr. What busybox has stays busybox's.
    fn packaged(&mut self, path: &Path) -> Outcome {
        let Ok(found) = path.symlink_metadata() else { return Ok(()) };
        let below = path.strip_prefix("/").unwrap_or(path);
        let merged = ["bin", "sbin", "lib", "lib64"].iter().any(|folder| below.starts_with(folder));
        let target = if merged { Path::new("usr").join(below) } else { below.to_owned() };
        let place = self.root.join(&target);
        if found.is_dir() || place.symlink_metadata().is_ok() {
            return Ok(());
        }
        fs::create_dir_all(place.parent().unwrap_or(&self.root))?;
        if found.is_symlink() {
            symlink(fs::read_link(path)?, place)?;
            return Ok(());
        }
        self.put(path, &target.to_string_lossy())?;
        let is_binary = fs::read(path)?.starts_with(b"\x7fELF");
        if is_binary { self.add_libraries(path) } else { Ok(()) }
    }

    fn write(&self, name: &str, text: &str) -> Outcome {
        let place: PathBuf = self.root.join(name);
        fs::create_dir_all(place.parent().unwrap_or(&self.root))?;
        fs::write(place, text)?;
        Ok(())
    }
}
