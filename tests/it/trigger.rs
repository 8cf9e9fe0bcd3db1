//! `paidup trigger`: each event type and each story, sent to a real paidup, ends as it is said to,
//! also shuffled and repeated.

use paidup::domain::delta::{Meaning, Reading};
use paidup::domain::event::Event;

use clap::Parser;
use paidup::trigger::samples::{API_VERSION, KINDS, Sale, Twist};
use paidup::trigger::scenarios::SCENARIOS;
use paidup::trigger::{Surroundings, TriggerArgs, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::databases::{Database, on_both};
use crate::support::fixtures::{read, secret};
use crate::support::service::Service;

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
    Sale { order, amount: 29_900, currency: "usd", refunded: None, nonce: 7, since: 1_790_000_000 }
}

fn sample(kind: &'static str, order: Option<&'static str>) -> Event {
    let body = sale(order).event(Twist::Plain.of(kind), 1_790_000_000).to_string();
    read(body.as_bytes()).expect("an event")
}

/// Every type of the table is read for what its line in `--list` says.
#[test]
fn every_sample_says_what_its_type_is_about() {
    use Meaning::{
        AttemptFailed, Canceled, Disputed, Expired, Linked, Paid, RefundFailed, RefundLive,
        Refunded,
    };
    for (kind, says) in KINDS {
        let event = sample(kind, Some("O1"));
        assert_eq!(event.kind(), kind);
        assert_eq!(event.head().api_version.as_deref(), Some(API_VERSION));
        assert!(!event.livemode());
        let Reading::Relevant(statement) = event.reading() else { panic!("{kind} is ignored") };
        let fits = match says {
            "failed: canceled" => statement.meaning == Canceled,
            "failed: expired" | "failed: authorized, and never captured" => {
                statement.meaning == Expired
            }
            "an attempt failed" | "that invoice is not paid" => statement.meaning == AttemptFailed,
            "how much is refunded so far" => statement.meaning == Refunded,
            "one refund, by its id" => statement.meaning == RefundLive,
            "that refund did not happen" => statement.meaning == RefundFailed,
            _ if says.contains("dispute") => matches!(statement.meaning, Disputed(_)),
            _ if says.contains("which") => statement.meaning == Linked,
            _ => statement.meaning == Paid && says.contains("paid"),
        };
        assert!(fits, "{kind} says {:?}, not {says:?}", statement.meaning);
        // As at Stripe, these inherit no metadata.
        let inherits =
            !["refund.", "dispute.", "invoice_payment."].iter().any(|one| kind.contains(one));
        assert_eq!(event.order_id().is_some(), inherits, "{kind}");
        assert_eq!(sample(kind, None).order_id(), None, "{kind}");
        assert!(event.body().len() < 8 * 1024, "{kind}");
    }
}

async fn statuses(database: &Database, order: &str) -> (String, String, String) {
    let mut session = database.session().await;
    let told = session.order(order).await.expect("an answer").expect(order).order.snapshot;
    (
        told.status.name().to_owned(),
        told.dispute.map_or("", |dispute| dispute.name()).to_owned(),
        told.problem.map_or("", |problem| problem.name()).to_owned(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_ends_as_it_says_in_any_order_and_number() {
    on_both(async |database| {
        let service = Service::start(database, &[]);
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
    let service = Service::start(&database, &[]);
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
async fn what_goes_wrong_is_told_with_what_to_do() {
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
