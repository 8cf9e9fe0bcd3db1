//! The same events end in the same orders, whatever their order, their batches and their duplicates.
//!
//! What must hold for every delivery of one history: the same order rows, every column but `version`
//! and `updated_at`; and the last change of each order told the state that the row holds. So whoever
//! was told of every change knows, in the end, what the database knows, and the same on every delivery.

use std::collections::BTreeMap;

use paidup::domain::delta::Reading;
use paidup::domain::event::Event;
use paidup::domain::order::OrderSnapshot;
use paidup::domain::payment::Facts;
use paidup::domain::policy::{Mode, Policy, UnknownOrders};
use paidup::domain::rows::Order;
use proptest::prelude::*;
use proptest::test_runner::Config;

use crate::support::dice::Dice;
use crate::support::fixtures::EventBody;
use crate::support::histories::{EVENTS_MAX, History, ShopOrder, histories};
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
    last_told: BTreeMap<String, OrderSnapshot>,
}

/// When the shop inserts a row, and when a sweep takes it up: positions among the events.
struct Insertion<'a> {
    order: &'a ShopOrder,
    inserted: usize,
    taken_up: usize,
}

/// Delivers the events in this order, cut into random batches.
fn deliver(history: &History, events: &[&Event], policy: &Policy, dice: &mut Dice) -> End {
    let mut memory = Memory::new(policy.clone());
    let mut insertions = Vec::new();
    for order in &history.orders {
        // With `hold`, the shop's rows may come at any time, and are taken up some time later.
        if policy.unknown_orders == UnknownOrders::Hold {
            let inserted = dice.roll(events.len() + 1);
            let taken_up = inserted + dice.roll(events.len() + 1 - inserted);
            insertions.push(Insertion { order, inserted, taken_up });
        } else {
            insert(&mut memory, order);
        }
    }
    let mut batch = Vec::new();
    for position in 0..=events.len() {
        let is_due = |one: &Insertion<'_>| one.inserted == position || one.taken_up == position;
        if insertions.iter().any(is_due) || dice.roll(3) == 0 {
            memory.deliver(batch.drain(..));
        }
        for insertion in &insertions {
            if insertion.inserted == position {
                insert(&mut memory, insertion.order);
            }
            if insertion.taken_up == position {
                memory.take_up(&[insertion.order.id]);
            }
        }
        batch.extend(events.get(position).copied());
    }
    memory.deliver(batch.drain(..));
    let (rows, mut last_told) = (memory.rows(), memory.last_recorded());
    for (id, row) in &rows {
        // An order that nothing changed was told of by nobody but the shop, when it inserted it.
        let told = last_told.entry(id.clone()).or_insert_with(|| untouched(history, id));
        assert_eq!(*told, row.snapshot, "the last change of {id} did not tell what its row holds");
    }
    End { rows, last_told }
}

fn insert(memory: &mut Memory, order: &ShopOrder) {
    memory.insert_order(order.id, order.due, order.created_at);
    if let Some(email) = order.email {
        memory.set_email(order.id, email);
    }
}

/// What the shop's row says before any event.
fn untouched(history: &History, id: &str) -> OrderSnapshot {
    let due = history.orders.iter().find(|order| order.id == id).and_then(|order| order.due);
    OrderSnapshot {
        currency: due.map(|(_, currency)| currency.to_owned()),
        ..OrderSnapshot::default()
    }
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
    (mode, unknown).prop_map(|(mode, unknown_orders)| Policy {
        mode,
        unknown_orders,
        ..Policy::default()
    })
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
        seed in any::<u64>(),
    ) {
        let events: Vec<Event> = history.events.iter().map(|event| event.event()).collect();
        let mut order: Vec<&Event> = events.iter().collect();
        let mut dice = Dice(seed);
        let expected = deliver(&history, &order, &policy, &mut dice);
        let mut differing = None;
        permutations(&mut order, &mut |order| {
            if differing.is_none() {
                let end = deliver(&history, order, &policy, &mut dice);
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
        seed in any::<u64>(),
    ) {
        let events: Vec<Event> = history.events.iter().map(|event| event.event()).collect();
        let mut dice = Dice(seed);
        let in_order: Vec<&Event> = events.iter().collect();
        let expected = deliver(&history, &in_order, &policy, &mut dice);
        for _ in 0..DELIVERIES_PER_CASE {
            let mut delivered: Vec<&Event> = events.iter().collect();
            for _ in 0..dice.roll(events.len() + 1) {
                delivered.push(&events[dice.roll(events.len())]);
            }
            dice.shuffle(&mut delivered);
            let end = deliver(&history, &delivered, &policy, &mut dice);
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
