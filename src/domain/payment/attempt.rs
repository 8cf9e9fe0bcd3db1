//! Attempts to pay that did not bring money, or have not yet, and what ended them.

use serde::{Deserialize, Serialize};

/// How far an attempt came short of being paid. Of one charge the furthest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptState {
    /// A delayed payment is under way.
    Processing,
    /// The money is reserved, not captured.
    Authorized,
    /// It failed.
    Failed,
}

/// One attempt. Of one charge the furthest counts ([`take_further`]); without charge ids the newest
/// does, and of one second the one that failed ([`take_newer`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// How far it came.
    pub state: AttemptState,
    /// When the event happened that says so.
    pub at: i64,
}

impl Attempt {
    /// Whether this one is newer; of one second a failure is.
    #[must_use]
    pub fn is_newer_than(self, other: Self) -> bool {
        (self.at, self.state) > (other.at, other.state)
    }
}

/// Why an attempt failed. One with a code is told before one without, then the latest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Failure {
    /// Whether `code` says anything.
    pub has_code: bool,
    /// When.
    pub at: i64,
    /// Stripe's failure code.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<String>,
    /// Stripe's failure message.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub message: Option<String>,
}

/// Keeps the further one, of one state the earlier: a failed charge that is updated later failed then
/// as before.
pub fn take_further(known: &mut Option<Attempt>, other: Option<Attempt>) {
    let rank = |attempt: Attempt| (attempt.state, std::cmp::Reverse(attempt.at));
    if other.map(rank) > known.map(rank) {
        *known = other;
    }
}

/// Keeps the newer one.
pub fn take_newer(known: &mut Option<Attempt>, other: Option<Attempt>) {
    if let Some(other) = other
        && known.is_none_or(|known| other.is_newer_than(known))
    {
        *known = Some(other);
    }
}

/// Why no further attempt will come. A cancellation is told before an expiry, then the latest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct End {
    /// How it ended.
    pub how: Ending,
    /// When.
    pub at: i64,
    /// Stripe's `cancellation_reason`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// How a payment ended without money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// A Checkout Session or an authorization expired.
    Expired,
    /// The PaymentIntent or the authorization was canceled.
    Canceled,
    /// The invoice is void.
    Voided,
}

impl Ending {
    /// As in `orders.failure_code`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Canceled => "canceled",
            Self::Voided => "voided",
        }
    }
}
