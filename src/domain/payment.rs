//! What is known of one payment: the facts of all its events, joined.
//!
//! [`Facts`] is a join-semilattice: [`Facts::join`] is commutative, associative and idempotent, each
//! field by itself (the largest, the smallest, or the union of maps of such). So any order of
//! delivery, with any duplicates, ends in the same facts. Every rule that needs to weigh facts
//! against each other is a pure reading of them, here or in [`super::order`], never a step of the join.
//!
//! Amounts are in the currency's minor unit, times in Unix seconds by Stripe's clock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What kind of object an id names; the first kind known is the payment's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdKind {
    /// `pi_…`
    PaymentIntent,
    /// `in_…`
    Invoice,
    /// `cs_…`
    Session,
    /// `ch_…`
    Charge,
    /// A refund or dispute that names none of the above.
    Other,
}

/// An id by which a payment is known. Ordered so that the smallest is the payment's key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PaymentId {
    /// What it names.
    pub kind: IdKind,
    /// The id as Stripe wrote it.
    pub id: String,
}

/// An event's word on which order it belongs to. The greatest claim wins: first by authority, then
/// the alphabetically first order id, so that no arrival order decides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Claim {
    /// How much the place where the order id stood counts.
    pub authority: Authority,
    order_id: Reverse<String>,
}

impl Claim {
    /// A claim for that order.
    #[must_use]
    pub fn new(authority: Authority, order_id: String) -> Self {
        Self { authority, order_id: Reverse(order_id) }
    }

    /// The order that it names.
    #[must_use]
    pub fn order_id(&self) -> &str {
        &self.order_id.0
    }
}

/// Where an order id stood, from the least to the most telling place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Authority {
    /// A refund's or dispute's own metadata.
    Refund,
    /// The metadata of an invoice's line.
    InvoiceLine,
    /// The subscription's metadata, its own or copied to an invoice.
    Subscription,
    /// The invoice's own metadata.
    Invoice,
    /// A Checkout Session's `client_reference_id`, which some shops use for the customer.
    ClientReference,
    /// A Checkout Session's metadata.
    Session,
    /// A charge's metadata.
    Charge,
    /// The PaymentIntent's metadata.
    PaymentIntent,
}

/// Money received, as told by one source. The greatest counts: an invoice knows all its payments,
/// a PaymentIntent its charges; an amount that is known beats one that is not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Received {
    /// Who told it.
    pub source: Source,
    /// Minor units.
    pub amount: i64,
    /// Three letters, lowercase.
    pub currency: Option<String>,
}

/// Who told an amount, from the least to the most telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A Checkout Session's total.
    Session,
    /// A charge.
    Charge,
    /// A PaymentIntent.
    PaymentIntent,
    /// An invoice.
    Invoice,
}

/// Why a payment failed. The greatest is told: an end beats a mere attempt, one with a code beats one
/// without, then the latest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Failure {
    /// Canceled or expired: no further attempt will come.
    pub is_final: bool,
    /// Whether `code` says anything.
    pub has_code: bool,
    /// When.
    pub at: i64,
    /// Stripe's failure code, `canceled` or `expired`.
    pub code: Option<String>,
    /// Stripe's message.
    pub message: Option<String>,
}

/// An amount refunded; `Whole` if the event did not say how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refunded {
    /// Minor units.
    Part(i64),
    /// All of it.
    Whole,
}

/// How far a refund is; it only moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundState {
    /// On its way (`pending`, `requires_action`).
    Pending,
    /// With the customer.
    Succeeded,
    /// Failed or canceled: the money is back with the shop.
    Failed,
}

/// One refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// How much.
    pub amount: Refunded,
    /// How far.
    pub state: RefundState,
}

/// How a dispute stands. The rank is the order here, but for `Won` and `Lost`: a network may reverse
/// its decision, and only time tells which is the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisputeState {
    /// A question from the bank (`warning_needs_response`, `warning_under_review`).
    Inquiry,
    /// That question closed without a dispute (`warning_closed`); shown as won.
    InquiryClosed,
    /// Money withdrawn, answer needed or under review.
    Open,
    /// Decided against the shop.
    Lost,
    /// Decided for the shop.
    Won,
}

/// One dispute: the greatest (rank, time, state) counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Dispute {
    rank: u8,
    at: i64,
    /// How it stands.
    pub state: DisputeState,
}

impl Dispute {
    /// A dispute that stands so, by an event of that time.
    #[must_use]
    pub fn new(state: DisputeState, at: i64) -> Self {
        let rank = match state {
            DisputeState::Inquiry => 0,
            DisputeState::InquiryClosed => 1,
            DisputeState::Open => 2,
            DisputeState::Lost | DisputeState::Won => 3,
        };
        Self { rank, at, state }
    }
}

/// An address from an event; the greatest counts, the most telling source first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Email {
    /// Sources in rising order: invoice 0, charge 1, PaymentIntent 2, session 3.
    pub source: u8,
    /// The address.
    pub address: String,
}

