//! The histories of `permutations.rs` again, through the real databases: in random order, with random
//! duplicates, cut into random batches, and on Postgres over two writers at once. They must end as the
//! same history does in memory, delivered in order.

use std::collections::BTreeMap;

use paidup::domain::event::Event;
use paidup::domain::policy::Policy;
use paidup::domain::rows::Order;
use paidup::store::transaction::{Rules, record};
use paidup::store::{Session, StoreError};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::support::databases::Database;
use crate::support::histories::{EVENTS_MAX, History, histories};
use crate::support::memory::Memory;

/// Histories for each database. A batch is a commit to disk, so these are fewer than in memory.
const CASES: usize = 60;
const DELIVERIES_PER_CASE: usize = 2;
/// In milliseconds.
const NOW: i64 = 1_795_452_931_000;
/// Two that fold at once may meet, as a database means it; the writer tries so often too.
const RETRIES_MAX: usize = 3;

const CLEAR: &str = "delete from deliveries; delete from order_changes; delete from orders;
    delete from payment_links; delete from payments; delete from events";

/// What a delivery ended in, but for `version`, which counts the changes on the way.
#[derive(Debug, PartialEq)]
struct End {
    rows: BTreeMap<String, Order>,
    /// Status, dispute, problem and amounts of each order's last change.
    last_told: BTreeMap<String, String>,
}

fn told(order: &Order) -> String {
    let told = &order.snapshot;
    format!(
        "{} {:?} {:?} {} {} {:?}",
        told.status.name(),
        told.dispute.map(|dispute| dispute.name()),
        told.problem.map(|problem| problem.name()),
        told.amount_received,
        told.amount_refunded,
        told.currency.as_deref(),
    )
}

fn in_memory(history: &History) -> BTreeMap<String, Order> {
    let mut memory = Memory::new(Policy::default());
    for order in &history.orders {
        memory.insert_order(order.id, order.due, order.created_at);
        if let Some(email) = order.email {
            memory.set_email(order.id, email);
        }
    }
    let events: Vec<Event> = history.events.iter().map(|event| event.event()).collect();
    memory.deliver(&events);
    memory.rows()
}

async fn insert(database: &Database, history: &History) {
    for order in &history.orders {
        let quoted = |text: &str| format!("'{text}'");
        let due = order.due.map_or("null".to_owned(), |(amount, _)| amount.to_string());
        let currency = order.due.map_or("null".to_owned(), |(_, currency)| quoted(currency));
        let email = order.email.map_or("null".to_owned(), quoted);
        let created = if database.is_postgres() {
            format!("to_timestamp({})", order.created_at)
        } else {
            format!("strftime('%Y-%m-%dT%H:%M:%SZ', {}, 'unixepoch')", order.created_at)
        };
        database
            .execute(&format!(
                "insert into orders (id, amount_due, currency, customer_email, created_at)
                 values ('{}', {due}, {currency}, {email}, {created})",
                order.id
            ))
            .await;
    }
}

async fn commit(session: &mut Session, batch: &[&Event]) {
    for _ in 0..RETRIES_MAX {
        match record(session, &Rules::default(), batch, NOW).await {
            Ok(_) => return,
            Err(StoreError::Conflict) => session.rollback().await.expect("rolled back"),
            Err(error) => panic!("{error}"),
        }
    }
    panic!("in conflict for ever");
}

