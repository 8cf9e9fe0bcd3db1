//! Stories about orders: events in the order they come, then the order that they end in.
//!
//! An order is written as `status received refunded currency`, followed by what else its row says
//! (`problem=`, `disputed=`, `dispute=`, `renewals=`, `refunds_failed=`, `code=`, `message=`, `paid@`, `failed@`, `refunded@`), so that nothing
//! unexpected stays unseen. What was told on the way, and what became of each event, stands beside it.

use paidup::domain::policy::Policy;
use paidup::domain::rows::Order;

use super::fixtures::{EventBody, Object, charge, dispute, pi, refund, session};
use super::memory::Memory;

/// What is expected of a story.
pub struct Story {
    name: &'static str,
    /// What the shop said is due for O1, if it inserted a row.
    due: Option<(i64, &'static str)>,
    /// What it says is due after so many events.
    due_after: Option<(usize, i64, &'static str)>,
    /// The operator's choices.
    policy: Policy,
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
    Story {
        name,
        due: None,
        due_after: None,
        policy: Policy::default(),
        events,
        order: "",
        told: "",
        verdicts: "",
    }
}

impl Story {
    /// What the shop said is due for O1.
    pub fn due(mut self, amount: i64, currency: &'static str) -> Self {
        self.due = Some((amount, currency));
        self
    }

    /// What the shop says is due for O1 after so many events, whatever it said before.
    pub fn due_after(mut self, events: usize, amount: i64, currency: &'static str) -> Self {
        self.due_after = Some((events, amount, currency));
        self
    }

    /// The operator's choices.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// The row of O1, what was told of it, and each event's verdict.
    pub fn ends(mut self, order: &'static str, told: &'static str, verdicts: &'static str) -> Self {
        (self.order, self.told, self.verdicts) = (order, told, verdicts);
        self
    }

    /// Delivers the events, and looks: what differs, a line for each.
    fn differences(&self) -> Vec<String> {
        let mut memory = Memory::new(self.policy.clone());
        if let Some(due) = self.due {
            memory.insert_order("O1", Some(due), 1);
        }
        for (number, event) in self.events.iter().enumerate() {
            memory.deliver([&event.event_by(&self.policy.order_ids)]);
            if let Some((after, amount, currency)) = self.due_after
                && after == number + 1
            {
                memory.register("O1", Some((amount, currency)), 1);
                memory.sweep();
            }
        }
        let name = self.name;
        [
            ("the row", row(&memory, "O1"), self.order),
            ("what was notified", told(&memory, "O1"), self.told),
            ("the outcomes", verdicts(&memory, &self.events), self.verdicts),
        ]
        .into_iter()
        .filter(|(_, is, should)| is != should)
        .map(|(what, is, should)| format!("{name}: {what}\n  is     {is}\n  should {should}"))
        .collect()
    }

    /// Delivers the events, and looks.
    pub fn check(&self) {
        check_all([self]);
    }
}

/// Delivers the events of each story, and looks at all of them.
pub fn check_all<'a>(stories: impl IntoIterator<Item = &'a Story>) {
    let wrong: Vec<String> = stories.into_iter().flat_map(Story::differences).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// An order's row as a line of text, or `none`.
pub fn row(memory: &Memory, id: &str) -> String {
    memory.order(id).map_or_else(|| "none".to_owned(), shown)
}

fn shown(order: &Order) -> String {
    let told = &order.snapshot;
    let currency = told.currency.as_deref().unwrap_or("-");
    let (received, refunded) = (told.amount_received, told.amount_refunded);
    let mut text = format!("{} {received} {refunded} {currency}", told.status.name());
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            text.push_str(&format!(" {name}{value}"));
        }
    };
    add("problem=", told.problem.map(|problem| problem.name().to_owned()));
    add("disputed=", (told.amount_disputed != 0).then(|| told.amount_disputed.to_string()));
    add("dispute=", told.dispute.map(|dispute| dispute.name().to_owned()));
    add("renewals=", (told.renewals != 0).then(|| told.renewals.to_string()));
    add("refunds_failed=", (told.refunds_failed != 0).then(|| told.refunds_failed.to_string()));
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
    let verdict = |event: &EventBody| &memory.outcome(&event.event_id()).outcome.name()[..1];
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
