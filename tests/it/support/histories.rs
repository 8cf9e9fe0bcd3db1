//! Generated histories: what may happen to up to three payments of up to two orders, in up to twelve
//! events. Anything that Stripe could send, and some that it hardly would, in any mix.
//!
//! A history is a set of events: the property tests deliver them in many orders, and all must end in
//! the same rows. Times are few, so that ties are common.
#![allow(dead_code, reason = "each test takes what it needs")]

use proptest::prelude::*;
use proptest::sample::select;

use serde_json::json;

use super::fixtures::{
    EventBody, Object, charge, dispute, invoice, invoice_payment, old_invoice, pi, refund, session,
    subscription,
};

/// The most events that a history has.
pub const EVENTS_MAX: usize = 12;
/// The most payments that a history has.
pub const PAYMENTS_MAX: usize = 3;
const TIMES: std::ops::Range<i64> = 100..106;
const ORDERS: [&str; 2] = ["O1", "O2"];

/// The accounts that the tests' policies name: one that is listed, and one that is not.
pub const ACCOUNTS: [&str; 2] = ["acct_1", "acct_2"];

/// What happened, and what the shop says of its orders.
#[derive(Debug, Clone)]
pub struct History {
    /// Rows that the shop inserted.
    pub orders: Vec<ShopOrder>,
    /// Events with distinct ids.
    pub events: Vec<EventBody>,
}

