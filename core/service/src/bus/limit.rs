//! How much is done at a time: a flood of calls of one user fills that user's places, and nobody else's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Error;

/// So much is done at a time for one user.
const AT_WORK: usize = 4;
/// So many calls of one user wait, those at work among them. An app asks about every group it shows.
const WAITING: usize = 64;

/// The places of all users.
#[derive(Debug, Default)]
pub struct Limit {
    users: Mutex<HashMap<u32, Arc<Places>>>,
}

#[derive(Debug)]
struct Places {
    waiting: Arc<Semaphore>,
    at_work: Arc<Semaphore>,
}

/// A place to work, until it is dropped.
#[derive(Debug)]
pub struct Place {
    _waiting: OwnedSemaphorePermit,
    _at_work: OwnedSemaphorePermit,
}

impl Limit {
    /// Waits for a place; refuses where too many wait already.
    pub async fn place(&self, user: u32) -> Result<Place, Error> {
        let busy = || Error::Busy(format!("{WAITING} calls of yours wait already; try again when some are answered."));
        let places = {
            let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(users.entry(user).or_insert_with(|| {
                Arc::new(Places {
                    waiting: Arc::new(Semaphore::new(WAITING)),
                    at_work: Arc::new(Semaphore::new(AT_WORK)),
                })
            }))
        };
        let waiting = Arc::clone(&places.waiting).try_acquire_owned().map_err(|_| busy())?;
        let at_work = Arc::clone(&places.at_work).acquire_owned().await.map_err(|_| busy())?;
        Ok(Place { _waiting: waiting, _at_work: at_work })
    }

    /// Whether nobody has a place or waits for one.
    pub fn is_idle(&self) -> bool {
        let users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.values().all(|places| places.waiting.available_permits() == WAITING)
    }
}
