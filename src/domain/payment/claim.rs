//! Which order a payment belongs to: the word of one event, and how much it counts.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

/// An event's word on which order it belongs to. The greatest claim wins: first by authority, then the
/// latest, then the alphabetically first order id, so that no order of delivery decides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Claim {
    /// How much the place where the order id stood counts.
    pub authority: Authority,
    /// When the event happened, in Unix seconds.
    at: i64,
    order_id: Reverse<String>,
}

impl Claim {
    /// A claim for that order, by an event of that second.
    #[must_use]
    pub fn new(authority: Authority, at: i64, order_id: String) -> Self {
        Self { authority, at, order_id: Reverse(order_id) }
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
    /// A Checkout Session's `client_reference_id`. Anyone who opens a Payment Link can choose it.
    ClientReference,
    /// A refund's, dispute's or invoice payment's own metadata.
    Refund,
    /// The metadata of an invoice's line.
    InvoiceLine,
    /// The subscription's metadata, its own or copied to an invoice.
    Subscription,
    /// The invoice's own metadata.
    Invoice,
    /// A Checkout Session's metadata.
    Session,
    /// A charge's metadata.
    Charge,
    /// The PaymentIntent's metadata.
    PaymentIntent,
}

impl Authority {
    /// Whether an order that only this names gets a row.
    #[must_use]
    pub fn makes_orders(self) -> bool {
        self > Self::Refund
    }

    /// Whether only the shop can have written the order id there.
    #[must_use]
    pub fn is_the_shops(self) -> bool {
        self != Self::ClientReference
    }
}