/// A row that the shop inserted itself.
#[derive(Debug, Clone)]
pub struct ShopOrder {
    /// The order.
    pub id: &'static str,
    /// The amount due and its currency.
    pub due: Option<(i64, &'static str)>,
    /// What the shop says first, if it changes its mind and the row comes late.
    pub due_before: Option<Option<(i64, &'static str)>>,
    /// The customer's address as the shop knows it; a payment may have the same.
    pub email: Option<&'static str>,
    /// When, in Unix seconds.
    pub created_at: i64,
}

/// What stays the same over all events of one payment.
#[derive(Debug, Clone)]
struct Shape {
    number: usize,
    is_live: bool,
    amount: i64,
    currency: &'static str,
    /// How the payment came about, which decides what its objects name.
    kind: Kind,
    subscription: &'static str,
    account: Option<&'static str>,
    /// Where the order id stands, and which.
    pi_order: Option<&'static str>,
    charge_order: Option<&'static str>,
    session_order: Option<&'static str>,
    client_reference: Option<&'static str>,
    invoice_order: Option<&'static str>,
    details_order: Option<&'static str>,
    line_order: Option<&'static str>,
    email: Option<&'static str>,
}

impl Shape {
    /// As a renewal of one subscription, which alone knows the order, and may name several.
    fn renewal(self) -> Self {
        let kind = if self.kind == Kind::OldInvoice { self.kind } else { Kind::BasilInvoice };
        let details_order = self.details_order.or(self.charge_order);
        Self {
            kind,
            subscription: "sub_1",
            pi_order: None,
            charge_order: None,
            invoice_order: None,
            line_order: None,
            details_order,
            ..self
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A PaymentIntent by itself, its charge, maybe a session.
    Direct,
    /// A charge without PaymentIntent.
    ChargeOnly,
    /// An invoice before basil: every object names the invoice.
    OldInvoice,
    /// An invoice from basil on: only the invoice payment joins the two.
    BasilInvoice,
    /// The same, of no subscription.
    OneOffInvoice,
}

/// One event, before it is known which payment it is of.
#[derive(Debug, Clone)]
struct Step {
    payment: usize,
    what: What,
    at: i64,
    /// Which of two charges, refunds or disputes.
    variant: usize,
    part: i64,
    has_amounts: bool,
    /// The order that this event names instead of its payment's.
    renamed: Option<&'static str>,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Intent(&'static str),
    Charge(&'static str),
    Reserved(&'static str),
    /// Captured in part, so that the rest stands there as if it were refunded.
    Captured(&'static str),
    /// A charge whose own status says how far it is.
    Updated(&'static str),
    Refunded,
    Refund(&'static str, &'static str),
    Dispute(&'static str, &'static str),
    Session(&'static str, &'static str),
    Invoice(&'static str),
    InvoicePayment,
    /// An invoice that is paid outside of Stripe, or of which a part is.
    Settled(bool),
    Subscription,
}

/// Histories of at most that many events.
pub fn histories(events_max: usize) -> impl Strategy<Value = History> {
    let orders = (shop_order(ORDERS[0]), shop_order(ORDERS[1]));
    let orders = orders.prop_map(|(one, other)| one.into_iter().chain(other).collect());
    let shapes = proptest::collection::vec(shape(), PAYMENTS_MAX);
    let steps = proptest::collection::vec(step(), 1..=events_max);
    let of_one_subscription = proptest::bool::weighted(0.2);
    (orders, shapes, steps, of_one_subscription).prop_map(|(orders, shapes, steps, is_one)| {
        let shapes: Vec<Shape> =
            shapes.into_iter().map(|shape| if is_one { shape.renewal() } else { shape }).collect();
        let event = |(index, step): (usize, &Step)| {
            let shape = Shape { number: step.payment, ..shapes[step.payment].clone() };
            let event = step.event(&shape).at(step.at).id(&format!("evt_{index}"));
            let event = match shape.account {
                Some(account) => event.account(account),
                None => event,
            };
            if shape.is_live { event } else { event.test() }
        };
        History { orders, events: steps.iter().enumerate().map(event).collect() }
    })
}

/// What the shop inserted: nothing, a bare row, or one with an amount due.
fn shop_order(id: &'static str) -> impl Strategy<Value = Option<ShopOrder>> {
    let due = || {
        prop_oneof![
            2 => Just(None),
            4 => select(&[(1000, "usd"), (1500, "usd"), (1000, "eur")][..]).prop_map(Some),
        ]
    };
    let due_before = prop_oneof![2 => Just(None), 1 => due().prop_map(Some)];
    // Of all addresses, the second is one that payments have too.
    let email = prop_oneof![6 => Just(None), 1 => Just(Some("shop@example.com")), 1 => Just(Some("a@example.com"))];
    let row = (due(), due_before, email, select(&[50, 103, 200][..]));
    let order = row.prop_map(move |(due, due_before, email, created_at)| ShopOrder {
        id,
        due,
        due_before,
        email,
        created_at,
    });
    prop_oneof![2 => Just(None), 3 => order.prop_map(Some)]
}

fn shape() -> impl Strategy<Value = Shape> {
    // Mostly the first order or none, so that payments meet in one.
    let order =
        || prop_oneof![3 => Just(None), 3 => Just(Some(ORDERS[0])), 1 => Just(Some(ORDERS[1]))];
    let money = (
        prop_oneof![4 => Just(1000), 1 => Just(400), 1 => Just(1500)],
        prop_oneof![5 => Just("usd"), 1 => Just("eur")],
    );
    let kind = prop_oneof![
        4 => Just(Kind::Direct),
        1 => Just(Kind::ChargeOnly),
        2 => Just(Kind::OldInvoice),
        3 => Just(Kind::BasilInvoice),
        2 => Just(Kind::OneOffInvoice),
    ];
    let places = (order(), order(), order(), order());
    let invoice_places = (order(), order(), order());
    let rest = (
        proptest::bool::weighted(0.8),
        select(&["sub_1", "sub_1", "sub_2"][..]),
        prop_oneof![8 => Just(None), 1 => select(&ACCOUNTS[..]).prop_map(Some)],
        select(&[None, Some("a@example.com"), Some("b@example.com")][..]),
    );
    (money, kind, places, invoice_places, rest).prop_map(|(money, kind, places, invoices, rest)| {
        Shape {
            number: 0,
            amount: money.0,
            currency: money.1,
            kind,
            pi_order: places.0,
            charge_order: places.1,
            session_order: places.2,
            client_reference: places.3,
            invoice_order: invoices.0,
            details_order: invoices.1,
            line_order: invoices.2,
            is_live: rest.0,
            subscription: rest.1,
            account: rest.2,
            email: rest.3,
        }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let what = prop_oneof![
        6 => select(INTENTS).prop_map(What::Intent),
        3 => select(&["charge.succeeded", "charge.captured", "charge.failed", "charge.pending"][..])
            .prop_map(What::Charge),
        1 => select(&["charge.captured", "charge.refunded", "charge.updated"][..])
            .prop_map(What::Captured),
        1 => select(&["succeeded", "pending", "failed"][..]).prop_map(What::Updated),
        1 => select(&["charge.succeeded", "charge.expired", "charge.refunded"][..])
            .prop_map(What::Reserved),
        3 => Just(What::Refunded),
        4 => select(REFUNDS).prop_map(|(kind, status)| What::Refund(kind, status)),
        2 => select(DISPUTES).prop_map(|(kind, status)| What::Dispute(kind, status)),
        4 => select(SESSIONS).prop_map(|(kind, status)| What::Session(kind, status)),
        5 => select(INVOICES).prop_map(What::Invoice),
        2 => Just(What::InvoicePayment),
        1 => any::<bool>().prop_map(What::Settled),
        1 => Just(What::Subscription),
    ];
    let renamed = prop_oneof![9 => Just(None), 1 => select(&ORDERS[..]).prop_map(Some)];
    let rest = (0..2_usize, select(&[300, 700, 1000][..]), proptest::bool::weighted(0.9), renamed);
    (0..PAYMENTS_MAX, what, TIMES, rest).prop_map(|(payment, what, at, rest)| Step {
        payment,
        what,
        at,
        variant: rest.0,
        part: rest.1,
        has_amounts: rest.2,
        renamed: rest.3,
    })
}

const INTENTS: &[&str] = &[
    "payment_intent.succeeded",
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "payment_intent.canceled",
    "payment_intent.created",
    "payment_intent.processing",
    "payment_intent.amount_capturable_updated",
];
const REFUNDS: &[(&str, &str)] = &[
    ("refund.created", "pending"),
    ("refund.created", "succeeded"),
    ("refund.updated", "succeeded"),
    ("refund.updated", "canceled"),
    ("refund.failed", "failed"),
    ("charge.refund.updated", "succeeded"),
    ("charge.refund.updated", "failed"),
];
const DISPUTES: &[(&str, &str)] = &[
    ("charge.dispute.created", "warning_needs_response"),
    ("charge.dispute.created", "needs_response"),
    ("charge.dispute.updated", "under_review"),
    ("charge.dispute.closed", "won"),
    ("charge.dispute.closed", "lost"),
    ("charge.dispute.closed", "warning_closed"),
    ("charge.dispute.closed", "prevented"),
    ("charge.dispute.funds_reinstated", "won"),
    ("charge.dispute.updated", "appeal_under_review"),
    ("charge.dispute.updated", "unheard_of"),
];
const SESSIONS: &[(&str, &str)] = &[
    ("checkout.session.completed", "paid"),
    ("checkout.session.completed", "unpaid"),
    ("checkout.session.completed", "no_payment_required"),
    ("checkout.session.async_payment_succeeded", "paid"),
    ("checkout.session.async_payment_failed", "unpaid"),
    ("checkout.session.expired", "unpaid"),
];
const INVOICES: &[&str] = &[
    "invoice.paid",
    "invoice.paid",
    "invoice.payment_succeeded",
    "invoice.payment_failed",
    "invoice.finalized",
    "invoice.voided",
    "invoice.marked_uncollectible",
];

impl Step {
    fn event(&self, shape: &Shape) -> EventBody {
        let number = shape.number;
        let name = |prefix: &str| format!("{prefix}_{number}");
        let (pi_id, invoice_id) = (name("pi"), name("in"));
        let charge_id = format!("ch_{number}_{}", self.variant);
        let has_intent = shape.kind != Kind::ChargeOnly;
        // A refund, dispute or charge names the PaymentIntent, if there is one.
        let of_intent = |object: Object| if has_intent { object.pi(&pi_id) } else { object };
        let of_invoice = |object: Object| match shape.kind {
            Kind::OldInvoice => object.invoice(&invoice_id),
            _ => object,
        };
        let (object, kind) = match self.what {
            What::Intent(kind) => {
                let object = placed(of_invoice(pi(&pi_id)), shape.pi_order);
                let object = object.failure(["card_declined", "expired_card"][self.variant], "No.");
                (self.money(object, shape), kind)
            }
            What::Charge(kind) => {
                let object = of_invoice(of_intent(charge(&charge_id)));
                let object = self.money(placed(object, shape.charge_order), shape);
                (object.failure("insufficient_funds", "Too little."), kind)
            }
            What::Reserved(kind) => {
                (self.money(of_intent(charge(&charge_id)), shape).uncaptured(), kind)
            }
            What::Captured(kind) => {
                let captured = [300, 700][self.variant];
                let refunded = if kind == "charge.captured" { 0 } else { self.part.min(captured) };
                let object = of_intent(charge(&charge_id)).amount(1000, shape.currency);
                let object = object.set("amount_captured", captured);
                let object = object.set("amount_refunded", 1000 - captured + refunded);
                (placed(object, shape.charge_order), kind)
            }
            What::Updated(status) => {
                let object = self.money(of_intent(charge(&charge_id)), shape).status(status);
                (placed(object, shape.charge_order), "charge.updated")
            }
            What::Refunded => {
                let object = self.money(of_intent(charge(&charge_id)), shape);
                let object = placed(object, shape.charge_order);
                let so_far = self.part.min(shape.amount);
                let object = if self.has_amounts { object.refunded(so_far) } else { object };
                (object, "charge.refunded")
            }
            What::Refund(kind, status) => {
                let object = of_intent(refund(&format!("re_{number}_{}", self.variant)));
                let object = object.charge(&charge_id).status(status);
                let object = object.amount(self.part.min(shape.amount), shape.currency);
                (if self.has_amounts { object } else { object.without_amounts() }, kind)
            }
            What::Dispute(kind, status) => {
                let object = of_intent(dispute(&format!("dp_{number}_{}", self.variant)));
                let object = object.amount(self.part.min(shape.amount), shape.currency);
                (object.charge(&charge_id).status(status), kind)
            }
            What::Session(kind, status) => (self.session(shape, status), kind),
            What::Invoice(kind) => (self.invoice(shape), kind),
            What::InvoicePayment => {
                // Two PaymentIntents can pay an invoice together.
                let by = if self.variant == 0 { pi_id } else { format!("{pi_id}_more") };
                let object = invoice_payment(&name("inpay")).invoice(&invoice_id);
                let object = object.amount(self.part.min(shape.amount), shape.currency);
                (object.pi(&by), "invoice_payment.paid")
            }
            What::Settled(is_out_of_band) => {
                let object = self.invoice(shape);
                if is_out_of_band {
                    let object = object.status("paid").set("amount_paid", 0);
                    (object.set("amount_remaining", shape.amount), "invoice.paid")
                } else {
                    let left = shape.amount - self.part.min(shape.amount);
                    let object = object.set("amount_paid", self.part.min(shape.amount));
                    (object.set("amount_remaining", left), "invoice.updated")
                }
            }
            What::Subscription => {
                let object = subscription(shape.subscription);
                (placed(object, shape.details_order), "customer.subscription.created")
            }
        };
        let object = placed(object, self.renamed);
        object.event(kind)
    }

    fn session(&self, shape: &Shape, status: &str) -> Object {
        let object = session(&format!("cs_{}", shape.number)).payment_status(status);
        let (discount, tax) = [(300, 0), (0, 100)][self.variant];
        let added = json!({"amount_discount": discount, "amount_shipping": 0, "amount_tax": tax});
        let object = object.set("total_details", added);
        let object = placed(self.money(object, shape), shape.session_order);
        let object = match shape.client_reference {
            Some(order) => object.client_reference(order),
            None => object,
        };
        match shape.kind {
            Kind::OneOffInvoice => object.invoice(&format!("in_{}", shape.number)),
            Kind::OldInvoice | Kind::BasilInvoice => {
                let invoice_id = format!("in_{}", shape.number);
                object.invoice(&invoice_id).subscription(shape.subscription)
            }
            _ => object.pi(&format!("pi_{}", shape.number)),
        }
    }

    fn invoice(&self, shape: &Shape) -> Object {
        let (id, pi_id) = (format!("in_{}", shape.number), format!("pi_{}", shape.number));
        let object = match shape.kind {
            Kind::OldInvoice => old_invoice(&id).pi(&pi_id),
            _ => invoice(&id),
        };
        let object = placed(self.money(object, shape), shape.invoice_order);
        let object = object.created(shape.number as i64 / 2);
        if shape.kind == Kind::OneOffInvoice {
            return object.set("billing_reason", "manual");
        }
        let reason = if shape.number == 0 { "subscription_create" } else { "subscription_cycle" };
        let object = object.subscription(shape.subscription).set("billing_reason", reason);
        let object = match shape.details_order {
            Some(order) => object.subscription_order(order),
            None => object,
        };
        match shape.line_order {
            Some(order) => object.line_order(order),
            None => object,
        }
    }

    fn money(&self, object: Object, shape: &Shape) -> Object {
        let object = match shape.email {
            Some(email) => object.email(email),
            None => object,
        };
        if self.has_amounts {
            object.amount(shape.amount, shape.currency)
        } else {
            object.without_amounts()
        }
    }
}

fn placed(object: Object, order: Option<&str>) -> Object {
    match order {
        Some(order) => object.order(order),
        None => object,
    }
}
