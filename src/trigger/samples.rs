//! What the events look like: objects after the public shapes of Stripe's API reference, as API version
//! [`API_VERSION`] renders them, with invented values.
//!
//! As at Stripe, the order id stands on the PaymentIntent and its charge, or on the Checkout Session
//! alone, or on the subscription and its invoices, or on a one-off invoice alone. Refunds, disputes and
//! invoice payments inherit none. Sessions, invoices and subscriptions are in [`billing`].

mod billing;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use Twist::{
    Again, AttemptFailed, Balance, Bare, CapturedPart, Deposit, Lost, Part, Prevented, Renewal,
    SecondPayment, Uncaptured, Won,
};

/// The API version that the events claim, and are shaped after.
pub const API_VERSION: &str = "2025-09-30.clover";

/// The event types there are samples of, with what each says to paidup.
pub const KINDS: [(&str, &str); 39] = [
    ("payment_intent.succeeded", "paid"),
    ("payment_intent.processing", "a delayed payment is under way"),
    ("payment_intent.amount_capturable_updated", "authorized: the money is reserved"),
    ("payment_intent.payment_failed", "an attempt failed"),
    ("payment_intent.canceled", "canceled"),
    ("payment_intent.created", "only which ids belong together"),
    ("payment_intent.partially_funded", "only which ids belong together"),
    ("charge.succeeded", "paid"),
    ("charge.captured", "paid: what was authorized is captured"),
    ("charge.updated", "paid: how the charge stands now"),
    ("charge.pending", "a delayed payment is under way"),
    ("charge.failed", "an attempt failed"),
    ("charge.expired", "canceled: authorized, and never captured"),
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
    ("checkout.session.expired", "canceled: the session expired"),
    ("invoice.paid", "that invoice is paid"),
    ("invoice.payment_succeeded", "that invoice is paid"),
    ("invoice.overpaid", "that invoice is paid, with more than was due"),
    ("invoice.payment_failed", "an attempt to pay that invoice failed"),
    ("invoice.finalized", "which amount that invoice asks for"),
    ("invoice.updated", "a part of that invoice is paid"),
    ("invoice.voided", "canceled: that invoice is void"),
    ("invoice.marked_uncollectible", "failed: that invoice is written off"),
    (
        "invoice_payment.paid",
        "a part of that invoice is paid (here: all of it), and by which PaymentIntent",
    ),
    ("customer.subscription.created", "which order a subscription is for"),
    ("customer.subscription.updated", "which order a subscription is for"),
    ("customer.subscription.deleted", "which order a subscription is for"),
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
    /// The refund is made again, after the first one failed.
    Again,
    /// The money is reserved, not captured.
    Uncaptured,
    /// Half of what was reserved is captured, and the rest released.
    CapturedPart,
    /// The session is not paid.
    Unpaid,
    /// The dispute is won.
    Won,
    /// The dispute is lost.
    Lost,
    /// The dispute is prevented.
    Prevented,
    /// The subscription's second invoice.
    Renewal,
    /// A one-off invoice over a third of the amount.
    Deposit,
    /// A one-off invoice over the rest.
    Balance,
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
    /// What else stands in the metadata that names the order.
    pub metadata: &'a [(String, String)],
    /// The connected account that the events are of.
    pub account: Option<&'a str>,
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
        let mut event = json!({
            "id": format!("evt_{}", digits(&seed)),
            "object": "event",
            "api_version": API_VERSION,
            "created": at,
            "data": {"object": self.object(step, at)},
            "livemode": false,
            "pending_webhooks": 1,
            "request": {"id": format!("req_{}", &digits(&format!("request {seed}"))[..14]), "idempotency_key": null},
            "type": step.kind,
        });
        if let Some(account) = self.account {
            event["account"] = account.into();
        }
        event
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
            self.subscription(kind)
        }
    }

    /// The id of that object of this sale, e.g. `pi_…`. Two accounts have no object in common.
    fn id(&self, prefix: &str, which: &str) -> String {
        let account = self.account.map(|account| format!("account {account}/")).unwrap_or_default();
        let seed = match self.order {
            Some(order) => format!("{account}order {order}/{prefix}/{which}"),
            None => format!("{account}nonce {}/{prefix}/{which}", self.nonce),
        };
        format!("{prefix}_{}", digits(&seed))
    }

    fn payment_intent_id(&self, twist: Twist) -> String {
        self.id("pi", which(twist))
    }

    fn charge_id(&self, twist: Twist) -> String {
        self.id("ch", if twist == AttemptFailed { "declined" } else { which(twist) })
    }

    fn customer_id(&self) -> String {
        self.id("cus", "")
    }

    /// The metadata of an object that names the order.
    fn metadata(&self, twist: Twist) -> Value {
        let mut metadata = serde_json::Map::new();
        if twist != Bare {
            metadata.extend(self.order.map(|order| ("order_id".to_owned(), order.into())));
            let more = self.metadata.iter();
            metadata.extend(more.map(|(key, value)| (key.clone(), value.as_str().into())));
        }
        metadata.into()
    }

    /// That of a PaymentIntent or charge: those of an invoice have none of its own.
    fn payment_metadata(&self, twist: Twist) -> Value {
        let is_of_invoice = matches!(twist, Renewal | Deposit | Balance);
        self.metadata(if is_of_invoice { Bare } else { twist })
    }

    /// What the step's payment is over, in minor units.
    fn amount(&self, twist: Twist) -> i64 {
        let deposit = (self.amount / 3).max(1);
        match twist {
            Deposit => deposit,
            Balance => self.amount - deposit,
            _ => self.amount,
        }
    }

    /// How much of it is captured, in minor units.
    fn captured(&self, twist: Twist) -> i64 {
        if twist == CapturedPart { self.half() } else { self.amount(twist) }
    }

    /// How much was refunded, in minor units.
    fn refunded(&self, twist: Twist) -> i64 {
        self.refunded.unwrap_or(if twist == Part { self.half() } else { self.amount })
    }

    fn half(&self) -> i64 {
        (self.amount / 2).max(1)
    }

    fn payment_intent(&self, kind: &str, twist: Twist) -> Value {
        let id = self.payment_intent_id(twist);
        let (status, received, capturable, charge) = match kind {
            "payment_intent.succeeded" => {
                ("succeeded", self.captured(twist), 0, Some(self.charge_id(twist)))
            }
            "payment_intent.payment_failed" => {
                ("requires_payment_method", 0, 0, Some(self.charge_id(AttemptFailed)))
            }
            "payment_intent.amount_capturable_updated" => {
                ("requires_capture", 0, self.amount, Some(self.charge_id(twist)))
            }
            "payment_intent.processing" => ("processing", 0, 0, Some(self.charge_id(twist))),
            "payment_intent.canceled" => ("canceled", 0, 0, None),
            "payment_intent.partially_funded" => ("requires_action", 0, 0, None),
            _ => ("requires_payment_method", 0, 0, None),
        };
        let is_canceled = status == "canceled";
        let is_manual = matches!(twist, Uncaptured | CapturedPart);
        let error = (kind == "payment_intent.payment_failed").then(|| {
            json!({
                "type": "card_error", "code": "card_declined", "decline_code": "generic_decline",
                "charge": charge, "doc_url": "https://docs.stripe.com/error-codes#card-declined",
                "message": "Your card was declined.",
                "payment_method": {"id": self.id("pm", "declined"), "object": "payment_method", "type": "card"},
            })
        });
        json!({
            "id": id, "object": "payment_intent", "amount": self.amount(twist),
            "amount_capturable": capturable, "amount_details": {"tip": {}},
            "amount_received": received, "application": null, "application_fee_amount": null,
            "automatic_payment_methods": {"allow_redirects": "always", "enabled": true},
            "canceled_at": is_canceled.then_some(self.since),
            "cancellation_reason": is_canceled.then_some("requested_by_customer"),
            "capture_method": if is_manual { "manual" } else { "automatic_async" },
            "client_secret": format!("{id}_secret_{}", digits(&id)),
            "confirmation_method": "automatic", "created": self.since, "currency": self.currency,
            "customer": self.customer_id(), "description": self.description(),
            "excluded_payment_method_types": null, "last_payment_error": error,
            "latest_charge": charge, "livemode": false, "metadata": self.payment_metadata(twist),
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
        let amount = self.amount(twist);
        let captured = if is_captured { self.captured(twist) } else { 0 };
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
            "id": id, "object": "charge", "amount": amount, "amount_captured": captured,
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
            "fraud_details": {}, "livemode": false, "metadata": self.payment_metadata(twist),
            "on_behalf_of": null, "order": null, "outcome": outcome,
            "paid": !is_failed && !is_pending,
            "payment_intent": self.payment_intent_id(twist),
            "payment_method": self.id("pm", if is_failed { "declined" } else { "" }),
            "payment_method_details": {"type": "card", "card": {
                "amount_authorized": amount, "brand": "visa", "country": "US",
                "checks": {"address_line1_check": "pass", "address_postal_code_check": "pass", "cvc_check": "pass"},
                "exp_month": 12, "exp_year": 2034, "funding": "credit", "last4": "4242",
                "network": "visa", "three_d_secure": null, "wallet": null,
            }},
            "receipt_email": EMAIL, "receipt_number": null, "receipt_url": null,
            "refunded": is_captured && refunded == captured, "review": null, "shipping": shipping(),
            "source": null, "source_transfer": null, "statement_descriptor": null,
            "statement_descriptor_suffix": null, "status": status, "transfer_data": null,
            "transfer_group": null,
        })
    }

    fn refund(&self, kind: &str, twist: Twist) -> Value {
        let is_failed = kind == "refund.failed";
        json!({
            "id": self.id("re", if twist == Again { "again" } else { "" }), "object": "refund", "amount": self.refunded(twist),
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
            (_, Prevented) => "prevented",
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

    fn description(&self) -> Option<String> {
        self.order.map(|order| format!("Order {order}"))
    }
}

/// Which of a sale's PaymentIntents, charges and invoices a step is about.
fn which(twist: Twist) -> &'static str {
    match twist {
        SecondPayment => "second",
        Renewal => "renewal",
        Deposit => "deposit",
        Balance => "balance",
        _ => "first",
    }
}

const NAME: &str = "Jenny Rosen";
const EMAIL: &str = "jenny.rosen@example.com";
const DISPUTE_DUE_SECONDS: i64 = 9 * 24 * 60 * 60;

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
