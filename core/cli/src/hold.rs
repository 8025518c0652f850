//! `dormouse hold`: who holds off the other ends of a sleeping group's connections, and for how long.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dormouse_engine::image::{Reader, SectionKind};
use dormouse_engine::resource::group::Group;
use dormouse_wire::{Problem, ProblemKind, phrase};

use crate::exit::{Failure, Outcome};
use crate::output;

/// Holds off the other ends of an image's connections again, after the machine was started anew.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
`dormouse freeze --keep-connections` has the kernel drop what is sent on the connections that it keeps, so that it does not \
tell their other ends that nobody is there. `dormouse thaw` ends that. The kernel forgets it when the machine is started \
anew: give this command then, before there is a network, or as soon as you can. An other end that has sent something \
meanwhile knows of the end of its connection; the program then finds it reset after the thaw, or with its first word.

Before you remove an image that you do not want to thaw, give this command with --release.")]
pub struct Arguments {
    /// The image file, which must be your own.
    #[arg(value_name = "FILE")]
    image: PathBuf,

    /// Hold them off no longer: what is sent on these connections is answered with a reset.
    #[arg(long)]
    release: bool,
}

/// Runs the subcommand.
pub fn run(arguments: Arguments) -> Outcome {
    if arguments.release {
        release(&arguments.image)
            .map_err(|problem| Failure::new("The connections are held off as before.").because(vec![problem]))?;
        output::say("Nobody is held off for this image any more.");
        return Ok(ExitCode::SUCCESS);
    }
    let held = dormouse_engine::hold_connections(&arguments.image)
        .map_err(|problem| Failure::new("The connections are not held off.").because(vec![problem]))?;
    output::say(&match held {
        0 => "The image has no connections that were kept.".to_owned(),
        1 => "The other end of 1 connection is held off until the thaw.".to_owned(),
        many => format!("The other ends of {many} connections are held off until the thaw."),
    });
    Ok(ExitCode::SUCCESS)
}

fn release(image: &Path) -> Result<(), Problem> {
    let reader = Reader::open(image).map_err(|error| error.problem())?;
    let group: Group = reader.section(SectionKind::Group).map_err(|error| error.problem())?;
    let Some(id) = &group.hold else { return Ok(()) };
    dormouse_engine::let_connections_go(id).map_err(|errno| {
        let what = phrase!("the packet filter of the kernel cannot be removed: {why}", why = errno.desc());
        Problem::blocks(ProblemKind::Privilege, what).way_out(phrase!("Run Dormouse as root"))
    })
}
