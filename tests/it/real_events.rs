//! Real Stripe bodies, over many API versions: each says what a person would read from it.
//!
//! The bodies lie in the folder that `PAIDUP_REAL_EVENTS` names (`<source>__<type>__<version>.json`);
//! they are not part of this project, and without them these tests have nothing to do. What they say
//! is in `real_events.tsv`, one line per body: file, meaning, facts. It was read from the bodies field
//! by field after Stripe's object reference, not with this code. Both must be complete: a body without
//! a line fails, and so does a line without a body.

use std::collections::BTreeMap;
use std::path::PathBuf;

use paidup::domain::delta::{Delta, Meaning, Reading};
use paidup::domain::event::Event;
use paidup::domain::payment::IdKind;
use paidup::domain::payment::attempt::AttemptState;
use paidup::domain::payment::claim::Claim;
use paidup::domain::payment::refund::{RefundState, Refunded};
use paidup::domain::policy::Policy;
use paidup::domain::working_set::WorkingSet;
use serde_json::{Value, json};

use crate::support::fixtures::read;

const EXPECTED: &str = include_str!("real_events.tsv");
/// As many bodies as there were when the table was made: a folder that lost some is no proof.
const BODIES_MIN: usize = 144;

/// File name without `.json` → body; `None` if there is no folder.
fn bodies() -> Option<BTreeMap<String, Vec<u8>>> {
    let Some(folder) = std::env::var_os("PAIDUP_REAL_EVENTS").map(PathBuf::from) else {
        println!("skipped: PAIDUP_REAL_EVENTS names no folder");
        return None;
    };
    let entries = std::fs::read_dir(folder).expect("PAIDUP_REAL_EVENTS names a folder");
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let json = paths.filter(|path| path.extension().is_some_and(|end| end == "json"));
    let body = |path: PathBuf| {
        let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        (name, std::fs::read(path).expect("a readable body"))
    };
    Some(json.map(body).collect())
}

#[test]
fn each_real_body_says_what_a_person_would_read_from_it() {
    let Some(bodies) = bodies() else { return };
    assert!(bodies.len() >= BODIES_MIN, "only {} bodies", bodies.len());
    let mut expected = BTreeMap::new();
    for line in EXPECTED.lines() {
        let (name, says) = line.split_once('\t').expect("a name and what it says");
        assert!(expected.insert(name, says).is_none(), "{name} has two lines");
    }
    let mut wrong = Vec::new();
    for (name, body) in &bodies {
        let says = shown(&read(body).unwrap_or_else(|why| panic!("{name}: {why}")));
        match expected.remove(name.as_str()) {
            Some(expected) if expected == says => {}
            Some(expected) => {
                wrong.push(format!("{name}\n  expected {expected}\n  but says {says}"))
            }
            None => wrong.push(format!("{name}\n  has no line; it says {says}")),
        }
    }
    wrong.extend(expected.keys().map(|name| format!("{name}\n  has a line and no body")));
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), bodies.len(), wrong.join("\n"));
}

fn shown(event: &Event) -> String {
    let head = event.head();
    let at = head.created.map_or_else(|| "-".to_owned(), |at| at.to_string());
    let mode = if head.livemode { "live" } else { "test" };
    let start = format!("evt={} at={at} {mode}", head.id);
    match event.reading() {
        Reading::Ignored(_) => format!("ignored\t{start}"),
        Reading::Relevant(says) => format!("{}\t{start}{}", meaning(says.meaning), facts(says)),
    }
}

fn meaning(meaning: Meaning) -> &'static str {
    match meaning {
        Meaning::Paid => "paid",
        Meaning::PartPaid => "part_paid",
        Meaning::Processing => "processing",
        Meaning::Authorized => "authorized",
        Meaning::RefundUnknown => "refund_unknown",
        Meaning::AttemptFailed => "attempt_failed",
        Meaning::Canceled => "canceled",
        Meaning::Expired => "expired",
        Meaning::Refunded => "refunded",
        Meaning::RefundLive => "refund_live",
        Meaning::RefundFailed => "refund_failed",
        Meaning::Disputed(_) => "dispute",
        Meaning::Linked => "linked",
    }
}

fn amount(refunded: Refunded) -> String {
    match refunded {
        Refunded::Part(amount) => amount.to_string(),
        Refunded::Whole => "all".to_owned(),
    }
}

