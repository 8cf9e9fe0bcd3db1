//! `paidup trigger`: each event type and each story, sent to a real paidup, ends as it is said to,
//! also shuffled and repeated.

use clap::Parser;
use paidup::domain::delta::{Meaning, Reading};
use paidup::domain::event::Event;
use paidup::domain::order::{OrderSnapshot, Status};
use paidup::trigger::samples::Twist::{
    Bare, CapturedPart, Deposit, Plain, Prevented, Renewal, Uncaptured,
};
use paidup::trigger::samples::{API_VERSION, KINDS, Sale, Step};
use paidup::trigger::scenarios::{SCENARIOS, Scenario};
use paidup::trigger::{Surroundings, TriggerArgs, run};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::databases::{Database, on_both};
use crate::support::fixtures::{read, secret};
use crate::support::service::Service;

/// What the events of this command are.
const TEST_MODE: (&str, &str) = ("STRIPE_MODE", "test");

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: TriggerArgs,
}

/// Runs it with these words, and returns what it printed and whether it was content.
async fn trigger(service: &Service, words: &str, nonce: u64) -> Result<String, String> {
    let words = ["trigger"].into_iter().chain(words.split_whitespace());
    let Cli { args } = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
    let around = Surroundings {
        url: service.webhook.clone(),
        secret: || Ok(secret()),
        now: paidup::unix_seconds(),
        nonce,
    };
    let mut out = Vec::new();
    run(args, around, &mut out).await?;
    Ok(String::from_utf8(out).expect("text"))
}

