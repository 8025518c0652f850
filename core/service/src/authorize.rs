//! Who may do what: the caller's uid, which the bus vouches for, and polkit, polkit(8).

use dormouse_wire::phrase;
use std::collections::HashMap;

use zbus::Connection;
use zbus::message::{Flags, Header};
use zbus_polkit::policykit1::{AuthorityProxy, CheckAuthorizationFlags, Subject};

use crate::bus::Error;
use crate::bus::caller::Caller;

/// What polkit is asked about: the actions in `data/io.github.dormouse.Dormouse1.policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Freeze, thaw, pause and resume what is the caller's own.
    Own,
    /// Freeze, pause and resume what is another user's, for that user.
    Others,
    /// See the groups of other users.
    SeeOthers,
}

impl Action {
    fn id(self) -> &'static str {
        match self {
            Self::Own => "io.github.dormouse.Dormouse1.own",
            Self::Others => "io.github.dormouse.Dormouse1.others",
            Self::SeeOthers => "io.github.dormouse.Dormouse1.see-others",
        }
    }
}

/// Lets a caller pass, or says why not. `subject`: the name of what it is about, for the question to the person.
pub async fn authorize(
    connection: &Connection,
    caller: &Caller,
    header: &Header<'_>,
    action: Action,
    subject: &str,
) -> Result<(), Error> {
    // Whoever runs the service could do it without it.
    if caller.user == 0 || caller.user == nix::unistd::Uid::effective().as_raw() {
        return Ok(());
    }
    let refused = |why: String| Error::NotAuthorized(why);
    let asked = async {
        let authority = AuthorityProxy::new(connection).await?;
        let who = Subject::new_for_message_header(header).map_err(|error| zbus::Error::Failure(error.to_string()))?;
        let may_ask = header.primary().flags().contains(Flags::AllowInteractiveAuth);
        let ask = CheckAuthorizationFlags::AllowUserInteraction;
        let flags = may_ask.then_some(ask).into_iter().collect();
        let details = HashMap::from([("group", subject)]);
        authority.check_authorization(&who, action.id(), &details, flags, "").await
    };
    match asked.await {
        Ok(answer) if answer.is_authorized => Ok(()),
        Ok(answer) if answer.is_challenge => Err(refused(
            phrase!("You have to authenticate for this, and nothing that could ask you for a password has answered.")
                .to_string(),
        )),
        Ok(_) => Err(refused(phrase!("This is not allowed to you by the rules of this system (polkit).").to_string())),
        Err(error) => Err(refused(format!(
            "polkit, which decides what you may do, does not answer: {error}. An administrator can use the command: sudo dormouse."
        ))),
    }
}