/// The facts of one payment. `Default` is what is known before any event: nothing.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// All the ids it goes by. The smallest is its key.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub ids: BTreeSet<PaymentId>,
    /// Its order, by its own events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// The subscription that it pays, which may know the order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription: Option<String>,
    /// Whether it was made in live mode.
    pub livemode: bool,
    /// The earliest event's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_at: Option<i64>,
    /// An invoice's own creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invoice_created: Option<i64>,
    /// The earliest event that says it is paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paid_at: Option<i64>,
    /// What was received; `None` on a paid payment: nobody said, so all that was due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received: Option<Received>,
    /// The earliest event that says it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<i64>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The earliest event that says something was refunded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refunded_at: Option<i64>,
    /// Per charge: the most that it said was refunded so far.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub refunded: BTreeMap<String, Refunded>,
    /// The refunds known by id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub refunds: BTreeMap<String, Refund>,
    /// The disputes by id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub disputes: BTreeMap<String, Dispute>,
    /// The customer's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
    /// The currency that the object was made in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
}

impl Facts {
    /// Joins what another event, or another payment that turns out to be this one, says.
    pub fn join(&mut self, other: Self) {
        self.ids.extend(other.ids);
        take_max(&mut self.claim, other.claim);
        take_max(&mut self.subscription, other.subscription);
        self.livemode |= other.livemode;
        take_min(&mut self.first_at, other.first_at);
        take_max(&mut self.invoice_created, other.invoice_created);
        take_min(&mut self.paid_at, other.paid_at);
        take_max(&mut self.received, other.received);
        take_min(&mut self.failed_at, other.failed_at);
        take_max(&mut self.failure, other.failure);
        take_min(&mut self.refunded_at, other.refunded_at);
        for (charge, refunded) in other.refunded {
            let most = self.refunded.entry(charge).or_insert(refunded);
            *most = (*most).max(refunded);
        }
        for (id, refund) in other.refunds {
            let known = self.refunds.entry(id).or_insert_with(|| refund.clone());
            known.amount = known.amount.max(refund.amount);
            known.state = known.state.max(refund.state);
        }
        for (id, dispute) in other.disputes {
            let known = self.disputes.entry(id).or_insert_with(|| dispute.clone());
            if dispute > *known {
                *known = dispute;
            }
        }
        take_max(&mut self.email, other.email);
        take_max(&mut self.currency, other.currency);
    }

    /// The id that names this payment in the database; `None` before any event.
    #[must_use]
    pub fn key(&self) -> Option<&PaymentId> {
        self.ids.first()
    }

    /// Its invoice's id, if it pays one. Two invoices never are one payment; were they, the last by name.
    #[must_use]
    pub fn invoice(&self) -> Option<&str> {
        self.ids.iter().rfind(|id| id.kind == IdKind::Invoice).map(|id| id.id.as_str())
    }

    /// Whether money came. What was paid stays paid.
    #[must_use]
    pub fn is_paid(&self) -> bool {
        self.paid_at.is_some()
    }

    /// What was received, in minor units; `None` if nobody said how much.
    #[must_use]
    pub fn amount_received(&self) -> Option<i64> {
        self.received.as_ref().map(|received| received.amount)
    }

    /// The currency of the money, or else of the object.
    #[must_use]
    pub fn money_currency(&self) -> Option<&str> {
        let received = self.received.as_ref().and_then(|received| received.currency.as_deref());
        received.or(self.currency.as_deref())
    }

    /// What went back: the larger of what the charges said less the refunds that failed since, and
    /// the refunds known to be under way or done. A charge's `amount_refunded` falls again when a
    /// refund fails (docs.stripe.com/refunds, "Failed refunds"), but events may come in any order,
    /// so the largest is kept and the failed ones are taken off.
    #[must_use]
    pub fn amount_refunded(&self) -> Refunded {
        let (mut failed, mut live) = (Refunded::Part(0), Refunded::Part(0));
        for refund in self.refunds.values() {
            let sum = if refund.state == RefundState::Failed { &mut failed } else { &mut live };
            *sum = sum.plus(refund.amount);
        }
        let told = self.refunded.values().fold(Refunded::Part(0), |sum, one| sum.plus(*one));
        let standing = match (told, failed) {
            (_, Refunded::Whole) => Refunded::Part(0),
            (Refunded::Whole, Refunded::Part(0)) => Refunded::Whole,
            (Refunded::Whole, Refunded::Part(failed)) => match self.amount_received() {
                Some(received) => Refunded::Part(received.saturating_sub(failed).max(0)),
                None => Refunded::Whole,
            },
            (Refunded::Part(told), Refunded::Part(failed)) => {
                Refunded::Part(told.saturating_sub(failed).max(0))
            }
        };
        standing.max(live)
    }
}

impl Refunded {
    fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Part(one), Self::Part(other)) => Self::Part(one.saturating_add(other)),
            _ => Self::Whole,
        }
    }
}

fn take_max<T: Ord>(kept: &mut Option<T>, other: Option<T>) {
    if other > *kept {
        *kept = other;
    }
}

fn take_min<T: Ord>(kept: &mut Option<T>, other: Option<T>) {
    if other.is_some() && (kept.is_none() || other < *kept) {
        *kept = other;
    }
}
