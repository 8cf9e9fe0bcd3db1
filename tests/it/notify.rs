//! Notifications as stories: a change is committed, and then look at what the receiver got, over
//! receivers that fail, hang, redirect, or are not where they seem to be.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use paidup::domain::outcome::Outcome;
use paidup::ingest::{self, Retention};
use paidup::notify::guard::Guard;
use paidup::store::transaction::Rules;
use reqwest::dns::{Name, Resolve};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::support::databases::on_both;
use crate::support::fixtures::{EventBody, charge, pi};
use crate::support::notifier::{
    Choice, Notifier, WEBHOOK_SECRET, becomes, deliver, lookup_of, settings, webhook,
};
use crate::support::receiver::{Receiver, Reply};
use crate::support::service::{Service, eventually};

fn paid(order: &str) -> EventBody {
    pi(&format!("pi_{order}")).order(order).event("payment_intent.succeeded")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_told_as_it_was_committed() {
    on_both(async |database| {
        let receiver = Receiver::content().await;
        let file = webhook("shipping", &format!("{}/hook", receiver.url));
        let settings = settings(&format!("{file}wants = [\"order.paid\", \"order.refunded\"]\n"));
        let back = charge("ch_1").pi("pi_O1").refunded(29_900).event("charge.refunded");
        deliver(database, &settings, &[paid("O1"), back.id("evt_back")]).await;
        let notifier = Notifier::start(database, &settings);
        let mut calls = receiver.has(2).await;
        calls.sort_by_key(|call| call.json()["data"]["version"].as_i64());

        assert_eq!(calls[0].path, "/hook");
        assert_eq!(calls[0].header("content-type"), "application/json");
        assert_eq!(
            calls[1].json(),
            json!({
                "type": "order.refunded",
                "timestamp": "2026-11-23T16:55:31.123Z",
                "data": {
                    "order": {
                        "id": "O1", "status": "refunded", "amount_due": null,
                        "amount_received": 29900, "amount_disputed": 0, "disputes": [], "amount_refunded": 29900, "currency": "usd",
                        "dispute": null, "problem": null, "failure": null,
                    },
                    "change": {
                        "types": ["order.refunded"], "from": "paid", "to": "refunded",
                        "event": "evt_back",
                    },
                    "version": 2,
                },
            })
        );
        assert_eq!(calls[0].json()["data"]["order"]["status"], "paid");
        assert!(calls[0].header("webhook-signature").starts_with("v1,"));
        assert_eq!(calls[0].header("webhook-timestamp"), "1795452931");
        assert_ne!(calls[0].header("webhook-id"), calls[1].header("webhook-id"));
        becomes(database, "shipping", "sent 1 -").await;
        notifier.stopped().await;
        assert_eq!(receiver.calls().len(), 2, "each once");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_tried_again_by_the_schedule_under_the_same_id() {
    on_both(async |database| {
        let receiver =
            Receiver::start(|_, number| Reply::Status(if number < 3 { 500 } else { 200 })).await;
        let settings = settings(&webhook("shipping", &receiver.url));
        deliver(database, &settings, &[paid("O1")]).await;
        let notifier = Notifier::start(database, &settings);
        for (count, (pause, row)) in
            [(0, "waiting 1"), (7, "waiting 2"), (361, "waiting 3"), (2161, "sent 4")]
                .into_iter()
                .enumerate()
        {
            notifier.pass(pause);
            let error = if count < 3 { "answered 500" } else { "-" };
            becomes(database, "shipping", &format!("{row} {error}")).await;
            assert_eq!(receiver.calls().len(), count + 1);
        }
        let calls = receiver.calls();
        let ids: BTreeSet<&str> = calls.iter().map(|call| call.header("webhook-id")).collect();
        assert_eq!(ids.len(), 1, "{ids:?}");
        let signatures: BTreeSet<&str> =
            calls.iter().map(|call| call.header("webhook-signature")).collect();
        assert_eq!(signatures.len(), 4, "the time is signed, and has passed");
        notifier.stopped().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_takes_is_dead_in_the_end_and_can_be_sent_again() {
    on_both(async |database| {
        let is_up = Arc::new(AtomicUsize::new(0));
        let told = Arc::clone(&is_up);
        let receiver = Receiver::start(move |_, _| {
            Reply::Status(if told.load(Ordering::SeqCst) == 1 { 200 } else { 503 })
        })
        .await;
        let settings = settings(&webhook("shipping", &receiver.url));
        deliver(database, &settings, &[paid("O1")]).await;
        let notifier = Notifier::start(database, &settings);
        for attempts in 1..10 {
            becomes(database, "shipping", &format!("waiting {attempts} answered 503")).await;
            notifier.pass(30 * 60 * 60);
        }
        becomes(database, "shipping", "dead 10 answered 503").await;
        notifier.pass(30 * 60 * 60);
        is_up.store(1, Ordering::SeqCst);
        let mut session = database.session().await;
        assert_eq!(session.retry_dead(None, 0).await.expect("one"), 1);
        notifier.pass(1);
        becomes(database, "shipping", "sent 1 -").await;
        notifier.stopped().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_hangs_or_dribbles_costs_only_its_own_attempts() {
    on_both(async |database| {
        let hanging = Receiver::start(|_, _| Reply::Hang).await;
        let content = Receiver::content().await;
        // A head that comes byte by byte never ends; a body that does is not waited for.
        let dribble = async |head: &'static [u8]| {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let url = format!("http://{}", listener.local_addr().expect("an address"));
            let task = tokio::spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.expect("a connection");
                    tokio::spawn(async move {
                        let mut request = [0; 4096];
                        let _ = stream.read(&mut request).await;
                        let _ = stream.write_all(head).await;
                        while stream.write_all(b"x").await.is_ok() {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    });
                }
            });
            (url, task)
        };
        let (slow_head, one) = dribble(b"HTTP/1.1 200 OK\r\nx-slow: ").await;
        let (slow_body, other) = dribble(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n").await;
        let settings = settings(&format!(
            "{}{}{}{}",
            webhook("hangs", &hanging.url),
            webhook("slow-head", &slow_head),
            webhook("slow-body", &slow_body),
            webhook("fine", &content.url)
        ));
        deliver(database, &settings, &[paid("O1")]).await;
        let attempt = Duration::from_millis(1500);
        let notifier =
            Notifier::start_with(database, &settings, Choice { attempt, ..Choice::default() });
        becomes(database, "fine", "sent 1 -").await;
        becomes(database, "hangs", "waiting 1 no answer within 1.5s").await;
        becomes(database, "slow-head", "waiting 1 no answer within 1.5s").await;
        becomes(database, "slow-body", "sent 1 -").await;
        notifier.stopped().await;
        one.abort();
        other.abort();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_destination_rests_and_delays_no_other() {
    on_both(async |database| {
        let dead = Receiver::start(|_, _| Reply::Status(500)).await;
        let content = Receiver::content().await;
        let dead_file = format!("{}concurrency = 1\n", webhook("dead", &dead.url));
        let settings = settings(&format!("{dead_file}{}", webhook("fine", &content.url)));
        let orders: Vec<EventBody> = (0..40).map(|number| paid(&format!("O{number}"))).collect();
        deliver(database, &settings, &orders).await;
        let notifier = Notifier::start(database, &settings);
        content.has(40).await;
        let sent = "select cast(count(*) as text) from deliveries where status = 'sent'";
        eventually("all are settled", async || database.one(sent).await == "40").await;
        // Five failures in a row, one after the other: then it is left alone, and nothing more is tried.
        let tried = "select cast(sum(attempts) as text) from deliveries where destination = 'dead'";
        eventually("five attempts", async || database.one(tried).await == "5").await;
        let idle = "select cast(count(*) as text) from deliveries where claimed_at is not null";
        eventually("none is claimed", async || database.one(idle).await == "0").await;
        assert_eq!(dead.calls().len(), 5);
        // After its rest a single one tries how it is.
        notifier.pass(5);
        eventually("a sixth attempt", async || database.one(tried).await == "6").await;
        assert_eq!(dead.calls().len(), 6);
        notifier.stopped().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gone_disables_until_an_operator_enables() {
    on_both(async |database| {
        let receiver =
            Receiver::start(|_, number| Reply::Status(if number == 0 { 410 } else { 200 })).await;
        let settings = settings(&webhook("shipping", &receiver.url));
        deliver(database, &settings, &[paid("O1")]).await;
        let notifier = Notifier::start(database, &settings);
        becomes(database, "shipping", "waiting 0 -").await;
        let mut session = database.session().await;
        eventually("it is disabled", async || {
            let disabled = session.disabled_destinations().await.expect("names");
            disabled.iter().any(|one| one.name == "shipping" && one.reason == "answered 410")
        })
        .await;
        deliver(database, &settings, &[paid("O2")]).await;
        notifier.pass(60);
        // Another process finds it disabled too.
        let other = Notifier::start_with(
            database,
            &settings,
            Choice { ahead: 99_000, ..Choice::default() },
        );
        other.pass(1);
        other.stopped().await;
        assert_eq!(receiver.calls().len(), 1);
        session.enable_destination("shipping").await.expect("enabled");
        notifier.pass(1);
        receiver.has(3).await;
        notifier.stopped().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_asks_for_a_pause_has_it() {
    on_both(async |database| {
        let receiver = Receiver::start(|_, number| match number {
            0 => Reply::With(429, "retry-after", "120".to_owned()),
            _ => Reply::Status(200),
        })
        .await;
        let settings = settings(&webhook("shipping", &receiver.url));
        deliver(database, &settings, &[paid("O1")]).await;
        let notifier = Notifier::start(database, &settings);
        becomes(database, "shipping", "waiting 1 answered 429").await;
        deliver(database, &settings, &[paid("O2")]).await;
        notifier.pass(119);
        // Time for it to be wrong: another worker of the same pace goes round and ends.
        let seconds = "select cast(count(*) as text) from deliveries where attempts = 1";
        assert_eq!(database.one(seconds).await, "1");
        assert_eq!(receiver.calls().len(), 1);
        notifier.pass(1);
        receiver.has(3).await;
        notifier.stopped().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_are_not_followed() {
    on_both(async |database| {
        let inner = Receiver::content().await;
        let to = format!("{}/latest/meta-data", inner.url);
        let receiver = Receiver::start(move |_, _| Reply::With(307, "location", to.clone())).await;
        let settings = settings(&webhook("shipping", &receiver.url));
        deliver(database, &settings, &[paid("O1")]).await;
        let notifier = Notifier::start(database, &settings);
        let told = "answered 307, and redirects are not followed; write the new address";
        becomes(database, "shipping", &format!("waiting 1 {told}")).await;
        assert!(inner.calls().is_empty());
        notifier.stopped().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_leads_inside_is_not_called() {
    on_both(async |database| {
        let inner = Receiver::content().await;
        let port = inner.url.rsplit(':').next().expect("a port").to_owned();
        let looked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&looked);
        let lookup = lookup_of(move |name| {
            assert_eq!(name, "rebinds.example");
            count.fetch_add(1, Ordering::SeqCst);
            vec![IpAddr::from([127, 0, 0, 1])]
        });
        let settings = settings(&format!(
            "[[webhook]]\nname = \"out\"\nurl = \"https://rebinds.example:{port}/\"\nsecret_env = \"S\"\n"
        ));
        deliver(database, &settings, &[paid("O1")]).await;
        let notifier =
            Notifier::start_with(database, &settings, Choice { lookup, ..Choice::default() });
        let told = "the address is private or of this machine; allow_private = true permits it";
        becomes(database, "out", &format!("waiting 1 {told}")).await;
        assert_eq!(looked.load(Ordering::SeqCst), 1, "what was checked is what is called");
        assert!(inner.calls().is_empty());
        notifier.stopped().await;
    })
    .await;
}

/// The answer that was checked is the one that is called: there is no second look-up to differ.
#[tokio::test]
async fn a_name_that_rebinds_is_judged_by_the_answer_that_is_used() {
    let answers = [
        vec!["93.184.215.14"],
        vec!["127.0.0.1"],
        vec!["10.0.0.1", "2606:4700::1111", "::1", "93.184.215.14"],
        vec!["::ffff:169.254.169.254"],
        vec![],
    ];
    let expected = [
        Some(vec!["93.184.215.14"]),
        None,
        Some(vec!["2606:4700::1111", "93.184.215.14"]),
        None,
        None,
    ];
    let next = AtomicUsize::new(0);
    let lookup = lookup_of(move |_| {
        let answer = &answers[next.fetch_add(1, Ordering::SeqCst)];
        answer.iter().map(|text| text.parse().expect("an address")).collect()
    });
    let guard = Guard::new(false, lookup);
    for expected in expected {
        let resolved = guard.resolve(Name::from_str("rebinds.example").expect("a name")).await;
        let found =
            resolved.ok().map(|found| found.map(|one| one.ip().to_string()).collect::<Vec<_>>());
        assert_eq!(found, expected.map(|all| all.into_iter().map(str::to_owned).collect()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_answer_is_cut_and_the_call_counts() {
    on_both(async |database| {
        let receiver = Receiver::start(|_, _| Reply::Long(200, 64 * 1024 * 1024)).await;
        let settings = settings(&webhook("shipping", &receiver.url));
        deliver(database, &settings, &[paid("O1"), paid("O2")]).await;
        let notifier = Notifier::start(database, &settings);
        becomes(database, "shipping", "sent 1 -").await;
        notifier.stopped().await;
    })
    .await;
}

/// The look once a second is an hour away here: only the writer's word can bring the worker round.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_writer_wakes_the_worker_after_its_commit() {
    on_both(async |database| {
        let receiver = Receiver::content().await;
        let settings = settings(&webhook("shipping", &receiver.url));
        let rules = Rules { destinations: settings.rules(), ..Rules::default() };
        let stop = CancellationToken::new();
        let _guard = stop.clone().drop_guard();
        let retention = Retention { event_body_days: Some(90) };
        let (ingest, writer) =
            ingest::start(database.store.clone(), rules, retention, stop.clone())
                .expect("a thread");
        let senders =
            paidup::notify::Sender::all(&settings, &paidup::notify::guard::system_lookup());
        let pace = paidup::notify::worker::Pace {
            poll: Duration::from_secs(3600),
            ..paidup::notify::worker::Pace::default()
        };
        let notifier = paidup::notify::worker::start(
            database.store.clone(),
            senders.expect("senders"),
            ingest.changes(),
            pace,
            stop.clone(),
        );
        for number in 0..5 {
            let event = paid(&format!("O{number}")).event();
            let answer = ingest.submit(event).await;
            assert_eq!(answer.map(|answer| answer.outcome), Ok(Outcome::Applied));
            receiver.has(number + 1).await;
        }
        stop.cancel();
        writer.await.expect("no panic");
        notifier.expect("a thread").await.expect("no panic");
    })
    .await;
}

/// An attempt that is under way when the service stops ends, and is settled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_is_settled_before_the_worker_ends() {
    on_both(async |database| {
        let go = Arc::new(tokio::sync::Semaphore::new(0));
        let receiver = Receiver::content().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let file = format!("{}concurrency = 1\n", webhook("slow", &url));
        let settings = settings(&format!("{file}{}", webhook("fine", &receiver.url)));
        deliver(database, &settings, &[paid("O1"), paid("O2"), paid("O3")]).await;
        let notifier = Notifier::start(database, &settings);
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let waits = Arc::clone(&go);
        let answering = tokio::spawn(async move {
            let _permit = waits.acquire().await.expect("open");
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.expect("written");
        });
        let stopping = tokio::spawn(notifier.stopped());
        let waiting =
            "select cast(count(*) as text) from deliveries where destination = 'slow' and attempts = 0";
        eventually("what has not begun is given back", async || database.one(waiting).await == "2").await;
        assert!(!stopping.is_finished());
        go.add_permits(1);
        stopping.await.expect("it ends");
        answering.await.expect("no panic");
        let sent = "select cast(count(*) as text) from deliveries
                    where destination = 'slow' and status = 'sent' and attempts = 1";
        assert_eq!(database.one(sent).await, "1");
    })
    .await;
}

/// A process that dies after it sent and before it settled: told again, under the same id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_had_sent_is_sent_again_under_the_same_id() {
    on_both(async |database| {
        let receiver = Receiver::start(|_, number| match number {
            0 => Reply::Hang,
            _ => Reply::Status(200),
        })
        .await;
        let file = webhook("shipping", &receiver.url);
        let folder = std::env::temp_dir().join(format!(
            "paidup_notify_{:p}_{}",
            &receiver,
            std::process::id()
        ));
        std::fs::create_dir(&folder).expect("a folder");
        let path = folder.join("notify.toml");
        std::fs::write(&path, &file).expect("written");
        let path = path.display().to_string();
        let service = Service::start(database, &[("NOTIFY_CONFIG", &path), ("S", WEBHOOK_SECRET)]);
        assert_eq!(service.post(&paid("O1").body()).await.status, 200);
        receiver.has(1).await;
        service.kill();

        // Another process, before the lease is over and after it.
        let begun = paidup::unix_seconds() * 1000;
        let settings = settings(&file);
        let ahead = begun - crate::support::notifier::NOW;
        let early =
            Notifier::start_with(database, &settings, Choice { ahead, ..Choice::default() });
        early.stopped().await;
        assert_eq!(receiver.calls().len(), 1);
        let ahead = ahead + 30_000;
        let late = Notifier::start_with(database, &settings, Choice { ahead, ..Choice::default() });
        let calls = receiver.has(2).await;
        becomes(database, "shipping", "sent 2 -").await;
        late.stopped().await;
        assert_eq!(calls[0].header("webhook-id"), calls[1].header("webhook-id"));
        assert_eq!(calls[0].body, calls[1].body);
        std::fs::remove_dir_all(&folder).expect("removed");
    })
    .await;
}
