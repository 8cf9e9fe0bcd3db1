//! The histories of `permutations.rs` again, through the real databases: in random order, with random
//! duplicates, cut into random batches, and on Postgres over two writers at once. Of every second delivery
//! the shop's rows come before all events, of the others at any time, and the shop may change its mind. They
//! must end as the same history does in memory, delivered in order.

use std::collections::BTreeMap;
use std::time::Duration;

use paidup::domain::event::Event;
use paidup::domain::policy::{Accounts, Policy};
use paidup::domain::rows::Order;
use paidup::store::transaction::{Rules, record};
use paidup::store::{Session, StoreError};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::support::databases::Database;
use crate::support::dice::Dice;
use crate::support::histories::{ACCOUNTS, EVENTS_MAX, History, ShopOrder, histories};
use crate::support::memory::Memory;
use crate::support::weighing::weigh_changed;

/// Histories for each database. A batch is a commit to disk, so these are fewer than in memory.
const CASES: usize = 40;
const DELIVERIES_PER_CASE: usize = 4;
/// In milliseconds.
const NOW: i64 = 1_795_452_931_000;
/// Two that fold at once may meet, as a database means it; the writer tries so often too.
const RETRIES_MAX: usize = 3;
const HELD_RETRIES_MAX: usize = 1_000;

const CLEAR: &str = "delete from deliveries; delete from order_changes; delete from orders;
    delete from payment_links; delete from order_pages; delete from payments; delete from events";

/// What a delivery ended in, but for `version`, which counts the changes on the way, and `announced`.
#[derive(Debug, PartialEq)]
struct End {
    rows: BTreeMap<String, Order>,
    /// Status, dispute, problem and amounts of each order's last change. Not its currency: where the shop
    /// writes another one into the row, and the amounts stay what they are, no change is recorded.
    last_recorded: BTreeMap<String, String>,
}

fn recorded(order: &Order) -> String {
    let snapshot = &order.snapshot;
    format!(
        "{} {:?} {:?} {} {} {}",
        snapshot.status.name(),
        snapshot.dispute.map(|dispute| dispute.name()),
        snapshot.problem.map(|problem| problem.name()),
        snapshot.amount_received,
        snapshot.amount_refunded,
        snapshot.amount_disputed,
    )
}

fn rules() -> Rules {
    let accounts = Accounts::Listed([ACCOUNTS[0].to_owned()].into());
    Rules { policy: Policy { accounts, ..Policy::default() }, ..Rules::default() }
}

fn in_memory(history: &History) -> BTreeMap<String, Order> {
    let mut memory = Memory::new(rules().policy);
    for order in &history.orders {
        memory.insert_order(order.id, order.due, order.created_at);
        if let Some(email) = order.email {
            memory.set_email(order.id, email);
        }
    }
    let events: Vec<Event> = history.events.iter().map(|event| event.event()).collect();
    memory.deliver(&events);
    memory.sweep();
    memory.rows()
}

/// What the shop writes, before the event of that number.
struct Write {
    before: usize,
    sql: String,
}

/// The shop's row, inserted or with another amount due. An address stands in it from the start, or not at
/// all: which one counts that comes late depends on what stood there before.
fn write(order: &ShopOrder, due: Option<(i64, &str)>, is_postgres: bool) -> String {
    let quoted = |text: &str| format!("'{text}'");
    let amount = due.map_or("null".to_owned(), |(amount, _)| amount.to_string());
    let currency = due.map_or("null".to_owned(), |(_, currency)| quoted(currency));
    let email = order.email.map_or("null".to_owned(), quoted);
    let created = if is_postgres {
        format!("to_timestamp({})", order.created_at)
    } else {
        format!("strftime('%Y-%m-%dT%H:%M:%SZ', {}, 'unixepoch')", order.created_at)
    };
    format!(
        "insert into orders (id, amount_due, currency, customer_email, created_at)
         values ('{}', {amount}, {currency}, {email}, {created})
         on conflict (id) do update set
             amount_due = excluded.amount_due,
             currency = coalesce(excluded.currency, orders.currency)",
        order.id
    )
}

fn writes(
    history: &History,
    events: usize,
    is_late: bool,
    bits: u64,
    is_postgres: bool,
) -> Vec<Write> {
    let mut dice = Dice(bits);
    let mut writes = Vec::new();
    for order in &history.orders {
        let before = if is_late { dice.roll(events + 1) } else { 0 };
        // Another amount only: one column holds the currency of what is due and that of the amounts, so
        // what another currency in it means depends on what paidup wrote there before.
        let same_currency = |due: &Option<(i64, &str)>| {
            due.is_some() && due.map(|due| due.1) == order.due.map(|due| due.1)
        };
        if let (true, Some(due)) = (is_late, order.due_before.filter(same_currency)) {
            let sql = write(order, due, is_postgres);
            writes.push(Write { before: dice.roll(before + 1), sql });
        }
        writes.push(Write { before, sql: write(order, order.due, is_postgres) });
    }
    // Stable, so that what the shop says of one order keeps its order.
    writes.sort_by_key(|write| write.before);
    writes
}

