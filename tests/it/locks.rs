//! Rows and tables that the shop holds locked: their events wait, and nobody else does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use paidup::domain::event::Event;
use paidup::domain::order::Status;
use paidup::domain::outcome::Outcome;
use paidup::ingest::Unavailable;
use paidup::store::transaction::{Rules, record};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::ingest::{paid, start, status, submit, submit_all};
use crate::support::databases::Database;
use crate::support::fixtures::{charge, pi};
use crate::support::service::eventually;

/// The shop in its transaction, with rows of orders locked.
async fn shop_holding(database: &Database, ids: &str) -> PgConnection {
    let mut shop = PgConnection::connect(&database.url).await.expect("a connection");
    shop.execute("begin").await.expect("begun");
    let lock = format!("select id from orders where id like '{ids}' for update");
    shop.fetch_all(AssertSqlSafe(lock)).await.expect("locked");
    shop
}

/// Counts how often a session of paidup's was seen to wait for a lock.
fn watching(database: &Database) -> (Arc<AtomicUsize>, JoinHandle<()>) {
    let waits = Arc::new(AtomicUsize::new(0));
    let (url, seen) = (database.url.clone(), Arc::clone(&waits));
    let watch = tokio::spawn(async move {
        let mut watch = PgConnection::connect(&url).await.expect("a connection");
        // In one transaction, so that what others count is not its own.
        watch.execute("begin").await.expect("begun");
        loop {
            watch.execute("select pg_stat_clear_snapshot()").await.expect("looked anew");
            let count = "select count(*) from pg_stat_activity where datname = current_database()
                         and application_name = 'paidup' and wait_event_type = 'Lock'";
            let row = watch.fetch_one(count).await.expect("a count");
            seen.fetch_add(
                usize::try_from(row.get::<i64, _>(0)).expect("a count"),
                Ordering::Relaxed,
            );
            sleep(Duration::from_millis(5)).await;
        }
    });
    (waits, watch)
}

