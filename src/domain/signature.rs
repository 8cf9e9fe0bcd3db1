//! Proves that a webhook call is Stripe's: the `Stripe-Signature` header over the raw body.
//!
//! The scheme is Stripe's `v1` (docs.stripe.com/webhooks, "Verify webhook signatures manually"):
//! HMAC-SHA256 over `<t>.<raw body>`, in lowercase hex, keyed with the whole secret string,
//! its `whsec_` included. Where Stripe's own libraries differ from each other, the stricter
//! reading holds: exactly one `t`. Reading the body is left to [`super::event`].

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

/// How far `t` may be from our clock, either way, unless configured: Stripe's libraries use 300 s.
pub const TOLERANCE_SECONDS_DEFAULT: u32 = 300;
/// The longest header that is read at all.
pub const HEADER_BYTES_MAX: usize = 4096;
/// The most `v1` items that are compared, so that a header cannot buy work.
pub const V1_ITEMS_MAX: usize = 16;
const V1_HEX_DIGITS: usize = 64;

/// One webhook signing secret, ready to sign with. Its text is not kept.
#[derive(Clone)]
pub struct SigningSecret {
    keyed: Hmac<Sha256>,
    last4: String,
    looks_like_stripes: bool,
}

impl SigningSecret {
    /// Takes the whole secret as the Dashboard or `stripe listen` shows it (`whsec_…`).
    ///
    /// # Errors
    /// [`EmptySecret`] if it is empty or white space: anyone could sign with that.
    pub fn new(secret: &str) -> Result<Self, EmptySecret> {
        let secret = secret.trim();
        if secret.is_empty() {
            return Err(EmptySecret);
        }
        let keyed = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|_| EmptySecret)?;
        // A short secret is shown as stars: four characters of it would be most of it.
        let tail: Vec<char> = secret.chars().rev().take(4).collect();
        let last4 = if secret.chars().count() < 12 {
            "****".to_owned()
        } else {
            tail.into_iter().rev().collect()
        };
        let looks_like_stripes = secret.starts_with("whsec_") && secret.len() > "whsec_".len();
        Ok(Self { keyed, last4, looks_like_stripes })
    }

    /// The last four characters: enough to tell an old secret from a new one, no more.
    #[must_use]
    pub fn last4(&self) -> &str {
        &self.last4
    }

    /// Whether it begins as Stripe's do. Any other text signs as well.
    #[must_use]
    pub fn looks_like_stripes(&self) -> bool {
        self.looks_like_stripes
    }

    /// The header that Stripe would send for this body at this time (Unix seconds).
    #[must_use]
    pub fn header(&self, timestamp: i64, body: &[u8]) -> String {
        let mac = self.mac(timestamp, body);
        format!("t={timestamp},v1={}", hex::encode(mac))
    }

    fn mac(&self, timestamp: i64, body: &[u8]) -> [u8; 32] {
        let mut mac = self.keyed.clone();
        mac.update(timestamp.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        mac.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningSecret(…{})", self.last4)
    }
}

/// A secret with nothing in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a webhook signing secret is empty; copy it from the endpoint's page in the Stripe Dashboard (whsec_…)"
)]
pub struct EmptySecret;

/// A body that Stripe signed. Only [`verify`] makes one.
#[derive(Debug, Clone)]
pub struct Verified {
    body: Bytes,
    signed_at: i64,
    secret: usize,
}

impl Verified {
    /// The bytes, as they came.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The header's `t`: when Stripe signed, in Unix seconds.
    #[must_use]
    pub fn signed_at(&self) -> i64 {
        self.signed_at
    }

    /// Which of the secrets given to [`verify`] matched, by position.
    #[must_use]
    pub fn secret(&self) -> usize {
        self.secret
    }
}

