//! The types of events that orders depend on: what to select at Stripe, and what to ask it for.
//!
//! A type that is not here may still be read ([`super::reading`]), e.g. for the ids that it links; but
//! it says nothing that those here do not say.

/// Without these, an amount received or refunded is wrong, or nobody learns that a payment failed.
pub const NEEDED: [&str; 8] = [
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "checkout.session.completed",
    "charge.refunded",
    "refund.failed",
    "invoice.paid",
    "invoice.payment_failed",
    // Since 2025-03-31 the only link from an invoice to its PaymentIntent, and so to its refunds.
    "invoice_payment.paid",
];

/// Without these, the amounts are right, but an order stays pending that is processing, authorized or
/// canceled, disputes are not known, and pending refunds and parts of invoices are seen late.
pub const ADVISED: [&str; 17] = [
    "payment_intent.processing",
    "payment_intent.amount_capturable_updated",
    "payment_intent.canceled",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "refund.created",
    "refund.updated",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "invoice.finalized",
    "invoice.updated",
    "invoice.voided",
    "invoice.marked_uncollectible",
];

/// These say again what others say. Charges count by themselves where a shop makes them without
/// PaymentIntents; `charge.refund.updated` is what older accounts get instead of `refund.updated`.
pub const ALSO_READ: [&str; 13] = [
    "charge.succeeded",
    "charge.captured",
    "charge.updated",
    "charge.pending",
    "charge.failed",
    "charge.expired",
    "charge.refund.updated",
    "payment_intent.partially_funded",
    "invoice.payment_succeeded",
    "invoice.overpaid",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
];

/// All of them, the most needed first.
pub fn all() -> impl Iterator<Item = &'static str> {
    NEEDED.into_iter().chain(ADVISED).chain(ALSO_READ)
}