/// Cuts events into batches of one to four, by the bits of a number.
fn batches<'a>(events: &'a [&'a Event], mut bits: u64) -> Vec<&'a [&'a Event]> {
    let (mut rest, mut cut) = (events, Vec::new());
    while !rest.is_empty() {
        let (batch, after) = rest.split_at(rest.len().min(1 + (bits % 4) as usize));
        cut.push(batch);
        rest = after;
        bits = bits.rotate_right(2);
    }
    cut
}

async fn end(session: &mut Session, ids: impl Iterator<Item = &String>) -> End {
    let mut end = End { rows: BTreeMap::new(), last_told: BTreeMap::new() };
    for id in ids {
        let record = session.order(id).await.expect("an answer").expect("an order");
        let changes = session.order_changes(id).await.expect("changes");
        assert_eq!(record.order.version, changes.len() as i64, "{id}");
        let last = changes.last().map_or_else(
            || told(&record.order),
            |last| {
                format!(
                    "{} {:?} {:?} {} {} {:?}",
                    last.to_status,
                    last.dispute.as_deref(),
                    last.problem.as_deref(),
                    last.amount_received,
                    last.amount_refunded,
                    last.currency.as_deref(),
                )
            },
        );
        end.last_told.insert(id.clone(), last);
        end.rows.insert(id.clone(), Order { version: 0, announced: None, ..record.order });
    }
    end
}

/// Shuffled, with some of them twice.
fn delivered<'a>(events: &'a [Event], runner: &mut TestRunner) -> Vec<&'a Event> {
    let twice = events.iter().filter(|event| event.id().len() % 2 == 0);
    let all: Vec<&Event> = events.iter().chain(twice).collect();
    let shuffled = proptest::strategy::Just(all).prop_shuffle();
    shuffled.new_tree(runner).expect("a shuffle").current()
}

/// Runs all cases; `deliver` brings the events into the database.
async fn run_cases(database: &Database, deliver: impl AsyncFn(&mut [Session; 2], &[&Event], u64)) {
    let mut runner = TestRunner::default();
    let mut sessions = [database.session().await, database.session().await];
    for _ in 0..CASES {
        let history = histories(EVENTS_MAX).new_tree(&mut runner).expect("a history").current();
        let events: Vec<Event> = history.events.iter().map(|event| event.event()).collect();
        let rows = in_memory(&history);
        let expected = End {
            last_told: rows.iter().map(|(id, order)| (id.clone(), told(order))).collect(),
            rows,
        };
        for _ in 0..DELIVERIES_PER_CASE {
            database.execute(CLEAR).await;
            insert(database, &history).await;
            let order = delivered(&events, &mut runner);
            let bits = proptest::num::u64::ANY.new_tree(&mut runner).expect("bits").current();
            deliver(&mut sessions, &order, bits).await;
            let end = end(&mut sessions[0], expected.rows.keys()).await;
            let ids: Vec<&str> = order.iter().map(|event| event.id()).collect();
            assert_eq!(end, expected, "{bits:x}: {ids:?} of {history:#?}");
            let count = database.one("select cast(count(*) as text) from orders").await;
            assert_eq!(count, expected.rows.len().to_string(), "{history:#?}");
        }
    }
}

async fn one_writer(sessions: &mut [Session; 2], events: &[&Event], bits: u64) {
    for batch in batches(events, bits) {
        commit(&mut sessions[0], batch).await;
    }
}

#[tokio::test]
async fn histories_end_on_sqlite_as_they_do_in_memory() {
    let database = Database::sqlite().await;
    run_cases(&database, one_writer).await;
    database.remove().await;
}

#[tokio::test]
async fn histories_end_on_postgres_as_they_do_in_memory() {
    let database = Database::postgres().await;
    run_cases(&database, one_writer).await;
    database.remove().await;
}

#[tokio::test]
async fn histories_end_alike_over_two_writers_at_once() {
    let database = Database::postgres().await;
    run_cases(&database, async |sessions, events, bits| {
        let [one, two] = sessions;
        // Each event goes to one of them, every fourth to both.
        let takes = |writer: usize| {
            let picked = events.iter().enumerate().filter(move |(index, _)| {
                let dice = bits.rotate_left(*index as u32 * 3);
                dice % 4 == 0 || (dice >> 2) % 2 == writer as u64
            });
            picked.map(|(_, event)| *event).collect::<Vec<&Event>>()
        };
        let (first, second) = (takes(0), takes(1));
        let write = async |session: &mut Session, events: &[&Event], bits| {
            for batch in batches(events, bits) {
                commit(session, batch).await;
            }
        };
        tokio::join!(write(one, &first, bits), write(two, &second, bits.reverse_bits()));
    })
    .await;
    database.remove().await;
}
