//! One task's own connection, and what becomes of it when something goes wrong.
//!
//! Nobody cancels a conversation with the database and goes on with it: what takes too long is given up
//! with its connection, and the server takes back what was not committed. When to try again is left to
//! the callers, but for one case: a session that turns out to be gone before a transaction began on it is
//! replaced at once, since nothing was sent that could have been committed.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tracing::{error, info};

use super::error::SessionState;
use super::{Failure, Session, Store, StoreError};

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

    /// Runs one transaction, which the work itself begins. After an error the session is rolled back or
    /// dropped. Logs when the database goes away, and when it is back.
    ///
    /// # Errors
    /// What the work returns; [`StoreError::Away`] if it took too long, or there is no connection.
    pub async fn run<T>(
        &mut self,
        seconds_max: u64,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let limit = Limit::new(seconds_max);
        let result = match self.session.take() {
            Some(session) => Ok(session),
            None => self.connect().await,
        };
        let result = match result {
            Ok(session) => self.work(session, limit, work).await,
            Err(error) => Err(error),
        };
        match &result {
            Ok(_) => self.note_back(),
            Err(error) => self.note(error),
        }
        result
    }

    /// Begins a transaction and does this work in it. A session that the server has ended since it was
    /// last used is replaced. Logs nothing: see [`Self::note`] and [`Self::note_back`].
    ///
    /// # Errors
    /// As for [`Self::run`].
    pub async fn transact<T>(
        &mut self,
        seconds_max: u64,
        pace: Pace,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let limit = Limit::new(seconds_max);
        let session = self.begun(limit, pace).await?;
        self.work(session, limit, work).await
    }

    /// Asks what changes nothing, and asks once more if the server has ended the session since it was last
    /// used. Logs nothing.
    ///
    /// # Errors
    /// As for [`Self::run`].
    pub async fn ask<T>(
        &mut self,
        seconds_max: u64,
        question: impl AsyncFn(&mut Session) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let limit = Limit::new(seconds_max);
        if let Some(session) = self.session.take() {
            match self.work(session, limit, &question).await {
                Err(StoreError::Away(failure)) if failure.session == SessionState::Gone => {}
                result => return result,
            }
        }
        let session = self.connect().await?;
        self.work(session, limit, question).await
    }

    /// Logs that the database is away, if that is what the error says and it was not said yet.
    pub fn note(&mut self, error: &StoreError) {
        let StoreError::Away(failure) = error else { return };
        if !std::mem::replace(&mut self.is_away, true) {
            error!("the database is away: {failure}. {}; {}", failure.advice(), self.away_told);
        }
    }

    /// Logs that the database is back, if it was away.
    pub fn note_back(&mut self) {
        if std::mem::replace(&mut self.is_away, false) {
            info!("the database is back");
        }
    }

    async fn connect(&self) -> Result<Session, StoreError> {
        Limit::new(IDLE_WORK_SECONDS_MAX).of(self.store.connect()).await
    }

    async fn begun(&mut self, limit: Limit, pace: Pace) -> Result<Session, StoreError> {
        if let Some(mut session) = self.session.take() {
            match limit.of(pace.begin(&mut session)).await {
                Ok(()) => return Ok(session),
                Err(StoreError::Away(failure)) if failure.session == SessionState::Gone => {}
                Err(error) => return Err(self.settle(session, error).await),
            }
        }
        let mut session = self.connect().await?;
        match limit.of(pace.begin(&mut session)).await {
            Ok(()) => Ok(session),
            Err(error) => Err(self.settle(session, error).await),
        }
    }

    async fn work<T>(
        &mut self,
        mut session: Session,
        limit: Limit,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match limit.of(unpanicked(work(&mut session))).await {
            Ok(done) => {
                self.session = Some(session);
                Ok(done)
            }
            Err(error) => Err(self.settle(session, error).await),
        }
    }

    /// Keeps a session on which a transaction failed, if it can be taken back there.
    async fn settle(&mut self, mut session: Session, error: StoreError) -> StoreError {
        let limit = Limit::new(IDLE_WORK_SECONDS_MAX);
        if error.session() == SessionState::Works && limit.of(session.rollback()).await.is_ok() {
            self.session = Some(session);
        }
        error
    }
}

/// How long the statements of a transaction may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As long as the session lets them.
    Patient,
    /// Not longer than somebody waits for the answer; with less to do it is tried again.
    Batch,
}

impl Pace {
    async fn begin(self, session: &mut Session) -> Result<(), StoreError> {
        match self {
            Self::Patient => session.begin().await,
            Self::Batch => session.begin_batch().await,
        }
    }
}

/// Until when something may take.
#[derive(Debug, Clone, Copy)]
struct Limit {
    until: Instant,
    seconds: u64,
}

impl Limit {
    fn new(seconds: u64) -> Self {
        Self { until: Instant::now() + Duration::from_secs(seconds), seconds }
    }

    async fn of<T>(
        self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match timeout_at(self.until, work).await {
            Ok(result) => result,
            Err(_) => Err(StoreError::Away(Failure::silent(self.seconds))),
        }
    }
}

/// A panic in the fold is a bug; it must cost the event that it shows on, and not the writer.
async fn unpanicked<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let mut work = pin!(work);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(poll) => poll,
        Err(_) => {
            let failure = Failure::new("internal error: paidup panicked; please report this");
            std::task::Poll::Ready(Err(StoreError::Refused(failure)))
        }
    })
    .await
}
