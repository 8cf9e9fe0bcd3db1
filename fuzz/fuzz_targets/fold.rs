//! Any history of up to twelve events of three payments and two orders, with rows of the shop's or
//! without: delivered at once, backwards and each twice, and shuffled in batches, it ends in the same
//! rows but for `version` and `announced`, and the last change of each order recorded what its row holds.
//!
//! The first eight bytes are the policy, what the shop inserted and when, and the shuffle; then six bytes
//! an event.

#![no_main]

#[path = "../../tests/it/support/dice.rs"]
mod dice;
#[path = "../../tests/it/support/fixtures.rs"]
mod fixtures;
#[path = "../../tests/it/support/memory.rs"]
mod memory;

use std::collections::BTreeMap;
use std::sync::Arc;

use dice::Dice;
use fixtures::{
    Object, charge, dispute, invoice, invoice_payment, old_invoice, pi, refund, session,
    subscription,
};
use libfuzzer_sys::fuzz_target;
use memory::Memory;
use paidup::domain::event::Event;
use paidup::domain::order::OrderSnapshot;
use paidup::domain::order_ids::OrderIdRules;
use paidup::domain::policy::{Accounts, Mode, Policy, UnknownOrders};
use paidup::domain::rows::Order;
use serde_json::json;

const EVENTS_MAX: usize = 12;
const EVENT_BYTES: usize = 6;
const ORDERS: [&str; 2] = ["O1", "O2"];
/// Orders that the shop may insert: the second is one of two.
const OTHER_ROWS: [&str; 2] = ["O2", "acct_1/O1"];
const AMOUNTS: [i64; 12] =
    [1000, 1000, 300, 700, 1500, 29_900, 0, 1, -1, i64::MAX, i64::MAX / 2 + 1, i64::MIN];
const EMAILS: [Option<&str>; 4] = [None, None, Some("a@example.com"), Some("b@example.com")];
const DUES: [Option<(i64, &str)>; 4] =
    [None, Some((1000, "usd")), Some((1500, "usd")), Some((1000, "eur"))];

fuzz_target!(|input: &[u8]| {
    let Some((head, rest)) = input.split_first_chunk::<8>() else { return };
    let shop = Shop::of(*head);
    let events: Vec<Event> = rest
        .chunks_exact(EVENT_BYTES)
        .take(EVENTS_MAX)
        .enumerate()
        .filter_map(|(number, bytes)| {
            Some(event(number, bytes.try_into().ok()?, &shop.policy.order_ids))
        })
        .collect();
    let mut dice = Dice(u64::from_le_bytes(*head));
    let at_once = shop.deliver(&[events.iter().collect()], &mut dice);
    let twice =
        events.iter().rev().flat_map(|event| [vec![event], vec![event]]).collect::<Vec<_>>();
    assert_eq!(at_once, shop.deliver(&twice, &mut dice));
    for _ in 0..2 {
        let batches = batches(&mut dice, &events);
        assert_eq!(at_once, shop.deliver(&batches, &mut dice));
    }
});

