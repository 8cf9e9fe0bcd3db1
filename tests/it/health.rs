//! Health tells the truth: `/readyz` and `check` are green only where an event would be recorded, and a
//! start that no waiting can mend ends at once.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use paidup::store::transaction::Rules;

use crate::ingest::{paid, start, start_on, submit};
use crate::support::databases::{Database, on_both};
use crate::support::fixtures::SECRET;
use crate::support::service::paidup;

fn command(words: &str, url: &str) -> Command {
    let mut command = paidup();
    command.args(words.split(' ')).env("DATABASE_URL", url).env("STRIPE_WEBHOOK_SECRET", SECRET);
    command.env("LISTEN", "127.0.0.1:0").env("OPERATOR_LISTEN", "127.0.0.1:0");
    command
}

/// Whether it says that all is well, and what it says.
fn check(url: &str) -> (bool, String) {
    let output = command("check", url).output().expect("it runs");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

async fn is_red(database: &Database, url: &str, words: &str) {
    let store = paidup::store::Store::parse(url).expect("a URL");
    let running = start_on(store, Rules::default());
    assert!(!running.ingest.database_answers().await, "{words}: before any event");
    assert!(submit(&running.ingest, paid(1, "O1")).await.is_err(), "{words}");
    assert!(!running.ingest.database_answers().await, "{words}: after an event that failed");
    let (is_good, text) = check(url);
    assert!(!is_good && text.contains(words), "{words}: {text}");
    assert_eq!(database.one("select cast(count(*) as text) from events").await, "0");
    running.stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_takes_no_events_is_not_ready() {
    let database = Database::postgres().await;
    let name = database.one("select current_database()").await;
    database
        .execute(&format!("alter database {name} set default_transaction_read_only = on"))
        .await;
    is_red(&database, &database.url, "read-only").await;
    let mend = format!(
        "begin read write; alter database {name} reset default_transaction_read_only; commit"
    );
    database.execute(&mend).await;
    database
        .execute(
            "create function fail() returns trigger language plpgsql
                 as $$ begin raise exception 'no' using errcode = '42703'; end $$;
             create trigger fail before insert on orders for each row execute function fail()",
        )
        .await;
    is_red(&database, &database.url, "SQLSTATE 42703").await;
    database.execute("drop trigger fail on orders").await;

    let role = format!("role_{name}");
    database
        .execute(&format!(
            "create role {role} login;
             grant select, insert, update, delete on all tables in schema public to {role};
             revoke insert on events from {role}"
        ))
        .await;
    let url = database.url.replacen("postgres@", &format!("{role}@"), 1);
    is_red(&database, &url, "SQLSTATE 42501").await;
    let secure =
        format!("grant insert on events to {role}; alter table payments enable row level security");
    database.execute(&secure).await;
    is_red(&database, &url, "SQLSTATE 42501").await;
    database.execute("alter table payments disable row level security").await;

    let running = start(&database, Rules::default());
    assert!(running.ingest.database_answers().await);
    assert!(submit(&running.ingest, paid(1, "O1")).await.is_ok());
    assert!(running.ingest.database_answers().await);
    assert!(check(&database.url).0);
    running.stopped().await;
    database.execute(&format!("drop owned by {role}; drop role {role}")).await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trial_write_leaves_nothing_behind() {
    on_both(async |database| {
        let mut session = database.session().await;
        session.try_write("paidup-trial").await.expect("it would work");
        for table in ["events", "payments", "payment_links", "orders", "order_changes"] {
            let count = database.one(&format!("select cast(count(*) as text) from {table}")).await;
            assert_eq!(count, "0", "{table}");
        }
        assert!(check(&database.url).1.contains("a write works"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_no_waiting_can_mend_ends_at_once_and_says_what_to_do() {
    let database = Database::postgres_empty().await;
    let missing = format!("{}_missing", database.url);
    let nobody = database.url.replacen("postgres@", "nobody_of_that_name@", 1);
    for (url, words) in
        [(missing, ["SQLSTATE 3D000", "createdb"]), (nobody, ["SQLSTATE 28000", "user"])]
    {
        let began = Instant::now();
        let output = command("serve", &url).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && words.iter().all(|word| text.contains(word)), "{text}");
        assert!(began.elapsed() < Duration::from_secs(10), "{text}");
    }
    database.remove().await;
}

#[test]
fn a_stop_is_heard_while_the_start_waits_for_the_database() {
    let mut serve = command("serve", "postgres://paidup@127.0.0.1:1/paidup");
    let mut process = serve.stderr(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(process.stderr.take().expect("a log")).lines();
    let waits = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("waiting for it")));
    assert!(waits.is_some(), "it waits");
    let began = Instant::now();
    let id = process.id().to_string();
    let sent = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &id]).status();
    assert!(sent.expect("a shell").success());
    let _ = process.wait().expect("it ends");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}
