//! What the events look like: objects after the public shapes of Stripe's API reference, as API version
//! [`API_VERSION`] renders them, with values of our own.
//!
//! As at Stripe, the order id stands on the PaymentIntent and its charge, or on the Checkout Session
//! alone, or on the subscription and its invoices; refunds, disputes and invoice payments inherit none.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use Twist::{AttemptFailed, Bare, Lost, Part, Renewal, SecondPayment, Uncaptured, Unpaid, Won};

/// The API version that the events claim, and are shaped after.
pub const API_VERSION: &str = "2025-09-30.clover";

/// The event types there are samples of, with what each says to paidup.
pub const KINDS: [(&str, &str); 30] = [
    ("payment_intent.succeeded", "paid"),
    ("payment_intent.payment_failed", "an attempt failed"),
    ("payment_intent.canceled", "failed: canceled"),
    ("payment_intent.created", "only which ids belong together"),
    ("payment_intent.processing", "only which ids belong together"),
    ("payment_intent.amount_capturable_updated", "only which ids belong together"),
    ("charge.succeeded", "paid"),
    ("charge.captured", "paid: what was authorized is captured"),
    ("charge.failed", "an attempt failed"),
    ("charge.expired", "failed: authorized, and never captured"),
    ("charge.pending", "only which ids belong together"),
    ("charge.refunded", "how much is refunded so far"),
    ("refund.created", "one refund, by its id"),
    ("refund.updated", "one refund, by its id"),
    ("refund.failed", "that refund did not happen"),
    ("charge.refund.updated", "one refund, by its id"),
    ("charge.dispute.created", "a dispute beside the status"),
    ("charge.dispute.updated", "how the dispute stands"),
    ("charge.dispute.funds_withdrawn", "how the dispute stands"),
    ("charge.dispute.funds_reinstated", "how the dispute stands"),
    ("charge.dispute.closed", "the dispute is decided (here: won)"),
    ("checkout.session.completed", "paid, if its payment_status is"),
    ("checkout.session.async_payment_succeeded", "paid"),
    ("checkout.session.async_payment_failed", "an attempt failed"),
    ("checkout.session.expired", "failed: expired"),
    ("invoice.paid", "that invoice is paid"),
    ("invoice.payment_succeeded", "that invoice is paid"),
    ("invoice.payment_failed", "that invoice is not paid"),
    ("invoice_payment.paid", "which PaymentIntent paid which invoice"),
    ("customer.subscription.created", "which order a subscription is for"),
];

/// One event of a story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Its type, one of [`KINDS`].
    pub kind: &'static str,
    /// What is unlike the plain sample.
    pub twist: Twist,
}

/// What is unlike the plain sample of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Twist {
    /// Nothing.
    Plain,
    /// The object names no order.
    Bare,
    /// Of a first attempt, with a charge of its own, which was declined.
    AttemptFailed,
    /// Of another PaymentIntent for the same order.
    SecondPayment,
    /// Only a part is refunded.
    Part,
    /// The money is reserved, not captured.
    Uncaptured,
    /// The session is not paid.
    Unpaid,
    /// The dispute is won.
    Won,
    /// The dispute is lost.
    Lost,
    /// The subscription's second invoice.
    Renewal,
}

impl Twist {
    /// The event of that type, with this twist.
    #[must_use]
    pub const fn of(self, kind: &'static str) -> Step {
        Step { kind, twist: self }
    }
}

/// What is bought. All ids of its objects follow from the order's.
#[derive(Debug, Clone, Copy)]
pub struct Sale<'a> {
    /// For `metadata.order_id`.
    pub order: Option<&'a str>,
    /// Minor units.
    pub amount: i64,
    /// Three letters, lowercase.
    pub currency: &'a str,
    /// Minor units; by default all, or half where the step is about a part.
    pub refunded: Option<i64>,
    /// Makes the events' ids, and without an order all ids, new in each run.
    pub nonce: u64,
    /// When its objects were made, in Unix seconds.
    pub since: i64,
}

