//! Event bodies of our own, after the public object shapes of Stripe's API reference, for every test
//! that needs one: small enough to read in a table, whole enough to be parsed as Stripe's are.
//!
//! ```text
//! pi("pi_1").order("O1").amount(29900, "usd").event("payment_intent.succeeded").at(100)
//! ```
//!
//! An object comes from the function named after it ([`pi`], [`charge`], …); [`Object::event`] wraps
//! it into an event, live and of the second 1000 unless told otherwise. The event's id is
//! `evt_<type>_<object>_<second>` unless [`EventBody::id`] names it: events that differ in another
//! way only need ids of their own. [`EventBody::body`] gives the bytes that Stripe would send,
//! [`EventBody::event`] the [`Event`] after signing, verifying and reading, and [`header`] the
//! `Stripe-Signature` for any body.
#![allow(dead_code, reason = "each test takes what it needs; the set is what Stripe sends")]

use paidup::domain::event::{Event, NotAnEvent};
use paidup::domain::order_ids::OrderIdRules;
use paidup::domain::signature::{SigningSecret, TOLERANCE_SECONDS_DEFAULT, verify};
use serde_json::{Map, Value, json};

/// The secret that the fixtures are signed with.
pub const SECRET: &str = "whsec_fixture_0123456789abcdefABCD";
/// When the fixtures are signed and received, in Unix seconds.
pub const SIGNED_AT: i64 = 1_800_000_000;
/// When events happen unless they say so, in Unix seconds: small, so that stories read well.
pub const CREATED_DEFAULT: i64 = 1000;
const AMOUNT_DEFAULT: i64 = 29_900;

/// [`SECRET`], ready to sign and verify.
pub fn secret() -> SigningSecret {
    SigningSecret::new(SECRET).expect("the fixture secret is not empty")
}

/// The `Stripe-Signature` header for a body, signed at [`SIGNED_AT`].
pub fn header(body: &[u8]) -> String {
    secret().header(SIGNED_AT, body)
}

/// Signs, verifies and reads a body: the only way from bytes to an event, in tests as in production.
pub fn read(body: &[u8]) -> Result<Event, NotAnEvent> {
    read_by(body, &OrderIdRules::default())
}

/// The same, where these settings say which words name an order.
pub fn read_by(body: &[u8], rules: &OrderIdRules) -> Result<Event, NotAnEvent> {
    let body = bytes::Bytes::copy_from_slice(body);
    let header = header(&body);
    let tolerance = TOLERANCE_SECONDS_DEFAULT;
    let verified = verify(header.as_bytes(), body, &[secret()], SIGNED_AT, tolerance);
    Event::read(&verified.expect("what the fixture secret signed is verified with it"), rules)
}

/// Which of Stripe's objects it is; it decides where the common fields stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    PaymentIntent,
    Charge,
    Refund,
    Dispute,
    Session,
    Invoice { is_basil: bool },
    InvoicePayment,
    Subscription,
}

/// An object as it stands in `data.object` of an event.
#[derive(Clone)]
pub struct Object {
    shape: Shape,
    fields: Map<String, Value>,
}

fn object(shape: Shape, fields: Value) -> Object {
    let Value::Object(fields) = fields else { unreachable!("the shapes below are objects") };
    Object { shape, fields }
}

/// A PaymentIntent over 29900 usd. `amount_received` follows from the type of the event.
pub fn pi(id: &str) -> Object {
    let fields = json!({
        "id": id, "object": "payment_intent", "amount": AMOUNT_DEFAULT, "currency": "usd",
        "capture_method": "automatic", "confirmation_method": "automatic",
        "client_secret": format!("{id}_secret_x"), "created": 1, "customer": null,
        "last_payment_error": null, "latest_charge": null, "metadata": {},
        "payment_method_types": ["card"], "receipt_email": null, "status": "requires_payment_method",
    });
    object(Shape::PaymentIntent, fields)
}

/// A captured charge over 29900 usd that names no PaymentIntent yet.
pub fn charge(id: &str) -> Object {
    let fields = json!({
        "id": id, "object": "charge", "amount": AMOUNT_DEFAULT, "amount_captured": AMOUNT_DEFAULT,
        "amount_refunded": 0, "currency": "usd", "captured": true, "paid": true, "refunded": false,
        "billing_details": {"email": null, "name": null}, "created": 1, "disputed": false,
        "failure_code": null, "failure_message": null, "metadata": {}, "payment_intent": null,
        "receipt_email": null, "status": "succeeded",
    });
    object(Shape::Charge, fields)
}

