//! Who calls, as the bus vouches for it.

use std::ffi::CString;

use dormouse_wire::{Pid, phrase};
use nix::unistd::{Gid, Uid, User, getgrouplist};
use zbus::fdo::DBusProxy;
use zbus::message::Header;
use zbus::names::{BusName, OwnedUniqueName};

use super::{Error, House};
use crate::store;
use crate::worker::Who;

/// A caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The name of the connection.
    pub name: OwnedUniqueName,
    /// The user.
    pub user: u32,
    /// The process that has connected, where the bus knows it.
    pub pid: Option<Pid>,
}

impl Caller {
    /// The sender of a message.
    pub async fn of(house: &House, header: &Header<'_>) -> Result<Self, Error> {
        let unknown = || Error::NotAuthorized(phrase!("The bus does not say who you are.").to_string());
        let name: OwnedUniqueName = header.sender().ok_or_else(unknown)?.to_owned().into();
        let bus = DBusProxy::new(&house.connection).await?;
        let credentials =
            bus.get_connection_credentials(BusName::from(name.inner().clone())).await.map_err(zbus::Error::from)?;
        let user = credentials.unix_user_id().ok_or_else(unknown)?;
        if house.session && user != Uid::effective().as_raw() {
            return Err(Error::NotAuthorized(phrase!("This is the service of another user's session.").to_string()));
        }
        Ok(Self { name, user, pid: credentials.process_id().map(|pid| Pid(pid as i32)) })
    }

    /// As whom the work is done.
    pub fn who(&self, session: bool) -> Result<Who, Error> {
        who(self.user, session)
    }
}

/// A user, as whom work is done.
pub fn who(id: u32, session: bool) -> Result<Who, Error> {
    let failed = |why: String| Error::Failed(format!("The account cannot be looked up: {why}."));
    let user = User::from_uid(Uid::from_raw(id)).map_err(|errno| failed(errno.desc().to_owned()))?;
    let user = user.ok_or_else(|| failed(format!("there is no user with the id {id}")))?;
    let mightier = !session && Uid::effective().is_root();
    let name = CString::new(user.name).map_err(|error| failed(error.to_string()))?;
    let groups = if mightier {
        let found = getgrouplist(&name, user.gid).map_err(|errno| failed(errno.desc().to_owned()))?;
        found.into_iter().map(Gid::as_raw).collect()
    } else {
        Vec::new()
    };
    let (usual, choice) = if mightier { (None, None) } else { (store::usual(), store::choice()) };
    let usual = usual.unwrap_or_else(|| store::folder_of(id, &user.dir));
    let choice = choice.unwrap_or_else(|| store::choice_of(id, &user.dir));
    let folder = usual.clone();
    Ok(Who { user: id, group: user.gid.as_raw(), groups, home: user.dir, folder, usual, choice, mightier })
}
