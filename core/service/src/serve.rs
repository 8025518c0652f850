//! The service's life: it takes its name, answers, and ends when nobody needs it any more.

use std::sync::Arc;
use std::time::Duration;

use dormouse_wire::dbus::NAME;
use futures_util::StreamExt;
use tokio::signal::unix::{SignalKind, signal};
use zbus::connection::Builder;
use zbus::fdo::{DBusProxy, RequestNameFlags, RequestNameReply};

use crate::bus::House;
use crate::watch::tell_watchers;

/// How the service is run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// On the bus of the session and not on that of the system: without power over what is not the user's own.
    pub session: bool,
    /// It ends when nobody has needed it for so long.
    pub idle: Duration,
    /// This user may freeze and thaw what is his own without a word of polkit, which a bus of one's own does not have.
    pub trusted: Option<u32>,
}

/// Why the service does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The bus cannot be reached, or does not do what is asked of it.
    #[error("the bus does not let the service work: {0}")]
    Bus(#[from] zbus::Error),
    /// Somebody else has the name.
    #[error("another service has the name {NAME} already")]
    Taken,
    /// Threads or signals cannot be had.
    #[error("the service cannot begin: {0}")]
    System(#[from] std::io::Error),
}

/// Serves until nobody needs it any more, or until SIGTERM or SIGINT.
pub fn serve(options: Options) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(served(options))
}

async fn served(options: Options) -> Result<(), ServeError> {
    let builder = if options.session { Builder::session()? } else { Builder::system()? };
    let connection = builder.build().await?;
    let house = House::new(connection.clone(), options);
    house.open().await?;
    match connection.request_name_with_flags(NAME, RequestNameFlags::DoNotQueue.into()).await {
        Ok(RequestNameReply::PrimaryOwner | RequestNameReply::AlreadyOwner) => {}
        Ok(_) | Err(zbus::Error::NameTaken) => return Err(ServeError::Taken),
        Err(error) => return Err(error.into()),
    }
    tracing::info!("serving {NAME}");
    let telling = tokio::spawn(tell_watchers(Arc::clone(&house)));
    let leaving = tokio::spawn(forget_who_leaves(Arc::clone(&house)));
    let (mut terminated, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        () = unneeded(&house, options.idle) => {}
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    telling.abort();
    leaving.abort();
    // Whoever calls from now on starts the service anew.
    connection.release_name(NAME).await?;
    Ok(())
}

/// Returns when nobody has needed the service for so long.
async fn unneeded(house: &House, idle: Duration) {
    loop {
        tokio::time::sleep(idle).await;
        if house.is_idle().await {
            return;
        }
    }
}

/// Watchers that leave the bus watch no more.
async fn forget_who_leaves(house: Arc<House>) {
    let Ok(bus) = DBusProxy::new(&house.connection).await else { return };
    let Ok(mut changes) = bus.receive_name_owner_changed().await else { return };
    while let Some(change) = changes.next().await {
        let Ok(change) = change.args() else { continue };
        if let (None, zbus::names::BusName::Unique(name)) = (change.new_owner().as_ref(), change.name()) {
            house.watchers.lock().await.remove(&name.to_owned().into());
        }
    }
}
