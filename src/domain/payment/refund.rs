//! What went back: what charges say in total, and the refunds known by id.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Facts, take_max, take_min};

/// An amount refunded; `Whole` if the event did not say how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refunded {
    /// Minor units.
    Part(i64),
    /// All of it.
    Whole,
}

impl Refunded {
    /// Nothing.
    pub const NOTHING: Self = Self::Part(0);

    fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Part(one), Self::Part(other)) => Self::Part(one.saturating_add(other)),
            _ => Self::Whole,
        }
    }

    /// What is left when `failed` has come back, of a payment that received so much.
    fn less(self, failed: Self, received: Option<i64>) -> Self {
        let left = |part: i64, failed: i64| Self::Part(part.saturating_sub(failed).max(0));
        match (self, failed) {
            (_, Self::Whole) => Self::NOTHING,
            (Self::Part(part), Self::Part(failed)) => left(part, failed),
            (Self::Whole, Self::Part(0)) => Self::Whole,
            (Self::Whole, Self::Part(failed)) => {
                received.map_or(Self::Whole, |received| left(received, failed))
            }
        }
    }
}

/// What a charge said was refunded in total; the latest counts, of one second the largest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RefundTotal {
    /// When the event happened.
    pub at: i64,
    /// In total. It may include what was only released when a part was captured ([`Release`]).
    pub amount: Refunded,
}

/// What was reserved on a charge and released when less was captured. Up to API version 2025-03-31
/// Stripe made a refund of it and added it to the charge's `amount_refunded`; since then it does neither
/// (docs.stripe.com/changelog/basil/2025-03-31/remove-refund-from-partial-capture-and-payment-cancellation-flow).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Minor units.
    pub amount: i64,
    /// The least total of refunds that the charge said.
    pub least_total: i64,
    /// A total was more than can have been refunded.
    pub is_in_total: bool,
    /// An event was written in an API version before 2025-03-31.
    pub is_before_basil: bool,
}

impl Release {
    pub(super) fn join(&mut self, other: Self) {
        self.amount = self.amount.max(other.amount);
        self.least_total = self.least_total.min(other.least_total);
        self.is_in_total |= other.is_in_total;
        self.is_before_basil |= other.is_before_basil;
    }

    /// So much of the charge's total was no refund. What the charge said decides; where that leaves it
    /// open, the API version does.
    fn in_total(&self) -> i64 {
        let is_included =
            self.least_total >= self.amount && (self.is_in_total || self.is_before_basil);
        if is_included { self.amount } else { 0 }
    }
}

/// How far a refund is; it only moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundState {
    /// Stripe uses a status that this version does not know. It counts for nothing.
    Unknown,
    /// On its way (`pending`, `requires_action`).
    Pending,
    /// With the customer.
    Succeeded,
    /// Failed or canceled: the money is back with the shop.
    Failed,
}

impl RefundState {
    /// Reads Stripe's `status` (docs.stripe.com/api/refunds/object). Refunds had none before 2014; they
    /// were done at once.
    #[must_use]
    pub fn of(status: Option<&str>) -> Self {
        match status {
            Some("pending" | "requires_action") => Self::Pending,
            Some("succeeded") | None => Self::Succeeded,
            Some("failed" | "canceled") => Self::Failed,
            Some(_) => Self::Unknown,
        }
    }

    fn is_live(self) -> bool {
        matches!(self, Self::Pending | Self::Succeeded)
    }
}

/// One refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// How much.
    pub amount: Refunded,
    /// How far.
    pub state: RefundState,
    /// The charge that is refunded.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub charge: Option<String>,
    /// The PaymentIntent that is refunded.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub intent: Option<String>,
    /// The earliest event that says it failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failed_at: Option<i64>,
    /// It is no refund: money that was reserved, and released when it was not captured in time.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub is_release: bool,
}

impl Refund {
    pub(super) fn join(&mut self, other: Self) {
        self.amount = self.amount.max(other.amount);
        self.state = self.state.max(other.state);
        take_max(&mut self.charge, other.charge);
        take_max(&mut self.intent, other.intent);
        take_min(&mut self.failed_at, other.failed_at);
        self.is_release |= other.is_release;
    }
}

/// One charge's refunds, or those of which only the PaymentIntent is known.
#[derive(Default)]
struct Group<'a> {
    totals: Vec<&'a RefundTotal>,
    refunds: Vec<&'a Refund>,
    released: i64,
}

impl Group<'_> {
    /// What the charges last said, less what failed since, but never less than the refunds known by
    /// id that are under way or done (docs.stripe.com/refunds, "Failed refunds").
    fn amount(&self, received: Option<i64>) -> Refunded {
        let said_at = self.totals.iter().map(|total| total.at).max();
        let (mut failed, mut live) = (Refunded::NOTHING, Refunded::NOTHING);
        for refund in &self.refunds {
            if refund.state.is_live() {
                live = live.plus(refund.amount);
            } else if refund.failed_at >= said_at && refund.state == RefundState::Failed {
                failed = failed.plus(refund.amount);
            }
        }
        let said = self.totals.iter().fold(Refunded::NOTHING, |sum, total| sum.plus(total.amount));
        let said = match said {
            Refunded::Part(part) => Refunded::Part(part.saturating_sub(self.released).max(0)),
            Refunded::Whole => said,
        };
        // The release was a refund too, and had an event.
        let is_release = |refund: &&&Refund| {
            refund.state.is_live() && refund.amount == Refunded::Part(self.released)
        };
        if let Refunded::Part(part) = live
            && self.released > 0
            && live > said
            && self.refunds.iter().any(|refund| is_release(&refund))
        {
            live = Refunded::Part(part - self.released);
        }
        said.less(failed, received).max(live)
    }
}

impl Facts {
    /// What went back of what was received, in the currency that the customer paid in.
    #[must_use]
    pub fn refunded(&self, received: Option<i64>) -> Refunded {
        let mut groups: BTreeMap<Option<String>, Group<'_>> = BTreeMap::new();
        // A refund may name its charge, its PaymentIntent or both, so they meet by the PaymentIntent.
        let place = |charge: Option<&'_ str>, intent: Option<&'_ str>| {
            let known = charge.and_then(|charge| self.intent_of(charge));
            known.or(intent).or(charge).map(str::to_owned)
        };
        for (id, charge) in &self.charges {
            let group = groups.entry(place(Some(id), None)).or_default();
            group.totals.extend(&charge.refunded);
            group.released += charge.release.as_ref().map_or(0, Release::in_total);
        }
        for refund in self.refunds.values().filter(|refund| !refund.is_release) {
            let of = place(refund.charge.as_deref(), refund.intent.as_deref());
            groups.entry(of).or_default().refunds.push(refund);
        }
        groups.values().fold(Refunded::NOTHING, |sum, group| sum.plus(group.amount(received)))
    }

    /// How many of its refunds failed or were canceled.
    #[must_use]
    pub fn refunds_failed(&self) -> usize {
        let failed = |refund: &&Refund| refund.state == RefundState::Failed && !refund.is_release;
        self.refunds.values().filter(failed).count()
    }
}
