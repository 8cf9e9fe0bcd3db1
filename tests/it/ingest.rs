//! The writer in bad times: events that the database refuses, rows that the shop holds, connections
//! that die, a database that goes away. What lands is answered 200, and nothing else is.

use std::time::Duration;

use paidup::domain::event::Event;
use paidup::domain::order::Status;
use paidup::domain::outcome::Outcome;
use paidup::domain::policy::{Policy, UnknownOrders};
use paidup::ingest::{self, Ingest, QUEUE_EVENTS_MAX, Retention, Unavailable};
use paidup::store::transaction::{Caution, Rules, record, record_free_and_commit};
use sqlx::{Connection, Executor, PgConnection};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::databases::{Database, on_both};
use crate::support::fixtures::pi;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);
/// The lock that lets one transaction fold at a time, as `store/postgres.rs` takes it.
const FOLD_LOCK: &str = "select pg_advisory_lock(1885433203)";
const WAITS_FOR_LOCK: &str =
    "select exists (select from pg_locks join pg_database on pg_database.oid = pg_locks.database
     where datname = current_database() and locktype = 'advisory' and not granted)::text";

/// Another process that folds, until this is closed.
async fn folding_elsewhere(database: &Database) -> PgConnection {
    let mut other = PgConnection::connect(&database.url).await.expect("a connection");
    other.execute(FOLD_LOCK).await.expect("locked");
    other
}

pub struct Running {
    pub ingest: Ingest,
    writer: JoinHandle<()>,
    stop: CancellationToken,
}

pub fn start(database: &Database, rules: Rules) -> Running {
    start_on(database.store.clone(), rules)
}

pub fn start_on(store: paidup::store::Store, rules: Rules) -> Running {
    let stop = CancellationToken::new();
    let retention = Retention { event_body_days: Some(90) };
    let (ingest, writer) = ingest::start(store, rules, retention, stop.clone()).expect("a thread");
    Running { ingest, writer, stop }
}

impl Running {
    pub async fn stopped(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.writer).await.expect("it ends").expect("no panic");
    }
}

pub fn paid(number: usize, order: &str) -> Event {
    let event = pi(&format!("pi_{number}")).order(order).event("payment_intent.succeeded");
    event.id(&format!("evt_{number}")).event()
}

/// Submits at once, so that they come in few batches; answers in the order given.
pub async fn submit(ingest: &Ingest, event: Event) -> Result<Outcome, Unavailable> {
    ingest.submit(event).await.map(|answer| answer.outcome)
}

