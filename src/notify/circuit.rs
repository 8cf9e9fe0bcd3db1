//! Rests a destination that fails again and again, so that nobody hammers a receiver that is down, and
//! what waits for it costs nothing. Time is an argument.

/// After so many failed attempts in a row a destination rests.
pub const FAILURES_MAX: u32 = 5;
/// How long it rests the first time; each further time it is twice as long.
pub const REST_SECONDS_MIN: u32 = 5;
/// The longest rest.
pub const REST_SECONDS_MAX: u32 = 5 * 60;
/// The longest rest that a receiver may ask for with `Retry-After`.
pub const ASKED_REST_SECONDS_MAX: u32 = 60 * 60;

/// How a destination has been doing. Times are in milliseconds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Circuit {
    failures: u32,
    rests: u32,
    resting_until: i64,
}

impl Circuit {
    /// Whether it is left alone now.
    #[must_use]
    pub fn is_resting(&self, now: i64) -> bool {
        now < self.resting_until
    }

    /// How many attempts may run at once: after a rest, a single one that tries how it is.
    #[must_use]
    pub fn room(&self, concurrency: usize) -> usize {
        if self.failures >= FAILURES_MAX { 1 } else { concurrency }
    }

    /// It took what it was told.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// It did not; tells whether it rests from now on. Attempts that were under way when the rest began
    /// do not make it longer.
    pub fn failed(&mut self, now: i64, asked_seconds: Option<u32>) -> bool {
        self.failures = self.failures.saturating_add(1);
        let was_resting = self.is_resting(now);
        if let Some(asked) = asked_seconds {
            let until = now + i64::from(asked.min(ASKED_REST_SECONDS_MAX)) * 1000;
            self.resting_until = self.resting_until.max(until);
        }
        if self.failures >= FAILURES_MAX && !was_resting {
            let rest = REST_SECONDS_MIN.saturating_mul(1 << self.rests.min(16));
            let until = now + i64::from(rest.min(REST_SECONDS_MAX)) * 1000;
            self.rests += 1;
            self.resting_until = self.resting_until.max(until);
        }
        !was_resting && self.is_resting(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rests_after_failures_in_a_row_and_longer_each_time() {
        let mut circuit = Circuit::default();
        let mut now = 0;
        for _ in 1..FAILURES_MAX {
            assert!(!circuit.failed(now, None));
            assert_eq!(circuit.room(8), 8);
        }
        for seconds in [5, 10, 20, 40, 80, 160, 300, 300] {
            assert!(circuit.failed(now, None), "after {seconds}");
            assert!(circuit.is_resting(now + seconds * 1000 - 1), "{seconds}");
            assert!(!circuit.is_resting(now + seconds * 1000), "{seconds}");
            // Those that were under way.
            assert!(!circuit.failed(now, None));
            assert_eq!(circuit.room(8), 1);
            now += seconds * 1000;
        }
        circuit.succeeded();
        assert_eq!((circuit, circuit.room(8)), (Circuit::default(), 8));
    }

    #[test]
    fn a_success_in_between_keeps_it_open() {
        let mut circuit = Circuit::default();
        for _ in 0..20 {
            assert!(!circuit.failed(0, None));
            circuit.succeeded();
        }
    }

    #[test]
    fn it_rests_as_long_as_the_receiver_asks_within_reason() {
        let mut circuit = Circuit::default();
        assert!(circuit.failed(0, Some(60)));
        assert!(circuit.is_resting(59_999) && !circuit.is_resting(60_000));
        assert!(circuit.failed(60_000, Some(u32::MAX)));
        assert!(!circuit.is_resting(60_000 + i64::from(ASKED_REST_SECONDS_MAX) * 1000));
    }
}