/// What is due, and its currency.
type Due = Option<(i64, &'static str)>;

/// A row that the shop inserts.
#[derive(Clone, Copy)]
struct Row {
    id: &'static str,
    due: Due,
    /// What it said was due at first, if it says so twice.
    before: Option<Due>,
    email: Option<&'static str>,
    at: i64,
}

/// What the shop and the operator did.
struct Shop {
    policy: Policy,
    rows: Vec<Row>,
    /// The rows come at any time, and not before all events; each delivery has times of its own.
    is_late: bool,
}

/// What a delivery ends in.
type End = (BTreeMap<String, Order>, BTreeMap<String, OrderSnapshot>);

impl Shop {
    fn of(bytes: [u8; 8]) -> Self {
        let [policy, one, other, when, ..] = bytes;
        let mode = if policy % 4 == 3 { Mode::Test } else { Mode::Live };
        let is_hold = policy & 4 != 0;
        let accounts = match policy >> 3 & 3 {
            0 => Accounts::Own,
            1 => Accounts::Any,
            _ => Accounts::Listed(["acct_1".to_owned()].into()),
        };
        let keys = (policy & 32 != 0).then_some("order_id,@client_reference_id");
        let order_ids = Arc::new(OrderIdRules::new(keys, None).expect("keys"));
        let unknown_orders = if is_hold { UnknownOrders::Hold } else { UnknownOrders::Create };
        let is_late = is_hold || when & 1 != 0;
        let row = |id: &'static str, byte: u8| {
            let before = (is_late && when & 2 != 0).then_some(DUES[usize::from(when >> 2) % 4]);
            let row = Row {
                id,
                due: DUES[usize::from(byte >> 1) % 4],
                before,
                // An address that the shop writes over the same one of paidup's stays paidup's.
                email: EMAILS[usize::from(byte >> 4) % 4].filter(|_| is_hold || !is_late),
                at: [50, 103, 200, 103][usize::from(byte >> 6)],
            };
            (byte & 1 != 0).then_some(row)
        };
        let other_id = OTHER_ROWS[usize::from(when >> 7)];
        Self {
            policy: Policy { mode, unknown_orders, accounts, order_ids },
            rows: row(ORDERS[0], one).into_iter().chain(row(other_id, other)).collect(),
            is_late,
        }
    }

    fn deliver(&self, batches: &[Vec<&Event>], dice: &mut Dice) -> End {
        let mut memory = Memory::new(self.policy.clone());
        let mut written: Vec<(usize, Row)> = Vec::new();
        for row in &self.rows {
            let at = if self.is_late { dice.roll(batches.len() + 1) } else { 0 };
            if let Some(due) = row.before {
                written.push((dice.roll(at + 1), Row { due, ..*row }));
            }
            written.push((at, *row));
        }
        for at in 0..=batches.len() {
            for (_, row) in written.iter().filter(|(when, _)| *when == at) {
                memory.register(row.id, row.due, row.at);
                if let Some(email) = row.email {
                    memory.set_email(row.id, email);
                }
            }
            if dice.roll(3) == 0 {
                memory.sweep();
            }
            if let Some(batch) = batches.get(at) {
                memory.deliver(batch.iter().copied());
            }
        }
        memory.sweep();
        let (mut rows, mut recorded) = (memory.rows(), memory.last_recorded());
        for (id, row) in &rows {
            match recorded.get(id) {
                Some(last) => {
                    assert_eq!(*last, row.snapshot, "the last change of {id} is not its row's");
                }
                // What the shop inserted, and nothing changed since.
                None => {
                    let currency = row.snapshot.currency.clone();
                    assert!(self.currencies(id).any(|one| one == currency.as_deref()), "{id}");
                    assert_eq!(row.snapshot, OrderSnapshot { currency, ..Default::default() });
                    recorded.insert(id.clone(), row.snapshot.clone());
                }
            }
        }
        if self.is_late && self.policy.unknown_orders == UnknownOrders::Create {
            // A row that an event made before the shop did has the event's time.
            for row in &self.rows {
                rows.entry(row.id.to_owned()).and_modify(|order| order.created_at = 0);
            }
        }
        (rows, recorded)
    }

    /// The currencies that the shop said of an order.
    fn currencies(&self, id: &str) -> impl Iterator<Item = Option<&'static str>> {
        let rows = self.rows.iter().filter(move |row| row.id == id);
        let dues = rows.flat_map(|row| [Some(row.due), row.before].into_iter().flatten());
        dues.map(|due| due.map(|(_, currency)| currency))
    }
}

/// Every event at least once, in any order, cut anywhere.
fn batches<'a>(dice: &mut Dice, events: &'a [Event]) -> Vec<Vec<&'a Event>> {
    let mut all: Vec<&Event> = events.iter().collect();
    for _ in 0..events.len() / 3 {
        all.push(&events[dice.roll(events.len())]);
    }
    dice.shuffle(&mut all);
    let mut batches: Vec<Vec<&Event>> = Vec::new();
    for event in all {
        match batches.last_mut() {
            Some(batch) if dice.roll(3) > 0 => batch.push(event),
            _ => batches.push(vec![event]),
        }
    }
    batches
}

