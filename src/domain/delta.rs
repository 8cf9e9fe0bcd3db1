//! What one event adds to what is known.

use super::outcome::IgnoredReason;
use super::payment::Facts;
use super::payment::claim::Claim;
use super::payment::dispute::DisputeStatus;

/// What an event is to paidup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// It says something of a payment, if only which ids belong together.
    Relevant(Box<Delta>),
    /// It says nothing that an order could depend on, for this reason.
    Ignored(IgnoredReason),
}

/// What an event adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// Joined to the payment that goes by these ids. Its ids are empty for a subscription's event.
    pub facts: Facts,
    /// Which order the subscription belongs to, if this event says so.
    pub subscription_claim: Option<Claim>,
    /// For `explain`: what a person would read from it.
    pub meaning: Meaning,
}

impl Delta {
    /// Every claim of the event: the payment's own and the subscription's.
    pub fn claims(&self) -> impl Iterator<Item = &Claim> {
        [&self.facts.claim, &self.subscription_claim].into_iter().flatten()
    }
}

/// What a person would read from an event. The facts carry the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Money came, or none was needed.
    Paid,
    /// A part of an invoice was paid.
    PartPaid,
    /// A delayed payment is under way.
    Processing,
    /// Money is reserved.
    Authorized,
    /// An attempt failed.
    AttemptFailed,
    /// Canceled, never captured, or void.
    Canceled,
    /// Expired.
    Expired,
    /// Money went back, the charge says.
    Refunded,
    /// A refund is under way or done.
    RefundLive,
    /// A refund failed or was canceled.
    RefundFailed,
    /// A refund has a status that this version does not know.
    RefundUnknown,
    /// How a dispute stands.
    Disputed(DisputeStatus),
    /// Only which ids, and which order, belong together.
    Linked,
}
