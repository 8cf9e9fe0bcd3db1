//! How fast notifications go out, and what a claim costs when a million wait: the real program and a
//! receiver on this machine, on SQLite and on the Postgres server that `TEST_DATABASE_URL` names.
//!
//!     TEST_DATABASE_URL=postgres://postgres@127.0.0.1:5432/postgres cargo bench --bench notify
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement that cannot go on may stop"
)]

use std::convert::Infallible;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Empty};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use paidup::store::Store;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, SqliteConnection};
use tokio::net::TcpListener;

/// Deliveries of one run.
const DELIVERIES: usize = 20_000;
/// What waits while claims are timed, for a destination that rests.
const WAITING: usize = 1_000_000;
/// Claims that are timed, of so many deliveries each.
const CLAIMS: usize = 200;
const CLAIM_DELIVERIES: i64 = 128;
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let folder = std::env::temp_dir().join(format!("paidup_bench_{}", std::process::id()));
        std::fs::create_dir(&folder).expect("a folder");
        let file = format!("sqlite://{}/paidup.db", folder.display());
        measure("SQLite", &file, &folder).await;
        match std::env::var("TEST_DATABASE_URL") {
            Ok(server) => {
                let name = format!("paidup_bench_{}", std::process::id());
                let mut admin = PgConnection::connect(&server).await.expect("the server");
                let sql = |text: String| AssertSqlSafe(text);
                admin.execute(sql(format!("create database {name}"))).await.expect("created");
                let root = server.rsplit_once('/').expect("a URL").0;
                measure("Postgres", &format!("{root}/{name}"), &folder).await;
                admin
                    .execute(sql(format!("drop database {name} with (force)")))
                    .await
                    .expect("dropped");
            }
            Err(_) => println!("TEST_DATABASE_URL is not set: Postgres is left out"),
        }
        std::fs::remove_dir_all(folder).expect("removed");
    });
}

async fn measure(name: &str, url: &str, folder: &Path) {
    let store = Store::parse(url).expect("a URL");
    store.migrate().await.expect("migrated");
    fill(url, "shipping", 0, DELIVERIES).await;
    let (count, seconds) = send(url, folder).await;
    println!("{name}: {count} webhooks in {seconds:.2} s: {:.0}/s", count as f64 / seconds);

    fill(url, "resting", DELIVERIES, WAITING).await;
    fill(url, "open", DELIVERIES + WAITING, CLAIMS * 128).await;
    claims(name, &store).await;
    explain(name, url).await;
}

/// Paid orders from this number on, each with a delivery that waits.
async fn fill(url: &str, destination: &str, from: usize, count: usize) {
    let numbers = if url.starts_with("sqlite") {
        format!(
            "with recursive numbers (n) as (select {from} union all select n + 1 from numbers where n < {from} + {count} - 1)"
        )
    } else {
        format!("with numbers (n) as (select generate_series({from}, {from} + {count} - 1))")
    };
    let at = "'2026-11-23T16:55:31.000Z'";
    let statements = [
        format!(
            "insert into orders (id, status, currency, amount_received, version, weighed) {numbers} select 'O' || n, 'paid', 'usd', 29900, 1, true from numbers"
        ),
        format!(
            "insert into order_changes (order_id, version, kinds, to_status, amount_received, amount_refunded, currency, at) {numbers} select 'O' || n, 1, 'order.paid', 'paid', 29900, 0, 'usd', {at} from numbers"
        ),
        format!(
            "insert into deliveries (order_id, version, destination, next_attempt_at, created_at) {numbers} select 'O' || n, 1, '{destination}', {at}, {at} from numbers"
        ),
        "analyze".to_owned(),
    ];
    for sql in statements {
        let sql = AssertSqlSafe(sql);
        if url.starts_with("sqlite") {
            let mut connection = SqliteConnection::connect(url).await.expect("a connection");
            connection.execute(sqlx::raw_sql(sql)).await.expect("filled");
        } else {
            let mut connection = PgConnection::connect(url).await.expect("a connection");
            connection.execute(sqlx::raw_sql(sql)).await.expect("filled");
        }
    }
}

