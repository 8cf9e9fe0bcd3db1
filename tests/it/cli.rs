//! The command line as a person meets it: the real binary in a folder of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use paidup::http::client;

use crate::support::databases::{Database, on_both};
use crate::support::fixtures::{SECRET, pi};
use crate::support::folder::{Folder, command, run};
use crate::support::service::{Service, eventually, paidup};

#[test]
fn help_and_version_say_what_it_is() {
    let folder = Folder::new();
    let help = run(&folder, "--help", &[]);
    assert!(help.is_content);
    for word in [
        "dev",
        "serve",
        "trigger",
        "order",
        "explain",
        "notify",
        "check",
        "migrate",
        "health",
        "STRIPE_WEBHOOK_SECRET",
        "DATABASE_URL",
        "UNKNOWN_ORDERS",
    ] {
        assert!(help.out.contains(word), "{word}: {}", help.out);
    }
    let commands = [
        "dev",
        "serve",
        "trigger",
        "order",
        "explain",
        "notify",
        "orders",
        "orders export",
        "replay",
        "backfill",
        "doctor",
        "prune",
        "check",
        "migrate",
        "health",
    ];
    for command in commands {
        let help = run(&folder, &format!("{command} --help"), &[]);
        assert!(help.is_content && help.out.contains("Usage: paidup"), "{command}: {}", help.out);
    }
    let version = run(&folder, "--version", &[]).out;
    assert_eq!(version.trim(), concat!("paidup ", env!("CARGO_PKG_VERSION")));
    assert!(!run(&folder, "", &[]).is_content);
    let files = fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(files, 0, "asking for help leaves nothing behind");
}

#[test]
fn serve_demands_a_secret_and_says_how_to_get_one() {
    let folder = Folder::new();
    for settings in [&[][..], &[("STRIPE_WEBHOOK_SECRET", "")], &[("STRIPE_WEBHOOK_SECRET", " , ")]]
    {
        let refused = run(&folder, "serve", settings);
        assert!(!refused.is_content, "{settings:?}");
        assert!(refused.err.contains("STRIPE_WEBHOOK_SECRET"), "{}", refused.err);
        assert!(refused.err.contains("whsec_"), "{}", refused.err);
    }
    assert!(!folder.path().join("paidup.db").exists());
}

#[test]
fn settings_that_cannot_be_used_are_told_all_at_once_without_their_secrets() {
    let folder = Folder::new();
    let refused = run(
        &folder,
        "serve",
        &[
            ("DATABASE_URL", "mysql://root:hunter2@db/x"),
            ("LISTEN", "here"),
            ("STRIPE_MODE", "prod"),
            ("STRIPE_WEBHOOK_SECRET", "sk_live_hunter2"),
        ],
    );
    assert!(!refused.is_content);
    for name in ["DATABASE_URL", "LISTEN", "STRIPE_MODE", "STRIPE_WEBHOOK_SECRET"] {
        assert!(refused.err.contains(&format!("{name}: ")), "{name}: {}", refused.err);
    }
    assert!(!refused.err.contains("hunter2"), "{}", refused.err);
}

#[test]
fn a_setting_in_the_file_env_counts_and_the_environment_goes_before_it() {
    let folder = Folder::new();
    fs::write(folder.path().join(".env"), "DATABASE_URL=sqlite://of-the-file.db\n")
        .expect("written");
    assert!(run(&folder, "migrate", &[]).out.contains("of-the-file.db"));
    let given = run(&folder, "migrate", &[("DATABASE_URL", "sqlite://given.db")]);
    assert!(given.out.contains("given.db"), "{}", given.out);
}

