//! One task's own connection, and what becomes of it when something goes wrong.
//!
//! Nobody cancels a conversation with the database and goes on with it: what takes too long is given up
//! with its connection, and the server takes back what was not committed. When to try again is left to
//! the callers.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;
use tracing::{error, info};

use super::{Session, Store, StoreError};

/// How long to wait for a connection to open, and for what no caller waits for.
pub const IDLE_WORK_SECONDS_MAX: u64 = 3;

/// A connection: opened when it is needed, dropped when it is in doubt.
#[derive(Debug)]
pub struct Connection {
    store: Store,
    session: Option<Session>,
    /// What it means to people that the database is away.
    away_told: &'static str,
    /// So that a database that goes away and comes back is told once each.
    is_away: bool,
}

impl Connection {
    /// Opens nothing yet. `away_told` ends the sentence "the database is away; …".
    #[must_use]
    pub fn new(store: Store, away_told: &'static str) -> Self {
        Self { store, session: None, away_told, is_away: false }
    }

    /// Says goodbye to the database.
    pub async fn close(mut self) {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }

    /// Runs one transaction. After an error the session is rolled back or dropped.
    ///
    /// # Errors
    /// What the work returns; [`StoreError::Away`] if it took too long, or there is no connection.
    pub async fn run<T>(
        &mut self,
        seconds_max: u64,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let result = self.attempt(seconds_max, work).await;
        match &result {
            Err(StoreError::Away(told)) if !std::mem::replace(&mut self.is_away, true) => {
                error!("the database is away ({told}); {}", self.away_told);
            }
            Ok(_) if std::mem::replace(&mut self.is_away, false) => info!("the database is back"),
            _ => {}
        }
        result
    }

    async fn attempt<T>(
        &mut self,
        seconds_max: u64,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => within(IDLE_WORK_SECONDS_MAX, self.store.connect()).await?,
        };
        let result = within(seconds_max, unpanicked(work(&mut session))).await;
        let keep = match &result {
            Ok(_) => true,
            Err(StoreError::Conflict | StoreError::Held | StoreError::Refused(_)) => {
                within(IDLE_WORK_SECONDS_MAX, session.rollback()).await.is_ok()
            }
            Err(_) => false,
        };
        if keep {
            self.session = Some(session);
        }
        result
    }
}

async fn within<T>(
    seconds: u64,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match timeout(Duration::from_secs(seconds), work).await {
        Ok(result) => result,
        Err(_) => Err(StoreError::Away(format!("no answer within {seconds} s"))),
    }
}

/// A panic in the fold is a bug; it must cost the event that it shows on, and not the writer.
async fn unpanicked<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let mut work = pin!(work);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(poll) => poll,
        Err(_) => {
            let told = "paidup panicked, which is a bug of its".to_owned();
            std::task::Poll::Ready(Err(StoreError::Refused(told)))
        }
    })
    .await
}
