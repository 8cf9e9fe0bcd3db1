//! Who may use the operators' API and console: whoever has the token.
//!
//! Only a hash of the token is kept, and hashes are compared in constant time. How often an address may
//! guess is left to [`super::attempts`].

use std::net::IpAddr;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::attempts::{Attempt, Attempts};

/// The shortest token that is taken.
pub const TOKEN_CHARS_MIN: usize = 16;
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
    /// Too many wrong ones came from there in the last minute.
    TooMany,
}

/// Lets in whoever has the token. Clones count together.
#[derive(Debug, Clone)]
pub struct Doorkeeper {
    token: Option<AdminToken>,
    attempts: Arc<Attempts>,
}

impl Doorkeeper {
    /// With no token, nobody is let in.
    #[must_use]
    pub fn new(token: Option<AdminToken>) -> Self {
        Self { token, attempts: Arc::default() }
    }

    /// Whether a request with this head, from this address, may pass.
    ///
    /// # Errors
    /// [`Stranger`].
    pub fn admit(&self, head: &HeaderMap, peer: Option<IpAddr>) -> Result<(), Stranger> {
        let given = head.get(AUTHORIZATION).map(http::HeaderValue::as_bytes);
        let bearer = given.filter(|value| {
            value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "))
        });
        // Without a token nothing was guessed.
        let Some(token) = bearer.map(|value| &value[7..]) else { return Err(Stranger::Unknown) };
        self.try_token(token, peer)
    }

    /// Whether this is the token, for whoever gives it in another way than a head.
    ///
    /// # Errors
    /// [`Stranger`].
    pub fn try_token(&self, token: &[u8], peer: Option<IpAddr>) -> Result<(), Stranger> {
        let fits = || self.token.as_ref().is_some_and(|known| known.fits(token));
        match self.attempts.look(peer, fits) {
            Attempt::Right => Ok(()),
            Attempt::Wrong => Err(Stranger::Unknown),
            Attempt::TooMany => Err(Stranger::TooMany),
        }
    }

    /// The keyed hash by which something given for the token may be known again. It is another one
    /// with another token.
    #[must_use]
    pub fn seal(&self, text: &[u8]) -> Option<[u8; 32]> {
        let token = self.token.as_ref()?;
        let mac = Hmac::<Sha256>::new_from_slice(&token.0).ok()?;
        Some(mac.chain_update(text).finalize().into_bytes().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::attempts::ATTEMPTS_MAX;

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
            assert_eq!(door.admit(&head(value), None).is_ok(), opens, "{value}");
        }
        assert_eq!(door.admit(&HeaderMap::new(), None), Err(Stranger::Unknown));
        let closed = Doorkeeper::new(None);
        assert_eq!(closed.admit(&head("Bearer 0123456789abcdef"), None), Err(Stranger::Unknown));
        assert!(AdminToken::new("0123456789abcde").is_none());
        assert!(AdminToken::new("0123456789abcdé f").is_none());
    }

    #[test]
    fn wrong_tokens_keep_nobody_with_the_right_one_out() {
        let door = Doorkeeper::new(AdminToken::new(TOKEN));
        let (right, wrong) = (head("Bearer 0123456789abcdef"), head("Bearer 0123456789abcdeX"));
        let [guesser, other] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().ok());
        for _ in 0..ATTEMPTS_MAX {
            assert_eq!(door.admit(&wrong, guesser), Err(Stranger::Unknown));
            assert_eq!(door.admit(&HeaderMap::new(), guesser), Err(Stranger::Unknown));
        }
        assert_eq!(door.clone().admit(&wrong, guesser), Err(Stranger::TooMany));
        assert_eq!(door.admit(&right, guesser), Ok(()));
        assert_eq!(door.admit(&right, other), Ok(()));
    }
}