/// Runs the program until the receiver has them all; from the first call to the last.
async fn send(url: &str, folder: &Path) -> (usize, f64) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let file = folder.join("notify.toml");
    let text = format!(
        "[[webhook]]\nname = \"shipping\"\nurl = \"http://{address}/\"\nsecret_env = \"S\"\nallow_private = true\n"
    );
    std::fs::write(&file, text).expect("written");
    let mut service = Command::new(env!("CARGO_BIN_EXE_paidup"))
        .arg("serve")
        .env("DATABASE_URL", url)
        .env("STRIPE_WEBHOOK_SECRET", SECRET)
        .env("LISTEN", "127.0.0.1:0")
        .env("OPERATOR_LISTEN", "127.0.0.1:0")
        .env("NOTIFY_CONFIG", &file)
        .env("S", SECRET)
        .env("RUST_LOG", "warn")
        .stdin(Stdio::null())
        .spawn()
        .expect("it starts");
    let taken = Arc::new(AtomicUsize::new(0));
    let mut first = None;
    let (finish, mut finished) = tokio::sync::mpsc::unbounded_channel();
    let last = loop {
        tokio::select! {
            Some(at) = finished.recv() => break at,
            accepted = listener.accept() => {
                first.get_or_insert_with(Instant::now);
                let (stream, _) = accepted.expect("a connection");
                let (taken, finish) = (Arc::clone(&taken), finish.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                        let (taken, finish) = (Arc::clone(&taken), finish.clone());
                        async move {
                            let _ = request.into_body().collect().await;
                            if taken.fetch_add(1, Ordering::SeqCst) + 1 == DELIVERIES {
                                let _ = finish.send(Instant::now());
                            }
                            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
                        }
                    });
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        }
    };
    service.kill().expect("killed");
    service.wait().expect("ended");
    (DELIVERIES, last.duration_since(first.expect("a first call")).as_secs_f64())
}

/// Times claims for one destination while a million wait for another, and that other's too.
async fn claims(name: &str, store: &Store) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis();
    let now = i64::try_from(now).expect("a time");
    let mut session = store.connect().await.expect("a session");
    for destination in ["open", "resting"] {
        let mut times: Vec<Duration> = Vec::with_capacity(CLAIMS);
        for _ in 0..CLAIMS {
            let started = Instant::now();
            session.begin_outbox().await.expect("begun");
            let due = session.due_destinations(&[destination], now).await.expect("names");
            let claimed = session
                .claim_deliveries(destination, CLAIM_DELIVERIES, now, now + 25_000)
                .await
                .expect("claimed");
            let ids: Vec<i64> = claimed.iter().map(|claim| claim.id).collect();
            let tellings = session.tellings(&ids).await.expect("tellings");
            session.commit().await.expect("committed");
            times.push(started.elapsed());
            assert_eq!((due.len(), tellings.len()), (1, 128));
        }
        times.sort();
        let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
        println!(
            "{name}: a claim of {CLAIM_DELIVERIES} for `{destination}`, with what it tells and its commit, while {WAITING} wait: median {:.1?}, 99 % {:.1?}, most {:.1?}",
            at(50),
            at(99),
            at(100)
        );
    }
}

/// The plan of the search inside a claim.
async fn explain(name: &str, url: &str) {
    let search = "select id from deliveries where destination = 'open' and status = 'waiting'
                  and next_attempt_at <= '2027-01-01' order by next_attempt_at, id limit 128";
    println!("{name}: the plan of the search in a claim");
    if url.starts_with("sqlite") {
        let mut connection = SqliteConnection::connect(url).await.expect("a connection");
        let sql = AssertSqlSafe(format!("explain query plan {search}"));
        for row in connection.fetch_all(sql).await.expect("a plan") {
            println!("    {}", row.get::<String, _>("detail"));
        }
    } else {
        let mut connection = PgConnection::connect(url).await.expect("a connection");
        let sql =
            AssertSqlSafe(format!("explain (analyze, buffers) {search} for update skip locked"));
        for row in connection.fetch_all(sql).await.expect("a plan") {
            println!("    {}", row.get::<String, _>(0));
        }
    }
}
