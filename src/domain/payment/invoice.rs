//! What is known of one invoice.

use serde::{Deserialize, Serialize};

use super::{take_max, take_min};

/// What Stripe took off a price and added to it, in minor units.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Added {
    /// Discounts, and what the customer's credit balance paid.
    #[serde(skip_serializing_if = "is_zero")]
    pub off: i64,
    /// Tax, shipping and tips.
    #[serde(skip_serializing_if = "is_zero")]
    pub on: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(amount: &i64) -> bool {
    *amount == 0
}

impl Added {
    /// Whether the price stayed as it was.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// How an invoice stands, in the order in which statements count: what is paid stays paid.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvoiceStatus {
    /// Not issued yet.
    Draft,
    /// Issued, not paid.
    #[default]
    Open,
    /// Written off.
    Uncollectible,
    /// Taken back.
    Void,
    /// Paid.
    Paid,
}

/// What one event says of an invoice. The furthest counts, then the latest.
#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct InvoiceStatement {
    /// How it stands.
    pub status: InvoiceStatus,
    /// When the event happened.
    pub at: i64,
    /// What is to be paid, after the credit balance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_due: Option<i64>,
    /// What was paid through Stripe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_paid: Option<i64>,
    /// The total, after discounts and tax.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<i64>,
    /// Paid, but not through Stripe.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_out_of_band: bool,
    /// What Stripe took off the price and added to it.
    #[serde(skip_serializing_if = "Added::is_nothing")]
    pub added: Added,
}

/// One invoice.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Invoice {
    /// When it was made: the newest of a subscription counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<i64>,
    /// The earliest event about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_at: Option<i64>,
    /// It renews its subscription (`billing_reason` is `subscription_cycle`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_renewal: bool,
    /// What its events say. `None`: it is only known by its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub says: Option<InvoiceStatement>,
}

impl Invoice {
    pub(super) fn join(&mut self, other: Self) {
        take_max(&mut self.created, other.created);
        take_min(&mut self.first_at, other.first_at);
        self.is_renewal |= other.is_renewal;
        take_max(&mut self.says, other.says);
    }

    /// How it stands; open, as long as nothing else is known.
    #[must_use]
    pub fn status(&self) -> InvoiceStatus {
        self.says.as_ref().map_or_else(InvoiceStatus::default, |says| says.status)
    }

    /// When it was made, for its place among the invoices of its subscription.
    #[must_use]
    pub fn age(&self) -> Option<i64> {
        self.created.or(self.first_at)
    }

    /// What it received, if it is paid: what it says was paid through Stripe, or all that was due.
    #[must_use]
    pub fn amount_received(&self) -> Option<i64> {
        let says = self.says.as_ref()?;
        // Before 2015 an invoice had no `amount_paid`.
        let due = says.amount_due.or(says.total);
        if says.is_out_of_band { due } else { says.amount_paid.or(due) }
    }

    /// What the shop asks for by it; of a paid one, what settled it.
    #[must_use]
    pub fn amount_asked(&self) -> Option<i64> {
        let says = self.says.as_ref()?;
        let settled =
            (says.status == InvoiceStatus::Paid).then(|| self.amount_received()).flatten();
        [says.total, says.amount_due, settled].into_iter().flatten().min()
    }
}
