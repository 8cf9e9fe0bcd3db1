//! By which signing secret calls were last proven, so that an old one can be left out.
//!
//! Each process notes it in memory, and every minute in the database, where all processes' notes meet and
//! outlast them. Of a secret only the last four characters are known here.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::readers::Readers;
use crate::domain::signature::SigningSecret;

/// How often the notes go to the database.
pub const NOTE_SECONDS: u64 = 60;
/// How long the counts of events by minute are kept.
pub const MINUTES_KEPT: i64 = 8 * 24 * 60;
/// One round in so many also drops minutes that are old.
const ROUNDS_PER_PRUNING: u64 = 60;

/// The secrets, and when each was last used.
#[derive(Debug)]
pub struct SecretUses(Vec<Use>);

#[derive(Debug)]
struct Use {
    last4: String,
    /// In milliseconds; 0 for never.
    used_at: AtomicI64,
}

impl SecretUses {
    /// Of these secrets, none of which was used yet.
    #[must_use]
    pub fn new(secrets: &[SigningSecret]) -> Arc<Self> {
        let unused = |secret: &SigningSecret| Use {
            last4: secret.last4().to_owned(),
            used_at: AtomicI64::new(0),
        };
        Arc::new(Self(secrets.iter().map(unused).collect()))
    }

    /// The secret at that place was used then, in milliseconds.
    pub fn note(&self, place: usize, now: i64) {
        if let Some(one) = self.0.get(place) {
            one.used_at.fetch_max(now, Ordering::Relaxed);
        }
    }

    /// Each secret's last four characters, and when this process last used it, in milliseconds; 0 for
    /// never.
    #[must_use]
    pub fn all(&self) -> Vec<(String, i64)> {
        let told = |one: &Use| (one.last4.clone(), one.used_at.load(Ordering::Relaxed));
        self.0.iter().map(told).collect()
    }
}

/// Keeps the notes in the database until `stop`, and a last time then; and drops old counts of events.
pub async fn keep(
    uses: Arc<SecretUses>,
    readers: Readers,
    stop: CancellationToken,
    now: fn() -> i64,
) {
    let mut noted = Vec::new();
    for round in 0.. {
        tokio::select! {
            () = sleep(Duration::from_secs(NOTE_SECONDS)) => {}
            () = stop.cancelled() => {}
        }
        let fresh = uses.all();
        if fresh != noted && note(&readers, fresh.clone()).await {
            noted = fresh;
        }
        if round % ROUNDS_PER_PRUNING == 0 {
            let until = now() / 60_000 - MINUTES_KEPT;
            let pruned = readers
                .run(move |session| Box::pin(async move { session.prune_minutes(until).await }));
            let pruned = pruned.await.unwrap_or_default();
            debug!(pruned, "old counts of events were dropped");
        }
        if stop.is_cancelled() {
            return;
        }
    }
}

/// The next round tries again.
async fn note(readers: &Readers, uses: Vec<(String, i64)>) -> bool {
    let work = readers.run(move |session| {
        Box::pin(async move {
            let uses: Vec<(&str, i64)> = uses
                .iter()
                .filter(|(_, at)| *at > 0)
                .map(|(last4, at)| (last4.as_str(), *at))
                .collect();
            session.note_secret_uses(&uses).await
        })
    });
    work.await.is_ok()
}