fn sale(order: Option<&'static str>) -> Sale<'static> {
    Sale {
        order,
        metadata: &[],
        account: None,
        amount: 29_900,
        currency: "usd",
        refunded: None,
        nonce: 7,
        since: 1_790_000_000,
    }
}

fn sample(kind: &'static str, order: Option<&'static str>) -> Event {
    let body = sale(order).event(Plain.of(kind), 1_790_000_000).to_string();
    read(body.as_bytes()).expect("an event")
}

/// Every type of the table is read for what its line in `--list` says.
#[test]
fn every_sample_says_what_its_type_is_about() {
    use Meaning::{
        AttemptFailed, Authorized, Canceled, Disputed, Expired, Linked, Paid, PartPaid, Processing,
        RefundFailed, RefundLive, Refunded,
    };
    for (kind, says) in KINDS {
        let event = sample(kind, Some("O1"));
        assert_eq!(event.kind(), kind);
        assert_eq!(event.head().api_version.as_deref(), Some(API_VERSION));
        assert!(!event.livemode());
        let Reading::Relevant(delta) = event.reading() else { panic!("{kind} is ignored") };
        let meaning = delta.meaning;
        let fits = match says {
            "a delayed payment is under way" => meaning == Processing,
            "canceled" | "canceled: that invoice is void" => meaning == Canceled,
            "canceled: the session expired" | "canceled: authorized, and never captured" => {
                meaning == Expired
            }
            "an attempt failed"
            | "an attempt to pay that invoice failed"
            | "failed: that invoice is written off" => meaning == AttemptFailed,
            "how much is refunded so far" => meaning == Refunded,
            "one refund, by its id" => meaning == RefundLive,
            "that refund did not happen" => meaning == RefundFailed,
            _ if says.starts_with("authorized") => meaning == Authorized,
            _ if says.starts_with("a part of that invoice is paid") => meaning == PartPaid,
            _ if says.contains("dispute") => matches!(meaning, Disputed(_)),
            _ if says.contains("which") => meaning == Linked,
            _ => meaning == Paid && says.contains("paid"),
        };
        assert!(fits, "{kind} says {meaning:?}, not {says:?}");
        // As at Stripe, these inherit no metadata.
        let inherits =
            !["refund.", "dispute.", "invoice_payment."].iter().any(|one| kind.contains(one));
        assert_eq!(event.order_id().is_some(), inherits, "{kind}");
        assert_eq!(sample(kind, None).order_id(), None, "{kind}");
        assert!(event.body().len() < 8 * 1024, "{kind}");
    }
}

/// What the fold reads from an object beside its amounts is there as Stripe writes it.
#[test]
fn samples_set_what_the_fold_reads() {
    let object = |step: Step| sale(Some("O1")).event(step, 1_790_000_000)["data"]["object"].clone();
    for (step, field, expected) in [
        (Plain.of("invoice.paid"), "/status", json!("paid")),
        (Plain.of("invoice.paid"), "/amount_paid", json!(29_900)),
        (Plain.of("invoice.paid"), "/amount_remaining", json!(0)),
        (Plain.of("invoice.paid"), "/billing_reason", json!("subscription_create")),
        (Renewal.of("invoice.paid"), "/billing_reason", json!("subscription_cycle")),
        (Deposit.of("invoice.paid"), "/billing_reason", json!("manual")),
        (Deposit.of("invoice.paid"), "/parent", json!(null)),
        (Deposit.of("invoice.paid"), "/metadata/order_id", json!("O1")),
        (Plain.of("invoice.payment_failed"), "/status", json!("open")),
        (Plain.of("invoice.payment_failed"), "/amount_remaining", json!(29_900)),
        (Plain.of("invoice.updated"), "/amount_remaining", json!(14_950)),
        (Plain.of("invoice.voided"), "/status", json!("void")),
        (Plain.of("invoice.marked_uncollectible"), "/status", json!("uncollectible")),
        (Plain.of("charge.succeeded"), "/status", json!("succeeded")),
        (Plain.of("charge.pending"), "/status", json!("pending")),
        (Plain.of("charge.failed"), "/status", json!("failed")),
        (Uncaptured.of("charge.succeeded"), "/captured", json!(false)),
        (CapturedPart.of("charge.captured"), "/amount_captured", json!(14_950)),
        (CapturedPart.of("charge.captured"), "/amount_refunded", json!(0)),
        (CapturedPart.of("payment_intent.succeeded"), "/amount_received", json!(14_950)),
        (Plain.of("payment_intent.processing"), "/status", json!("processing")),
        (
            Plain.of("payment_intent.amount_capturable_updated"),
            "/status",
            json!("requires_capture"),
        ),
        (Plain.of("charge.dispute.created"), "/evidence_details/due_by", json!(1_790_777_600)),
        (Prevented.of("charge.dispute.closed"), "/status", json!("prevented")),
        (Plain.of("checkout.session.completed"), "/total_details/amount_tax", json!(0)),
        (Plain.of("checkout.session.completed"), "/total_details/amount_discount", json!(0)),
    ] {
        assert_eq!(object(step).pointer(field), Some(&expected), "{step:?} {field}");
    }
}

/// An order's status, dispute and problem.
async fn statuses(database: &Database, order: &str) -> (String, String, String) {
    let snapshot = snapshot(database, order).await;
    (
        snapshot.status.name().to_owned(),
        snapshot.dispute.map_or("", |dispute| dispute.name()).to_owned(),
        snapshot.problem.map_or("", |problem| problem.name()).to_owned(),
    )
}

async fn snapshot(database: &Database, order: &str) -> OrderSnapshot {
    let mut session = database.session().await;
    session.order(order).await.expect("an answer").expect(order).order.snapshot
}

/// What a scenario brings and gives back, where it is neither the whole amount and nothing, nor all of it.
fn money(scenario: &Scenario) -> (i64, i64) {
    match (scenario.name, scenario.status) {
        ("renewed" | "paid_twice", _) => (59_800, 0),
        ("captured_in_part", _) => (14_950, 0),
        (_, Status::Refunded) => (29_900, 29_900),
        (_, Status::PartiallyRefunded) => (29_900, 14_950),
        (_, Status::Paid) | ("renewal_failed", _) => (29_900, 0),
        _ => (0, 0),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_ends_as_it_says_in_any_order_and_number() {
    on_both(async |database| {
        let service = Service::start(database, &[TEST_MODE]);
        for (number, scenario) in SCENARIOS.iter().enumerate() {
            let expected = (
                scenario.status.name().to_owned(),
                scenario.dispute.map_or("", |dispute| dispute.name()).to_owned(),
                scenario.problem.map_or("", |problem| problem.name()).to_owned(),
            );
            let name = scenario.name;
            for (way, words) in
                ["", " --duplicate 2", " --shuffle --duplicate 3 --seed 5", " --shuffle --seed 6"]
                    .iter()
                    .enumerate()
            {
                let order = format!("{name}{way}");
                let words = format!("--scenario {name} --order {order}{words}");
                let nonce = (number * 10 + way) as u64;
                let printed = trigger(&service, &words, nonce).await.expect(&words);
                assert_eq!(statuses(database, &order).await, expected, "{words}\n{printed}");
                let OrderSnapshot { amount_received, amount_refunded, .. } =
                    snapshot(database, &order).await;
                assert_eq!((amount_received, amount_refunded), money(scenario), "{words}");
                assert!(printed.contains(&format!("paidup order {order}")), "{printed}");
                assert!(scenario.ends.contains(scenario.status.name()), "{}", scenario.ends);
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_sent_one_by_one_belong_to_one_payment() {
    let database = Database::sqlite().await;
    let service = Service::start(&database, &[TEST_MODE]);
    let send = async |words: &str, nonce| trigger(&service, words, nonce).await.expect(words);

    let printed = send("refund.created --order O1 --amount 500", 1).await;
    assert!(
        printed.contains("200 parked") && printed.contains("names no order by itself"),
        "{printed}"
    );
    let printed = send("payment_intent.succeeded --order O1 --amount 500 --currency EUR", 2).await;
    assert!(printed.contains("200 applied") && printed.contains("paidup explain O1"), "{printed}");
    assert_eq!(statuses(&database, "O1").await.0, "refunded");

    send("payment_intent.succeeded --order O2", 3).await;
    assert_eq!(statuses(&database, "O2").await.0, "paid");
    let printed = send("charge.refunded --order O2 --refunded 100 --duplicate 3", 4).await;
    assert_eq!(printed.matches("200 applied").count(), 1, "{printed}");
    assert_eq!(printed.matches("200 duplicate").count(), 2, "{printed}");
    assert_eq!(statuses(&database, "O2").await.0, "partially_refunded");

    let printed = send("payment_intent.succeeded", 5).await;
    assert!(printed.contains("add --order ORDER12345"), "{printed}");
    drop(service);
    database.remove().await;
}

/// Order 7 of an account is another order than the platform's, with objects of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_an_account_make_an_order_of_that_account() {
    let database = Database::sqlite().await;
    let accounts = ("STRIPE_ACCOUNTS", "acct_1Berlin");
    let service = Service::start(&database, &[TEST_MODE, accounts]);
    let send = async |words: &str, nonce| trigger(&service, words, nonce).await.expect(words);

    let printed = send("--scenario refunded --order O7 --account acct_1Berlin --shuffle", 1).await;
    assert!(printed.contains("paidup order acct_1Berlin/O7\n"), "{printed}");
    assert!(printed.contains("paidup explain acct_1Berlin/O7\n"), "{printed}");
    let printed = send("--scenario paid --order O7", 2).await;
    assert!(printed.contains("paidup order O7\n"), "{printed}");
    assert_eq!(statuses(&database, "acct_1Berlin/O7").await.0, "refunded");
    assert_eq!(statuses(&database, "O7").await.0, "paid");

    let printed = send("payment_intent.succeeded --order O8 --account acct_1Paris", 3).await;
    assert!(printed.contains("200 ignored") && printed.contains("STRIPE_ACCOUNTS"), "{printed}");
    let orders = "select id from orders order by id";
    assert_eq!(database.column(orders).await, ["O7", "acct_1Berlin/O7"]);
    drop(service);
    database.remove().await;
}

/// Metadata stands where the order id stands, and can name the order by another key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_stands_where_the_order_id_stands() {
    let database = Database::sqlite().await;
    let keys = ("ORDER_ID_KEYS", "shop_order,order_id");
    let service = Service::start(&database, &[TEST_MODE, keys]);
    let words =
        "checkout.session.completed --order O1 --metadata shop_order=S1 --metadata note=a=b";
    trigger(&service, words, 1).await.expect("sent");
    assert_eq!(database.column("select id from orders").await, ["S1"]);
    let body = database.one("select cast(body as text) from events").await;
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let expected = json!({"order_id": "O1", "shop_order": "S1", "note": "a=b"});
    assert_eq!(body["data"]["object"]["metadata"], expected);
    drop(service);
    database.remove().await;

    let metadata = [("note".to_owned(), "x".to_owned())];
    for (step, has_it) in [
        (Plain.of("payment_intent.succeeded"), true),
        (Bare.of("payment_intent.succeeded"), false),
        (Plain.of("refund.created"), false),
        (Plain.of("charge.dispute.created"), false),
        (Plain.of("invoice_payment.paid"), false),
        (Plain.of("customer.subscription.created"), true),
    ] {
        let event = Sale { metadata: &metadata, ..sale(Some("O1")) }.event(step, 1);
        let stands_there = event["data"]["object"]["metadata"]["note"] == "x";
        assert_eq!(stands_there, has_it, "{step:?}");
    }
}

/// Whatever listens at the URL: what it says does not speak to the terminal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_speaks_to_the_terminal() {
    for body in ["\u{1b}[2J\u{7}\u{202e}gone", r#"{"outcome":"\u001b[2J\u0007\u202egone"}"#] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let answer = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a call");
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                stream.read_buf(&mut request).await.expect("a call");
            }
            let length = body.len();
            let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
            stream.write_all(text.as_bytes()).await.expect("sent");
        });
        let args = ["trigger", "payment_intent.succeeded", "--order", "O\u{202e}1", "--url", &url];
        let Cli { args } = Cli::try_parse_from(args).expect("arguments");
        let secret = || Ok(secret());
        let around = Surroundings { url: String::new(), secret, now: 1_800_000_000, nonce: 1 };
        let mut out = Vec::new();
        run(args, around, &mut out).await.expect("it is content");
        let printed = String::from_utf8(out).expect("text");
        assert!(printed.contains("\\u202egone") && printed.contains("O\\u202e1"), "{printed:?}");
        assert!(!printed.contains(|char: char| char.is_control() && char != '\n'), "{printed:?}");
        answer.await.expect("no panic");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_is_printed_with_what_to_do() {
    let database = Database::sqlite().await;
    let other = ("STRIPE_WEBHOOK_SECRET", "whsec_another_secret_0123456789");
    let service = Service::start(&database, &[other, ("STRIPE_MODE", "live")]);
    let paid = "payment_intent.succeeded --order O1";
    let refused = trigger(&service, paid, 1).await.expect_err("refused");
    assert!(refused.contains("set STRIPE_WEBHOOK_SECRET"), "{refused}");
    for (words, hint) in [
        ("", "<EVENT TYPE>"),
        ("--scenario paid", "--order"),
        ("charge.suceeded --order O1", "a similar value exists: 'charge.succeeded'"),
        ("--scenario refund --order O1", "'refunded'"),
        ("payment_intent.succeeded --order O1 --currency dollars", "three letters"),
        ("payment_intent.succeeded --order O1 --amount 0", "1.."),
        ("charge.refunded --order O1 --amount 5 --refunded 6", "more than the amount"),
        ("payment_intent.succeeded --scenario paid --order O1", "cannot be used with"),
        ("payment_intent.succeeded --order O1 --metadata note", "key=value"),
        ("payment_intent.succeeded --order O1 --metadata order_id=O2", "what --order says"),
        ("payment_intent.succeeded --order O1 --metadata =x", "1 to 40 characters"),
        ("payment_intent.succeeded --order O1 --metadata a[b]=x", "square brackets"),
        ("payment_intent.succeeded --order O1 --account Berlin", "acct_ and letters"),
        ("payment_intent.succeeded --order O1 --url https://example.com/", "https is not spoken"),
        ("payment_intent.succeeded --order O1 --url http://127.0.0.1:1/", "paidup dev"),
    ] {
        let error = trigger(&service, words, 2).await.expect_err(words);
        assert!(error.contains(hint), "{words}: {error}");
    }
    drop(service);

    let service = Service::start(&database, &[("STRIPE_MODE", "live")]);
    let printed = trigger(&service, paid, 3).await.expect("sent");
    assert!(printed.contains("200 ignored") && printed.contains("STRIPE_MODE=live"), "{printed}");
    let printed = trigger(&service, "--list", 4).await.expect("listed");
    for name in KINDS.map(|(kind, _)| kind).into_iter().chain(SCENARIOS.iter().map(|one| one.name))
    {
        assert!(printed.contains(&format!("  {name} ")), "{name}");
    }
    drop(service);
    database.remove().await;
}
