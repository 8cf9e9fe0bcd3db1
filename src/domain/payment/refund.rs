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
    /// In total, without what was only released when a part was captured.
    pub amount: Refunded,
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
    /// It is no refund: money that was reserved, and released when less was captured.
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
        said.less(failed, received).max(live)
    }
}

impl Facts {
    /// What went back of what was received, in the currency that the customer paid in.
    #[must_use]
    pub fn refunded(&self, received: Option<i64>) -> Refunded {
        let mut groups: BTreeMap<Option<&str>, Group<'_>> = BTreeMap::new();
        // A refund may name its charge, its PaymentIntent or both, so they meet by the PaymentIntent.
        let place = |charge: Option<&'_ str>, intent: Option<&'_ str>| {
            let known = charge.and_then(|charge| self.intent_of(charge));
            known.or(intent).or(charge).map(str::to_owned)
        };
        let mut placed: Vec<(Option<String>, Option<&RefundTotal>, Option<&Refund>)> = Vec::new();
        for (id, charge) in &self.charges {
            if let Some(total) = &charge.refunded {
                placed.push((place(Some(id), None), Some(total), None));
            }
        }
        for refund in self.refunds.values().filter(|refund| !refund.is_release) {
            let of = place(refund.charge.as_deref(), refund.intent.as_deref());
            placed.push((of, None, Some(refund)));
        }
        for (of, total, refund) in &placed {
            let group = groups.entry(of.as_deref()).or_default();
            group.totals.extend(total);
            group.refunds.extend(refund);
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
