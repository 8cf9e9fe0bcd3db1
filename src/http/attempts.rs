//! How often a stranger may guess: so many wrong attempts in a window, for each address that calls.
//!
//! After too many, none of that address is looked at until the window is over, so that nothing can be
//! guessed by trying; for that time the right one is refused too. Others are not kept out by it. Memory is
//! bounded: when too many addresses guess at once, those that are new share one window.

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
    /// It was not looked at: too many were wrong.
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
    /// Looks at an attempt from this address, unless too many were wrong. Without an address, from anywhere.
    pub fn look(&self, peer: Option<IpAddr>, is_right: impl FnOnce() -> bool) -> Attempt {
        self.look_at(peer, Instant::now(), is_right)
    }

    fn look_at(
        &self,
        peer: Option<IpAddr>,
        now: Instant,
        is_right: impl FnOnce() -> bool,
    ) -> Attempt {
        // Held while it is looked at: of many attempts at once, none slips through before it is counted.
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
        if is_right() {
            return Attempt::Right;
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
    fn guessing_is_stopped_for_a_while() {
        let attempts = Attempts::default();
        let (start, peer) = (Instant::now(), ip("192.0.2.1"));
        guess(&attempts, peer, start, ATTEMPTS_MAX);
        let looked = attempts.look_at(peer, start, || unreachable!("it is not looked at"));
        assert_eq!(looked, Attempt::TooMany);
        let almost = start + Duration::from_secs(ATTEMPTS_SECONDS) - Duration::from_millis(1);
        assert_eq!(attempts.look_at(peer, almost, || true), Attempt::TooMany);
        let later = start + Duration::from_secs(ATTEMPTS_SECONDS);
        assert_eq!(attempts.look_at(peer, later, || true), Attempt::Right);
        guess(&attempts, peer, later, ATTEMPTS_MAX);
        assert_eq!(attempts.look_at(peer, later, || true), Attempt::TooMany);
    }

    #[test]
    fn a_guesser_keeps_out_nobody_else() {
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
            let looked = attempts.look_at(ip(other), now, || true);
            let expected = if is_the_same { Attempt::TooMany } else { Attempt::Right };
            assert_eq!(looked, expected, "{guesser} {other}");
            assert_eq!(attempts.look_at(None, now, || true), Attempt::Right);
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
        assert_eq!(attempts.look_at(new, start, || true), Attempt::TooMany);
        let known = peers(1, 1).next().expect("one");
        assert_eq!(attempts.look_at(known, start, || true), Attempt::Right);
        // When they have given up, there is room again.
        let later = start + Duration::from_secs(ATTEMPTS_SECONDS);
        guess(&attempts, new, later, 1);
        assert_eq!(count(), 1);
    }
}
