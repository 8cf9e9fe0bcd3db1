//! What one event costs before the database: to verify it, to read it, and to fold it into its order.
//!
//!     cargo bench
//!
//! The bodies are those of `paidup trigger`, of about 2 KB each, signed as Stripe signs.

#![allow(clippy::expect_used, missing_docs, reason = "a benchmark that cannot go on may stop")]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use paidup::domain::event::Event;
use paidup::domain::order_ids::OrderIdRules;
use paidup::domain::policy::{Mode, Policy};
use paidup::domain::rows::{ChangeSet, Loaded};
use paidup::domain::signature::{SigningSecret, TOLERANCE_SECONDS_DEFAULT, Verified, verify};
use paidup::domain::working_set::WorkingSet;
use paidup::trigger::samples::{Sale, Twist};

const NOW: i64 = 1_800_000_000;

/// A body and its header.
type Call = (Bytes, String);

fn call(secret: &SigningSecret, kind: &'static str) -> Call {
    let sale = Sale {
        order: Some("ORDER12345"),
        metadata: &[],
        account: None,
        amount: 29_900,
        currency: "usd",
        refunded: Some(9_900),
        nonce: 1,
        since: NOW,
    };
    let body = Bytes::from(sale.event(Twist::Plain.of(kind), NOW).to_string());
    let header = secret.header(NOW, &body);
    (body, header)
}

fn verified((body, header): &Call, secrets: &[SigningSecret]) -> Verified {
    verify(header.as_bytes(), body.clone(), secrets, NOW, TOLERANCE_SECONDS_DEFAULT)
        .expect("the secret signed it")
}

fn read(call: &Call, secrets: &[SigningSecret]) -> Event {
    Event::read(&verified(call, secrets), &OrderIdRules::default()).expect("an event")
}

/// Folds the events into orders of which nothing is known yet.
fn fold(events: &[Event]) -> ChangeSet {
    // The samples are in test mode.
    let mut working_set = WorkingSet::new(Policy { mode: Mode::Test, ..Policy::default() });
    let needs = working_set.needs(events, []);
    working_set.load(needs, Loaded::default());
    for event in events {
        working_set.apply(black_box(event));
    }
    working_set.finish()
}

fn benches(criterion: &mut Criterion) {
    let secrets = vec![SigningSecret::new("whsec_benchmark_0123456789").expect("a secret")];
    let secret = &secrets[0];
    let one = call(secret, "payment_intent.succeeded");
    let proof = verified(&one, &secrets);
    let story = [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "charge.refunded",
    ]
    .map(|kind| call(secret, kind));

    let mut group = criterion.benchmark_group("one event");
    group.throughput(Throughput::Bytes(one.0.len() as u64));
    group.bench_function("verify", |bencher| bencher.iter(|| verified(black_box(&one), &secrets)));
    group.bench_function("read", |bencher| {
        let rules = OrderIdRules::default();
        bencher.iter(|| Event::read(black_box(&proof), &rules));
    });
    group.bench_function("verify, read, fold", |bencher| {
        bencher.iter(|| fold(&[read(black_box(&one), &secrets)]));
    });
    group.finish();

    let mut group = criterion.benchmark_group("an order's four events");
    group.throughput(Throughput::Elements(story.len() as u64));
    group.bench_function("verify, read, fold", |bencher| {
        bencher.iter(|| {
            let events: Vec<Event> =
                black_box(&story).iter().map(|call| read(call, &secrets)).collect();
            fold(&events)
        });
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
