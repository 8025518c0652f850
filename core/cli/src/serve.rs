//! `dormouse serve`: the service on the bus.

use std::process::ExitCode;
use std::time::Duration;

use dormouse_service::Options;

use crate::exit::{Failure, Outcome};

/// Serves the app and other programs on the message bus.
#[derive(Debug, clap::Args)]
#[command(long_about = ABOUT)]
pub struct Arguments {
    /// Serve on the bus of your session, with no other rights than yours: that can list and pause, and not freeze.
    #[arg(long)]
    session: bool,

    /// End when nobody has needed the service for so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    idle: u64,

    /// Let this user freeze and thaw what is his own without asking polkit: for a bus of your own, to try Dormouse out.
    #[arg(long, value_name = "UID", conflicts_with = "session")]
    trust: Option<u32>,
}

const ABOUT: &str = "\
Serves the app and other programs on the message bus, as io.github.dormouse.Dormouse1.

On the bus of the system it runs as root, started by the bus when somebody calls it. It does for each user what is the \
user's own to do: his groups and his images, where polkit allows it, and nothing of anybody else's.";

/// Runs the subcommand.
pub fn run(arguments: Arguments) -> Outcome {
    let idle = Duration::from_secs(arguments.idle.max(1));
    let options = Options { session: arguments.session, idle, trusted: arguments.trust };
    let failed = |error| Failure::new(format!("There is no service: {error}."));
    dormouse_service::serve(options).map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}
