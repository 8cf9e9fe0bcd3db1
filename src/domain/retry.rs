//! When to try again to tell somebody, and when to give up.
//!
//! The schedule is the one that the Standard Webhooks specification proposes: quick at first, for what
//! was a hiccup, then over three days, for what needs a person. Nothing here looks at a clock or throws
//! dice: both are arguments.

/// The pauses after the first failed attempt, the second, and so on; after the last one comes no more.
pub const PAUSES_SECONDS: [u32; 9] = [
    5,
    5 * 60,
    30 * 60,
    2 * 60 * 60,
    5 * 60 * 60,
    10 * 60 * 60,
    14 * 60 * 60,
    20 * 60 * 60,
    24 * 60 * 60,
];
/// How much longer, at most, a pause may be, so that what failed together does not come back together.
pub const JITTER_PERCENT_MAX: u32 = 20;
/// The longest pause that a receiver may ask for.
pub const ASKED_SECONDS_MAX: u32 = 24 * 60 * 60;

/// What to do after an attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try again then, in milliseconds since 1970.
    At(i64),
    /// It was tried often enough.
    GiveUp,
}

/// What to do after so many attempts, all of which failed. `dice` is any number; `asked_seconds` is how
/// long the receiver asks to be left alone, which only ever makes a pause longer.
#[must_use]
pub fn next(attempts: u32, now: i64, dice: u64, asked_seconds: Option<u32>) -> Next {
    let index = attempts.saturating_sub(1) as usize;
    let Some(pause) = PAUSES_SECONDS.get(index) else { return Next::GiveUp };
    let pause = i64::from(*pause) * 1000;
    // From 0 to 1000 thousandths of the most.
    let share = i64::try_from(dice % 1001).unwrap_or_default();
    let jitter = pause * i64::from(JITTER_PERCENT_MAX) / 100 * share / 1000;
    let asked = i64::from(asked_seconds.unwrap_or_default().min(ASKED_SECONDS_MAX)) * 1000;
    Next::At(now + (pause + jitter).max(asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_452_931_123;

    #[test]
    fn pauses_grow_and_then_it_is_enough() {
        let rows = [
            (1, Some(5)),
            (2, Some(300)),
            (3, Some(1800)),
            (4, Some(7200)),
            (5, Some(18_000)),
            (6, Some(36_000)),
            (7, Some(50_400)),
            (8, Some(72_000)),
            (9, Some(86_400)),
            (10, None),
            (u32::MAX, None),
        ];
        for (attempts, seconds) in rows {
            let expected = seconds.map_or(Next::GiveUp, |seconds| Next::At(NOW + seconds * 1000));
            assert_eq!(next(attempts, NOW, 0, None), expected, "after {attempts}");
        }
    }

    #[test]
    fn jitter_makes_a_pause_at_most_a_fifth_longer_and_never_shorter() {
        for dice in [0, 1, 500, 1000, 1001, 12_345, u64::MAX] {
            let Next::At(at) = next(2, NOW, dice, None) else { panic!("too early") };
            assert!((300_000..=360_000).contains(&(at - NOW)), "{dice}: {}", at - NOW);
        }
        assert_eq!(next(2, NOW, 1000, None), Next::At(NOW + 360_000));
    }

    #[test]
    fn what_the_receiver_asks_for_only_makes_it_longer() {
        for (asked, seconds) in [(0, 5), (3, 5), (60, 60), (u32::MAX, 86_400)] {
            assert_eq!(next(1, NOW, 0, Some(asked)), Next::At(NOW + seconds * 1000), "{asked}");
        }
        assert_eq!(next(10, NOW, 0, Some(60)), Next::GiveUp);
    }
}