/// A refund of 29900 usd that succeeded. Refunds inherit no metadata.
pub fn refund(id: &str) -> Object {
    let fields = json!({
        "id": id, "object": "refund", "amount": AMOUNT_DEFAULT, "currency": "usd", "charge": null,
        "created": 1, "metadata": {}, "payment_intent": null, "reason": null, "status": "succeeded",
    });
    object(Shape::Refund, fields)
}

/// A dispute that needs a response.
pub fn dispute(id: &str) -> Object {
    let fields = json!({
        "id": id, "object": "dispute", "amount": AMOUNT_DEFAULT, "currency": "usd", "charge": null,
        "balance_transactions": [], "created": 1, "is_charge_refundable": false, "metadata": {},
        "payment_intent": null, "reason": "fraudulent", "status": "needs_response",
    });
    object(Shape::Dispute, fields)
}

/// A Checkout Session over 29900 usd, in mode `payment`, complete and paid.
pub fn session(id: &str) -> Object {
    let fields = json!({
        "id": id, "object": "checkout.session", "amount_subtotal": AMOUNT_DEFAULT,
        "amount_total": AMOUNT_DEFAULT, "currency": "usd", "client_reference_id": null, "created": 1,
        "customer": null, "customer_details": null, "customer_email": null, "invoice": null,
        "metadata": {}, "mode": "payment", "payment_intent": null, "payment_status": "paid",
        "status": "complete", "subscription": null,
    });
    object(Shape::Session, fields)
}

/// An invoice over 29900 usd as API versions from 2025-03-31.basil on show it: it names neither
/// PaymentIntent nor charge, and its subscription stands under `parent`.
pub fn invoice(id: &str) -> Object {
    let fields = json!({
        "id": id, "object": "invoice", "amount_due": AMOUNT_DEFAULT, "currency": "usd", "billing_reason": "subscription_cycle",
        "created": 1, "customer": "cus_1", "customer_email": null,
        "lines": {"object": "list", "data": [], "has_more": false}, "metadata": {},
        "parent": null, "total": AMOUNT_DEFAULT,
    });
    object(Shape::Invoice { is_basil: true }, fields)
}

/// An invoice over 29900 usd as API versions before basil show it, with `payment_intent`, `charge`,
/// `subscription` and `subscription_details` of its own.
pub fn old_invoice(id: &str) -> Object {
    let mut invoice = invoice(id);
    invoice.shape = Shape::Invoice { is_basil: false };
    invoice.fields.remove("parent");
    for field in ["payment_intent", "charge", "subscription", "subscription_details"] {
        invoice.fields.insert(field.to_owned(), Value::Null);
    }
    invoice
}

/// An invoice payment (basil on): it says which PaymentIntent pays which invoice.
pub fn invoice_payment(id: &str) -> Object {
    let fields = json!({
        "id": id, "object": "invoice_payment", "amount_paid": AMOUNT_DEFAULT,
        "amount_requested": AMOUNT_DEFAULT, "currency": "usd", "created": 1, "invoice": null,
        "is_default": true, "payment": {"type": "payment_intent", "payment_intent": null},
        "status": "paid",
    });
    object(Shape::InvoicePayment, fields)
}

/// A subscription.
pub fn subscription(id: &str) -> Object {
    let fields = json!({
        "id": id, "object": "subscription", "created": 1, "currency": "usd", "customer": "cus_1",
        "items": {"object": "list", "data": []}, "latest_invoice": null, "metadata": {},
        "status": "active",
    });
    object(Shape::Subscription, fields)
}

impl Object {
    /// Sets any field of the object.
    pub fn set(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(field.to_owned(), value.into());
        self
    }

    /// Takes a field away.
    pub fn without(mut self, field: &str) -> Self {
        self.fields.remove(field);
        self
    }

    /// Takes all amounts and the currency away, as hand-made tests do.
    pub fn without_amounts(mut self) -> Self {
        self.fields.retain(|field, _| {
            !field.starts_with("amount") && !matches!(field.as_str(), "total" | "currency")
        });
        self
    }

    /// Puts the order id into the object's own metadata.
    pub fn order(self, order_id: &str) -> Self {
        self.set("metadata", json!({"order_id": order_id, "note": "of the shop"}))
    }

    /// Sets the amount in every field that carries the whole of it, and the currency.
    pub fn amount(mut self, amount: i64, currency: &str) -> Self {
        let fields: &[&str] = match self.shape {
            Shape::PaymentIntent | Shape::Refund | Shape::Dispute => &["amount"],
            Shape::Charge => &["amount", "amount_captured"],
            Shape::Session => &["amount_subtotal", "amount_total"],
            Shape::Invoice { .. } => &["amount_due", "total"],
            Shape::InvoicePayment => &["amount_paid", "amount_requested"],
            Shape::Subscription => &[],
        };
        for field in fields {
            self = self.set(field, amount);
        }
        self.set("currency", currency)
    }