async fn transactions(database: &Database) -> u64 {
    // The numbers of a session come to the view a second late.
    sleep(Duration::from_millis(1200)).await;
    let count = "select (xact_commit + xact_rollback)::text from pg_stat_database where datname = current_database()";
    database.one(count).await.parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_the_shop_holds_cost_the_events_of_other_orders_nothing() {
    let database = Database::postgres().await;
    database
        .execute("insert into orders (id) select 'held' || n from generate_series(1, 20) n")
        .await;
    let running = start(&database, Rules::default());
    // The rows are weighed; from here on nothing but events wants them.
    let weighed = "select count(*)::text from orders where not weighed";
    eventually("all are weighed", async || database.one(weighed).await == "0").await;
    let mut shop = shop_holding(&database, "held%").await;
    let before = transactions(&database).await;
    let (waits, watch) = watching(&database);
    let events: Vec<Event> = (1..=20).map(|one| paid(one, &format!("held{one}"))).collect();
    let held = {
        let ingest = running.ingest.clone();
        tokio::spawn(async move { submit_all(&ingest, events).await })
    };
    let others = (100..300).map(|number| paid(number, &format!("O{number}"))).collect();
    let answers = submit_all(&running.ingest, others).await;
    assert_eq!(answers, vec![Ok(Outcome::Applied); 200]);
    let batches = database.one("select count(distinct xmin::text)::text from events").await;
    assert!(batches.parse::<usize>().expect("a number") <= 12, "{batches} transactions for 200");
    assert!(!held.is_finished());
    assert_eq!(database.one("select count(*)::text from events").await, "200");
    // All that are held are tried together.
    assert_eq!(waits.load(Ordering::Relaxed), 0, "nobody waits for a lock");
    watch.abort();
    let tried = transactions(&database).await - before;
    assert!(tried < 60, "{tried} transactions");
    shop.execute("commit").await.expect("committed");
    let answers = held.await.expect("no panic");
    let count = |wanted| answers.iter().filter(|answer| **answer == wanted).count();
    assert_eq!(count(Ok(Outcome::Applied)), 20, "{answers:?}");
    running.stopped().await;
    database.remove().await;
}

/// The shop inserts an order, calls Stripe and commits late: nobody sees the row, but its key is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_the_shop_has_not_committed_yet_cost_the_others_little() {
    let database = Database::postgres().await;
    let running = start(&database, Rules::default());
    let mut shop = PgConnection::connect(&database.url).await.expect("a connection");
    shop.execute("begin; insert into orders (id) select 'new' || n from generate_series(1, 20) n")
        .await
        .expect("inserted");
    let before = transactions(&database).await;
    let events: Vec<Event> = (1..=20).map(|one| paid(one, &format!("new{one}"))).collect();
    let held = {
        let ingest = running.ingest.clone();
        tokio::spawn(async move { submit_all(&ingest, events).await })
    };
    let others = (100..300).map(|number| paid(number, &format!("O{number}"))).collect();
    let answers = submit_all(&running.ingest, others).await;
    assert_eq!(answers, vec![Ok(Outcome::Applied); 200]);
    let batches = database.one("select count(distinct xmin::text)::text from events").await;
    assert!(batches.parse::<usize>().expect("a number") <= 12, "{batches} transactions for 200");
    let tried = transactions(&database).await - before;
    assert!(tried < 60, "{tried} transactions");
    shop.execute("commit").await.expect("committed");
    let answers = held.await.expect("no panic");
    assert_eq!(answers, vec![Ok(Outcome::Applied); 20]);
    running.stopped().await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_waits_for_every_order_that_it_reaches() {
    let database = Database::postgres().await;
    let first = paid(1, "O1");
    let mut session = database.session().await;
    record(&mut session, &Rules::default(), &[&first], paidup::unix_milliseconds())
        .await
        .expect("recorded");
    let mut shop = shop_holding(&database, "O1").await;
    let running = start(&database, Rules::default());
    // It names no order: the payment does, which is recorded. Another comes to the same payment.
    let refunded = charge("ch_1").pi("pi_1").refunded(29_900).event("charge.refunded").event();
    let moved =
        pi("pi_1").order("O2").created(2000).event("payment_intent.created").at(2000).event();
    let held = {
        let (ingest, events) = (running.ingest.clone(), vec![refunded, moved]);
        tokio::spawn(async move { submit_all(&ingest, events).await })
    };
    // The first again, which is known, and one of another order.
    let others = submit_all(&running.ingest, vec![paid(1, "O1"), paid(3, "O3")]).await;
    assert_eq!(others, [Ok(Outcome::Duplicate), Ok(Outcome::Applied)]);
    assert_eq!(database.one("select count(*)::text from events").await, "2");
    shop.execute("commit").await.expect("committed");
    let answers = held.await.expect("no panic");
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_ne!(status(&database, "O1").await, Some(Status::Paid));
    running.stopped().await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_for_too_long_is_told_so_in_time() {
    let database = Database::postgres().await;
    database.execute("insert into orders (id) values ('held1')").await;
    let shop = shop_holding(&database, "held%").await;
    let running = start(&database, Rules::default());
    let began = Instant::now();
    let answer = submit(&running.ingest, paid(1, "held1")).await;
    assert_eq!(answer, Err(Unavailable::OrderHeld));
    assert!(began.elapsed() < Duration::from_secs(5));
    shop.close().await.expect("closed");
    assert_eq!(submit(&running.ingest, paid(1, "held1")).await, Ok(Outcome::Applied));
    running.stopped().await;
    database.remove().await;
}

/// `create index` lets nobody write to the table. All events wait for it, or are told in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_the_shop_locks_holds_all_events_and_spoils_none() {
    let database = Database::postgres().await;
    let running = start(&database, Rules::default());
    let mut shop = PgConnection::connect(&database.url).await.expect("a connection");
    for (round, seconds) in [(0, 2), (1, 5)] {
        shop.execute("begin; lock table orders in share mode").await.expect("locked");
        let events: Vec<Event> = (0..100)
            .map(|one| round * 1000 + one)
            .map(|one| paid(one, &format!("O{one}")))
            .collect();
        let again = events.clone();
        let began = Instant::now();
        let submitted = {
            let ingest = running.ingest.clone();
            tokio::spawn(async move { (submit_all(&ingest, events).await, Instant::now()) })
        };
        sleep(Duration::from_secs(seconds)).await;
        shop.execute("commit").await.expect("committed");
        let (answers, ended) = submitted.await.expect("no panic");
        assert!(ended - began < Duration::from_secs(5));
        let expected = if round == 0 { Ok(Outcome::Applied) } else { Err(Unavailable::OrderHeld) };
        assert_eq!(answers, vec![expected; 100]);
        let answers = submit_all(&running.ingest, again).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }
    running.stopped().await;
    database.remove().await;
}
