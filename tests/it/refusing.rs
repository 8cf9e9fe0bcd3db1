//! A database that refuses: triggers that raise any SQLSTATE, tables that are missing, sessions that the
//! server ends. An event pays for what is its own fault, and for nothing else.

use paidup::domain::outcome::Outcome;
use paidup::ingest::Unavailable;
use paidup::store::transaction::Rules;

use crate::ingest::{paid, start, submit, submit_all};
use crate::support::databases::{Database, on_both};
use crate::support::fixtures::pi;
use crate::support::service::{Service, eventually, told};

/// What a trigger of the shop's may raise: classes that are about the data, and all the others.
const STATES: [&str; 12] = [
    "42703", "XX000", "57014", "55006", "38000", "0A000", "21000", "42501", "54001", "26000",
    "2F003", "P0001",
];
/// The same, of which a server that cannot work makes use too.
const STATES_AWAY: [&str; 5] = ["53100", "08006", "58030", "57P03", "25006"];

fn raising(state: &str) -> String {
    format!(
        "create or replace function fail() returns trigger language plpgsql
             as $$ begin raise exception 'no' using errcode = '{state}'; end $$;
         drop trigger if exists fail on orders;
         create trigger fail before insert on orders
             for each row when (new.id like 'bad%') execute function fail()"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_sqlstate_a_trigger_raises_only_its_own_event_is_refused() {
    let database = Database::postgres().await;
    let running = start(&database, Rules::default());
    for (round, state) in STATES.iter().chain(&STATES_AWAY).enumerate() {
        database.execute(&raising(state)).await;
        let numbers = round * 100..round * 100 + 60;
        let order =
            |number| if number % 100 == 17 { format!("bad{number}") } else { format!("O{number}") };
        let events = numbers.clone().map(|number| paid(number, &order(number))).collect();
        let answers = submit_all(&running.ingest, events).await;
        for (number, answer) in numbers.zip(answers) {
            let expected = match (number % 100, STATES.contains(state)) {
                (17, true) => Err(Unavailable::Refused),
                (17, false) => Err(Unavailable::Database),
                _ => Ok(Outcome::Applied),
            };
            assert_eq!(answer, expected, "{state}: event {number}");
        }
    }
    running.stopped().await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_event_is_logged_with_its_sqlstate_in_words() {
    let database = Database::postgres().await;
    database.execute(&raising("42703")).await;
    let service = Service::start(&database, &[]);
    let refused = pi("pi_1").order("bad1").event("payment_intent.succeeded").body();
    assert_eq!(told(&service.post(&refused).await).0, 503);
    let (_, log) = service.stopped().await;
    let line = log.lines().find(|line| line.contains("ERROR")).unwrap_or_default();
    assert!(line.contains("SQLSTATE 42703") && line.contains("column"), "{log}");
    assert!(!log.contains("the database is away"), "{log}");
    database.remove().await;
}

/// Ends paidup's sessions as an operator, a failover or a firewall would.
async fn throw_out(database: &Database) {
    let ours = "datname = current_database() and application_name = 'paidup'";
    database
        .execute(&format!("select pg_terminate_backend(pid) from pg_stat_activity where {ours}"))
        .await;
}

#[tokio::test]
async fn the_first_event_after_a_cut_connection_is_applied() {
    let database = Database::postgres().await;
    let running = start(&database, Rules::default());
    for number in 0..10 {
        let answer = submit(&running.ingest, paid(number, &format!("O{number}"))).await;
        assert_eq!(answer, Ok(Outcome::Applied), "event {number}");
        throw_out(&database).await;
    }
    running.stopped().await;
    database.remove().await;
}

#[tokio::test]
async fn a_table_that_is_missing_refuses_events_until_it_is_back() {
    on_both(async |database| {
        let running = start(database, Rules::default());
        database.execute("alter table orders rename to elsewhere").await;
        let events = (0..8).map(|number| paid(number, &format!("O{number}"))).collect();
        let answers = submit_all(&running.ingest, events).await;
        assert_eq!(answers, vec![Err(Unavailable::Refused); 8]);
        database.execute("alter table elsewhere rename to orders").await;
        assert_eq!(submit(&running.ingest, paid(2, "O2")).await, Ok(Outcome::Applied));
        running.stopped().await;
    })
    .await;
}

#[tokio::test]
async fn an_order_that_cannot_be_weighed_stops_no_other() {
    let database = Database::postgres().await;
    database
        .execute(
            "create function fail() returns trigger language plpgsql
                 as $$ begin raise exception 'no'; end $$;
             insert into orders (id, amount_due, currency)
                 select 'O' || number, 100, 'usd' from generate_series(1, 300) as number;
             create trigger fail before update on orders
                 for each row when (old.id in ('O1', 'O200', 'O201')) execute function fail()",
        )
        .await;
    let service = Service::start(&database, &[]);
    let left = "select coalesce(string_agg(id, ' ' order by id), '') from orders where not weighed";
    eventually("all others are weighed", async || database.one(left).await == "O1 O200 O201").await;
    database.execute("drop trigger fail on orders").await;
    eventually("those too, later", async || database.one(left).await.is_empty()).await;
    let (_, log) = service.stopped().await;
    let told = log.lines().filter(|line| line.contains("could not be weighed")).count();
    assert_eq!(told, 1, "{log}");
    assert!(log.contains("O1"), "{log}");
    database.remove().await;
}

#[tokio::test]
async fn events_do_not_wait_until_all_orders_are_weighed() {
    on_both(async |database| {
        let running = start(database, Rules::default());
        database
            .execute(
                "with recursive numbers (number) as
                     (select 1 union all select number + 1 from numbers where number < 20000)
                 insert into orders (id, amount_due, currency)
                     select 'O' || number, 100, 'usd' from numbers",
            )
            .await;
        let left = async || {
            let left = database.one("select '' || count(*) from orders where not weighed").await;
            left.parse::<u32>().expect("a number")
        };
        eventually("it weighs", async || left().await < 20_000).await;
        assert_eq!(submit(&running.ingest, paid(1, "NEW")).await, Ok(Outcome::Applied));
        assert!(left().await > 0, "the event waited for all of them");
        eventually("it goes on", async || left().await == 0).await;
        running.stopped().await;
    })
    .await;
}
