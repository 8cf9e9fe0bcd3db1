//! The memory of large bodies on their way: taken as their bytes arrive, and taken back from the slowest of them
//! when another one needs it.
//!
//! A declared length takes nothing: a caller may declare a mebibyte and send no byte. A body takes the capacity
//! of its buffer, which doubles when it is full. The slowest body is the one that has not doubled for the longest
//! time, so a caller that drips bytes cannot look fast. A body that has arrived keeps its memory until it is
//! answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::error::HttpError;

/// What all large bodies of a listener share.
pub(super) struct LargeBodies {
    bytes_max: usize,
    /// A body that doubled within this time keeps its memory.
    kept: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bytes: usize,
    last: u64,
    coming: BTreeMap<u64, Coming>,
}

/// A body that is still on its way.
struct Coming {
    bytes: usize,
    doubled_at: Instant,
    evicted: Arc<Notify>,
}

impl LargeBodies {
    pub(super) fn new(bytes_max: usize, kept: Duration) -> Self {
        Self { bytes_max, kept, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to hold memory for one body; none so far.
    pub(super) fn begin(&self) -> Held<'_> {
        let evicted = Arc::new(Notify::new());
        let mut state = self.state();
        state.last += 1;
        let number = state.last;
        let coming = Coming { bytes: 0, doubled_at: Instant::now(), evicted: Arc::clone(&evicted) };
        state.coming.insert(number, coming);
        Held { bodies: self, number, arrived_bytes: 0, evicted }
    }
}

/// The memory that one body holds. It is free again when this is dropped.
pub(super) struct Held<'a> {
    bodies: &'a LargeBodies,
    number: u64,
    /// Once it has arrived; until then its bytes stand with those that are coming.
    arrived_bytes: usize,
    evicted: Arc<Notify>,
}

impl Held<'_> {
    /// Takes more bytes, until the body has this number; if need be from slower bodies.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), HttpError> {
        let mut state = self.bodies.state();
        let own = state.coming.get(&self.number).ok_or(HttpError::BodiesTooMany)?;
        let more = bytes.saturating_sub(own.bytes);
        while state.bytes + more > self.bodies.bytes_max {
            let others = state.coming.iter().filter(|(number, other)| {
                **number != self.number
                    && other.bytes > 0
                    && other.doubled_at.elapsed() >= self.bodies.kept
            });
            let slowest = others.min_by_key(|(_, other)| other.doubled_at);
            let slowest = slowest.map(|(number, _)| *number).ok_or(HttpError::BodiesTooMany)?;
            if let Some(slowest) = state.coming.remove(&slowest) {
                state.bytes -= slowest.bytes;
                slowest.evicted.notify_one();
            }
        }
        state.bytes += more;
        if let Some(own) = state.coming.get_mut(&self.number) {
            own.bytes += more;
            own.doubled_at = Instant::now();
        }
        Ok(())
    }

    /// Returns when the memory was taken away.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// The body is here: its memory is not taken away any more, unless it was.
    pub(super) fn arrive(&mut self) -> Result<(), HttpError> {
        let coming = self.bodies.state().coming.remove(&self.number);
        self.arrived_bytes = coming.ok_or(HttpError::BodiesTooMany)?.bytes;
        Ok(())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut state = self.bodies.state();
        let coming = state.coming.remove(&self.number).map_or(0, |coming| coming.bytes);
        state.bytes -= coming + self.arrived_bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(kept: Duration) -> LargeBodies {
        LargeBodies::new(1000, kept)
    }

    #[test]
    fn the_body_that_doubled_longest_ago_makes_room() {
        let bodies = bodies(Duration::ZERO);
        let (mut slow, mut fast, mut new) = (bodies.begin(), bodies.begin(), bodies.begin());
        slow.grow(400).expect("room");
        fast.grow(100).expect("room");
        fast.grow(400).expect("room");
        new.grow(300).expect("the slow one makes room");
        assert!(slow.grow(500).is_err() && slow.arrive().is_err());
        assert_eq!(bodies.state().bytes, 700);
        fast.arrive().expect("it is here");
        drop((slow, new));
        assert_eq!(bodies.state().bytes, 400);
        drop(fast);
        assert_eq!(bodies.state().bytes, 0);
    }

    #[test]
    fn what_has_arrived_or_doubled_just_now_is_not_taken_away() {
        let patient = bodies(Duration::from_secs(3600));
        let (mut first, mut second) = (patient.begin(), patient.begin());
        first.grow(800).expect("room");
        assert!(second.grow(300).is_err());
        drop(first);
        second.grow(300).expect("room");
        let hasty = bodies(Duration::ZERO);
        let (mut here, mut second) = (hasty.begin(), hasty.begin());
        here.grow(800).expect("room");
        here.arrive().expect("it is here");
        assert!(second.grow(300).is_err());
        drop(here);
        second.grow(1000).expect("room");
        assert!(hasty.begin().grow(1001).is_err(), "more than there is");
    }
}
