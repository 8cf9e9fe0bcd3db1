//! Kill -9 in the middle of a load: every event that was answered 200 is there afterwards, and counts
//! once. The real binary, over real connections, on both databases.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use paidup::http::client;
use tokio::task::JoinSet;

use crate::support::databases::on_both;
use crate::support::fixtures::{charge, pi, secret};
use crate::support::service::{CALL_SECONDS_MAX, Service};

const KILLS: usize = 20;
const CALLERS: usize = 16;

/// The events of one order: its payment, and a refund of a part of it.
fn body(number: usize) -> (String, Vec<u8>) {
    let (order, pi_id, charge_id) =
        (number / 2, format!("pi_{}", number / 2), format!("ch_{}", number / 2));
    let event = if number.is_multiple_of(2) {
        pi(&pi_id).order(&format!("O{order}")).event("payment_intent.succeeded")
    } else {
        charge(&charge_id)
            .pi(&pi_id)
            .order(&format!("O{order}"))
            .refunded(100)
            .event("charge.refunded")
    };
    let id = format!("evt_{number}");
    let body = event.id(&id).body();
    (id, body)
}

/// Sends events from `next` on until the service is gone; answers which were answered 200.
async fn load(url: Arc<str>, next: Arc<AtomicUsize>, answered: Arc<AtomicUsize>) -> Vec<String> {
    let secret = secret();
    let mut landed = Vec::new();
    loop {
        let (id, body) = body(next.fetch_add(1, Ordering::Relaxed));
        let signature = secret.header(paidup::unix_seconds(), &body);
        let headers = [("Stripe-Signature", signature.as_str())];
        let within = Duration::from_secs(CALL_SECONDS_MAX);
        match client::post(&url, &headers, body.into(), within).await {
            Ok(answer) => {
                assert_eq!(answer.status, 200, "{}", answer.body);
                landed.push(id);
                answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => return landed,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_200_outlasts_kill_9() {
    on_both(async |database| {
        let next = Arc::new(AtomicUsize::new(0));
        let mut landed = BTreeSet::new();
        for kill in 0..KILLS {
            let service = Service::start(database, &[]);
            let answered = Arc::new(AtomicUsize::new(0));
            let mut callers = JoinSet::new();
            for _ in 0..CALLERS {
                let url: Arc<str> = service.webhook.as_str().into();
                callers.spawn(load(url, Arc::clone(&next), Arc::clone(&answered)));
            }
            // After another number of answers each time, while others are on their way.
            while answered.load(Ordering::Relaxed) < 10 + kill * 7 {
                tokio::task::yield_now().await;
            }
            service.kill();
            for ids in callers.join_all().await {
                landed.extend(ids);
            }
        }
        let recorded: BTreeSet<String> =
            database.column("select id from events").await.into_iter().collect();
        let lost: Vec<&String> = landed.difference(&recorded).collect();
        assert!(lost.is_empty(), "answered 200 and lost: {lost:?}");
        assert!(landed.len() >= KILLS * 10, "{}", landed.len());

        // Stripe sends again what it had no answer to. Then all of it counts, and once.
        let service = Service::start(database, &[]);
        let sent = next.load(Ordering::Relaxed).next_multiple_of(2);
        for number in 0..sent {
            let (id, body) = body(number);
            if landed.contains(&id) {
                continue;
            }
            assert_eq!(service.post(&body).await.status, 200);
        }
        service.kill();
        let orders = database
            .column(
                "select status || ' ' || amount_received || ' ' || amount_refunded || ' ' || count(*)
                 from orders group by status, amount_received, amount_refunded",
            )
            .await;
        assert_eq!(orders, [format!("partially_refunded 29900 100 {}", sent / 2)]);
    })
    .await;
}
