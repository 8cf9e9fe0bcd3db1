//! Stories about orders: events in the order they come, then the order that they end in.
//!
//! An order is written as `status received refunded currency`, followed by what else its row says
//! (`problem=`, `dispute=`, `code=`, `message=`, `paid@`, `failed@`, `refunded@`), so that nothing
//! unexpected stays unseen. What was told on the way, and what became of each event, stands beside it.

use paidup::domain::ledger::{Order, Policy};

use super::fixtures::{EventBody, Object, charge, dispute, pi, refund, session};
use super::memory::Memory;

/// What is expected of a story.
pub struct Story {
    name: &'static str,
    /// What the shop said is due for O1, if it inserted a row.
    due: Option<(i64, &'static str)>,
    /// Each is a batch of its own.
    events: Vec<EventBody>,
    /// O1's row at the end.
    order: &'static str,
    /// The kinds of O1's changes; `-` is a change that has no kind.
    told: &'static str,
    /// The first letter of each event's verdict: applied, unchanged, parked, ignored.
    verdicts: &'static str,
}

/// A story that is still to be given its end.
pub fn story(name: &'static str, events: Vec<EventBody>) -> Story {
    Story { name, due: None, events, order: "", told: "", verdicts: "" }
}

impl Story {
    /// What the shop said is due for O1.
    pub fn due(mut self, amount: i64, currency: &'static str) -> Self {
        self.due = Some((amount, currency));
        self
    }

    /// The row of O1, what was told of it, and each event's verdict.
    pub fn ends(mut self, order: &'static str, told: &'static str, verdicts: &'static str) -> Self {
        (self.order, self.told, self.verdicts) = (order, told, verdicts);
        self
    }

    /// Delivers the events, and looks.
    pub fn check(&self) {
        let mut memory = Memory::new(Policy::default());
        if let Some(due) = self.due {
            memory.insert_order("O1", Some(due), 1);
        }
        for event in &self.events {
            memory.deliver([&event.event()]);
        }
        let name = self.name;
        assert_eq!(row(&memory, "O1"), self.order, "the row of: {name}");
        assert_eq!(told(&memory, "O1"), self.told, "what was told of: {name}");
        assert_eq!(verdicts(&memory, &self.events), self.verdicts, "the verdicts of: {name}");
    }
}

/// An order's row as a line of text, or `none`.
pub fn row(memory: &Memory, id: &str) -> String {
    memory.order(id).map_or_else(|| "none".to_owned(), shown)
}

fn shown(order: &Order) -> String {
    let told = &order.told;
    let currency = told.currency.as_deref().unwrap_or("-");
    let (received, refunded) = (told.amount_received, told.amount_refunded);
    let mut text = format!("{} {received} {refunded} {currency}", told.status.name());
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            text.push_str(&format!(" {name}{value}"));
        }
    };
    add("problem=", told.problem.map(|problem| problem.name().to_owned()));
    add("dispute=", told.dispute.map(|dispute| dispute.name().to_owned()));
    add("code=", order.failure_code.clone());
    add("message=", order.failure_message.clone());
    add("paid@", order.paid_at.map(|at| at.to_string()));
    add("failed@", order.failed_at.map(|at| at.to_string()));
    add("refunded@", order.refunded_at.map(|at| at.to_string()));
    text
}

/// The kinds of an order's changes, without their `order.`; `-` is a change that has none.
pub fn told(memory: &Memory, id: &str) -> String {
    let kinds = |kinds: &Vec<&'static str>| {
        if kinds.is_empty() { "-".to_owned() } else { kinds.join("+") }
    };
    let changes = memory.changes(id);
    changes
        .iter()
        .map(|change| kinds(&change.kinds))
        .collect::<Vec<_>>()
        .join(" ")
        .replace("order.", "")
}

/// The first letters of the events' verdicts.
pub fn verdicts(memory: &Memory, events: &[EventBody]) -> String {
    let verdict = |event: &EventBody| &memory.outcome(&event.event_id()).verdict.name()[..1];
    events.iter().map(verdict).collect()
}

/// Delivers to an empty database, each event as a batch of its own.
pub fn delivered(events: &[EventBody]) -> Memory {
    let mut memory = Memory::new(Policy::default());
    for event in events {
        memory.deliver([&event.event()]);
    }
    memory
}

/// The PaymentIntent succeeded.
pub fn succeeded(object: Object) -> EventBody {
    object.event("payment_intent.succeeded")
}

/// An attempt to pay the PaymentIntent failed, with a code and a message.
pub fn failed(object: Object) -> EventBody {
    object
        .failure("card_declined", "Your card was declined.")
        .event("payment_intent.payment_failed")
}

/// PaymentIntent `pi_1` of order O1 over 29900 usd.
pub fn pi_1() -> Object {
    pi("pi_1").order("O1")
}

/// The charge of `pi_1`.
pub fn charge_1() -> Object {
    charge("ch_1").pi("pi_1")
}

/// A refund of that charge.
pub fn refund_1() -> Object {
    refund("re_1").pi("pi_1").charge("ch_1")
}

/// A dispute of that charge.
pub fn dispute_1() -> Object {
    dispute("dp_1").pi("pi_1").charge("ch_1")
}

/// The session of `pi_1`; its PaymentIntent does not know the order.
pub fn session_1() -> Object {
    session("cs_1").pi("pi_1").order("O1")
}
