//! What is known of one dispute.

use serde::{Deserialize, Serialize};

use super::take_max;

/// How a dispute stands, in the order in which two statements of one second count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisputeStatus {
    /// Stripe uses a status that this version does not know.
    Unknown,
    /// The bank asks; no money moved.
    Inquiry,
    /// The money is withdrawn until it is decided.
    Open,
    /// Closed before it became a dispute; no money moved.
    Prevented,
    /// Decided for the customer.
    Lost,
    /// Decided, or closed, for the shop.
    Won,
}

impl DisputeStatus {
    /// Every status.
    pub const ALL: [Self; 6] =
        [Self::Inquiry, Self::Open, Self::Won, Self::Lost, Self::Prevented, Self::Unknown];

    /// Reads Stripe's `status` (docs.stripe.com/api/disputes/object).
    #[must_use]
    pub fn of(status: Option<&str>) -> Self {
        match status {
            Some("warning_needs_response" | "warning_under_review") => Self::Inquiry,
            Some("needs_response" | "under_review") => Self::Open,
            Some(appeal) if appeal.starts_with("appeal_") => Self::Open,
            Some("warning_closed" | "won" | "charge_refunded") => Self::Won,
            Some("lost") => Self::Lost,
            Some("prevented") => Self::Prevented,
            _ => Self::Unknown,
        }
    }

    /// As in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Inquiry => "inquiry",
            Self::Open => "open",
            Self::Prevented => "prevented",
            Self::Lost => "lost",
            Self::Won => "won",
        }
    }

    /// Of several disputes the most pressing is the order's: an open one needs an answer by a date.
    #[must_use]
    pub fn urgency(self) -> u8 {
        match self {
            Self::Prevented => 0,
            Self::Won => 1,
            Self::Lost => 2,
            Self::Inquiry => 3,
            Self::Unknown => 4,
            Self::Open => 5,
        }
    }

    /// Whether the money is withdrawn from the shop.
    #[must_use]
    pub fn withdraws(self) -> bool {
        matches!(self, Self::Open | Self::Lost)
    }

    /// Whether nobody has to do anything any more.
    #[must_use]
    pub fn is_closed(self) -> bool {
        matches!(self, Self::Won | Self::Lost | Self::Prevented)
    }
}

/// One dispute: the latest statement counts, of one second the greatest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Dispute {
    /// When the event happened.
    pub at: i64,
    /// How it stands.
    pub status: DisputeStatus,
    /// Minor units.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub amount: Option<i64>,
    /// Of the amount.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub currency: Option<String>,
    /// Stripe's `reason`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// Until when the shop has to answer, in Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub due_by: Option<i64>,
}

impl Dispute {
    pub(super) fn join(&mut self, other: Self) {
        let mut latest = Some(std::mem::replace(self, other.clone()));
        take_max(&mut latest, Some(other));
        if let Some(latest) = latest {
            *self = latest;
        }
    }
}
