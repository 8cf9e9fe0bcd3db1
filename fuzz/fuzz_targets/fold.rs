//! Any history of up to twelve events of three payments and two orders, with rows of the shop's or
//! without: delivered at once, backwards and each twice, and shuffled in batches, it ends in the same
//! rows but for `version`, and what was told last is what the rows hold.
//!
//! The first eight bytes are the policy, what the shop inserted and the shuffle; then six bytes an event.

#![no_main]

#[path = "../../tests/it/support/dice.rs"]
mod dice;
#[path = "../../tests/it/support/fixtures.rs"]
mod fixtures;
#[path = "../../tests/it/support/memory.rs"]
mod memory;

use std::collections::BTreeMap;

use dice::Dice;
use fixtures::{
    Object, charge, dispute, invoice, invoice_payment, old_invoice, pi, refund, session,
    subscription,
};
use libfuzzer_sys::fuzz_target;
use memory::Memory;
use paidup::domain::event::Event;
use paidup::domain::policy::{Mode, Policy, UnknownOrders};
use paidup::domain::rows::{Order};
use paidup::domain::order::OrderSnapshot;

const EVENTS_MAX: usize = 12;
const EVENT_BYTES: usize = 6;
const ORDERS: [&str; 2] = ["O1", "O2"];
const AMOUNTS: [i64; 12] =
    [1000, 1000, 300, 700, 1500, 29_900, 0, 1, -1, i64::MAX, i64::MAX / 2 + 1, i64::MIN];
const EMAILS: [Option<&str>; 4] = [None, None, Some("a@example.com"), Some("b@example.com")];

fuzz_target!(|input: &[u8]| {
    let Some((head, rest)) = input.split_first_chunk::<8>() else { return };
    let shop = Shop::of(*head);
    let events: Vec<Event> = rest
        .chunks_exact(EVENT_BYTES)
        .take(EVENTS_MAX)
        .enumerate()
        .filter_map(|(number, bytes)| Some(event(number, bytes.try_into().ok()?)))
        .collect();
    let at_once = shop.deliver(&[events.iter().collect()]);
    let twice =
        events.iter().rev().flat_map(|event| [vec![event], vec![event]]).collect::<Vec<_>>();
    assert_eq!(at_once, shop.deliver(&twice));
    let mut dice = Dice(u64::from_le_bytes(*head));
    for _ in 0..2 {
        assert_eq!(at_once, shop.deliver(&batches(&mut dice, &events)));
    }
});

/// What the shop and the operator did.
struct Shop {
    policy: Policy,
    /// By order: what is due, the customer's address, and when the row was inserted.
    rows: [Option<(Option<(i64, &'static str)>, Option<&'static str>, i64)>; 2],
    /// With `hold`: after how many batches the rows are inserted, and taken up.
    inserted: usize,
    taken_up: usize,
}

/// What a delivery ends in.
type End = (BTreeMap<String, Order>, BTreeMap<String, OrderSnapshot>);

impl Shop {
    fn of(bytes: [u8; 8]) -> Self {
        let [policy, one, other, when, ..] = bytes;
        let mode = [Mode::Any, Mode::Any, Mode::Live, Mode::Test][usize::from(policy % 4)];
        let is_hold = policy & 4 != 0;
        let unknown_orders = if is_hold { UnknownOrders::Hold } else { UnknownOrders::Create };
        let row = |byte: u8| {
            let due = [None, Some((1000, "usd")), Some((1500, "usd")), Some((1000, "eur"))];
            let email = EMAILS[usize::from(byte >> 4) % 4];
            let at = [50, 103, 200, 103][usize::from(byte >> 6)];
            (byte & 1 != 0).then_some((due[usize::from(byte >> 1) % 4], email, at))
        };
        let inserted = if is_hold { usize::from(when % 16) } else { 0 };
        let taken_up = inserted + usize::from(when / 16);
        Self {
            policy: Policy { mode, unknown_orders },
            rows: [row(one), row(other)],
            inserted,
            taken_up,
        }
    }

