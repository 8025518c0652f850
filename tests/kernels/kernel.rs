//! Debian's kernels: found in the package lists, downloaded once, unpacked into the build folder, never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Failure, Outcome, ensure, run};

/// A series of kernels that Debian maintains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Series {
    /// The kernel of Debian 12; it has no `PAGEMAP_SCAN`.
    Linux6_1,
    /// The kernel of Debian 13, built for Debian 12 too.
    Linux6_12,
}

/// An unpacked kernel package.
#[derive(Debug)]
pub struct Kernel {
    /// What `uname -r` says under it.
    pub release: String,
    /// The boot image.
    pub image: PathBuf,
    /// The folder of its modules.
    pub modules: PathBuf,
}

impl Series {
    /// How a release of this series begins, with the dot behind it.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Linux6_1 => "6.1.",
            Self::Linux6_12 => "6.12.",
        }
    }

    /// The suite that has this series on a Debian 12 where the configured ones do not.
    fn suite(self) -> &'static str {
        match self {
            Self::Linux6_1 => "bookworm",
            Self::Linux6_12 => "bookworm-backports",
        }
    }
}

/// The kernel of a series, out of `cache` or else from the Debian archive.
pub fn kernel(series: Series, cache: &Path) -> Outcome<Kernel> {
    let folder = cache.join(format!("linux-{}x", series.prefix()));
    if !folder.exists() {
        let package = download(series, cache)?;
        let aside = folder.with_extension("part");
        let _ = fs::remove_dir_all(&aside);
        run(Command::new("dpkg-deb").arg("-x").args([&package, &aside]))?;
        fs::remove_dir_all(cache.join(format!("download-{}x", series.prefix())))?;
        fs::rename(aside, &folder)?;
    }
    let release = fs::read_dir(folder.join("lib/modules"))?
        .next()
        .ok_or_else(|| Failure::new(format!("{} holds no kernel", folder.display())))??
        .file_name()
        .to_string_lossy()
        .into_owned();
    Ok(Kernel {
        image: folder.join(format!("boot/vmlinuz-{release}")),
        modules: folder.join("lib/modules").join(&release),
        release,
    })
}

/// Downloads the newest package of a series that can be had, from the configured archives, or else from the suite
/// that is known to have it, on the mirror that is configured.
fn download(series: Series, cache: &Path) -> Outcome<PathBuf> {
    let folder = cache.join(format!("download-{}x", series.prefix()));
    fs::create_dir_all(&folder)?;
    if let Some(package) = newest(series, &[], &folder)? {
        return Ok(package);
    }
    let options = private_lists(series, cache)?;
    newest(series, &options, &folder)?
        .ok_or_else(|| Failure::new(format!("no linux-image-{}*-cloud-amd64 can be had", series.prefix())))
}

fn newest(series: Series, options: &[String], folder: &Path) -> Outcome<Option<PathBuf>> {
    let start = format!("linux-image-{}", series.prefix());
    let names = run(Command::new("apt-cache").args(options).arg("pkgnames").arg(&start))?;
    let mut names: Vec<String> = String::from_utf8_lossy(&names)
        .lines()
        .filter(|name| name.ends_with("-cloud-amd64"))
        .map(str::to_owned)
        .collect();
    names.sort_by_key(|name| numbers(name));
    // A list can be older than the archive, and the newest name in it gone; the ones before it may still be there.
    for name in names.iter().rev().take(3) {
        let done = Command::new("apt-get").args(options).args(["-q", "download", name]).current_dir(folder).output()?;
        let found = fs::read_dir(folder)?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"));
        if done.status.success() && found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The numbers in a name, for comparing versions.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

/// The keys of the Debian archive, as Debian installs them.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Options for apt that look at one more suite and at lists of its own; nothing of the system's is changed.
fn private_lists(series: Series, cache: &Path) -> Outcome<Vec<String>> {
    let query = ["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"];
    let mirrors = String::from_utf8_lossy(&run(Command::new("apt-get").args(query))?).into_owned();
    let mirror = mirrors
        .lines()
        .find(|mirror| mirror.trim_end_matches('/').ends_with("/debian"))
        .ok_or_else(|| Failure::new("no Debian archive is configured; run apt-get update"))?;

    let folder = cache.join(format!("apt-{}", series.suite()));
    fs::create_dir_all(folder.join("lists/partial"))?;
    let source = folder.join("sources.list");
    fs::write(&source, format!("deb [signed-by={KEYRING}] {mirror} {} main\n", series.suite()))?;
    let options = [
        format!("Dir::Etc::sourcelist={}", source.display()),
        "Dir::Etc::sourceparts=-".to_owned(),
        format!("Dir::State::lists={}", folder.join("lists").display()),
        format!("Dir::Cache::pkgcache={}", folder.join("pkgcache.bin").display()),
        format!("Dir::Cache::srcpkgcache={}", folder.join("srcpkgcache.bin").display()),
    ];
    let options: Vec<String> = options.into_iter().flat_map(|option| ["-o".to_owned(), option]).collect();
    run(Command::new("apt-get").args(&options).args(["-q", "update"]))?;
    Ok(options)
}

/// The drivers a machine needs: those of its disks, and what the engine asks sockets with. What is not a module in a
/// kernel is built in.
const MODULES: [&str; 7] =
    ["virtio_pci", "virtio_blk", "unix_diag", "tcp_diag", "udp_diag", "netlink_diag", "af_packet_diag"];

impl Kernel {
    /// The modules to load, in order: their file names and contents, decompressed.
    pub fn drivers(&self) -> Outcome<Vec<(String, Vec<u8>)>> {
        let order = fs::read_to_string(self.modules.join("modules.order"))?;
        let mut found = Vec::new();
        for name in MODULES {
            self.add_driver(name, &order, &mut found)?;
        }
        Ok(found)
    }

    fn add_driver(&self, name: &str, order: &str, found: &mut Vec<(String, Vec<u8>)>) -> Outcome {
        let file = format!("{name}.ko");
        if found.iter().any(|(other, _)| *other == file) {
            return Ok(());
        }
        let is_it = |line: &&str| line.rsplit('/').next().is_some_and(|last| last.replace('-', "_") == file);
        let Some(path) = order.lines().find(is_it) else { return Ok(()) };
        let data = self.module(path)?;
        for needed in dependencies(&data) {
            self.add_driver(&needed, order, found)?;
        }
        found.push((file, data));
        Ok(())
    }

    /// Reads a module, which the package may have compressed.
    fn module(&self, path: &str) -> Outcome<Vec<u8>> {
        let plain = self.modules.join(path);
        let compressed = plain.with_extension("ko.xz");
        if compressed.exists() {
            return run(Command::new("xz").arg("-dc").arg(compressed));
        }
        ensure!(plain.exists(), "the kernel package {} lacks {path}", self.release);
        Ok(fs::read(plain)?)
    }
}

/// The names in a module's `depends=` line; its section .modinfo holds lines that end with a zero byte.
fn dependencies(module: &[u8]) -> Vec<String> {
    let key = b"\0depends=";
    let Some(start) = module.windows(key.len()).position(|window| window == key) else { return Vec::new() };
    let value: Vec<u8> = module[start + key.len()..].iter().copied().take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&value).split(',').filter(|name| !name.is_empty()).map(|n| n.replace('-', "_")).collect()
}
