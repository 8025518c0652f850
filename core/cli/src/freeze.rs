//! `dormouse freeze`: a running group goes into one file.

use std::path::PathBuf;
use std::process::ExitCode;

use dormouse_engine::{Born, FreezeOptions, Selection};
use dormouse_wire::{Compression, Frozen};

use crate::cut::Cut;
use crate::exit::{Failure, Outcome};
use crate::progress::Bar;
use crate::target::{Meant, Target};
use dormouse_service::store::{kept, sweep, sweep_sometimes};
use dormouse_service::when;

use crate::{output, store};

/// Puts a running process and what belongs to it to sleep in a file.
#[derive(Debug, clap::Args)]
#[command(long_about = ABOUT, after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The process to freeze, by its pid; its descendants come along; or a group by its id in `dormouse list`.
    #[arg(value_name = "PID|GROUP")]
    target: Target,

    /// The image file to make. It must not exist.
    ///
    /// Without this, the image is named after the process, its pid and the time (in UTC), and lies in
    /// ~/.local/share/dormouse, or for root in /var/lib/dormouse.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Freeze only the process and its descendants, even where something that cannot be cut leads out of them.
    #[arg(long)]
    tree_only: bool,

    /// Go on when something would be lost. What was lost is listed.
    #[arg(long)]
    accept_losses: bool,

    #[command(flatten)]
    disconnect: Cut,

    /// How much time is given for a smaller image.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = HowSmall::Fast)]
    compression: HowSmall,

    /// Of what copies are kept beside the images, so that it does not matter when it changes meanwhile.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = Keep::Programs)]
    keep: Keep,

    /// Write what was done, or why it was not, to standard output as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Keep {
    /// Of nothing
    None,
    /// Of the programs and libraries that it has mapped
    Programs,
    /// Of those, and of all files that it has open or mapped
    Files,
}

/// [`Compression`], with words for a person who chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum HowSmall {
    /// Not compressed at all
    None,
    /// Compressed where that takes no longer than to write what it saves
    Fast,
    /// As small as can be, at several times the time; the group stands still meanwhile
    Small,
}

impl From<HowSmall> for Compression {
    fn from(chosen: HowSmall) -> Self {
        match chosen {
            HowSmall::None => Self::None,
            HowSmall::Fast => Self::Fast,
            HowSmall::Small => Self::Small,
        }
    }
}

const ABOUT: &str = "\
Puts a running process and what belongs to it to sleep in a file.

The process is frozen with its descendants and with every process that cannot be cut from them because they share a \
pipe, a socket pair or memory. Their memory, open files, timers and all the rest go into one file, the image. When \
every byte of it is on the disk, the processes are ended.

If anything stands in the way, all reasons are listed and nothing is changed. Ctrl-C undoes a freeze that is under \
way; the processes then run on.";

const EXAMPLES: &str = "\
Examples:
  dormouse freeze 4211
      Freeze process 4211 into the folder of images.
  dormouse freeze 4211 --output build.dormouse
      Freeze it into this file.";

/// Runs the subcommand.
pub fn run(arguments: Arguments) -> Outcome {
    let frozen = match freeze(&arguments) {
        Err(failure) if arguments.json => return Err(output::failure_as_json(failure)),
        Ok(Done::There(status)) => return Ok(ExitCode::from(status)),
        Ok(Done::Here(frozen)) => frozen,
        Err(failure) => return Err(failure),
    };
    if arguments.json {
        output::json(&frozen)?;
    } else {
        output::say(&summary(&frozen));
    }
    output::losses(&frozen.losses);
    Ok(ExitCode::SUCCESS)
}

/// Where it has been done: by this half of the command, or by the one in the group's own pid namespace.
enum Done {
    Here(Frozen),
    There(u8),
}

fn freeze(arguments: &Arguments) -> Result<Done, Failure> {
    // Before the group's own namespaces, where paths may lead elsewhere.
    let image = match &arguments.output {
        Some(file) => file.clone(),
        None => store::new_image(arguments.target.processes()?.0)?,
    };
    let (pid, others) = match arguments.target.at_home()? {
        Meant::Processes(pid, others) => (pid, others),
        Meant::Done(status) => return Ok(Done::There(status)),
        Meant::Frozen(frozen) => return Ok(Done::Here(*frozen)),
    };
    let selection = Selection {
        pid,
        others,
        born: Born::default(),
        tree_only: arguments.tree_only,
        disconnect: arguments.disconnect.meant(),
        keep_connections: arguments.disconnect.keeps(),
        asker: None,
    };
    let options = FreezeOptions {
        image,
        leave_running: false,
        accept_losses: arguments.accept_losses,
        label: None,
        compression: arguments.compression.into(),
        kept: store::folder().ok().filter(|_| arguments.keep != Keep::None).map(|folder| kept(&folder)),
        keep_files: arguments.keep == Keep::Files,
    };
    let bar = Bar::new()?;
    let frozen = dormouse_engine::freeze(&selection, &options, &bar);
    drop(bar);
    if let Ok(folder) = store::folder() {
        // What was copied for an image that is none is in nobody's way.
        if frozen.is_ok() { sweep_sometimes(&folder) } else { sweep(&folder) }
    }
    Ok(Done::Here(frozen?))
}

fn summary(frozen: &Frozen) -> String {
    let first = frozen.processes.first().map_or_else(String::new, |first| format!(", {first} first"));
    let held = match frozen.held {
        0 => String::new(),
        1 => " The other end of 1 connection is held off until the thaw.".to_owned(),
        many => format!(" The other ends of {many} connections are held off until the thaw."),
    };
    format!(
        "{}{first}, with {} and {} of memory, {} in {} ({}). The group stood still for {}.{held} \
         To wake it: dormouse thaw {}",
        output::count(frozen.processes.len(), "process", "processes"),
        output::count(frozen.threads, "thread", "threads"),
        frozen.memory,
        if frozen.processes.len() == 1 { "sleeps" } else { "sleep" },
        frozen.image.display(),
        frozen.size,
        when::lasted(frozen.stopped_for),
        frozen.image.display(),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dormouse_wire::{ByteSize, Frozen, Pid, ProcessName};

    use super::summary;

    #[test]
    fn a_freeze_is_summed_up_in_a_few_sentences() {
        let mut frozen = Frozen {
            image: "/x/sh.dormouse".into(),
            processes: vec![ProcessName { pid: Pid(42), comm: "sh".to_owned() }],
            threads: 3,
            memory: ByteSize(2_000_000),
            size: ByteSize(300_000),
            stopped_for: Duration::from_millis(12),
            held: 0,
            losses: Vec::new(),
        };
        assert_eq!(
            summary(&frozen),
            "1 process, sh (pid 42) first, with 3 threads and 2.0 MB of memory, sleeps in /x/sh.dormouse (300.0 kB). \
             The group stood still for 12 ms. To wake it: dormouse thaw /x/sh.dormouse"
        );
        frozen.held = 2;
        let summed = summary(&frozen);
        assert!(
            summed.contains("12 ms. The other ends of 2 connections are held off until the thaw. To wake it"),
            "{summed}"
        );
    }
}