pub async fn submit_all(ingest: &Ingest, events: Vec<Event>) -> Vec<Result<Outcome, Unavailable>> {
    let mut tasks = JoinSet::new();
    for (index, event) in events.into_iter().enumerate() {
        let ingest = ingest.clone();
        tasks.spawn(async move { (index, submit(&ingest, event).await) });
    }
    let mut answers = timeout(PATIENCE, tasks.join_all()).await.expect("all are answered");
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

pub async fn status(database: &Database, order: &str) -> Option<Status> {
    let record = database.session().await.order(order).await.expect("an answer");
    record.map(|record| record.order.snapshot.status)
}

async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_event_that_the_database_refuses_keeps_no_other_from_landing() {
    on_both(async |database| {
        let refuse = if database.is_postgres() {
            "create function refuse() returns trigger language plpgsql
                 as $$ begin raise exception 'no'; end $$;
             create trigger refuse before insert on orders
                 for each row when (new.id like 'bad%') execute function refuse()"
        } else {
            "create trigger refuse before insert on orders when new.id like 'bad%'
             begin select raise(abort, 'no'); end"
        };
        database.execute(refuse).await;
        let running = start(database, Rules::default());
        let order = |number| match number {
            17 | 18 | 40 => format!("bad{number}"),
            _ => format!("O{number}"),
        };
        let events = (0..64).map(|number| paid(number, &order(number))).collect();
        let answers = submit_all(&running.ingest, events).await;
        for (number, answer) in answers.into_iter().enumerate() {
            let expected = match number {
                17 | 18 | 40 => Err(Unavailable::Refused),
                _ => Ok(Outcome::Applied),
            };
            assert_eq!(answer, expected, "event {number}");
        }
        let count = database.one("select cast(count(*) as text) from events").await;
        assert_eq!(count, "61", "what was not answered 200 is not recorded");
        // When the cause is mended, the same event lands.
        let trigger = if database.is_postgres() { "refuse on orders" } else { "refuse" };
        database.execute(&format!("drop trigger {trigger}")).await;
        assert_eq!(submit(&running.ingest, paid(17, "bad17")).await, Ok(Outcome::Applied));
        running.stopped().await;
    })
    .await;
}

#[tokio::test]
async fn the_same_event_many_times_at_once_is_applied_once() {
    on_both(async |database| {
        let running = start(database, Rules::default());
        let answers = submit_all(&running.ingest, (0..50).map(|_| paid(1, "O1")).collect()).await;
        let applied = answers.iter().filter(|answer| **answer == Ok(Outcome::Applied)).count();
        let duplicates = answers.iter().filter(|answer| **answer == Ok(Outcome::Duplicate)).count();
        assert_eq!((applied, duplicates), (1, 49));
        running.stopped().await;
    })
    .await;
}

#[tokio::test]
async fn a_database_that_goes_away_is_503_until_it_is_back() {
    on_both(async |database| {
        let running = start(database, Rules::default());
        assert_eq!(submit(&running.ingest, paid(1, "O1")).await, Ok(Outcome::Applied));
        assert!(running.ingest.database_answers().await);

        database.execute("alter table orders rename to elsewhere").await;
        let refused = submit(&running.ingest, paid(2, "O2")).await;
        assert_eq!(refused, Err(Unavailable::Refused));
        if !database.is_postgres() {
            assert!(!running.ingest.database_answers().await);
        }
        database.execute("alter table elsewhere rename to orders").await;
        assert_eq!(submit(&running.ingest, paid(2, "O2")).await, Ok(Outcome::Applied));
        assert!(running.ingest.database_answers().await);
        running.stopped().await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_throws_us_out_is_used_again_when_it_lets_us_in() {
    let database = Database::postgres().await;
    let running = start(&database, Rules::default());
    assert_eq!(submit(&running.ingest, paid(1, "O1")).await, Ok(Outcome::Applied));
    let ours = "datname = current_database() and application_name = 'paidup'";
    let throw_out = format!("select pg_terminate_backend(pid) from pg_stat_activity where {ours}");
    database.execute(&throw_out).await;
    eventually("it lands", async || submit(&running.ingest, paid(2, "O2")).await.is_ok()).await;
    assert_eq!(status(&database, "O2").await, Some(Status::Paid));
    running.stopped().await;
    database.remove().await;
}

/// A wire between paidup and Postgres. While it is cut, nothing passes and nobody is told.
async fn wire(to: String) -> (u16, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (cut, is_cut) = watch::channel(false);
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let (to, mut is_cut) = (to.clone(), is_cut.clone());
            is_cut.mark_unchanged();
            tokio::spawn(async move {
                let mut to = TcpStream::connect(to).await.expect("Postgres");
                tokio::select! {
                    _ = copy_bidirectional(&mut from, &mut to) => {}
                    _ = is_cut.changed() => {
                        // Holds both ends open for ever: no reset, no end.
                        std::future::pending::<()>().await;
                    }
                }
            });
        }
    });
    (port, cut)
}

#[tokio::test]
async fn a_connection_that_died_silently_is_dropped_and_replaced() {
    let database = Database::postgres().await;
    let server = database.url.split('@').nth(1).expect("a host");
    let (address, name) = server.split_once('/').expect("a database");
    let (port, cut) = wire(address.to_owned()).await;
    let user = database.url.split('@').next().expect("a user");
    let store = paidup::store::Store::parse(&format!("{user}@127.0.0.1:{port}/{name}"));
    let running = start_on(store.expect("a URL"), Rules::default());
    assert_eq!(submit(&running.ingest, paid(1, "O1")).await, Ok(Outcome::Applied));
    // Connections of before hang from here on; new ones pass.
    cut.send(true).expect("a wire");
    eventually("it lands", async || {
        matches!(
            submit(&running.ingest, paid(2, "O2")).await,
            Ok(Outcome::Applied | Outcome::Duplicate)
        )
    })
    .await;
    assert_eq!(status(&database, "O2").await, Some(Status::Paid));
    running.stopped().await;
    database.remove().await;
}

#[tokio::test]
async fn a_row_that_the_shop_holds_delays_only_its_own_event() {
    let database = Database::postgres().await;
    database.execute("insert into orders (id) values ('held')").await;
    let mut shop = PgConnection::connect(&database.url).await.expect("a connection");
    shop.execute("begin").await.expect("begun");
    shop.execute("select * from orders where id = 'held' for update").await.expect("locked");
    // A row of the shop's that nobody else sees yet holds its event up as well.
    shop.execute("insert into orders (id, amount_due, currency) values ('unseen', 1, 'usd')")
        .await
        .expect("inserted");

    let running = start(&database, Rules::default());
    let held = {
        let ingest = running.ingest.clone();
        tokio::spawn(
            async move { submit_all(&ingest, vec![paid(1, "held"), paid(2, "unseen")]).await },
        )
    };
    let others = (10..30).map(|number| paid(number, &format!("O{number}"))).collect();
    let answers = submit_all(&running.ingest, others).await;
    assert!(answers.iter().all(|answer| *answer == Ok(Outcome::Applied)), "{answers:?}");
    assert!(!held.is_finished());

    shop.execute("commit").await.expect("committed");
    let answers = held.await.expect("no panic");
    assert_eq!(answers, [Ok(Outcome::Applied), Ok(Outcome::Applied)]);
    let unseen = database.session().await.order("unseen").await.expect("an answer");
    let problem = unseen.expect("an order").order.snapshot.problem;
    assert_eq!(problem, Some(paidup::domain::order::Problem::Overpaid), "weighed against its row");
    running.stopped().await;
    database.remove().await;
}

#[tokio::test]
async fn serialization_failures_and_deadlocks_are_tried_again() {
    let database = Database::postgres().await;
    // A sequence counts also what is rolled back.
    database
        .execute(
            "create sequence attempts;
             create function fail_twice() returns trigger language plpgsql as $$
             begin
                 case nextval('attempts')
                     when 1 then raise exception 'made up' using errcode = '40001';
                     when 2 then raise exception 'made up' using errcode = '40P01';
                     else return new;
                 end case;
             end $$;
             create trigger fail_twice before insert on orders
                 for each row execute function fail_twice()",
        )
        .await;
    let running = start(&database, Rules::default());
    assert_eq!(submit(&running.ingest, paid(1, "O1")).await, Ok(Outcome::Applied));
    assert_eq!(database.one("select last_value::text from attempts").await, "3");
    running.stopped().await;
    database.remove().await;
}

#[tokio::test]
async fn a_full_queue_is_503_and_what_was_accepted_lands() {
    let database = Database::postgres().await;
    let other = folding_elsewhere(&database).await;
    let running = start(&database, Rules::default());
    let waiting = QUEUE_EVENTS_MAX + 2000;
    let mut tasks = JoinSet::new();
    for number in 0..waiting {
        let ingest = running.ingest.clone();
        tasks.spawn(async move { submit(&ingest, paid(number, &format!("O{number}"))).await });
    }
    eventually("the queue is full", async || running.ingest.queue_is_full()).await;
    other.close().await.expect("closed");
    let answers = timeout(PATIENCE, tasks.join_all()).await.expect("all are answered");
    let refused = answers.iter().filter(|answer| **answer == Err(Unavailable::QueueFull)).count();
    assert!(refused > 0);
    let landed = answers.iter().filter(|answer| answer.is_ok()).count();
    // On a busy machine the last ones wait for longer than their callers do; they may have landed.
    let late = answers.iter().filter(|answer| **answer == Err(Unavailable::TimedOut)).count();
    assert_eq!(landed + refused + late, waiting);
    assert!(landed > 0);
    let count: usize =
        database.one("select count(*)::text from events").await.parse().expect("a number");
    assert!((landed..=landed + late).contains(&count), "{count} recorded, {landed} answered 200");
    running.stopped().await;
    database.remove().await;
}

/// Under another isolation level a transaction would go on seeing what there was before it waited.
#[tokio::test]
async fn what_another_process_commits_is_seen_whatever_the_servers_default_isolation() {
    let database = Database::postgres().await;
    for level in ["repeatable read", "serializable"] {
        database
            .execute(&format!(
                "do $$ begin
                     execute format('alter database %I set default_transaction_isolation = %L',
                                    current_database(), '{level}');
                 end $$"
            ))
            .await;
        let number = level.len();
        let event = paid(number, level);
        let mut other = database.session().await;
        other.begin().await.expect("begun");
        let running = start(&database, Rules::default());
        let submitted = {
            let (ingest, event) = (running.ingest.clone(), event.clone());
            tokio::spawn(async move { submit(&ingest, event).await })
        };
        eventually("it waits", async || database.one(WAITS_FOR_LOCK).await == "true").await;
        record_free_and_commit(&mut other, &Rules::default(), &[&event], Caution::Trusting, 1)
            .await
            .expect("recorded");
        assert_eq!(submitted.await.expect("no panic"), Ok(Outcome::Duplicate), "{level}");
        running.stopped().await;
    }
    database.remove().await;
}

#[tokio::test]
async fn what_comes_while_another_process_folds_shares_a_transaction() {
    let database = Database::postgres().await;
    let other = folding_elsewhere(&database).await;
    let running = start(&database, Rules::default());
    let submitted = |number: usize| {
        let ingest = running.ingest.clone();
        async move { submit(&ingest, paid(number, &format!("O{number}"))).await }
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(submitted(0));
    eventually("it waits", async || database.one(WAITS_FOR_LOCK).await == "true").await;
    (1..20).for_each(|number| drop(tasks.spawn(submitted(number))));
    eventually("19 are queued", async || running.ingest.queued() == 19).await;
    other.close().await.expect("closed");
    let answers = timeout(PATIENCE, tasks.join_all()).await.expect("all are answered");
    assert_eq!(answers, vec![Ok(Outcome::Applied); 20]);
    assert_eq!(database.one("select count(distinct xmin::text)::text from events").await, "1");
    running.stopped().await;
    database.remove().await;
}

#[tokio::test]
async fn a_stop_commits_and_answers_what_was_accepted() {
    let database = Database::postgres().await;
    let other = folding_elsewhere(&database).await;
    let Running { ingest, writer, stop } = start(&database, Rules::default());
    let mut tasks = JoinSet::new();
    for number in 0..1000 {
        let ingest = ingest.clone();
        tasks.spawn(async move { submit(&ingest, paid(number, &format!("O{number}"))).await });
    }
    // By then all others are in the queue.
    eventually("it waits", async || database.one(WAITS_FOR_LOCK).await == "true").await;
    stop.cancel();
    other.close().await.expect("closed");
    let answers = timeout(PATIENCE, tasks.join_all()).await.expect("all are answered");
    timeout(PATIENCE, writer).await.expect("it ends").expect("no panic");
    let landed = answers.iter().filter(|answer| **answer == Ok(Outcome::Applied)).count();
    let late = answers.iter().filter(|answer| **answer == Err(Unavailable::ShuttingDown)).count();
    assert_eq!(landed + late, 1000);
    assert!(landed > 0);
    assert_eq!(database.one("select count(*)::text from events").await, landed.to_string());
    assert_eq!(ingest.submit(paid(5000, "O1")).await, Err(Unavailable::ShuttingDown));
    database.remove().await;
}

#[tokio::test]
async fn a_held_order_is_applied_soon_after_the_shop_inserts_it() {
    on_both(async |database| {
        let policy = Policy { unknown_orders: UnknownOrders::Hold, ..Policy::default() };
        let running = start(database, Rules { policy, ..Rules::default() });
        assert_eq!(submit(&running.ingest, paid(1, "O1")).await, Ok(Outcome::Parked));
        database.execute("insert into orders (id) values ('O1')").await;
        eventually("it is paid", async || status(database, "O1").await == Some(Status::Paid)).await;
        running.stopped().await;
    })
    .await;
}

#[tokio::test]
async fn old_bodies_are_dropped_in_the_background() {
    on_both(async |database| {
        let day = 24 * 60 * 60 * 1000;
        let now = paidup::unix_seconds() * 1000;
        let mut session = database.session().await;
        for (number, age_days) in [(1, 89), (2, 91), (3, 401)] {
            let event = paid(number, "O1");
            let received = now - age_days * day;
            record(&mut session, &Rules::default(), &[&event], received).await.expect("recorded");
        }
        let running = start(database, Rules::default());
        let left =
            "select id || case when body is null then '' else ' body' end from events order by id";
        eventually("the old ones are pruned", async || {
            database.column(left).await == ["evt_1 body", "evt_2"]
        })
        .await;
        running.stopped().await;
    })
    .await;
}
