//! Who may use the operators' API: whoever has the token.
//!
//! Only a hash of the token is kept, and hashes are compared in constant time. After too many wrong
//! tokens in a minute none is looked at until the minute is over, so that one cannot be guessed by
//! trying; for that minute the right one is refused too.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The shortest token that is taken.
pub const TOKEN_CHARS_MIN: usize = 16;
/// The most wrong tokens in a window.
pub const ATTEMPTS_MAX: u32 = 20;
/// The window.
pub const ATTEMPTS_SECONDS: u64 = 60;

/// The token, hashed. Its text is not kept.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken([u8; 32]);

impl AdminToken {
    /// Takes a token; `None` if it is too short, or cannot stand in a header.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let is_usable =
            text.len() >= TOKEN_CHARS_MIN && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_usable.then(|| Self(Sha256::digest(text.as_bytes()).into()))
    }

    fn fits(&self, text: &[u8]) -> bool {
        let hash: [u8; 32] = Sha256::digest(text).into();
        bool::from(self.0.ct_eq(&hash))
    }
}

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

/// Why a caller is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    /// No token, or a wrong one.
    Unknown,
    /// Too many wrong ones came in the last minute.
    TooMany,
}

/// Lets in whoever has the token. Clones count together.
#[derive(Debug, Clone)]
pub struct Doorkeeper {
    token: Option<AdminToken>,
    /// When the window began, and the wrong tokens in it.
    window: Arc<Mutex<(Instant, u32)>>,
}

impl Doorkeeper {
    /// With no token, nobody is let in.
    #[must_use]
    pub fn new(token: Option<AdminToken>) -> Self {
        Self { token, window: Arc::new(Mutex::new((Instant::now(), 0))) }
    }

    /// Whether a request with this head may pass.
    ///
    /// # Errors
    /// [`Stranger`].
    pub fn admit(&self, head: &HeaderMap) -> Result<(), Stranger> {
        self.admit_at(head, Instant::now())
    }

    fn admit_at(&self, head: &HeaderMap, now: Instant) -> Result<(), Stranger> {
        let given = head.get(AUTHORIZATION).map(http::HeaderValue::as_bytes);
        let bearer = given.filter(|value| {
            value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "))
        });
        let Some(token) = bearer.map(|value| &value[7..]) else { return Err(Stranger::Unknown) };
        self.try_at(token, now)
    }

    /// Whether this is the token, for whoever gives it in another way than a head.
    ///
    /// # Errors
    /// [`Stranger`].
    pub fn try_token(&self, token: &[u8]) -> Result<(), Stranger> {
        self.try_at(token, Instant::now())
    }

    /// The keyed hash by which something given for the token may be known again. It is another one
    /// with another token.
    #[must_use]
    pub fn seal(&self, text: &[u8]) -> Option<[u8; 32]> {
        let token = self.token.as_ref()?;
        let mac = Hmac::<Sha256>::new_from_slice(&token.0).ok()?;
        Some(mac.chain_update(text).finalize().into_bytes().into())
    }

    fn try_at(&self, token: &[u8], now: Instant) -> Result<(), Stranger> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(window.0) >= Duration::from_secs(ATTEMPTS_SECONDS) {
            *window = (now, 0);
        }
        if window.1 >= ATTEMPTS_MAX {
            return Err(Stranger::TooMany);
        }
        if self.token.as_ref().is_some_and(|known| known.fits(token)) {
            return Ok(());
        }
        window.1 += 1;
        Err(Stranger::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn head(value: &str) -> HeaderMap {
        let mut head = HeaderMap::new();
        head.insert(AUTHORIZATION, value.parse().expect("a header"));
        head
    }

    #[test]
    fn only_the_token_opens() {
        let door = Doorkeeper::new(AdminToken::new(TOKEN));
        for (value, opens) in [
            ("Bearer 0123456789abcdef", true),
            ("bearer 0123456789abcdef", true),
            ("Bearer 0123456789abcdeF", false),
            ("Bearer 0123456789abcdef0", false),
            ("Bearer ", false),
            ("Basic 0123456789abcdef", false),
            ("0123456789abcdef", false),
        ] {
            assert_eq!(door.admit(&head(value)).is_ok(), opens, "{value}");
        }
        assert_eq!(door.admit(&HeaderMap::new()), Err(Stranger::Unknown));
        let closed = Doorkeeper::new(None);
        assert_eq!(closed.admit(&head("Bearer 0123456789abcdef")), Err(Stranger::Unknown));
        assert!(AdminToken::new("0123456789abcde").is_none());
        assert!(AdminToken::new("0123456789abcdé f").is_none());
    }

    #[test]
    fn guessing_is_stopped_for_a_while() {
        let door = Doorkeeper::new(AdminToken::new(TOKEN));
        let (right, wrong) = (head("Bearer 0123456789abcdef"), head("Bearer 0123456789abcdeX"));
        let start = Instant::now();
        for _ in 0..ATTEMPTS_MAX {
            assert_eq!(door.admit_at(&wrong, start), Err(Stranger::Unknown));
            assert_eq!(door.admit_at(&HeaderMap::new(), start), Err(Stranger::Unknown));
        }
        assert_eq!(door.admit_at(&right, start), Err(Stranger::TooMany));
        let later = start + Duration::from_secs(ATTEMPTS_SECONDS + 1);
        assert_eq!(door.admit_at(&right, later), Ok(()));
    }
}