    /// Names the PaymentIntent; for an invoice payment, the one that pays.
    pub fn pi(self, id: &str) -> Self {
        match self.shape {
            Shape::InvoicePayment => {
                self.set("payment", json!({"type": "payment_intent", "payment_intent": id}))
            }
            _ => self.set("payment_intent", id),
        }
    }

    /// Names the charge; for a PaymentIntent, its latest.
    pub fn charge(self, id: &str) -> Self {
        match self.shape {
            Shape::PaymentIntent => self.set("latest_charge", id),
            Shape::InvoicePayment => self.set("payment", json!({"type": "charge", "charge": id})),
            _ => self.set("charge", id),
        }
    }

    /// Names the invoice.
    pub fn invoice(self, id: &str) -> Self {
        self.set("invoice", id)
    }

    /// Names the subscription, where this version of the object has it.
    pub fn subscription(self, id: &str) -> Self {
        match self.shape {
            Shape::Invoice { is_basil: true } => {
                self.subscription_detail("subscription", id.into())
            }
            _ => self.set("subscription", id),
        }
    }

    /// The order id in the subscription's metadata as an invoice copies it.
    pub fn subscription_order(self, order_id: &str) -> Self {
        self.subscription_detail("metadata", json!({"order_id": order_id}))
    }

    fn subscription_detail(mut self, field: &str, value: Value) -> Self {
        let is_basil = self.shape == Shape::Invoice { is_basil: true };
        let details = if is_basil {
            if self.fields.get("parent").is_none_or(Value::is_null) {
                let parent = json!({"type": "subscription_details", "subscription_details": {}});
                self.fields.insert("parent".to_owned(), parent);
            }
            &mut self.fields["parent"]["subscription_details"]
        } else {
            self.fields.entry("subscription_details").or_insert(Value::Null)
        };
        if details.is_null() {
            *details = json!({});
        }
        details[field] = value;
        self
    }

    /// Adds an invoice line with this order id in its metadata.
    pub fn line_order(mut self, order_id: &str) -> Self {
        let line = json!({"id": "il_1", "object": "line_item", "metadata": {"order_id": order_id}});
        if let Some(lines) =
            self.fields.get_mut("lines").and_then(|lines| lines["data"].as_array_mut())
        {
            lines.push(line);
        }
        self
    }

    /// A Checkout Session's `client_reference_id`.
    pub fn client_reference(self, order_id: &str) -> Self {
        self.set("client_reference_id", order_id)
    }

    /// The object's own `created`: which invoice is the newest.
    pub fn created(self, seconds: i64) -> Self {
        self.set("created", seconds)
    }

    /// The object's `status`: of a refund, dispute, session, …
    pub fn status(self, status: &str) -> Self {
        self.set("status", status)
    }

    /// A Checkout Session's `payment_status`: `paid`, `unpaid` or `no_payment_required`.
    pub fn payment_status(self, status: &str) -> Self {
        self.set("payment_status", status)
    }

    /// How much of a charge was refunded so far.
    pub fn refunded(mut self, amount: i64) -> Self {
        let is_whole = self.fields.get("amount").and_then(Value::as_i64) == Some(amount);
        self = self.set("amount_refunded", amount);
        self.set("refunded", is_whole)
    }

    /// A charge whose money is only reserved.
    pub fn uncaptured(self) -> Self {
        self.set("captured", false).set("amount_captured", 0)
    }

    /// Why a PaymentIntent or charge failed.
    pub fn failure(self, code: &str, message: &str) -> Self {
        match self.shape {
            Shape::PaymentIntent => {
                let error = json!({"type": "card_error", "code": code, "message": message});
                self.set("last_payment_error", error)
            }
            _ => self.set("failure_code", code).set("failure_message", message),
        }
    }

    /// The customer's address, where this object has it.
    pub fn email(self, address: &str) -> Self {
        match self.shape {
            Shape::Charge => self.set("billing_details", json!({"email": address, "name": null})),
            Shape::Session => self.set("customer_details", json!({"email": address})),
            Shape::Invoice { .. } => self.set("customer_email", address),
            _ => self.set("receipt_email", address),
        }
    }

    /// The event of that type about this object: live, of the second [`CREATED_DEFAULT`].
    pub fn event(mut self, kind: &str) -> EventBody {
        match self.shape {
            Shape::PaymentIntent => self = self.implied_by(kind),
            Shape::Charge => self = self.charge_implied_by(kind),
            Shape::Invoice { .. } => self = self.invoice_implied_by(kind),
            _ => {}
        }
        EventBody {
            id: None,
            kind: kind.to_owned(),
            created: CREATED_DEFAULT,
            is_live: true,
            account: None,
            api_version: "2025-03-31.basil".to_owned(),
            object: self,
        }
    }

