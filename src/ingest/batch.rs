//! How many events a transaction takes: as many as the database can record while their callers wait.

use std::time::Duration;

use tokio::sync::mpsc;

use super::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, Queued, REPLY_SECONDS_MAX};

/// A batch that took longer is too large: half of what its callers wait, who may have waited before.
pub const BATCH_MILLISECONDS_MAX: u64 = REPLY_SECONDS_MAX * 1000 / 2;
/// How many full batches in a row must have taken less than half of that before a larger one is tried.
pub const GROWTH_BATCHES: u32 = 4;

/// The most events of a batch now. After one that takes too long it is half of that; after some that did
/// not, it is twice as many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchLimit {
    events: usize,
    /// Full batches in a row that were quick.
    quick: u32,
}

impl BatchLimit {
    pub(super) fn new() -> Self {
        Self { events: BATCH_EVENTS_MAX, quick: 0 }
    }

    pub(super) fn events(self) -> usize {
        self.events
    }

    /// A batch with this number of events was canceled because it took too long.
    pub(super) fn shrink(&mut self, events: usize) {
        *self = Self { events: (events / 2).clamp(1, self.events), quick: 0 };
    }

    /// A batch with this number of events was committed in this time.
    pub(super) fn learn(&mut self, events: usize, took: Duration) {
        let limit = Duration::from_millis(BATCH_MILLISECONDS_MAX);
        if took > limit {
            self.shrink(events);
        } else if took > limit / 2 {
            self.quick = 0;
        } else if events >= self.events {
            self.quick += 1;
            if self.quick == GROWTH_BATCHES {
                *self = Self { events: (self.events * 2).min(BATCH_EVENTS_MAX), quick: 0 };
            }
        }
    }
}

/// Whether a batch may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taking {
    AllThatWaits,
    NoMore,
}

/// Takes all that waits into the batch, as far as a transaction may have it.
pub(super) fn fill(
    batch: &mut Vec<Queued>,
    receiver: &mut mpsc::Receiver<Queued>,
    limit: BatchLimit,
) {
    let mut bytes: usize = batch.iter().map(|queued| queued.event.body().len()).sum();
    while batch.len() < limit.events && bytes < BATCH_BYTES_MAX {
        let Ok(queued) = receiver.try_recv() else { break };
        bytes += queued.event.body().len();
        batch.push(queued);
    }
    drop_abandoned(batch);
}

/// Who has gone away sends it again; to work for nobody only makes the next ones late.
pub(super) fn drop_abandoned(batch: &mut Vec<Queued>) {
    batch.retain(|queued| !queued.reply.is_closed());
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(5);
    const SLOW: Duration = Duration::from_millis(BATCH_MILLISECONDS_MAX + 1);

    #[test]
    fn it_halves_after_a_time_out_and_grows_again_after_quick_full_batches() {
        let mut limit = BatchLimit::new();
        limit.shrink(40);
        assert_eq!(limit.events(), 20, "half of what was tried, not of what is allowed");
        limit.learn(20, SLOW);
        assert_eq!(limit.events(), 10);
        for _ in 0..100 {
            limit.learn(9, QUICK);
        }
        assert_eq!(limit.events(), 10, "a batch that was not full says nothing of larger ones");
        for expected in [20, 40, 80, 160, 320, BATCH_EVENTS_MAX, BATCH_EVENTS_MAX] {
            for _ in 0..GROWTH_BATCHES {
                limit.learn(limit.events(), QUICK);
            }
            assert_eq!(limit.events(), expected);
        }
    }

    #[test]
    fn it_is_never_nothing() {
        let mut limit = BatchLimit::new();
        limit.shrink(1);
        assert_eq!(limit.events(), 1);
        limit.learn(1, SLOW);
        assert_eq!(limit.events(), 1);
        limit.shrink(300);
        assert_eq!(limit.events(), 1, "it does not grow by a batch of before");
    }
}