/// The first minute, as the README tells it, on the embedded database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev_trigger_order() {
    let folder = Folder::new();
    let before = run(&folder, "order ORDER12345", &[]);
    assert!(!before.is_content && before.err.contains("paidup dev"), "{}", before.err);
    let before = run(&folder, "trigger payment_intent.succeeded --order ORDER12345", &[]);
    assert!(!before.is_content && before.err.contains("paidup dev"), "{}", before.err);

    let addresses = [("LISTEN", "127.0.0.1:0"), ("OPERATOR_LISTEN", "127.0.0.1:0")];
    let mut dev = command(&folder, "dev", &addresses);
    let mut dev = dev.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let out = dev.stdout.take().expect("an output");
    let (told, webhook) = tokio::task::spawn_blocking(move || {
        use std::io::BufRead as _;
        let mut told = String::new();
        for line in std::io::BufReader::new(out).lines() {
            told.push_str(&line.expect("text"));
            told.push('\n');
            if told.contains("Ctrl-C") {
                break;
            }
        }
        let url = told.split_whitespace().find(|word| word.contains("/webhook/stripe"));
        let url = url.expect(&told).to_owned();
        (told, url)
    })
    .await
    .expect("no panic");
    let next = "paidup trigger payment_intent.succeeded --order ORDER12345\n";
    assert!(told.contains(next) && told.contains("paidup order ORDER12345\n"), "{told}");
    assert!(!told.contains("whsec_"), "the secret is not for the screen: {told}");

    let sent = run(
        &folder,
        &format!("trigger payment_intent.succeeded --order ORDER12345 --url {webhook}"),
        &[],
    );
    assert!(sent.is_content && sent.out.contains("200 applied"), "{}{}", sent.out, sent.err);
    let order = run(&folder, "order ORDER12345", &[]);
    assert!(order.is_content, "{}", order.err);
    for line in ["status      paid", "received    299.00 USD"] {
        assert!(order.out.contains(line), "{}", order.out);
    }
    run(&folder, &format!("trigger charge.refunded --order ORDER12345 --url {webhook}"), &[]);
    let story = run(&folder, "explain ORDER12345", &[]).out;
    for words in ["status       refunded", "new → paid", "paid → refunded", "charge.refunded"] {
        assert!(story.contains(words), "{words}: {story}");
    }
    let unknown = run(&folder, "order ORDER9", &[]);
    assert!(!unknown.is_content && unknown.err.contains("ORDER9"), "{}", unknown.err);

    // Stopped and started again, it has the same secret and the same orders.
    let secret = fs::read_to_string(folder.path().join(".paidup/secret")).expect("a secret");
    let id = dev.id().to_string();
    Command::new("sh").args(["-c", "kill -INT \"$0\"", &id]).status().expect("a shell");
    assert!(dev.wait().expect("it ends").success());
    assert_eq!(fs::read_to_string(folder.path().join(".paidup/secret")).expect("a secret"), secret);
    assert!(run(&folder, "order ORDER12345", &[]).out.contains("refunded"));
}