/// What six bytes mean: what happened, to which payment, what the object names, how much, when, and how
/// it stands.
fn event(number: usize, bytes: [u8; EVENT_BYTES], rules: &OrderIdRules) -> Event {
    let [what, whose, names, amount, at, how] = bytes;
    let what = what % 16;
    let payment = whose % 3;
    let id = |kind: &str| format!("{kind}_{payment}");
    let one_of_two = |kind: &str| format!("{kind}_{payment}_{}", whose / 4 % 2);
    let order = ORDERS[usize::from(names & 1)];
    let how = usize::from(how);
    let amount = AMOUNTS[usize::from(amount) % AMOUNTS.len()];
    let of_pi = |object: Object| if whose & 8 == 0 { object.pi(&id("pi")) } else { object };
    let of_invoice =
        |object: Object| if whose & 16 == 0 { object } else { object.invoice(&id("in")) };
    let of_charge = |object: Object| object.charge(&one_of_two("ch"));
    let of_subscription =
        |object: Object| object.subscription(["sub_1", "sub_2"][usize::from(names >> 1 & 1)]);
    let (object, kind) = match what {
        0 => (of_invoice(pi(&id("pi"))), pick(how, &INTENTS)),
        1 => (
            of_invoice(pi(&id("pi"))).failure(["declined", "expired"][how % 2], "No."),
            "payment_intent.payment_failed",
        ),
        2 => (of_invoice(of_pi(charge(&one_of_two("ch")))), pick(how, &CHARGES)),
        3 => (of_pi(charge(&one_of_two("ch"))).uncaptured(), pick(how, &CHARGES)),
        4 => (of_pi(charge(&one_of_two("ch"))).refunded(pick(how, &AMOUNTS)), "charge.refunded"),
        5 => (
            of_charge(of_pi(refund(&one_of_two("re")))).status(pick(how, &REFUND_STATES)),
            pick(how / 8, &REFUNDS),
        ),
        6 => (
            of_charge(of_pi(dispute(&one_of_two("dp")))).status(pick(how, &DISPUTE_STATES)),
            pick(how / 8, &DISPUTES),
        ),
        7 => (
            of_invoice(of_pi(session(&id("cs")))).payment_status(pick(how, &SESSION_STATES)),
            pick(how / 4, &SESSIONS),
        ),
        8 => (
            of_subscription(invoice(&id("in")))
                .created((how / 8 % 3) as i64)
                .set("billing_reason", pick(how / 32, &REASONS)),
            pick(how, &INVOICES),
        ),
        9 => (
            of_subscription(of_pi(old_invoice(&id("in")))).created((how / 8 % 3) as i64),
            pick(how, &INVOICES),
        ),
        10 => (of_pi(invoice_payment(&id("inpay"))).invoice(&id("in")), "invoice_payment.paid"),
        11 => (subscription(["sub_1", "sub_2"][how % 2]), "customer.subscription.created"),
        // A one-off invoice.
        12 => (invoice(&id("in")).set("billing_reason", "manual"), pick(how, &INVOICES)),
        // Captured in part, and perhaps refunded since.
        13 => (of_pi(charge(&one_of_two("ch"))), pick(how, &CAPTURES)),
        // A PaymentIntent that has several charges, of which it names one.
        14 => (of_charge(pi(&id("pi"))), pick(how, &INTENTS)),
        // A session with a discount, tax, or a conversion.
        _ => (of_pi(session(&id("cs"))), pick(how / 4, &SESSIONS)),
    };
    let object = if names & 64 == 0 {
        object.amount(amount, if names & 128 == 0 { "usd" } else { "eur" })
    } else {
        object.without_amounts()
    };
    let object = bent(object, what, kind, how);
    let object = if names & 4 == 0 { object } else { object.order(order) };
    let object = match (what, names & 8 != 0) {
        (7 | 15, true) => object.client_reference(order),
        (8 | 9, true) => object.subscription_order(order),
        _ => object,
    };
    let object = if matches!(what, 8 | 9 | 12) && names & 16 != 0 {
        object.line_order(order)
    } else {
        object
    };
    let object = match EMAILS[usize::from(whose >> 5) % 4] {
        Some(email) => object.email(email),
        None => object,
    };
    let body = object.event(kind).at(100 + i64::from(at % 6)).id(&format!("evt_{number}"));
    match at {
        ..176 => body,
        176..200 => body.account("acct_1"),
        200..212 => body.account("acct_2"),
        212.. => body.test(),
    }
    .event_by(rules)
}

