//! The types of events that orders depend on: what to select at Stripe, and what to ask it for.

/// Without these an order may stay in a wrong state.
pub const NEEDED: [&str; 6] = [
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "charge.refunded",
    "checkout.session.completed",
    "invoice.payment_succeeded",
    "invoice.payment_failed",
];

/// These add what the others do not tell: late payments, refunds that fail, disputes, links.
pub const ADVISED: [&str; 13] = [
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "invoice_payment.paid",
    "payment_intent.canceled",
    "checkout.session.expired",
];

/// These say again what others say, in other words; they are read where they come.
pub const ALSO_READ: [&str; 7] = [
    "charge.succeeded",
    "charge.failed",
    "charge.refund.updated",
    "invoice.paid",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
];

/// All of them.
pub fn all() -> impl Iterator<Item = &'static str> {
    NEEDED.into_iter().chain(ADVISED).chain(ALSO_READ)
}