#[test]
fn dev_is_for_this_machine_alone() {
    let folder = Folder::new();
    let refused = run(&folder, "dev", &[("LISTEN", "0.0.0.0:0")]);
    assert!(!refused.is_content && refused.err.contains("paidup serve"), "{}", refused.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_tells_each_event_and_why_it_changed_nothing() {
    on_both(async |database| {
        let folder = Folder::new();
        let service = Service::start(database, &[]);
        for (id, body) in [
            ("evt_1", pi("pi_1").order("O1").event("payment_intent.succeeded")),
            (
                "evt_2",
                pi("pi_1")
                    .order("O1")
                    .failure("card_declined", "No.")
                    .event("payment_intent.payment_failed"),
            ),
            ("evt_3", pi("pi_1").order("O1").event("payment_intent.processing")),
            // In test mode, for a live order.
            ("evt_4", pi("pi_2").order("O1").event("payment_intent.canceled").test()),
        ] {
            assert_eq!(service.post(&body.id(id).body()).await.status, 200);
        }
        let url = [("DATABASE_URL", database.url.as_str())];
        let story = run(&folder, "explain O1", &url);
        assert!(story.is_content, "{}", story.err);
        for id in ["evt_1", "evt_2", "evt_3", "evt_4"] {
            let line = story.out.lines().find(|line| line.contains(id)).expect(&story.out);
            let reason = line.split("  ").last().expect("a reason").trim();
            assert!(reason.split(' ').count() > 2, "{id} has no reason: {line}");
        }
        assert_eq!(story.out.matches("new → paid").count(), 2, "{}", story.out);
    })
    .await;
}

/// Says what is wrong and how to mend it, and fails if anything is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_looks_at_everything() {
    let folder = Folder::new();
    let free = ("LISTEN", "127.0.0.1:0");
    let operators = ("OPERATOR_LISTEN", "127.0.0.1:0");
    on_both(async |database| {
        let url = ("DATABASE_URL", database.url.as_str());
        let good =
            run(&folder, "check", &[url, ("STRIPE_WEBHOOK_SECRET", SECRET), free, operators]);
        assert!(good.is_content, "{}{}", good.out, good.err);
        for words in ["…ABCD", "answers", "clock", "is free", "schema"] {
            assert!(good.out.contains(words), "{words}: {}", good.out);
        }
        assert!(!good.out.contains("BAD"), "{}", good.out);
        assert!(!good.out.contains(SECRET));
    })
    .await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").to_string();
    for (settings, words) in [
        (vec![], "STRIPE_WEBHOOK_SECRET"),
        (vec![("STRIPE_WEBHOOK_SECRET", "sk_test_x")], "API key"),
        (
            vec![
                ("STRIPE_WEBHOOK_SECRET", SECRET),
                ("DATABASE_URL", "postgres://paidup:hunter2@127.0.0.1:1/paidup"),
            ],
            "127.0.0.1:1",
        ),
        (vec![("STRIPE_WEBHOOK_SECRET", SECRET), ("LISTEN", "192.0.2.1:80")], "192.0.2.1:80"),
    ] {
        let bad = run(&folder, "check", &settings);
        assert!(!bad.is_content, "{words}: {}", bad.out);
        let line = bad.out.lines().find(|line| line.starts_with("BAD") && line.contains(words));
        assert!(line.is_some(), "{words}: {}", bad.out);
        assert!(!bad.out.contains("hunter2"), "{}", bad.out);
    }
    drop(taken);
    assert!(!folder.path().join("paidup.db").exists(), "check makes no database");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_what_the_service_says() {
    let folder = Folder::new();
    let database = Database::sqlite().await;
    let service = Service::start(&database, &[]);
    let address = service.operators.trim_start_matches("http://").to_owned();
    let at = [("OPERATOR_LISTEN", address.as_str())];
    assert!(run(&folder, "health", &at).is_content);
    assert!(run(&folder, "health --ready", &at).is_content);
    let (status, _) = service.stopped().await;
    assert!(status.success());
    let gone = run(&folder, "health", &at);
    assert!(!gone.is_content && gone.err.contains("nothing listens"), "{}", gone.err);
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrate_makes_the_schema_and_serve_says_which_database() {
    let folder = Folder::new();
    for database in [Database::sqlite_empty(), Database::postgres_empty().await] {
        let url = [("DATABASE_URL", database.url.as_str())];
        for _ in 0..2 {
            let done = run(&folder, "migrate", &url);
            assert!(done.is_content && done.out.contains("up to date"), "{}{}", done.out, done.err);
        }
        let service = Service::start(&database, &[]);
        let name = if database.is_postgres() { "Postgres paidup_test_" } else { "SQLite /" };
        assert!(service.log().contains(name), "{}", service.log());
        drop(service);
        database.remove().await;
    }
}

/// `paidup serve` in one process and the shop's row from another: an order on hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_order_waits_for_the_shops_row() {
    on_both(async |database| {
        let folder = Folder::new();
        let service = Service::start(database, &[("UNKNOWN_ORDERS", "hold")]);
        let paid = pi("pi_1").order("O1").event("payment_intent.succeeded").body();
        assert!(service.post(&paid).await.body.contains("parked"));
        let url = [("DATABASE_URL", database.url.as_str())];
        let waits = run(&folder, "explain O1", &url);
        assert!(
            waits.out.contains("wait until the shop inserts its row"),
            "{}{}",
            waits.out,
            waits.err
        );
        database
            .execute("insert into orders (id, amount_due, currency) values ('O1', 50000, 'usd')")
            .await;
        eventually("taken up", async || run(&folder, "order O1", &url).out.contains("underpaid"))
            .await;
        assert!(run(&folder, "order O1", &url).out.contains("due         500.00 USD"));
    })
    .await;
}

/// The embedded database belongs to one machine, and its port to one process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_taken_is_told() {
    let folder = Folder::new();
    let database = Database::sqlite().await;
    let service = Service::start(&database, &[]);
    let address = service.webhook.trim_start_matches("http://").split('/').next().expect("one");
    let settings = [
        ("STRIPE_WEBHOOK_SECRET", SECRET),
        ("LISTEN", address),
        ("OPERATOR_LISTEN", "127.0.0.1:0"),
    ];
    let refused = run(&folder, "serve", &settings);
    assert!(!refused.is_content && refused.err.contains("LISTEN="), "{}", refused.err);
    assert!(!folder.path().join("paidup.db").exists(), "{}", refused.err);
    let alive =
        client::get(&format!("{}/healthz", service.operators), Duration::from_secs(5)).await;
    assert_eq!(alive.expect("an answer").status, 200);
    drop(service);
    database.remove().await;
}

/// As with `paidup serve 2>&1 | tee log` at Ctrl-C, when `tee` ends first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_is_heard_when_nobody_reads_the_log_any_more() {
    let database = Database::sqlite().await;
    let mut command = paidup();
    command.arg("serve").env("DATABASE_URL", &database.url).env("STRIPE_WEBHOOK_SECRET", SECRET);
    command.env("LISTEN", "127.0.0.1:0").env("OPERATOR_LISTEN", "127.0.0.1:0");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().expect("it starts");
    let mut lines = BufReader::new(process.stderr.take().expect("a log"));
    let mut line = String::new();
    while !line.contains("http://") {
        line.clear();
        assert_ne!(lines.read_line(&mut line).expect("a line"), 0, "it ended early");
    }
    drop((lines, process.stdout.take()));
    let id = process.id().to_string();
    Command::new("sh").args(["-c", "kill -TERM \"$0\"", &id]).status().expect("a shell");
    let mut ended = None;
    eventually("ended", async || {
        ended = process.try_wait().expect("a child");
        ended.is_some()
    })
    .await;
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
    database.remove().await;
}
