//! Several real processes that share the outbox, and are killed at random while they send: every change
//! is told, and told again only where a killed process had claimed it, under the same id.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use paidup::http::client;
use tokio::task::JoinSet;

use crate::support::databases::{Database, on_both};
use crate::support::fixtures::{pi, secret};
use crate::support::notifier::{Choice, NOW, Notifier, WEBHOOK_SECRET, settings, webhook};
use crate::support::receiver::Receiver;
use crate::support::service::{CALL_SECONDS_MAX, Service, eventually};

const ORDERS: usize = 1000;
const CALLERS: usize = 32;
const KILLS: usize = 6;

fn start(database: &Database, file: &str) -> Service {
    Service::start(database, &[("NOTIFY_CONFIG", file), ("S", WEBHOOK_SECRET)])
}

/// Sends events until all are answered 200, to whichever process is there.
async fn call(urls: Arc<Mutex<Vec<String>>>, numbers: Vec<usize>) {
    for number in numbers {
        let event = pi(&format!("pi_{number}")).order(&format!("O{number}"));
        let body = event.event("payment_intent.succeeded").id(&format!("evt_{number}")).body();
        for attempt in number.. {
            let url = {
                let urls = urls.lock().expect("no panic");
                urls[attempt % urls.len()].clone()
            };
            let signature = secret().header(paidup::unix_seconds(), &body);
            let headers = [("Stripe-Signature", signature.as_str())];
            let within = Duration::from_secs(CALL_SECONDS_MAX);
            let sent = client::post(&url, &headers, body.clone().into(), within).await;
            if sent.is_ok_and(|answer| answer.status == 200) {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Runs it all; returns what the receiver was told: each change, with the ids of its calls.
async fn run(database: &Database, kills: usize) -> BTreeMap<String, Vec<String>> {
    let receiver = Receiver::content().await;
    let text = webhook("shipping", &receiver.url);
    let name = hex::encode(paidup::dev::random::<8>().expect("random"));
    let file: PathBuf = std::env::temp_dir().join(format!("paidup_notify_{name}.toml"));
    fs::write(&file, &text).expect("written");
    let path = file.display().to_string();
    let mut services = vec![start(database, &path), start(database, &path)];
    let urls = services.iter().map(|service| service.webhook.clone()).collect();
    let urls = Arc::new(Mutex::new(urls));
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let numbers = (0..ORDERS).filter(|number| number % CALLERS == caller).collect();
        callers.spawn(call(Arc::clone(&urls), numbers));
    }
    for kill in 0..kills {
        // After another number of calls each time, while others are under way.
        let dice: [u8; 2] = paidup::dev::random().expect("random");
        let after = kill * ORDERS / (kills + 1) + usize::from(dice[0]) / 2;
        eventually("calls", async || receiver.calls().len() >= after).await;
        let which = usize::from(dice[1]) % 2;
        eprintln!("process {which} is killed after {after} calls");
        services.remove(which).kill();
        services.insert(which, start(database, &path));
        urls.lock().expect("no panic")[which] = services[which].webhook.clone();
    }
    callers.join_all().await;
    // What the killed ones had claimed is due when their leases are over.
    let ahead = paidup::unix_seconds() * 1000 + 60_000 - NOW;
    let left = "select cast(count(*) as text) from deliveries where status <> 'sent'";
    if kills == 0 {
        eventually("all are sent", async || database.one(left).await == "0").await;
    }
    let choice = Choice { ahead, ..Choice::default() };
    for service in services {
        let (status, log) = service.stopped().await;
        assert!(status.success(), "{log}");
    }
    let last = Notifier::start_with(database, &settings(&text), choice);
    eventually("all are sent", async || database.one(left).await == "0").await;
    last.stopped().await;
    fs::remove_file(file).expect("removed");

    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for call in receiver.calls() {
        told.entry(call.change()).or_default().push(call.header("webhook-id").to_owned());
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_is_told_over_two_processes_that_are_killed() {
    on_both(async |database| {
        let told = run(database, KILLS).await;
        let all: BTreeSet<String> = (0..ORDERS).map(|number| format!("O{number} 1")).collect();
        assert_eq!(told.keys().cloned().collect::<BTreeSet<_>>(), all);
        // What was claimed once was never in the hands of a process that died.
        let once = "select order_id || ' ' || version from deliveries where claim = 1";
        for change in database.column(once).await {
            assert_eq!(told[&change].len(), 1, "{change} was told twice for no reason");
        }
        let mut again = 0;
        for (change, ids) in &told {
            assert!(ids.iter().all(|id| *id == ids[0]), "{change}: {ids:?}");
            again += ids.len() - 1;
        }
        eprintln!("{again} changes were told again");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_is_told_exactly_once_while_nobody_dies() {
    on_both(async |database| {
        let told = run(database, 0).await;
        assert_eq!(told.len(), ORDERS);
        assert!(told.values().all(|ids| ids.len() == 1), "told twice, and nobody was killed");
    })
    .await;
}
