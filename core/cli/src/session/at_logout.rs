//! What happens with a session at logout and at login without a command: whether its user wants that, and the unit that asks.

use std::process::ExitCode;

use dormouse_service::session::{Direct, Hands, wish};
use nix::unistd::Uid;

use super::{Whose, failure};
use crate::exit::{Failure, Outcome};
use crate::output;

/// Has the session fall asleep at logout or shutdown, and wake at login.
#[derive(Debug, clap::Args)]
#[command(long_about = "\
Has the session fall asleep at logout or shutdown, and wake at login.

The unit `dormouse-session@UID.service` of systemd does it, which every login starts. It puts to sleep what `dormouse session freeze` would, \
and nothing of which something would be lost; what cannot be put to sleep ends as it does without Dormouse, and the journal says why.")]
pub struct Enable {
    #[command(flatten)]
    whose: Whose,
}

/// Has the session end at logout as it does without Dormouse.
#[derive(Debug, clap::Args)]
#[command(long_about = "\
Has the session end at logout as it does without Dormouse.

What sleeps already sleeps on: `dormouse session status` lists it, and `dormouse session thaw` wakes it.")]
pub struct Disable {
    #[command(flatten)]
    whose: Whose,
}

/// What the unit of systemd says, which comes with every login.
#[derive(Debug, clap::Args)]
pub struct Chosen {
    /// Do nothing for a user who has not chosen that his session falls asleep at logout.
    #[arg(long, hide = true)]
    if_chosen: bool,
}

impl Chosen {
    /// Whether the session is to end without a freeze.
    pub fn leaves_alone(&self, user: Uid) -> Result<bool, Failure> {
        Ok(self.if_chosen && !direct(user)?.at_logout(None).map_err(failure)?.chosen)
    }

    /// Whether what sleeps of it is not to be woken: neither by choice, nor after a restart that was to wake it.
    pub fn sleeps_on(&self, user: Uid, hands: &mut dyn Hands) -> Result<bool, Failure> {
        Ok(self.leaves_alone(user)? && !wish::is_there(hands).map_err(failure)?)
    }
}

fn direct(user: Uid) -> Result<Direct, Failure> {
    Direct::of(user.as_raw()).map_err(failure)
}

/// Chooses so.
pub fn enable(arguments: &Enable) -> Outcome {
    let now = direct(arguments.whose.user()?)?.at_logout(Some(true)).map_err(failure)?;
    output::say("The session falls asleep at logout from now on, and wakes at login.");
    if let Some(why) = now.hindrance {
        output::say(&why);
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes it back.
pub fn disable(arguments: &Disable) -> Outcome {
    direct(arguments.whose.user()?)?.at_logout(Some(false)).map_err(failure)?;
    output::say("The session ends at logout as it does without Dormouse. What sleeps sleeps on.");
    Ok(ExitCode::SUCCESS)
}
