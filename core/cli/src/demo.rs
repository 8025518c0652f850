//! `dormouse demo`: a real pipeline is frozen and thawed before the reader's eyes, with the command itself.

mod family;
mod pipeline;

use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;
use std::{env, fs};

use dormouse_wire::ByteSize;
use tempfile::TempDir;

use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output;
use pipeline::{Pipeline, SCRIPT};

/// Freezes and thaws a real pipeline before your eyes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Run it as root. It starts a pipeline of ordinary programs that counts, freezes it into a file in a temporary folder, \
shows that its processes are gone, thaws it, and checks that the counting goes on with the very next number. At the \
end the pipeline is ended and the folder removed. Ends with 1 if anything is not as it says.")]
pub struct Arguments {
    /// Do not wait for the Enter key between the steps, even on a terminal.
    #[arg(long)]
    no_pause: bool,

    /// Keep the temporary folder, with the image in it, and say where it is.
    #[arg(long)]
    keep: bool,
}

/// How many more lines the pipeline writes while we watch, before and after.
const WATCHED: u64 = 5;
/// Five lines take a second; a machine may be that much slower.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the subcommand.
pub fn run(arguments: Arguments) -> Outcome {
    permitted()?;
    let folder = tempfile::Builder::new()
        .prefix("dormouse-demo-")
        .tempdir()
        .map_err(|error| Failure::system("A temporary folder cannot be made", &error))?;
    family::adopt_orphans()?;
    // Before the signals are blocked: the pipeline would inherit that.
    let pipeline = Pipeline::start(folder.path())?;
    let stage = Stage {
        interrupt: Interrupt::watch()?,
        pauses: !arguments.no_pause && io::stdin().is_terminal() && io::stdout().is_terminal(),
        image: folder.path().join("counting.dormouse"),
        pipeline,
    };
    let outcome = stage.play();
    drop(stage);
    clear(folder, arguments.keep)?;
    outcome.map(|()| ExitCode::SUCCESS)
}

fn clear(folder: TempDir, keep: bool) -> Result<(), Failure> {
    if keep {
        output::print(&format!("The image and the log are in {}\n", folder.keep().display()))
    } else {
        folder.close().map_err(|error| Failure::system("The temporary folder cannot be removed", &error))
    }
}

/// Everything the demonstration needs. When it is dropped, the pipeline is ended.
struct Stage {
    interrupt: Interrupt,
    pauses: bool,
    image: std::path::PathBuf,
    pipeline: Pipeline,
}

impl Stage {
    /// The demonstration, step by step.
    fn play(&self) -> Result<(), Failure> {
        tell("This pipeline has just been started, with programs that every Linux system has:")?;
        output::print(&format!("    {SCRIPT}\n\n"))?;
        tell("It counts, a number every fifth of a second:")?;
        self.watch(0)?;
        tell("These are its processes:")?;
        let before = self.show_processes()?;

        self.pause("freeze it")?;
        let counted = self.freeze()?;
        self.nothing_runs()?;
        tell("The processes are gone: none of them is in the process list any more.")?;
        let size = fs::metadata(&self.image).map_err(|error| Failure::system("The image cannot be read", &error))?;
        tell(&format!(
            "All that is left of them is a file of {}. The last number they wrote is {counted}. Let us wait two \
             seconds: nobody counts.",
            ByteSize(size.len())
        ))?;
        self.rest(Duration::from_secs(2))?;
        self.still_at(counted)?;

        self.pause("thaw it")?;
        self.dormouse(&["thaw", "--background"], &[&self.image])?;
        tell("The processes are back, with the same pids:")?;
        let after = self.show_processes()?;
        same_pids(&before, &after, self.pipeline.first())?;
        tell(&format!("And they go on counting, with {} after {counted}:", counted + 1))?;
        self.watch(counted)?;
        tell(
            "Every number has come once and in its order: the one that `seq` had put into the pipe, the one that `sh` \
             was at, and the line that `cat` was at, all came back. The pipeline is ended now.",
        )
    }

    /// Freezes the pipeline with the command that the person would type; answers the last number it has written.
    fn freeze(&self) -> Result<u64, Failure> {
        let pid = self.pipeline.first().to_string();
        self.dormouse(&["freeze", &pid, "--output"], &[&self.image])?;
        self.pipeline.counted()
    }

    /// Runs this very command, and shows how it is called.
    fn dormouse(&self, words: &[&str], paths: &[&Path]) -> Result<(), Failure> {
        let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        output::print(&format!("$ dormouse {} {}\n", words.join(" "), shown.join(" ")))?;
        let itself = env::current_exe().map_err(|error| Failure::system("The command cannot find itself", &error))?;
        let status = family::run(Command::new(itself).args(words).args(paths))?;
        output::print("\n")?;
        if self.interrupt.requested() {
            return Err(interrupted());
        }
        if status == 0 { Ok(()) } else { Err(Failure::new("The demonstration has failed: see the message above.")) }
    }

