//! Events that wait for what another session holds locked: they cost the others nothing.
//!
//! They are tried all together, in one transaction a round, which waits for nobody. Those that still cannot
//! be recorded when their callers' time is over are answered so.

use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::{Queued, REPLY_SECONDS_MAX, Unavailable};

/// How soon the events are tried again.
pub const HELD_RETRY_MILLISECONDS: u64 = 200;
/// How long after it was submitted an event is given up: soon enough for its caller to hear why.
pub const HELD_MILLISECONDS_MAX: u64 = REPLY_SECONDS_MAX * 1000 - 500;

/// What waits, and for when.
#[derive(Default)]
pub(super) struct Held {
    events: Vec<Queued>,
    next: Option<Instant>,
    /// Another session holds one of paidup's tables, as `create index` does: nothing can be recorded, and to
    /// try it costs a wait each time.
    pub tables_are_locked: bool,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(super) fn push(&mut self, queued: Queued) {
        self.extend([queued]);
    }

    pub(super) fn extend(&mut self, events: impl IntoIterator<Item = Queued>) {
        self.events.extend(events);
        if self.next.is_none() && !self.events.is_empty() {
            self.next = Some(Instant::now() + Duration::from_millis(HELD_RETRY_MILLISECONDS));
        }
    }

    /// When they are to be tried again; `None` if there are none.
    pub(super) fn due(&self) -> Option<Instant> {
        self.next
    }

    /// All that are to be tried now. Those whose time is over are answered.
    pub(super) fn take(&mut self, is_stopping: bool) -> Vec<Queued> {
        self.next = None;
        let limit = Duration::from_millis(HELD_MILLISECONDS_MAX);
        let is_late = |queued: &Queued| is_stopping || queued.submitted.elapsed() >= limit;
        let (late, events): (Vec<_>, Vec<_>) = self.events.drain(..).partition(is_late);
        if let Some(first) = late.first() {
            let (event, events) = (first.event.id(), late.len());
            let what = if self.tables_are_locked { "a whole table" } else { "the order's row" };
            warn!(
                event,
                events,
                "another session holds {what} locked for too long; these events are answered 503, and \
                 Stripe will send them again"
            );
        }
        late.into_iter().for_each(|queued| queued.answer(Err(Unavailable::OrderHeld)));
        events
    }
}
