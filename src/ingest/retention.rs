//! What expires, and when it is dropped.

use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use crate::store::Session;
use crate::store::connection::Connection;
use crate::unix_milliseconds;

use super::TRANSACTION_SECONDS_MAX;

/// How often to look for what is old.
pub const PRUNE_SECONDS: u64 = 3600;
/// The most rows that are pruned between two batches.
pub const PRUNE_ROWS_MAX: i64 = 1000;
/// Event ids are kept at least this long, so that a late duplicate is known.
pub const EVENT_ID_DAYS_MIN: u32 = 400;

const DAY_MILLISECONDS: i64 = 24 * 60 * 60 * 1000;

/// How long to keep what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Bodies, and notifications that are settled, are dropped after so many days; `None`: never.
    pub event_body_days: Option<u32>,
}

/// What is old: all that came before, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Old {
    /// Bodies, and notifications that are settled.
    pub bodies_until: i64,
    /// Ids of events.
    pub ids_until: i64,
}

impl Retention {
    /// What is old at this time, in milliseconds; `None` where bodies are kept for ever, and so are ids.
    #[must_use]
    pub fn old(self, now: i64) -> Option<Old> {
        let before = |days: u32| now - i64::from(days) * DAY_MILLISECONDS;
        let body_days = self.event_body_days?;
        let bodies_until = before(body_days);
        Some(Old { bodies_until, ids_until: before(body_days.max(EVENT_ID_DAYS_MIN)) })
    }
}

/// Drops bodies, and later ids, of old events, a little at a time.
pub(super) struct Pruning {
    retention: Retention,
    /// All that came before is done.
    bodies_from: i64,
    ids_from: i64,
    next: Instant,
}

impl Pruning {
    pub(super) fn new(retention: Retention) -> Self {
        Self { retention, bodies_from: 0, ids_from: 0, next: Instant::now() }
    }

    pub(super) async fn step(&mut self, connection: &mut Connection) {
        let Some(Old { bodies_until, ids_until }) = self.retention.old(unix_milliseconds()) else {
            return;
        };
        if Instant::now() < self.next {
            return;
        }
        let (bodies_from, ids_from) = (self.bodies_from, self.ids_from);
        let work = async |session: &mut Session| {
            let bodies = session.prune_bodies(bodies_from, bodies_until, PRUNE_ROWS_MAX).await?;
            let ids = session.prune_events(ids_from, ids_until, PRUNE_ROWS_MAX).await?;
            let deliveries = session.prune_deliveries(bodies_until, PRUNE_ROWS_MAX).await?;
            Ok((bodies, ids, deliveries))
        };
        let Ok((bodies, ids, deliveries)) = connection.run(TRANSACTION_SECONDS_MAX, work).await
        else {
            return;
        };
        let rows_max = PRUNE_ROWS_MAX.unsigned_abs();
        if bodies < rows_max {
            self.bodies_from = bodies_until;
        }
        if ids < rows_max {
            self.ids_from = ids_until;
        }
        if bodies < rows_max && ids < rows_max && deliveries < rows_max {
            self.next = Instant::now() + Duration::from_secs(PRUNE_SECONDS);
        }
        if bodies + ids + deliveries > 0 {
            info!(bodies, ids, deliveries, "old events and notifications were pruned");
        }
    }
}