    /// Shows what the pipeline writes behind line `counted`, until there are some lines more.
    fn watch(&self, counted: u64) -> Result<(), Failure> {
        let mut shown = counted;
        for _ in 0..PATIENCE.as_millis() / 50 {
            let now = self.pipeline.counted()?;
            for number in shown + 1..=now.min(counted + WATCHED) {
                output::print(&format!("    {number}\n"))?;
            }
            shown = shown.max(now);
            if shown >= counted + WATCHED {
                return output::print("\n");
            }
            self.rest(Duration::from_millis(50))?;
        }
        Err(Failure::new(format!("The pipeline does not count: it has stayed at {shown}.")))
    }

    fn show_processes(&self) -> Result<Vec<i32>, Failure> {
        let processes = self.pipeline.processes()?;
        output::print(&(pipeline::table(&processes).lines(output::width()) + "\n"))?;
        Ok(processes.iter().map(|process| process.pid).collect())
    }

    fn nothing_runs(&self) -> Result<(), Failure> {
        family::bury()?;
        if self.pipeline.processes()?.is_empty() {
            return Ok(());
        }
        let left = self.show_processes()?;
        Err(Failure::new(format!("The processes should be gone, but {left:?} are still there.")))
    }

    fn still_at(&self, counted: u64) -> Result<(), Failure> {
        let now = self.pipeline.counted()?;
        if now == counted {
            Ok(())
        } else {
            Err(Failure::new(format!("Somebody has counted on from {counted} to {now} while the pipeline slept.")))
        }
    }

    fn rest(&self, time: Duration) -> Result<(), Failure> {
        if self.interrupt.requested_within(time) { Err(interrupted()) } else { Ok(()) }
    }

    fn pause(&self, next: &str) -> Result<(), Failure> {
        if !self.pauses {
            return Ok(());
        }
        output::print(&format!("Press Enter to {next}. "))?;
        let input = io::stdin();
        if self.interrupt.requested_before(input.as_fd()) {
            return Err(interrupted());
        }
        // The rest of the line: a terminal hands over whole lines.
        let _ = input.lock().read(&mut [0; 4096]);
        output::print("\n")
    }
}

/// The processes that were there are there again. `sleep` is a new one every time.
fn same_pids(before: &[i32], after: &[i32], first: i32) -> Result<(), Failure> {
    let kept = before.iter().filter(|pid| after.contains(pid)).count();
    if after.contains(&first) && kept + 1 >= before.len() {
        Ok(())
    } else {
        Err(Failure::new(format!("The processes {before:?} should be back, but there are {after:?}.")))
    }
}

fn interrupted() -> Failure {
    Failure::new("The demonstration has been interrupted; its pipeline is ended.")
}

fn tell(sentence: &str) -> Result<(), Failure> {
    output::print(&(output::wrap(sentence, output::width(), "", "") + "\n"))
}

/// The two capabilities without which nothing can be frozen, as bits, capabilities(7).
const NEEDED: [(u32, &str); 2] = [(19, "CAP_SYS_PTRACE"), (40, "CAP_CHECKPOINT_RESTORE")];

fn permitted() -> Result<(), Failure> {
    let status = fs::read_to_string("/proc/self/status")
        .map_err(|error| Failure::system("The own capabilities cannot be read", &error))?;
    let missing = missing(&status);
    if missing.is_empty() {
        return Ok(());
    }
    let sentence = format!("The demonstration freezes processes, and lacks {} for that.", missing.join(" and "));
    Err(Failure::new(sentence).hint("Run it as root: sudo dormouse demo"))
}

fn missing(status: &str) -> Vec<&'static str> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0);
    NEEDED.iter().filter(|(bit, _)| effective >> bit & 1 == 0).map(|&(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::{missing, same_pids};

    #[test]
    fn missing_capabilities_are_named() {
        assert_eq!(missing("Name:\tx\nCapEff:\t000001ffffffffff\n"), [""; 0]);
        assert_eq!(missing("CapEff:\t0000010000000000\n"), ["CAP_SYS_PTRACE"]);
        assert_eq!(missing("CapEff:\t0000000000000000\n").len(), 2);
    }

    #[test]
    fn all_but_the_sleep_must_come_back() {
        assert!(same_pids(&[1, 2, 3, 9], &[1, 2, 3, 10], 1).is_ok());
        assert!(same_pids(&[1, 2, 3, 9], &[1, 2], 1).is_err());
        assert!(same_pids(&[1, 2], &[2, 3], 1).is_err());
    }
}