impl Sale<'_> {
    /// The event of this step, that happened at that time (Unix seconds).
    #[must_use]
    pub fn event(&self, step: Step, at: i64) -> Value {
        let seed = format!("{}/{}/{:?}", self.nonce, step.kind, step.twist);
        json!({
            "id": format!("evt_{}", digits(&seed)),
            "object": "event",
            "api_version": API_VERSION,
            "created": at,
            "data": {"object": self.object(step, at)},
            "livemode": false,
            "pending_webhooks": 1,
            "request": {"id": format!("req_{}", &digits(&format!("request {seed}"))[..14]), "idempotency_key": null},
            "type": step.kind,
        })
    }

    fn object(&self, Step { kind, twist }: Step, at: i64) -> Value {
        if kind.starts_with("payment_intent.") {
            self.payment_intent(kind, twist)
        } else if kind.starts_with("charge.dispute.") {
            self.dispute(kind, twist)
        } else if kind.starts_with("refund.") || kind.starts_with("charge.refund.") {
            self.refund(kind, twist)
        } else if kind.starts_with("charge.") {
            self.charge(kind, twist)
        } else if kind.starts_with("checkout.session.") {
            self.session(kind, twist)
        } else if kind.starts_with("invoice.") {
            self.invoice(kind, twist, at)
        } else if kind.starts_with("invoice_payment.") {
            self.invoice_payment(twist)
        } else {
            self.subscription()
        }
    }

    /// The id of that object of this sale, e.g. `pi_…`.
    fn id(&self, prefix: &str, which: &str) -> String {
        let seed = match self.order {
            Some(order) => format!("order {order}/{prefix}/{which}"),
            None => format!("nonce {}/{prefix}/{which}", self.nonce),
        };
        format!("{prefix}_{}", digits(&seed))
    }

    fn payment_intent_id(&self, twist: Twist) -> String {
        self.id("pi", if twist == SecondPayment { "second" } else { "first" })
    }

    fn charge_id(&self, twist: Twist) -> String {
        self.id(
            "ch",
            match twist {
                SecondPayment => "second",
                AttemptFailed => "declined",
                _ => "first",
            },
        )
    }

    fn customer_id(&self) -> String {
        self.id("cus", "")
    }

    fn metadata(&self, twist: Twist) -> Value {
        match self.order {
            Some(order) if twist != Bare => json!({"order_id": order}),
            _ => json!({}),
        }
    }

    /// How much was refunded, in minor units.
    fn refunded(&self, twist: Twist) -> i64 {
        let by_default = if twist == Part { (self.amount / 2).max(1) } else { self.amount };
        self.refunded.unwrap_or(by_default)
    }

    fn payment_intent(&self, kind: &str, twist: Twist) -> Value {
        let id = self.payment_intent_id(twist);
        let (status, received, capturable, charge) = match kind {
            "payment_intent.succeeded" => {
                ("succeeded", self.amount, 0, Some(self.charge_id(twist)))
            }
            "payment_intent.payment_failed" => {
                ("requires_payment_method", 0, 0, Some(self.charge_id(AttemptFailed)))
            }
            "payment_intent.amount_capturable_updated" => {
                ("requires_capture", 0, self.amount, Some(self.charge_id(twist)))
            }
            "payment_intent.processing" => ("processing", 0, 0, Some(self.charge_id(twist))),
            "payment_intent.canceled" => ("canceled", 0, 0, None),
            _ => ("requires_payment_method", 0, 0, None),
        };
        let is_canceled = status == "canceled";
        let error = (kind == "payment_intent.payment_failed").then(|| {
            json!({
                "type": "card_error", "code": "card_declined", "decline_code": "generic_decline",
                "charge": charge, "doc_url": "https://docs.stripe.com/error-codes#card-declined",
                "message": "Your card was declined.",
                "payment_method": {"id": self.id("pm", "declined"), "object": "payment_method", "type": "card"},
            })
        });
        json!({
            "id": id, "object": "payment_intent", "amount": self.amount,
            "amount_capturable": capturable, "amount_details": {"tip": {}},
            "amount_received": received, "application": null, "application_fee_amount": null,
            "automatic_payment_methods": {"allow_redirects": "always", "enabled": true},
            "canceled_at": is_canceled.then_some(self.since),
            "cancellation_reason": is_canceled.then_some("requested_by_customer"),
            "capture_method": if twist == Uncaptured { "manual" } else { "automatic_async" },
            "client_secret": format!("{id}_secret_{}", digits(&id)),
            "confirmation_method": "automatic", "created": self.since, "currency": self.currency,
            "customer": self.customer_id(), "description": self.description(),
            "excluded_payment_method_types": null, "last_payment_error": error,
            "latest_charge": charge, "livemode": false, "metadata": self.metadata(twist),
            "next_action": null, "on_behalf_of": null,
            "payment_method": charge.is_some().then(|| self.id("pm", "")),
            "payment_method_configuration_details": null,
            "payment_method_options": {"card": {
                "installments": null, "mandate_options": null, "network": null,
                "request_three_d_secure": "automatic",
            }},
            "payment_method_types": ["card"], "processing": null, "receipt_email": EMAIL,
            "review": null, "setup_future_usage": null, "shipping": shipping(), "source": null,
            "statement_descriptor": null, "statement_descriptor_suffix": null, "status": status,
            "transfer_data": null, "transfer_group": null,
        })
    }

    fn charge(&self, kind: &str, twist: Twist) -> Value {
        let id = self.charge_id(if kind == "charge.failed" { AttemptFailed } else { twist });
        let is_failed = kind == "charge.failed";
        let is_pending = kind == "charge.pending";
        let is_captured =
            !is_failed && !is_pending && twist != Uncaptured && kind != "charge.expired";
        let refunded = if kind == "charge.refunded" { self.refunded(twist) } else { 0 };
        let status = match kind {
            "charge.failed" => "failed",
            "charge.pending" => "pending",
            _ => "succeeded",
        };
        let outcome = if is_failed {
            json!({
                "advice_code": "try_again_later", "network_status": "declined_by_network",
                "reason": "generic_decline", "risk_level": "normal", "risk_score": 12,
                "seller_message": "The bank did not return any further details with this decline.",
                "type": "issuer_declined",
            })
        } else {
            json!({
                "network_status": "approved_by_network", "reason": null, "risk_level": "normal",
                "risk_score": 12, "seller_message": "Payment complete.", "type": "authorized",
            })
        };
        json!({
            "id": id, "object": "charge", "amount": self.amount,
            "amount_captured": if is_captured { self.amount } else { 0 },
            "amount_refunded": refunded, "application": null, "application_fee": null,
            "balance_transaction": is_captured.then(|| self.id("txn", &id)),
            "billing_details": {
                "address": address(), "email": EMAIL, "name": NAME, "phone": null, "tax_id": null,
            },
            "calculated_statement_descriptor": "PAIDUP SAMPLE", "captured": is_captured,
            "created": self.since, "currency": self.currency, "customer": self.customer_id(),
            "description": self.description(), "destination": null, "dispute": null,
            "disputed": false, "failure_balance_transaction": null,
            "failure_code": is_failed.then_some("card_declined"),
            "failure_message": is_failed.then_some("Your card was declined."),
            "fraud_details": {}, "livemode": false, "metadata": self.metadata(twist),
            "on_behalf_of": null, "order": null, "outcome": outcome,
            "paid": !is_failed && !is_pending,
            "payment_intent": self.payment_intent_id(twist),
            "payment_method": self.id("pm", if is_failed { "declined" } else { "" }),
            "payment_method_details": {"type": "card", "card": {
                "amount_authorized": self.amount, "brand": "visa", "country": "US",
                "checks": {"address_line1_check": "pass", "address_postal_code_check": "pass", "cvc_check": "pass"},
                "exp_month": 12, "exp_year": 2034, "funding": "credit", "last4": "4242",
                "network": "visa", "three_d_secure": null, "wallet": null,
            }},
            "receipt_email": EMAIL, "receipt_number": null, "receipt_url": null,
            "refunded": refunded == self.amount, "review": null, "shipping": shipping(),
            "source": null, "source_transfer": null, "statement_descriptor": null,
            "statement_descriptor_suffix": null, "status": status, "transfer_data": null,
            "transfer_group": null,
        })
    }

    fn refund(&self, kind: &str, twist: Twist) -> Value {
        let is_failed = kind == "refund.failed";
        json!({
            "id": self.id("re", ""), "object": "refund", "amount": self.refunded(twist),
            "balance_transaction": self.id("txn", "refund"), "charge": self.charge_id(twist),
            "created": self.since, "currency": self.currency,
            "destination_details": {"type": "card", "card": {
                "reference_status": "pending", "reference_type": "acquirer_reference_number",
                "type": "refund",
            }},
            "failure_balance_transaction": is_failed.then(|| self.id("txn", "refund failed")),
            "failure_reason": is_failed.then_some("expired_or_canceled_card"),
            "metadata": {}, "payment_intent": self.payment_intent_id(twist),
            "reason": "requested_by_customer", "receipt_number": null,
            "source_transfer_reversal": null,
            "status": if is_failed { "failed" } else { "succeeded" }, "transfer_reversal": null,
        })
    }

    fn dispute(&self, kind: &str, twist: Twist) -> Value {
        let status = match (kind, twist) {
            (_, Lost) => "lost",
            (_, Won) | ("charge.dispute.closed" | "charge.dispute.funds_reinstated", _) => "won",
            ("charge.dispute.updated", _) => "under_review",
            _ => "needs_response",
        };
        json!({
            "id": self.id("dp", ""), "object": "dispute", "amount": self.amount,
            "balance_transactions": [], "charge": self.charge_id(twist), "created": self.since,
            "currency": self.currency, "enhanced_eligibility_types": [],
            "evidence": {"customer_email_address": EMAIL, "customer_name": NAME},
            "evidence_details": {
                "due_by": self.since.saturating_add(DISPUTE_DUE_SECONDS), "has_evidence": false,
                "past_due": false, "submission_count": 0,
            },
            "is_charge_refundable": false, "livemode": false, "metadata": {},
            "payment_intent": self.payment_intent_id(twist),
            "payment_method_details": {"type": "card", "card": {
                "brand": "visa", "case_type": "chargeback", "network_reason_code": "13.1",
            }},
            "reason": "product_not_received", "status": status,
        })
    }

    fn session(&self, kind: &str, twist: Twist) -> Value {
        let is_open = kind == "checkout.session.expired";
        let is_paid =
            !is_open && twist != Unpaid && kind != "checkout.session.async_payment_failed";
        json!({
            "id": self.id("cs_test", ""), "object": "checkout.session",
            "adaptive_pricing": {"enabled": false}, "after_expiration": null,
            "allow_promotion_codes": null, "amount_subtotal": self.amount,
            "amount_total": self.amount,
            "automatic_tax": {"enabled": false, "liability": null, "provider": null, "status": null},
            "billing_address_collection": null, "cancel_url": "https://shop.example/cart",
            "client_reference_id": null, "consent": null, "created": self.since,
            "currency": self.currency, "currency_conversion": null, "custom_fields": [],
            "customer": (!is_open).then(|| self.customer_id()), "customer_creation": "always",
            "customer_details": (!is_open).then(|| json!({
                "address": address(), "email": EMAIL, "name": NAME, "phone": null,
                "tax_exempt": "none", "tax_ids": [],
            })),
            "customer_email": null, "discounts": [],
            "expires_at": self.since.saturating_add(SESSION_SECONDS), "invoice": null,
            "invoice_creation": null, "livemode": false, "locale": "auto",
            "metadata": self.metadata(twist), "mode": "payment",
            // A PaymentIntent is made when the customer confirms.
            "payment_intent": (!is_open).then(|| self.payment_intent_id(twist)),
            "payment_link": null, "payment_method_collection": "if_required",
            "payment_method_types": ["card", "sepa_debit"],
            "payment_status": if is_paid { "paid" } else { "unpaid" }, "recovered_from": null,
            "setup_intent": null, "shipping_address_collection": null, "shipping_cost": null,
            "shipping_options": [], "status": if is_open { "expired" } else { "complete" },
            "submit_type": null, "subscription": null,
            "success_url": "https://shop.example/thank-you",
            "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
            "ui_mode": "hosted", "url": null,
        })
    }

    fn invoice(&self, kind: &str, twist: Twist, at: i64) -> Value {
        let is_renewal = twist == Renewal;
        let is_paid = kind != "invoice.payment_failed";
        let id = self.invoice_id(twist);
        let created = if is_renewal { at } else { self.since };
        let paid = if is_paid { self.amount } else { 0 };
        json!({
            "id": id, "object": "invoice", "account_country": "US", "account_name": "A shop",
            "amount_due": self.amount, "amount_overpaid": 0, "amount_paid": paid,
            "amount_remaining": self.amount - paid, "amount_shipping": 0, "attempt_count": 1,
            "attempted": true, "auto_advance": !is_paid,
            "automatic_tax": {"enabled": false, "status": null},
            "billing_reason": if is_renewal { "subscription_cycle" } else { "subscription_create" },
            "collection_method": "charge_automatically", "created": created,
            "currency": self.currency, "customer": self.customer_id(),
            "customer_email": EMAIL, "customer_name": NAME, "default_payment_method": null,
            "description": null, "discounts": [], "due_date": null, "ending_balance": 0,
            "lines": {"object": "list", "has_more": false, "total_count": 1, "data": [{
                "id": self.id("il", &id), "object": "line_item", "amount": self.amount,
                "currency": self.currency, "description": self.description(), "invoice": id,
                "livemode": false, "metadata": self.metadata(twist),
                "parent": {"type": "subscription_item_details", "subscription_item_details": {
                    "proration": false, "subscription": self.subscription_id(),
                    "subscription_item": self.id("si", ""),
                }},
                "period": {"start": created, "end": created.saturating_add(MONTH_SECONDS)},
                "quantity": 1,
            }]},
            "livemode": false, "metadata": {},
            "next_payment_attempt": (!is_paid).then(|| at.saturating_add(RETRY_SECONDS)),
            "number": "PAIDUP-0001",
            "parent": {"type": "subscription_details", "quote_details": null, "subscription_details": {
                "metadata": self.metadata(twist), "subscription": self.subscription_id(),
            }},
            "period_end": created, "period_start": created, "starting_balance": 0,
            "status": if is_paid { "paid" } else { "open" },
            "status_transitions": {
                "finalized_at": created, "marked_uncollectible_at": null,
                "paid_at": is_paid.then_some(at), "voided_at": null,
            },
            "subtotal": self.amount, "total": self.amount, "total_taxes": [],
        })
    }

    fn invoice_payment(&self, twist: Twist) -> Value {
        json!({
            "id": self.id("inpay", ""), "object": "invoice_payment", "amount_paid": self.amount,
            "amount_requested": self.amount, "created": self.since, "currency": self.currency,
            "invoice": self.invoice_id(twist), "is_default": true, "livemode": false,
            "payment": {"type": "payment_intent", "payment_intent": self.payment_intent_id(twist)},
            "status": "paid",
            "status_transitions": {"canceled_at": null, "paid_at": self.since},
        })
    }

    fn subscription(&self) -> Value {
        let id = self.subscription_id();
        json!({
            "id": id, "object": "subscription", "application": null,
            "automatic_tax": {"enabled": false}, "billing_cycle_anchor": self.since,
            "cancel_at": null, "cancel_at_period_end": false, "canceled_at": null,
            "collection_method": "charge_automatically", "created": self.since,
            "currency": self.currency, "customer": self.customer_id(), "days_until_due": null,
            "default_payment_method": self.id("pm", ""), "description": null, "discounts": [],
            "ended_at": null,
            "items": {"object": "list", "has_more": false, "total_count": 1, "data": [{
                "id": self.id("si", ""), "object": "subscription_item", "created": self.since,
                "current_period_start": self.since,
                "current_period_end": self.since.saturating_add(MONTH_SECONDS),
                "metadata": {}, "quantity": 1, "subscription": id,
                "price": {
                    "id": self.id("price", ""), "object": "price", "active": true,
                    "currency": self.currency, "unit_amount": self.amount, "type": "recurring",
                    "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"},
                },
            }]},
            "latest_invoice": self.invoice_id(Twist::Plain), "livemode": false,
            "metadata": self.metadata(Twist::Plain), "next_pending_invoice_item_invoice": null,
            "start_date": self.since, "status": "active", "test_clock": null, "trial_end": null,
        })
    }

    fn invoice_id(&self, twist: Twist) -> String {
        self.id("in", if twist == Renewal { "second" } else { "first" })
    }

    fn subscription_id(&self) -> String {
        self.id("sub", "")
    }

    fn description(&self) -> Option<String> {
        self.order.map(|order| format!("Order {order}"))
    }
}

const NAME: &str = "Jenny Rosen";
const EMAIL: &str = "jenny.rosen@example.com";
const MONTH_SECONDS: i64 = 30 * 24 * 60 * 60;
const RETRY_SECONDS: i64 = 3 * 24 * 60 * 60;
const DISPUTE_DUE_SECONDS: i64 = 9 * 24 * 60 * 60;
const SESSION_SECONDS: i64 = 24 * 60 * 60;

fn address() -> Value {
    json!({
        "city": "San Francisco", "country": "US", "line1": "510 Townsend St", "line2": null,
        "postal_code": "94103", "state": "CA",
    })
}

fn shipping() -> Value {
    json!({
        "address": address(), "carrier": null, "name": NAME, "phone": null, "tracking_number": null,
    })
}

/// 24 letters and digits that follow from the seed, as Stripe's ids end.
fn digits(seed: &str) -> String {
    hex::encode(&Sha256::digest(seed.as_bytes())[..12])
}
