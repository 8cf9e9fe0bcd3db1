//! The API's own sessions, a few, apart from the writer's.
//!
//! Each piece of work runs in a task that nobody cancels: a caller who goes away leaves no half of a
//! conversation behind. A session that was in doubt is dropped.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::problem::Problem;
use crate::store::{Failure, Session, Store, StoreError};

/// The most sessions at once.
pub const READERS_MAX: usize = 4;
/// How long to wait for one to be free.
pub const READER_WAIT_SECONDS_MAX: u64 = 3;
/// How long a piece of work may take, with the opening of its session.
pub const READ_SECONDS_MAX: u64 = 10;

/// What is done with a session.
pub type Work<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The sessions. Clones share them.
#[derive(Clone)]
pub struct Readers {
    store: Store,
    free: Arc<Mutex<Vec<Session>>>,
    places: Arc<Semaphore>,
}

impl Readers {
    /// Opens nothing yet.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, free: Arc::default(), places: Arc::new(Semaphore::new(READERS_MAX)) }
    }

    /// Does this with a session of its own.
    ///
    /// # Errors
    /// [`Problem::Busy`] or [`Problem::Database`].
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl for<'a> FnOnce(&'a mut Session) -> Work<'a, T> + Send + 'static,
    ) -> Result<T, Problem> {
        let wait = Duration::from_secs(READER_WAIT_SECONDS_MAX);
        let place = timeout(wait, Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Err(Problem::Busy) };
        let readers = self.clone();
        let task = tokio::spawn(async move {
            let _place = place;
            let done = timeout(Duration::from_secs(READ_SECONDS_MAX), readers.attempt(work));
            done.await.unwrap_or(Err(StoreError::Away(Failure::silent(READ_SECONDS_MAX))))
        });
        Ok(task.await.map_err(|_| Problem::Database)??)
    }

    async fn attempt<T>(
        &self,
        work: impl for<'a> FnOnce(&'a mut Session) -> Work<'a, T>,
    ) -> Result<T, StoreError> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut session = match free {
            Some(session) => session,
            None => self.store.connect().await?,
        };
        let result = work(&mut session).await;
        // After an error it is dropped: nothing that was begun on it goes on.
        if result.is_ok() {
            self.free.lock().unwrap_or_else(PoisonError::into_inner).push(session);
        }
        result
    }
}