async fn commit(session: &mut Session, batch: &[&Event]) {
    let (mut conflicts, mut held) = (0, 0);
    while conflicts < RETRIES_MAX && held < HELD_RETRIES_MAX {
        match record(session, &rules(), batch, NOW).await {
            Ok(_) => return,
            Err(StoreError::Conflict) => conflicts += 1,
            // The shop's statement is about to commit.
            Err(StoreError::Held) => held += 1,
            Err(error) => panic!("{error}"),
        }
        session.rollback().await.expect("rolled back");
        if held > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    panic!("in conflict {conflicts} times, and held {held} times");
}

/// Commits the events in batches, and what the shop writes among them; sometimes the sweep comes between.
async fn bring(
    database: &Database,
    session: &mut Session,
    events: &[&Event],
    writes: &[Write],
    bits: u64,
) {
    let (mut writes, mut index) = (writes.iter().peekable(), 0);
    for batch in batches(events, bits) {
        while let Some(write) = writes.next_if(|write| write.before <= index) {
            database.execute(&write.sql).await;
        }
        if bits.rotate_left(index as u32).is_multiple_of(4) {
            sweep(session).await;
        }
        commit(session, batch).await;
        index += batch.len();
    }
    for write in writes {
        database.execute(&write.sql).await;
    }
}

async fn sweep(session: &mut Session) {
    for _ in 0..RETRIES_MAX {
        match weigh_changed(session, &rules(), NOW).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(StoreError::Conflict) => session.rollback().await.expect("rolled back"),
            Err(error) => panic!("{error}"),
        }
    }
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
    let mut end = End { rows: BTreeMap::new(), last_recorded: BTreeMap::new() };
    for id in ids {
        let record = session.order(id).await.expect("an answer").expect("an order");
        let changes = session.order_changes(id).await.expect("changes");
        assert_eq!(record.order.version, changes.len() as i64, "{id}");
        let last = changes.last().map_or_else(
            || recorded(&record.order),
            |last| {
                format!(
                    "{} {:?} {:?} {} {} {}",
                    last.to_status,
                    last.dispute.as_deref(),
                    last.problem.as_deref(),
                    last.amount_received,
                    last.amount_refunded,
                    last.amount_disputed,
                )
            },
        );
        end.last_recorded.insert(id.clone(), last);
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

/// Runs all cases; `deliver` brings the events into the database, and what the shop writes.
async fn run_cases(
    database: &Database,
    deliver: impl AsyncFn(&mut [Session; 2], &[&Event], &[Write], u64),
) {
    let mut runner = TestRunner::default();
    let mut sessions = [database.session().await, database.session().await];
    for _ in 0..CASES {
        let mut history = histories(EVENTS_MAX).new_tree(&mut runner).expect("a history").current();
        let events: Vec<Event> = history.events.iter().map(|event| event.event()).collect();
        for delivery in 0..DELIVERIES_PER_CASE {
            let is_late = delivery % 2 == 1;
            if is_late {
                history.orders.iter_mut().for_each(|order| order.email = None);
            }
            let rows = in_memory(&history);
            let mut expected = End {
                last_recorded: rows.iter().map(|(id, row)| (id.clone(), recorded(row))).collect(),
                rows,
            };
            database.execute(CLEAR).await;
            let order = delivered(&events, &mut runner);
            let bits = proptest::num::u64::ANY.new_tree(&mut runner).expect("bits").current();
            let writes = writes(&history, order.len(), is_late, bits, database.is_postgres());
            deliver(&mut sessions, &order, &writes, bits).await;
            sweep(&mut sessions[0]).await;
            let mut end = end(&mut sessions[0], expected.rows.keys()).await;
            if is_late {
                // A row that an event made before the shop did has the event's time.
                for row in expected.rows.values_mut().chain(end.rows.values_mut()) {
                    row.created_at = 0;
                }
            }
            let ids: Vec<&str> = order.iter().map(|event| event.id()).collect();
            let shop: Vec<(usize, &str)> =
                writes.iter().map(|write| (write.before, write.sql.as_str())).collect();
            assert_eq!(end, expected, "{bits:x}: {ids:?} {shop:?} of {history:#?}");
            let count = database.one("select cast(count(*) as text) from orders").await;
            assert_eq!(count, expected.rows.len().to_string(), "{history:#?}");
        }
    }
}

async fn on_one_writer(database: &Database) {
    run_cases(database, async |sessions, events, writes, bits| {
        bring(database, &mut sessions[0], events, writes, bits).await;
    })
    .await;
}

#[tokio::test]
async fn histories_end_on_sqlite_as_they_do_in_memory() {
    let database = Database::sqlite().await;
    on_one_writer(&database).await;
    database.remove().await;
}

#[tokio::test]
async fn histories_end_on_postgres_as_they_do_in_memory() {
    let database = Database::postgres().await;
    on_one_writer(&database).await;
    database.remove().await;
}

#[tokio::test]
async fn histories_end_alike_over_two_writers_at_once() {
    let database = Database::postgres().await;
    run_cases(&database, async |sessions, events, writes, bits| {
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
        // What comes before all events does so for both; the rest is written beside the one.
        let begins = writes.partition_point(|write| write.before == 0);
        for write in &writes[..begins] {
            database.execute(&write.sql).await;
        }
        tokio::join!(
            bring(&database, one, &first, &writes[begins..], bits),
            bring(&database, two, &second, &[], bits.reverse_bits()),
        );
    })
    .await;
    database.remove().await;
}
