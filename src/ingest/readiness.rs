//! Whether the next event would be recorded, as far as one can know without one.
//!
//! A database that answers may take no writes: it is read-only, a privilege was revoked, a trigger is broken.
//! If the last batch was committed, that is known. Else a write is tried, and taken back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::warn;

use crate::store::connection::IDLE_WORK_SECONDS_MAX;
use crate::store::{Session, Store, StoreError};
use crate::unix_milliseconds;

/// How long a trial write that worked stands, while there was no event yet.
pub const TRIAL_WRITE_SECONDS: u64 = 10;

const NONE: u8 = 0;
const WORKED: u8 = 1;
const FAILED: u8 = 2;

/// What became of the writer's last attempt.
#[derive(Debug, Default)]
pub(super) struct LastWrite(AtomicU8);

impl LastWrite {
    pub(super) fn note(&self, has_worked: bool) {
        self.0.store(if has_worked { WORKED } else { FAILED }, Ordering::Relaxed);
    }
}

/// A connection of its own to see whether the database answers.
pub(super) struct Probe {
    store: Store,
    last_write: Arc<LastWrite>,
    looked: Mutex<Looked>,
}

#[derive(Default)]
struct Looked {
    session: Option<Session>,
    /// When a trial write worked.
    tried: Option<Instant>,
    /// What was wrong when it was last told.
    told: Option<String>,
}

/// An id that no event, payment or order has.
#[must_use]
pub fn trial_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    format!("paidup-trial-write-{process}-{}-{count}", unix_milliseconds())
}

impl Probe {
    pub(super) fn new(store: Store, last_write: Arc<LastWrite>) -> Self {
        Self { store, last_write, looked: Mutex::default() }
    }

    pub(super) async fn answers(&self) -> bool {
        let mut looked = self.looked.lock().await;
        let limit = Duration::from_secs(IDLE_WORK_SECONDS_MAX);
        // After an error, or if it takes too long, the session is dropped with what was begun on it.
        let told = match timeout(limit, self.look(&mut looked)).await {
            Ok(Ok(session)) => {
                looked.session = Some(session);
                None
            }
            Ok(Err(error)) => Some(format!("{error}. {}", error.advice())),
            Err(_) => Some(format!("no answer within {IDLE_WORK_SECONDS_MAX} s")),
        };
        if let Some(told) = told.as_ref().filter(|_| looked.told != told) {
            warn!("not ready: {told}");
        }
        looked.told = told;
        looked.told.is_none()
    }

    async fn look(&self, looked: &mut Looked) -> Result<Session, StoreError> {
        let mut session = match looked.session.take() {
            Some(session) => session,
            None => self.store.connect().await?,
        };
        session.ping().await?;
        let stands = Duration::from_secs(TRIAL_WRITE_SECONDS);
        let is_known = match self.last_write.0.load(Ordering::Relaxed) {
            WORKED => true,
            NONE => looked.tried.is_some_and(|at| at.elapsed() < stands),
            _ => false,
        };
        if !is_known {
            session.try_write(&trial_id()).await?;
            looked.tried = Some(Instant::now());
        }
        Ok(session)
    }
}