/// Why a call is not taken as Stripe's. For logs and metrics; the caller learns none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// No header, or an empty one.
    #[error("there is no Stripe-Signature header")]
    Missing,
    /// Longer than [`HEADER_BYTES_MAX`], or with more than [`V1_ITEMS_MAX`] `v1` items.
    #[error("the Stripe-Signature header is too large")]
    TooLarge,
    /// Not exactly one whole number `t`, or no `v1`, or not text.
    #[error("the Stripe-Signature header is malformed")]
    Malformed,
    /// No `v1` fits the body with any of the secrets.
    #[error(
        "no signature matches; is the secret that of this endpoint, and the body unchanged on its way?"
    )]
    NoMatch,
    /// Signed rightly, but too long ago.
    #[error(
        "the signature is too old; either it was replayed, or the clock of this machine is wrong"
    )]
    TooOld,
    /// Signed rightly, but in the future.
    #[error("the signature is from the future; the clock of this machine is wrong")]
    TooNew,
}

impl Rejected {
    /// A word for metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::NoMatch => "no_match",
            Self::TooOld => "too_old",
            Self::TooNew => "too_new",
        }
    }
}

/// Checks a call. `now` is in Unix seconds; `tolerance_seconds` holds both ways, itself included.
///
/// Every `v1` is compared with every secret, in constant time, whether or not one matched already.
///
/// # Errors
/// [`Rejected`], with the reason. The time is judged last, so that `TooOld` and `TooNew` speak of
/// calls that were signed with our secret.
pub fn verify(
    header: &[u8],
    body: Bytes,
    secrets: &[SigningSecret],
    now: i64,
    tolerance_seconds: u32,
) -> Result<Verified, Rejected> {
    let parsed = parse(header)?;
    let mut matched = None;
    for (index, secret) in secrets.iter().enumerate() {
        let expected = secret.mac(parsed.timestamp, &body);
        let fits = parsed
            .candidates
            .iter()
            .fold(Choice::from(0), |fits, candidate| fits | candidate.ct_eq(&expected));
        if bool::from(fits) && matched.is_none() {
            matched = Some(index);
        }
    }
    let secret = matched.ok_or(Rejected::NoMatch)?;
    let age = now.saturating_sub(parsed.timestamp);
    if age > i64::from(tolerance_seconds) {
        return Err(Rejected::TooOld);
    }
    if age < -i64::from(tolerance_seconds) {
        return Err(Rejected::TooNew);
    }
    Ok(Verified { body, signed_at: parsed.timestamp, secret })
}

struct Header {
    timestamp: i64,
    candidates: Vec<[u8; 32]>,
}

/// Reads `t=…,v1=…[,v1=…][,other=…]`; items in any order, white space around them ignored.
fn parse(header: &[u8]) -> Result<Header, Rejected> {
    if header.is_empty() {
        return Err(Rejected::Missing);
    }
    if header.len() > HEADER_BYTES_MAX {
        return Err(Rejected::TooLarge);
    }
    let text = std::str::from_utf8(header).map_err(|_| Rejected::Malformed)?;
    let (mut timestamp, mut candidates, mut v1_items) = (None, Vec::new(), 0);
    for item in text.split(',') {
        match item.trim().split_once('=') {
            Some(("t", value)) => {
                if timestamp.is_some() {
                    return Err(Rejected::Malformed);
                }
                timestamp = Some(value.trim().parse().map_err(|_| Rejected::Malformed)?);
            }
            Some(("v1", value)) => {
                v1_items += 1;
                if v1_items > V1_ITEMS_MAX {
                    return Err(Rejected::TooLarge);
                }
                candidates.extend(lowercase_hex(value));
            }
            _ => {}
        }
    }
    let timestamp = timestamp.ok_or(Rejected::Malformed)?;
    if v1_items == 0 {
        return Err(Rejected::Malformed);
    }
    Ok(Header { timestamp, candidates })
}

/// A `v1` that is not 64 lowercase hex digits matches nothing; another one beside it still may.
fn lowercase_hex(value: &str) -> Option<[u8; 32]> {
    if value.len() != V1_HEX_DIGITS || value.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let mut bytes = [0; 32];
    hex::decode_to_slice(value, &mut bytes).ok()?;
    Some(bytes)
}
