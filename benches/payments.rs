//! What an event costs when its order has many payments, and what events of other orders cost beside it:
//! on SQLite and on the Postgres server that `TEST_DATABASE_URL` names.
//!
//!     TEST_DATABASE_URL=postgres://postgres@127.0.0.1:5432/postgres cargo bench --bench payments
//!
//! Each event is a transaction of its own. The two kinds take turns, so that the machine's moods meet both.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement that cannot go on may stop"
)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use paidup::domain::event::Event;
use paidup::domain::order_ids::OrderIdRules;
use paidup::domain::origin::Stored;
use paidup::store::transaction::{Rules, record};
use paidup::store::{Session, Store};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

/// How many payments the order has.
const PAYMENTS: [usize; 4] = [1, 1_000, 10_000, 50_000];
/// Events of one transaction while the order is filled.
const BATCH_EVENTS: usize = 512;
/// Events that are timed, of each kind.
const EVENTS: usize = 400;
/// In milliseconds.
const NOW: i64 = 1_795_452_931_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let folder = std::env::temp_dir().join(format!("paidup_bench_{}", std::process::id()));
        std::fs::create_dir(&folder).expect("a folder");
        measure("SQLite", &format!("sqlite://{}/paidup.db", folder.display())).await;
        match std::env::var("TEST_DATABASE_URL") {
            Ok(server) => {
                let name = format!("paidup_bench_{}", std::process::id());
                let mut admin = PgConnection::connect(&server).await.expect("the server");
                let sql = |text: String| AssertSqlSafe(text);
                admin.execute(sql(format!("create database {name}"))).await.expect("created");
                let root = server.rsplit_once('/').expect("a URL").0;
                measure("Postgres", &format!("{root}/{name}")).await;
                let drop = format!("drop database {name} with (force)");
                admin.execute(sql(drop)).await.expect("dropped");
            }
            Err(_) => println!("TEST_DATABASE_URL is not set: Postgres is left out"),
        }
        std::fs::remove_dir_all(folder).expect("removed");
    });
}

async fn measure(name: &str, url: &str) {
    let store = Store::parse(url).expect("a URL");
    store.migrate().await.expect("migrated");
    let mut session = store.connect().await.expect("a session");
    let (mut number, mut other) = (0, 0);
    for payments in PAYMENTS {
        while number < payments {
            let until = payments.min(number + BATCH_EVENTS);
            let batch: Vec<Event> = (number..until).map(|number| paid("LARGE", number)).collect();
            commit(&mut session, &batch).await;
            number = until;
        }
        let (mut large, mut small, mut refunds) = (Vec::new(), Vec::new(), Vec::new());
        for turn in 0..EVENTS {
            large.push(timed(&mut session, paid("LARGE", number)).await);
            number += 1;
            small.push(timed(&mut session, paid(&format!("O{other}"), other)).await);
            other += 1;
            // Of payments in pages all over the order.
            let of = turn * payments / EVENTS;
            refunds.push(timed(&mut session, refunded(of, number)).await);
        }
        println!(
            "{name}, {payments:>6} payments: a new payment {}, a refund {}; of another order {}",
            shown(large),
            shown(refunds),
            shown(small)
        );
    }
}

async fn timed(session: &mut Session, event: Event) -> Duration {
    let started = Instant::now();
    commit(session, &[event]).await;
    started.elapsed()
}

async fn commit(session: &mut Session, events: &[Event]) {
    let events: Vec<&Event> = events.iter().collect();
    record(session, &Rules::default(), &events, NOW).await.expect("recorded");
}

fn shown(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    format!("{:.2?} (99 %: {:.2?})", at(50), at(99))
}

fn paid(order: &str, number: usize) -> Event {
    event(
        &format!("evt_{order}_{number}"),
        "payment_intent.succeeded",
        &json!({
            "id": format!("pi_{order}_{number:07}"), "object": "payment_intent", "amount": 1000,
            "amount_received": 1000, "currency": "usd", "status": "succeeded",
            "latest_charge": format!("ch_{order}_{number:07}"), "metadata": {"order_id": order},
        }),
    )
}

fn refunded(payment: usize, number: usize) -> Event {
    event(
        &format!("evt_re_{number}"),
        "refund.created",
        &json!({
            "id": format!("re_{number}"), "object": "refund", "amount": 1, "currency": "usd",
            "status": "succeeded", "payment_intent": format!("pi_LARGE_{payment:07}"),
            "charge": format!("ch_LARGE_{payment:07}"), "metadata": {},
        }),
    )
}

fn event(id: &str, kind: &str, object: &serde_json::Value) -> Event {
    let body = json!({
        "id": id, "object": "event", "type": kind, "created": 1_795_452_931, "livemode": true,
        "data": {"object": object},
    });
    let body = Bytes::from(body.to_string());
    let stored = Stored::in_our_table_of_events(body, NOW / 1000);
    Event::read_again(&stored, &OrderIdRules::default()).expect("an event")
}