    fn deliver(&self, batches: &[Vec<&Event>]) -> End {
        let mut memory = Memory::new(self.policy);
        let (inserted, taken_up) =
            (self.inserted.min(batches.len()), self.taken_up.min(batches.len()));
        for at in 0..=batches.len() {
            if at == inserted {
                self.insert(&mut memory);
            }
            if at == taken_up && self.policy.unknown_orders == UnknownOrders::Hold {
                memory.take_up(&self.orders().map(|(id, _)| id).collect::<Vec<_>>());
            }
            if let Some(batch) = batches.get(at) {
                memory.deliver(batch.iter().copied());
            }
        }
        let (rows, mut last_told) = (memory.rows(), memory.last_told());
        for (id, row) in &rows {
            // Of a row that nothing changed, only the shop has told.
            let told = last_told.entry(id.clone()).or_insert_with(|| self.told(id));
            assert_eq!(*told, row.snapshot, "the last change of {id} did not tell what its row holds");
        }
        (rows, last_told)
    }

    fn orders(&self) -> impl Iterator<Item = (&'static str, Option<(i64, &'static str)>)> {
        let rows = ORDERS.into_iter().zip(self.rows);
        rows.filter_map(|(id, row)| row.map(|(due, _, _)| (id, due)))
    }

    fn insert(&self, memory: &mut Memory) {
        for (id, row) in ORDERS.into_iter().zip(self.rows) {
            let Some((due, email, at)) = row else { continue };
            memory.insert_order(id, due, at);
            if let Some(email) = email {
                memory.set_email(id, email);
            }
        }
    }

    fn told(&self, id: &str) -> OrderSnapshot {
        let due = self.orders().find(|(order, _)| *order == id).and_then(|(_, due)| due);
        OrderSnapshot { currency: due.map(|(_, currency)| currency.to_owned()), ..OrderSnapshot::default() }
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
fn event(number: usize, bytes: [u8; EVENT_BYTES]) -> Event {
    let [what, whose, names, amount, at, how] = bytes;
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
    let (object, kind) = match what % 12 {
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
            of_subscription(invoice(&id("in"))).created((how / 4 % 3) as i64),
            pick(how, &INVOICES),
        ),
        9 => (
            of_subscription(of_pi(old_invoice(&id("in")))).created((how / 4 % 3) as i64),
            pick(how, &INVOICES),
        ),
        10 => (of_pi(invoice_payment(&id("inpay"))).invoice(&id("in")), "invoice_payment.paid"),
        _ => (subscription(["sub_1", "sub_2"][how % 2]), "customer.subscription.created"),
    };
    let object = if names & 64 == 0 {
        object.amount(amount, if names & 128 == 0 { "usd" } else { "eur" })
    } else {
        object.without_amounts()
    };
    let object = if names & 4 == 0 { object } else { object.order(order) };
    let object = match (what % 12, names & 8 != 0) {
        (7, true) => object.client_reference(order),
        (8 | 9, true) => object.subscription_order(order),
        _ => object,
    };
    let object = if matches!(what % 12, 8 | 9) && names & 16 != 0 {
        object.line_order(order)
    } else {
        object
    };
    let object = match EMAILS[usize::from(whose >> 5) % 4] {
        Some(email) => object.email(email),
        None => object,
    };
    let body = object.event(kind).at(100 + i64::from(at % 6)).id(&format!("evt_{number}"));
    if at >= 224 { body.test().event() } else { body.event() }
}

fn pick<T: Copy>(index: usize, of: &[T]) -> T {
    of[index % of.len()]
}

const INTENTS: [&str; 5] = [
    "payment_intent.succeeded",
    "payment_intent.canceled",
    "payment_intent.created",
    "payment_intent.processing",
    "payment_intent.payment_failed",
];
const CHARGES: [&str; 6] = [
    "charge.succeeded",
    "charge.captured",
    "charge.failed",
    "charge.expired",
    "charge.pending",
    "charge.refunded",
];
const REFUND_STATES: [&str; 6] =
    ["succeeded", "pending", "failed", "canceled", "requires_action", "unheard_of"];
const REFUNDS: [&str; 4] =
    ["refund.created", "refund.updated", "refund.failed", "charge.refund.updated"];
const DISPUTE_STATES: [&str; 6] =
    ["needs_response", "under_review", "won", "lost", "warning_needs_response", "warning_closed"];
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
const INVOICES: [&str; 4] =
    ["invoice.paid", "invoice.payment_succeeded", "invoice.payment_failed", "invoice.finalized"];