    fn charge_implied_by(self, kind: &str) -> Self {
        match kind {
            "charge.failed" => self.set("status", "failed").set("paid", false),
            "charge.pending" => self.set("status", "pending").set("paid", false),
            _ => self,
        }
    }

    /// What the type of the event implies of an invoice, unless the test said otherwise.
    fn invoice_implied_by(mut self, kind: &str) -> Self {
        let due = self.fields.get("amount_due").cloned();
        let is_paid = matches!(kind, "invoice.paid" | "invoice.payment_succeeded");
        let status = match kind {
            _ if is_paid => "paid",
            "invoice.voided" => "void",
            "invoice.marked_uncollectible" => "uncollectible",
            "invoice.created" => "draft",
            _ => "open",
        };
        self.fields.entry("status").or_insert_with(|| status.into());
        if let Some(due) = due {
            let (paid, left) = if is_paid { (due, json!(0)) } else { (json!(0), due) };
            self.fields.entry("amount_paid").or_insert(paid);
            self.fields.entry("amount_remaining").or_insert(left);
        }
        self
    }

    /// What the type of the event implies of a PaymentIntent, unless the test said otherwise.
    fn implied_by(mut self, kind: &str) -> Self {
        let amount = self.fields.get("amount").cloned();
        let (status, received) = match kind {
            "payment_intent.succeeded" => ("succeeded", amount),
            "payment_intent.canceled" => ("canceled", amount.map(|_| json!(0))),
            "payment_intent.processing" => ("processing", amount.map(|_| json!(0))),
            "payment_intent.amount_capturable_updated" => {
                ("requires_capture", amount.map(|_| json!(0)))
            }
            _ => ("requires_payment_method", amount.map(|_| json!(0))),
        };
        if let Some(received) = received {
            self.fields.entry("amount_received").or_insert(received);
        }
        self.set("status", status)
    }
}

/// An event about an object, before it is signed.
#[derive(Clone)]
pub struct EventBody {
    id: Option<String>,
    kind: String,
    created: i64,
    is_live: bool,
    account: Option<String>,
    api_version: String,
    object: Object,
}

impl EventBody {
    /// Makes it an event of this connected account.
    pub fn account(mut self, account: &str) -> Self {
        self.account = Some(account.to_owned());
        self
    }

    /// Names the event.
    pub fn id(mut self, id: &str) -> Self {
        self.id = Some(id.to_owned());
        self
    }

    /// When it happened, in Unix seconds.
    pub fn at(mut self, seconds: i64) -> Self {
        self.created = seconds;
        self
    }

    /// Makes it a test-mode event.
    pub fn test(mut self) -> Self {
        self.is_live = false;
        self
    }

    /// The API version that it claims to be rendered with.
    pub fn api_version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.api_version);
        self
    }

    /// The event's id: the one given, or else `evt_<type>_<object>_<second>`.
    pub fn event_id(&self) -> String {
        let object = self.object.fields.get("id").and_then(Value::as_str).unwrap_or("none");
        self.id.clone().unwrap_or_else(|| format!("evt_{}_{object}_{}", self.kind, self.created))
    }

    /// As JSON, for tests that bend it further.
    pub fn json(&self) -> Value {
        let mut body = json!({
            "id": self.event_id(), "object": "event", "api_version": self.api_version,
            "created": self.created, "data": {"object": self.object.fields},
            "livemode": self.is_live, "pending_webhooks": 1,
            "request": {"id": null, "idempotency_key": null}, "type": self.kind,
        });
        if let Some(account) = &self.account {
            body["account"] = account.as_str().into();
        }
        body
    }

    /// The bytes that Stripe would send.
    pub fn body(&self) -> Vec<u8> {
        self.json().to_string().into_bytes()
    }

    /// The same, where these settings say which words name an order.
    pub fn event_by(&self, rules: &OrderIdRules) -> Event {
        read_by(&self.body(), rules).expect("a fixture is an event")
    }

    /// The event: signed, verified and read.
    pub fn event(&self) -> Event {
        read(&self.body()).expect("a fixture is an event")
    }
}

impl std::fmt::Debug for EventBody {
    /// A shrunk history must be readable: the body, and nothing around it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mode = if self.is_live { "live" } else { "test" };
        let object = Value::Object(self.object.fields.clone());
        write!(f, "{} at {} ({mode}) {object}", self.kind, self.created)
    }
}