/// All that the statement holds, in the words of the table.
fn facts(says: &Delta) -> String {
    let facts = &says.facts;
    let mut words = Vec::new();
    for id in &facts.ids {
        let kind = match id.kind {
            IdKind::PaymentIntent => "pi",
            IdKind::Invoice => "invoice",
            IdKind::Session => "session",
            IdKind::Charge => "charge",
            IdKind::Other => "other",
        };
        words.push(format!("{kind}={}", id.id));
    }
    words.extend(facts.subscription.iter().map(|id| format!("subscription={id}")));
    let order = |claim: &Claim| claim.order_id().to_owned();
    words.extend(facts.claim.iter().map(|claim| format!("order={}", order(claim))));
    let of_subscription = says.subscription_claim.iter();
    words.extend(of_subscription.map(|claim| format!("subscription_order={}", order(claim))));
    if let Some(money) = facts.money() {
        let received = money.received.map_or_else(|| "all".to_owned(), |n| n.to_string());
        words.push(format!("received={received}"));
        assert_eq!(facts.paid_at, facts.first_at, "it was paid when the event happened");
    }
    for (id, charge) in &facts.charges {
        if let Some(total) = &charge.refunded {
            words.push(format!("refunded={id}:{}", amount(total.amount)));
        }
    }
    for (id, refund) in &facts.refunds {
        let state = match refund.state {
            RefundState::Unknown => "unknown",
            RefundState::Pending => "pending",
            RefundState::Succeeded => "succeeded",
            RefundState::Failed => "failed",
        };
        words.push(format!("refund={id}:{}:{state}", amount(refund.amount)));
    }
    for (id, dispute) in &facts.disputes {
        words.push(format!("dispute={id}:{}", dispute.status.name()));
    }
    let attempts = facts.charges.values().filter_map(|charge| charge.attempt);
    let attempts = attempts.chain(facts.intents.values().filter_map(|one| one.attempt));
    for attempt in attempts.chain(facts.attempt) {
        match attempt.state {
            AttemptState::Processing => words.push("under_way".to_owned()),
            AttemptState::Authorized => words.push("reserved".to_owned()),
            AttemptState::Failed => {}
        }
    }
    if let Some(failure) = &facts.failure {
        words.push(format!("code={}", failure.code.as_deref().unwrap_or("-")));
        words.extend(failure.message.as_ref().map(|_| "with_message".to_owned()));
    }
    let ends = facts.intents.values().filter_map(|intent| intent.end.as_ref());
    for end in ends.chain(&facts.end) {
        words.push(format!("code={}", end.how.name()));
        words.extend(end.reason.as_ref().map(|_| "with_message".to_owned()));
    }
    for invoice in facts.invoices.values() {
        words.extend(invoice.created.map(|at| format!("invoice_created={at}")));
    }
    words.extend(facts.currency.iter().map(|code| format!("currency={code}")));
    words.extend(facts.email.iter().map(|_| "email".to_owned()));
    words.iter().map(|word| format!(" {word}")).collect()
}

#[test]
fn no_field_of_a_real_body_can_make_it_refused() {
    /// Stands for a number that JSON may hold and no integer type here can.
    const HUGE: &str = "a number of thirty-one digits";
    let Some(bodies) = bodies() else { return };
    let substitutes = [
        None,
        Some(Value::Null),
        Some(json!([])),
        Some(json!({})),
        Some(json!("x")),
        Some(json!(HUGE)),
    ];
    let digits = format!("1{}", "0".repeat(30));
    let mut reads = 0;
    for (name, body) in &bodies {
        let body: Value = serde_json::from_slice(body).expect("the bodies are JSON");
        let object = body["data"]["object"].as_object().cloned().unwrap_or_default();
        for field in object.keys() {
            for substitute in &substitutes {
                let mut bent = body.clone();
                let fields = bent["data"]["object"].as_object_mut().expect("it has fields");
                match substitute {
                    Some(value) => fields.insert(field.clone(), value.clone()),
                    None => fields.remove(field),
                };
                let text = bent.to_string().replace(&format!("\"{HUGE}\""), &digits);
                let event = read(text.as_bytes());
                let event = event.unwrap_or_else(|why| panic!("{name} {field}: {why}"));
                // Nor can it make the fold stumble; what it says may be anything.
                let mut working_set = WorkingSet::new(Policy::default());
                working_set.apply(&event);
                let _ = working_set.finish();
                reads += 1;
            }
        }
    }
    assert!(reads > 10_000, "only {reads} bodies were tried");
}
