//! A virtual machine: a disk of its own that outlives its boots, and boots that each run one script and switch it off.
//!
//! The machine is qemu's software emulation: it needs no privilege, it is the same everywhere, and it can play any processor.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::failure::{Failure, Outcome, ensure, run};
use crate::kernel::Series;
use crate::system::{System, cache, make_file_system};
use crate::systemd;

/// A processor with all that the emulation can do, AVX2 among it; but without CMPXCHG16B, after which qemu 7.2 now and
/// then gives the kernel wrong flags, so that one boot in some hundred ends in a panic.
pub const RICH: &str = "max,-cx16";
/// The first 64-bit processors: no AVX, not even XSAVE.
pub const PLAIN: &str = "qemu64,-cx16";

/// After this time a boot has failed. Most take a tenth of it.
const TIME_OUT: Duration = Duration::from_mins(4);

/// A machine that is switched off.
#[derive(Debug)]
pub struct Machine<'a> {
    system: &'a System,
    folder: TempDir,
}

/// What a script of a boot left.
#[derive(Debug)]
pub struct Report {
    output: String,
}

/// A script that runs in a machine, under its name.
pub type Script<'a> = (&'a str, &'a str);

impl<'a> Machine<'a> {
    /// A machine with an empty disk.
    pub fn new(system: &'a System) -> Outcome<Self> {
        let folder = tempfile::tempdir_in(cache())?;
        let contents = folder.path().join("contents");
        for name in ["work", "images", "results", "scripts", "var/lib", "tmp"] {
            fs::create_dir_all(contents.join(name))?;
        }
        let machine = Self { system, folder };
        File::create(machine.disk())?.set_len(2 << 30)?;
        make_file_system(&machine.disk(), &contents)?;
        Ok(machine)
    }

    /// Another machine, with a copy of this one's disk.
    pub fn copy(&self) -> Outcome<Self> {
        let other = Self { system: self.system, folder: tempfile::tempdir_in(cache())? };
        run(Command::new("cp").arg("--sparse=always").args([self.disk(), other.disk()]))?;
        Ok(other)
    }

    /// Boots a kernel on a processor, and runs the first script; the others are there for it to hand over to, with
    /// `next_kernel`. Returns when the machine is off, with the report of each script.
    pub fn boot<const N: usize>(
        &self,
        series: Series,
        processor: &str,
        scripts: [Script<'_>; N],
    ) -> Outcome<[Report; N]> {
        self.boot_with(series, processor, scripts, "")
    }

    /// The same with systemd as the first process, which the scripts end.
    pub fn boot_systemd<const N: usize>(
        &self,
        series: Series,
        processor: &str,
        scripts: [Script<'_>; N],
    ) -> Outcome<[Report; N]> {
        self.boot_with(series, processor, scripts, systemd::START)
    }

    /// `more`: what else the kernel is told.
    fn boot_with<const N: usize>(
        &self,
        series: Series,
        processor: &str,
        scripts: [Script<'_>; N],
        more: &str,
    ) -> Outcome<[Report; N]> {
        for (name, body) in scripts {
            let script = self.folder.path().join("script");
            fs::write(&script, format!(". /lib/kernels/workbench\n{body}\n"))?;
            self.debugfs(&["-w"], &format!("write {} scripts/{name}", script.display()))?;
        }
        let console = self.folder.path().join("console");
        let begin = Instant::now();
        let child = self.start(series, processor, &format!("{} {more}", scripts[0].0), &console)?;
        let in_time = off_in_time(child)?;
        println!("{} on {processor}: {}, {:.1} s", scripts[0].0, series.prefix(), begin.elapsed().as_secs_f64());
        let console = String::from_utf8_lossy(&fs::read(console)?).into_owned();
        ensure!(in_time, "{} did not end in {TIME_OUT:?}; the console:\n{console}", scripts[0].0);

        let mut reports = Vec::with_capacity(N);
        for (name, _) in scripts {
            let status = self.read(&format!("results/{name}.status"))?;
            ensure!(status.trim() == "0", "{name} ended with {:?}; the console:\n{console}", status.trim());
            reports.push(Report { output: self.read(&format!("results/{name}.out"))? });
        }
        reports.try_into().map_err(|_| Failure::new("a report is missing"))
    }

    /// What a file on the machine's disk holds; nothing when there is no such file.
    pub fn read(&self, path: &str) -> Outcome<String> {
        Ok(String::from_utf8_lossy(&self.debugfs(&[], &format!("cat {path}"))?).into_owned())
    }

    fn disk(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn debugfs(&self, options: &[&str], request: &str) -> Outcome<Vec<u8>> {
        run(Command::new("debugfs").args(options).args(["-R", request]).arg(self.disk()))
    }

    fn start(&self, series: Series, processor: &str, script: &str, console: &Path) -> Outcome<Child> {
        // Without `tsc=reliable` the kernel may choose a clock that the vdso cannot read, and nothing would be tested.
        let line = format!("console=ttyS0 quiet panic=-1 tsc=reliable dormouse.run={script}");
        let drive = |name: &str, path: &Path, more: &str| {
            [
                "-drive".to_owned(),
                format!("if=none,id={name},format=raw,file={}{more}", path.display()),
                "-device".to_owned(),
                format!("virtio-blk-pci,drive={name}"),
            ]
        };
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args(["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", processor, "-smp", "2", "-m", "1024"])
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"])
            .arg("-kernel")
            .arg(&self.system.kernel(series).image)
            .arg("-initrd")
            .arg(self.system.initial(series))
            .args(["-append", &line])
            .args(drive("system", &self.system.disk, ",readonly=on"))
            .args(drive("disk", &self.disk(), ""))
            .stdin(Stdio::null())
            .stdout(File::create(console)?)
            .stderr(File::options().append(true).open(console)?);
        command.spawn().map_err(|error| Failure::new(format!("qemu-system-x86_64 cannot be started: {error}")))
    }
}

/// Waits for a machine to switch itself off; one that does not is ended.
fn off_in_time(mut child: Child) -> Outcome<bool> {
    let begin = Instant::now();
    while child.try_wait()?.is_none() {
        if begin.elapsed() > TIME_OUT {
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(true)
}

impl Report {
    /// What the script said with `fact NAME VALUE`.
    pub fn fact(&self, name: &str) -> Outcome<&str> {
        self.output
            .lines()
            .filter_map(|line| line.strip_prefix("fact ")?.split_once(' '))
            .find_map(|(key, value)| (key == name).then_some(value))
            .ok_or_else(|| Failure::new(format!("the script told no {name}; it said:\n{}", self.output)))
    }

    /// The same as a number.
    pub fn number(&self, name: &str) -> Outcome<f64> {
        Ok(self.fact(name)?.parse()?)
    }

    /// Whether the script ran under a kernel of this series.
    pub fn ran_under(&self, series: Series) -> Outcome {
        let release = self.fact("kernel")?;
        ensure!(release.starts_with(series.prefix()), "the script ran under {release}, not {}x", series.prefix());
        Ok(())
    }
}
