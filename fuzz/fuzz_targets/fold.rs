//! Any history, four bytes an event: together, or one by one from the last to the first with every one
//! twice, it ends in the same orders.

#![no_main]

#[path = "../../tests/it/support/fixtures.rs"]
mod fixtures;
#[path = "../../tests/it/support/memory.rs"]
mod memory;

use fixtures::{EventBody, charge, dispute, invoice, invoice_payment, pi, refund, session};
use libfuzzer_sys::fuzz_target;
use memory::Memory;
use paidup::domain::event::Event;
use paidup::domain::ledger::Policy;

const EVENTS_MAX: usize = 12;

/// What four bytes mean: what happened, to which payment of which order, how much, and when.
fn event(number: usize, bytes: [u8; 4]) -> Event {
    let [what, whose, amount, at] = bytes;
    let (payment, order) = (whose % 3, format!("O{}", whose / 16 % 2));
    let id = |kind: &str| format!("{kind}_{payment}");
    let amount = i64::from(amount) * 100;
    let of_pi = || pi(&id("pi")).amount(25_500, "usd");
    let of_charge = || charge(&id("ch")).pi(&id("pi")).amount(25_500, "usd");
    let named = whose & 4 == 0;
    let (object, kind) = match what % 16 {
        0 => (of_pi().amount(amount, "usd"), "payment_intent.succeeded"),
        1 => (of_pi().failure("declined", "No."), "payment_intent.payment_failed"),
        2 => (of_pi(), "payment_intent.canceled"),
        3 => (of_charge(), "charge.succeeded"),
        4 => (of_charge().uncaptured(), "charge.succeeded"),
        5 => (of_charge().refunded(amount), "charge.refunded"),
        6 => (refund(&id("re")).charge(&id("ch")).amount(amount, "usd"), "refund.created"),
        7 => (refund(&id("re")).pi(&id("pi")).status("failed"), "refund.failed"),
        8 => (dispute(&id("dp")).charge(&id("ch")), "charge.dispute.created"),
        9 => (dispute(&id("dp")).charge(&id("ch")).status("lost"), "charge.dispute.closed"),
        10 => (session(&id("cs")).pi(&id("pi")), "checkout.session.completed"),
        11 => (session(&id("cs")).payment_status("unpaid"), "checkout.session.completed"),
        12 => (session(&id("cs")), "checkout.session.async_payment_failed"),
        13 => (invoice(&id("in")).created(i64::from(at)).subscription("sub_1"), "invoice.paid"),
        14 => (invoice(&id("in")).created(i64::from(at)), "invoice.payment_failed"),
        _ => {
            (invoice_payment(&id("inpay")).pi(&id("pi")).invoice(&id("in")), "invoice_payment.paid")
        }
    };
    let object = if named { object.order(&order) } else { object };
    let body: EventBody = object.event(kind).at(i64::from(at)).id(&format!("evt_{number}"));
    body.event()
}

fuzz_target!(|input: &[u8]| {
    let chunks = input.chunks_exact(4).take(EVENTS_MAX).enumerate();
    let events: Vec<Event> = chunks
        .map(|(number, bytes)| event(number, [bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect();
    let mut together = Memory::new(Policy::default());
    together.deliver(&events);
    let mut apart = Memory::new(Policy::default());
    for event in events.iter().rev() {
        apart.deliver([event]);
        apart.deliver([event]);
    }
    assert_eq!(together.rows(), apart.rows());
    assert_eq!(together.last_told(), apart.last_told());
});
