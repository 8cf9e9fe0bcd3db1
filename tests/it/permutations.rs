//! The same events end in the same orders, whatever their order, their batches and their duplicates.
//!
//! What must hold for every delivery of one history: the same order rows, every column but `version`,
//! `announced` and `updated_at`; and the last change of each order recorded the state that the row holds.
//! So who is notified of every change knows, in the end, what the database knows, and the same on every
//! delivery. That holds too where the shop inserts its rows, or changes what is due, among the events.

use std::collections::BTreeMap;
use std::sync::Arc;

use paidup::domain::delta::Reading;
use paidup::domain::event::Event;
use paidup::domain::order::OrderSnapshot;
use paidup::domain::order_ids::OrderIdRules;
use paidup::domain::payment::Facts;
use paidup::domain::policy::{Accounts, Mode, Policy, UnknownOrders};
use paidup::domain::rows::Order;
use proptest::prelude::*;
use proptest::test_runner::Config;

use crate::support::dice::Dice;
use crate::support::fixtures::EventBody;
use crate::support::histories::{ACCOUNTS, EVENTS_MAX, History, histories};
use crate::support::memory::Memory;

/// Histories whose permutations are all tried.
const EXHAUSTIVE_CASES: u32 = 96;
/// Up to this many events: 6! = 720 deliveries.
const EXHAUSTIVE_EVENTS_MAX: usize = 6;
/// Longer histories, each delivered in random permutations.
const RANDOM_CASES: u32 = 512;
const DELIVERIES_PER_CASE: usize = 24;
const JOIN_CASES: u32 = 512;

fn config(cases: u32) -> Config {
    // A found counterexample becomes a story in `orders.rs`, not a file of seeds.
    Config { cases, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() }
}

/// What a delivery ended in.
#[derive(Debug, PartialEq)]
struct End {
    rows: BTreeMap<String, Order>,
    last_recorded: BTreeMap<String, OrderSnapshot>,
}

/// When the shop's rows come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    /// Before all events.
    First,
    /// At any time, and with another amount due before, if the shop changes its mind.
    Late,
}

/// Delivers the events in this order, cut into random batches; the shop writes its rows among them.
fn deliver(
    history: &History,
    events: &[&Event],
    policy: &Policy,
    rows: Rows,
    dice: &mut Dice,
) -> End {
    let mut memory = Memory::new(policy.clone());
    let mut writes = Vec::new();
    for order in &history.orders {
        let at = if rows == Rows::Late { dice.roll(events.len() + 1) } else { 0 };
        if let (Rows::Late, Some(due)) = (rows, order.due_before) {
            writes.push((dice.roll(at + 1), order, due));
        }
        writes.push((at, order, order.due));
    }
    let mut batch = Vec::new();
    for position in 0..=events.len() {
        let is_written = writes.iter().any(|(at, ..)| *at == position);
        let sweeps = dice.roll(4) == 0;
        if is_written || sweeps || dice.roll(3) == 0 {
            memory.deliver(batch.drain(..));
        }
        for (_, order, due) in writes.iter().filter(|(at, ..)| *at == position) {
            memory.register(order.id, *due, order.created_at);
            // An address that the shop writes over the same one of paidup's stays paidup's.
            if let Some(email) = order.email
                && (rows == Rows::First || policy.unknown_orders == UnknownOrders::Hold)
            {
                memory.set_email(order.id, email);
            }
        }
        if sweeps {
            memory.sweep();
        }
        batch.extend(events.get(position).copied());
    }
    memory.deliver(batch.drain(..));
    memory.sweep();
    let (mut ended, mut last_recorded) = (memory.rows(), memory.last_recorded());
    for (id, row) in &ended {
        // A row that nothing changed since the shop inserted it has no change.
        let last = last_recorded.entry(id.clone()).or_insert_with(|| untouched(history, id, row));
        assert_eq!(*last, row.snapshot, "the last change of {id} is not what its row holds");
    }
    if rows == Rows::Late && policy.unknown_orders == UnknownOrders::Create {
        // A row that an event made before the shop did has the event's time.
        for order in &history.orders {
            ended.entry(order.id.to_owned()).and_modify(|row| row.created_at = 0);
        }
    }
    End { rows: ended, last_recorded }
}

/// What the shop's row says before any event: only a currency, which is one that the shop wrote.
fn untouched(history: &History, id: &str, row: &Order) -> OrderSnapshot {
    let order = history.orders.iter().find(|order| order.id == id).expect("the shop inserted it");
    let dues = [Some(order.due), order.due_before].into_iter().flatten();
    let mut currencies = dues.map(|due| due.map(|(_, currency)| currency.to_owned()));
    let currency = row.snapshot.currency.clone();
    assert!(currencies.any(|one| one == currency), "nobody wrote {currency:?} to {id}");
    OrderSnapshot { currency, ..OrderSnapshot::default() }
}

/// Calls `visit` with every permutation of `items` (Heap's algorithm).
fn permutations<T>(items: &mut [T], visit: &mut impl FnMut(&[T])) {
    let mut counters = vec![0; items.len()];
    visit(items);
    let mut index = 0;
    while index < items.len() {
        if counters[index] < index {
            items.swap(if index % 2 == 0 { 0 } else { counters[index] }, index);
            visit(items);
            counters[index] += 1;
            index = 0;
        } else {
            counters[index] = 0;
            index += 1;
        }
    }
}