/// What is set after the amounts: parts, discounts, refunds that a charge lists.
fn bent(object: Object, what: u8, kind: &str, how: usize) -> Object {
    let part = [0, 300, 700, 1000][how / 4 % 4];
    match what {
        // Before 2022-11-15 a charge lists its refunds.
        2 | 4 if how & 128 != 0 => {
            let listed = json!([
                {"id": "re_0_0", "amount": part, "status": pick(how, &REFUND_STATES)},
                {"id": "re_0_1", "amount": 300, "status": "succeeded"},
            ]);
            object.set("refunds", json!({"object": "list", "data": listed, "has_more": false}))
        }
        2 | 3 if kind == "charge.updated" => {
            object.status(["succeeded", "pending", "failed"][how / 8 % 3])
        }
        8 | 9 | 12 if kind == "invoice.updated" => {
            object.set("amount_paid", part).set("amount_remaining", 1000 - part)
        }
        8 | 9 | 12 if how & 64 != 0 => object.set("paid_out_of_band", true).set("amount_paid", 0),
        13 => {
            let captured = [300, 700][how & 1];
            let released = 1000 - captured;
            let refunded = if kind == "charge.captured" { 0 } else { [0, 100, 300][how / 4 % 3] };
            let of =
                |id: &str, amount: i64| json!({"id": id, "amount": amount, "status": "succeeded"});
            let mut listed = vec![of("re_2_0", released)];
            if refunded > 0 {
                listed.insert(0, of("re_2_1", refunded));
            }
            let listed = json!({"object": "list", "data": listed, "has_more": false});
            let object = object.set("amount", 1000).set("amount_captured", captured);
            object.set("amount_refunded", released + refunded).set("refunds", listed)
        }
        15 => {
            let object = object.payment_status("paid").set(
                "total_details",
                json!({"amount_discount": part, "amount_shipping": 0, "amount_tax": 300 * (how & 1)}),
            );
            let conversion = json!({
                "amount_subtotal": 500, "amount_total": 500, "fx_rate": "2", "source_currency": "eur",
            });
            if how & 64 == 0 { object } else { object.set("currency_conversion", conversion) }
        }
        _ => object,
    }
}

fn pick<T: Copy>(index: usize, of: &[T]) -> T {
    of[index % of.len()]
}

const INTENTS: [&str; 7] = [
    "payment_intent.succeeded",
    "payment_intent.canceled",
    "payment_intent.created",
    "payment_intent.processing",
    "payment_intent.payment_failed",
    "payment_intent.amount_capturable_updated",
    "payment_intent.partially_funded",
];
const CHARGES: [&str; 7] = [
    "charge.succeeded",
    "charge.captured",
    "charge.failed",
    "charge.expired",
    "charge.pending",
    "charge.refunded",
    "charge.updated",
];
const CAPTURES: [&str; 3] = ["charge.captured", "charge.refunded", "charge.updated"];
const REFUND_STATES: [&str; 6] =
    ["succeeded", "pending", "failed", "canceled", "requires_action", "unheard_of"];
const REFUNDS: [&str; 4] =
    ["refund.created", "refund.updated", "refund.failed", "charge.refund.updated"];
const DISPUTE_STATES: [&str; 9] = [
    "needs_response",
    "under_review",
    "won",
    "lost",
    "warning_needs_response",
    "warning_closed",
    "prevented",
    "appeal_under_review",
    "unheard_of",
];
const DISPUTES: [&str; 4] = [
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
];
const SESSION_STATES: [&str; 3] = ["paid", "unpaid", "no_payment_required"];
const SESSIONS: [&str; 4] = [
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
];
const REASONS: [&str; 3] = ["subscription_cycle", "subscription_create", "subscription_update"];
const INVOICES: [&str; 8] = [
    "invoice.paid",
    "invoice.payment_succeeded",
    "invoice.payment_failed",
    "invoice.finalized",
    "invoice.updated",
    "invoice.voided",
    "invoice.marked_uncollectible",
    "invoice.created",
];
