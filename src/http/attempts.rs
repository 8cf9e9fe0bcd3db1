//! Counts wrong attempts in a window of time, for each address that calls.
//!
//! The right token always passes. Behind a proxy all callers have one address, so a limit on right ones would
//! let anybody keep the operators out. The limit changes the answer to wrong ones: 429 instead of 401, which
//! well-behaved clients obey and which stands out in the metrics. What bounds guessing is the token itself
//! ([`super::token::TOKEN_CHARS_MIN`]): at 10,000 guesses a second, 16 random hexadecimal digits last 29
//! million years. Memory is bounded: when too many addresses guess at once, new ones share one window.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The most wrong attempts of an address in a window.
pub const ATTEMPTS_MAX: u32 = 20;
/// The window, from the first wrong attempt.
pub const ATTEMPTS_SECONDS: u64 = 60;
/// The most addresses with a window of their own.
pub const ADDRESSES_MAX: usize = 1024;

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// It was the right one.
    Right,
    /// It was wrong, and is counted.
    Wrong,
    /// It was wrong, as too many before it in this window were.
    TooMany,
}

/// When a window began, and the wrong attempts in it.
type Window = (Instant, u32);

/// The windows.
#[derive(Debug, Default)]
pub struct Attempts {
    windows: Mutex<HashMap<Option<IpAddr>, Window>>,
}

impl Attempts {
    /// Judges an attempt from this address. Without an address, from anywhere.
    pub fn look(&self, peer: Option<IpAddr>, is_right: impl FnOnce() -> bool) -> Attempt {
        self.look_at(peer, Instant::now(), is_right)
    }

    fn look_at(
        &self,
        peer: Option<IpAddr>,
        now: Instant,
        is_right: impl FnOnce() -> bool,
    ) -> Attempt {
        if is_right() {
            return Attempt::Right;
        }
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let is_open = |window: &Window| {
            now.saturating_duration_since(window.0) < Duration::from_secs(ATTEMPTS_SECONDS)
        };
        let mut key = peer.map(network);
        if !windows.contains_key(&key) && windows.len() >= ADDRESSES_MAX {
            windows.retain(|_, window| is_open(window));
            if windows.len() >= ADDRESSES_MAX {
                key = None;
            }
        }
        let window = windows.get(&key).copied().filter(is_open).unwrap_or((now, 0));
        if window.1 >= ATTEMPTS_MAX {
            return Attempt::TooMany;
        }
        windows.insert(key, (window.0, window.1 + 1));
        Attempt::Wrong
    }
}

/// The network that one caller commands: of IPv6 the first 64 bits, for any host has all the others.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    fn guess(attempts: &Attempts, peer: Option<IpAddr>, now: Instant, count: u32) {
        for _ in 0..count {
            assert_eq!(attempts.look_at(peer, now, || false), Attempt::Wrong);
        }
    }

    #[test]
    fn wrong_attempts_are_too_many_for_a_while_and_right_ones_never() {
        let attempts = Attempts::default();
        let (start, peer) = (Instant::now(), ip("192.0.2.1"));
        guess(&attempts, peer, start, ATTEMPTS_MAX);
        assert_eq!(attempts.look_at(peer, start, || false), Attempt::TooMany);
        let almost = start + Duration::from_secs(ATTEMPTS_SECONDS) - Duration::from_millis(1);
        assert_eq!(attempts.look_at(peer, almost, || false), Attempt::TooMany);
        assert_eq!(attempts.look_at(peer, almost, || true), Attempt::Right);
        // A right one ends no window: what was wrong stays counted.
        assert_eq!(attempts.look_at(peer, almost, || false), Attempt::TooMany);
        let later = start + Duration::from_secs(ATTEMPTS_SECONDS);
        guess(&attempts, peer, later, ATTEMPTS_MAX);
        assert_eq!(attempts.look_at(peer, later, || false), Attempt::TooMany);
    }

    #[test]
    fn a_guesser_uses_up_no_other_window() {
        for (guesser, other, is_the_same) in [
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
            ("::1", "127.0.0.1", false),
        ] {
            let (attempts, now) = (Attempts::default(), Instant::now());
            guess(&attempts, ip(guesser), now, ATTEMPTS_MAX);
            let looked = attempts.look_at(ip(other), now, || false);
            let expected = if is_the_same { Attempt::TooMany } else { Attempt::Wrong };
            assert_eq!(looked, expected, "{guesser} {other}");
            assert_eq!(attempts.look_at(None, now, || false), Attempt::Wrong);
        }
    }

    #[test]
    fn a_crowd_of_guessers_takes_no_more_memory_and_shares_one_window() {
        let (attempts, start) = (Attempts::default(), Instant::now());
        let peers = |from: u32, count: u32| {
            (from..from + count).map(|one| Some(IpAddr::from(one.to_be_bytes())))
        };
        for peer in peers(1, 1024) {
            guess(&attempts, peer, start, 1);
        }
        for peer in peers(2000, ATTEMPTS_MAX) {
            guess(&attempts, peer, start, 1);
        }
        let count = || attempts.windows.lock().expect("no panic").len();
        assert_eq!(count(), ADDRESSES_MAX + 1, "the one that is shared");
        let new = peers(3000, 1).next().expect("one");
        assert_eq!(attempts.look_at(new, start, || false), Attempt::TooMany);
        let known = peers(1, 1).next().expect("one");
        assert_eq!(attempts.look_at(known, start, || false), Attempt::Wrong);
        // When they have given up, there is room again.
        let later = start + Duration::from_secs(ATTEMPTS_SECONDS);
        guess(&attempts, new, later, 1);
        assert_eq!(count(), 1);
    }
}