fn policies() -> impl Strategy<Value = Policy> {
    let mode = prop_oneof![5 => Just(Mode::Live), 1 => Just(Mode::Test)];
    let unknown = prop_oneof![3 => Just(UnknownOrders::Create), 2 => Just(UnknownOrders::Hold)];
    let listed = Accounts::Listed([ACCOUNTS[0].to_owned()].into());
    let accounts = prop_oneof![Just(Accounts::Own), Just(Accounts::Any), Just(listed)];
    let keys = prop_oneof![Just(None), Just(Some("order_id,@client_reference_id"))];
    (mode, unknown, accounts, keys).prop_map(|(mode, unknown_orders, accounts, keys)| {
        let order_ids = Arc::new(OrderIdRules::new(keys, None).expect("keys"));
        Policy { mode, unknown_orders, accounts, order_ids }
    })
}

fn rows() -> impl Strategy<Value = Rows> {
    prop_oneof![1 => Just(Rows::First), 2 => Just(Rows::Late)]
}

fn events_by(history: &History, policy: &Policy) -> Vec<Event> {
    history.events.iter().map(|event| event.event_by(&policy.order_ids)).collect()
}

#[test]
fn heaps_algorithm_visits_each_permutation_once() {
    let mut seen = std::collections::BTreeSet::new();
    let mut visits = 0;
    permutations(&mut [1, 2, 3, 4, 5, 6], &mut |items| {
        visits += 1;
        seen.insert(items.to_vec());
    });
    assert_eq!((visits, seen.len()), (720, 720));
}

proptest! {
    #![proptest_config(config(EXHAUSTIVE_CASES))]

    #[test]
    fn every_permutation_of_a_short_history_ends_alike(
        history in histories(EXHAUSTIVE_EVENTS_MAX),
        policy in policies(),
        rows in rows(),
        seed in any::<u64>(),
    ) {
        let events = events_by(&history, &policy);
        let mut order: Vec<&Event> = events.iter().collect();
        let mut dice = Dice(seed);
        let expected = deliver(&history, &order, &policy, rows, &mut dice);
        let mut differing = None;
        permutations(&mut order, &mut |order| {
            if differing.is_none() {
                let end = deliver(&history, order, &policy, rows, &mut dice);
                if end != expected {
                    let ids: Vec<String> = order.iter().map(|event| event.id().to_owned()).collect();
                    differing = Some((ids, end));
                }
            }
        });
        if let Some((ids, end)) = differing {
            prop_assert_eq!(end, expected, "delivered as {:?}", ids);
        }
    }
}

proptest! {
    #![proptest_config(config(RANDOM_CASES))]

    #[test]
    fn any_order_with_any_duplicates_ends_alike(
        history in histories(EVENTS_MAX),
        policy in policies(),
        rows in rows(),
        seed in any::<u64>(),
    ) {
        let events = events_by(&history, &policy);
        let mut dice = Dice(seed);
        let in_order: Vec<&Event> = events.iter().collect();
        let expected = deliver(&history, &in_order, &policy, rows, &mut dice);
        for _ in 0..DELIVERIES_PER_CASE {
            let mut delivered: Vec<&Event> = events.iter().collect();
            for _ in 0..dice.roll(events.len() + 1) {
                delivered.push(&events[dice.roll(events.len())]);
            }
            dice.shuffle(&mut delivered);
            let end = deliver(&history, &delivered, &policy, rows, &mut dice);
            let ids: Vec<&str> = delivered.iter().map(|event| event.id()).collect();
            prop_assert_eq!(&end, &expected, "delivered as {:?}", ids);
        }
    }
}

/// What the events of a history say, joined: never with the empty facts, which say less than any event.
fn facts_of(events: &[EventBody]) -> Facts {
    let facts = events.iter().filter_map(|event| match event.event().reading() {
        Reading::Relevant(delta) => Some(delta.facts.clone()),
        Reading::Ignored(_) => None,
    });
    facts.reduce(|one, other| joined(&one, &other)).unwrap_or_default()
}

fn joined(one: &Facts, other: &Facts) -> Facts {
    let mut one = one.clone();
    one.join(other.clone());
    one
}

proptest! {
    #![proptest_config(config(JOIN_CASES))]

    #[test]
    fn joining_facts_is_commutative_associative_and_idempotent(
        one in histories(EVENTS_MAX / 3),
        two in histories(EVENTS_MAX / 3),
        three in histories(EVENTS_MAX / 3),
    ) {
        let [one, two, three] = [one, two, three].map(|history| facts_of(&history.events));
        prop_assert_eq!(joined(&one, &two), joined(&two, &one));
        prop_assert_eq!(joined(&joined(&one, &two), &three), joined(&one, &joined(&two, &three)));
        prop_assert_eq!(joined(&one, &one), one.clone());
        prop_assert_eq!(joined(&Facts::default(), &one), one);
    }

    #[test]
    fn facts_survive_being_stored_as_json(history in histories(EVENTS_MAX)) {
        let facts = facts_of(&history.events);
        let text = serde_json::to_string(&facts).expect("facts are JSON");
        prop_assert_eq!(serde_json::from_str::<Facts>(&text).expect("and back"), facts);
    }
}
