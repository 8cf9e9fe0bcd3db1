//! The webhook as Stripe and an operator see it: the real binary, over real connections, on both
//! databases. One test for each row of the table of answers, and for what beside an answer is promised.

use std::fmt::Write as _;
use std::time::Duration;

use paidup::domain::signature::SigningSecret;
use paidup::http::client::{self, Answer};
use paidup::http::{BODY_BYTES_MAX, error::RETRY_AFTER_SECONDS};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::databases::{Database, on_both};
use crate::support::fixtures::{SECRET, charge, pi, secret, session};
use crate::support::service::{CALL_SECONDS_MAX, Service, eventually, told};

/// What must never be seen outside the database.
const CANARY_EMAIL: &str = "canary.customer@example.com";
const CANARY_TEXT: &str = "canary-of-the-body";

fn now() -> i64 {
    paidup::unix_seconds()
}

/// One request as text, and all that comes back until the server closes.
async fn raw(url: &str, request: &str) -> String {
    let address = url.trim_start_matches("http://").split('/').next().expect("an address");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut reply = Vec::new();
    let read =
        tokio::time::timeout(Duration::from_secs(CALL_SECONDS_MAX), stream.read_to_end(&mut reply));
    let _ = read.await.expect("it comes");
    String::from_utf8(reply).expect("text")
}

fn answer(status: u16, word: &str) -> (u16, String) {
    (status, word.to_owned())
}

/// 200: authentic and committed, whatever became of it. The row is there when the answer is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_authentic_is_200_and_in_the_database() {
    on_both(async |database| {
        let service = Service::start(database, &[]);
        let paid = pi("pi_1").order("O1").event("payment_intent.succeeded").id("evt_1");
        let mut other_body = paid.json();
        other_body["data"]["object"]["amount_received"] = json!(1);
        let unnamed = pi("pi_2").event("payment_intent.succeeded").id("evt_4").body();
        for (id, body, expected, outcome) in [
            ("evt_1", paid.body(), "applied", "applied"),
            ("evt_1", paid.body(), "duplicate", "applied"),
            // Another content under the same id: the first one counts.
            ("evt_1", other_body.to_string().into_bytes(), "duplicate", "applied"),
            (
                "evt_2",
                pi("pi_1").order("O1").event("payment_intent.processing").id("evt_2").body(),
                "unchanged",
                "unchanged",
            ),
            ("evt_3", json!({"id": "evt_3", "type": "payout.paid"}).to_string().into(), "ignored", "ignored"),
            ("evt_4", unnamed.clone(), "parked", "parked"),
            ("evt_4", unnamed, "duplicate", "parked"),
            (
                "evt_5",
                json!({"id": "evt_5", "object": "v2.core.event", "type": "v1.billing.meter.no_meter_found"})
                    .to_string()
                    .into(),
                "ignored",
                "ignored",
            ),
        ] {
            assert_eq!(told(&service.post(&body).await), answer(200, expected), "{id}");
            let select = format!("select outcome from events where id = '{id}'");
            assert_eq!(database.column(&select).await, [outcome], "{id}");
        }
        let kept = "select status || ' ' || amount_received from orders";
        assert_eq!(database.column(kept).await, ["paid 29900"]);
        assert_eq!(database.one("select cast(sum(conflicts) as text) from events").await, "1");
    })
    .await;
}

/// 400, with one text for all: a caller who guesses learns nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_proven_is_400_and_leaves_no_row() {
    on_both(async |database| {
        let service = Service::start(database, &[]);
        let body = pi("pi_1").order("O1").event("payment_intent.succeeded").body();
        let good = secret().header(now(), &body);
        let other = SigningSecret::new("whsec_another_secret_0123").expect("a secret");
        let mut texts = Vec::new();
        for (reason, header) in [
            ("missing", String::new()),
            ("malformed", "t=,v1=".to_owned()),
            ("malformed", format!("{good},t=1")),
            ("malformed", good.replace("v1=", "v0=")),
            ("no_match", other.header(now(), &body)),
            ("no_match", secret().header(now(), b"{}")),
            ("too_old", secret().header(now() - 310, &body)),
            ("too_new", secret().header(now() + 310, &body)),
            ("too_large", format!("{good}{}", ",v1=00".repeat(20))),
        ] {
            let metric = format!("paidup_refusals_total{{reason=\"{reason}\"}}");
            let before = service.metric(&metric).await;
            let refused = service.post_with(&header, &body).await;
            assert_eq!(told(&refused), answer(400, "invalid_signature"), "{header}");
            assert_eq!(service.metric(&metric).await - before, 1.0, "{header}: {reason}");
            texts.push(refused.body);
        }
        let without = client::post(
            &service.webhook,
            &[],
            body.clone().into(),
            Duration::from_secs(CALL_SECONDS_MAX),
        );
        texts.push(without.await.expect("an answer").body);
        texts.dedup();
        assert_eq!(texts.len(), 1, "{texts:?}");
        assert_eq!(service.metric("paidup_refusals_total{reason=\"missing\"}").await, 2.0);
        let (_, log) = service.stopped().await;
        for reason in ["no_match", "too_old", "missing"] {
            assert!(log.contains(&format!("reason=\"{reason}\"")), "{reason}:\n{log}");
        }
        assert!(database.column("select id from events").await.is_empty());
    })
    .await;
}

/// 400: Stripe signed it, but it is no event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_authentic_and_no_event_is_400() {
    let database = Database::sqlite().await;
    let service = Service::start(&database, &[]);
    for body in [
        &b" "[..],
        b"payload=%7B%7D",
        b"[]",
        br#"{"id":"evt_1"}"#,
        br#"{"type":"payment_intent.succeeded"}"#,
        b"{\"id\":\"evt_1\",\"type\":\"a.b\",\"x\":\"\xff\"}",
    ] {
        assert_eq!(told(&service.post(body).await), answer(400, "not_an_event"));
    }
    let (_, log) = service.stopped().await;
    assert!(log.contains("not_json") && log.contains("no_id_or_type"), "{log}");
    assert!(database.column("select id from events").await.is_empty());
    database.remove().await;
}

/// What is odd, but Stripe's, is kept to the byte, and spoils nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_bodies_are_recorded_to_the_byte() {
    on_both(async |database| {
        let service = Service::start(database, &[]);
        let paid = |id: &str, order: &str| {
            pi(&format!("pi_{id}")).order(order).event("payment_intent.succeeded").id(id).json()
        };
        let with = |id: &str, bend: &dyn Fn(&mut Value)| {
            let mut event = paid(id, &format!("O_{id}"));
            bend(&mut event);
            event.to_string().into_bytes()
        };
        let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
        let nested = paid("evt_deep", "O_evt_deep")
            .to_string()
            .replace("\"pending_webhooks\":1", &format!("\"pending_webhooks\":{deep}"));
        let mut largest = with("evt_large", &|_| ());
        largest.resize(BODY_BYTES_MAX, b' ');
        for (id, body, expected, status) in [
            (
                "evt_nul",
                with("evt_nul", &|event| {
                    event["data"]["object"]["description"] = json!("a\u{0}b");
                    event["data"]["object"]["receipt_email"] = json!("a\u{0}b@example.com");
                }),
                "applied",
                Some("paid"),
            ),
            ("evt_deep", nested.into_bytes(), "applied", Some("paid")),
            ("evt_large", largest, "applied", Some("paid")),
            (
                "evt_list",
                with("evt_list", &|event| {
                    event["data"]["object"]["metadata"] = json!([]);
                }),
                "parked",
                None,
            ),
            (
                "evt_501",
                with("evt_501", &|event| {
                    event["data"]["object"]["metadata"]["order_id"] = json!("x".repeat(501));
                }),
                "ignored",
                None,
            ),
            (
                "evt_beyond",
                with("evt_beyond", &|event| {
                    event["data"]["object"]["amount_received"] = json!(1e30);
                }),
                "ignored",
                None,
            ),
            (
                "evt_never",
                with("evt_never", &|event| {
                    event.as_object_mut().expect("an object").remove("created");
                }),
                "applied",
                Some("paid"),
            ),
        ] {
            let answered = service.post(&body).await;
            assert_eq!(told(&answered), answer(200, expected), "{id}");
            let mut session = database.session().await;
            let kept = session.recorded_events(&[id]).await.expect("an answer");
            assert_eq!(kept[0].body.as_deref(), Some(&body[..]), "{id}");
            let order = session.order(&format!("O_{id}")).await.expect("an answer");
            assert_eq!(order.map(|order| order.order.snapshot.status.name()), status, "{id}");
        }
        let ids = "select id from orders where length(id) > 500";
        assert!(database.column(ids).await.is_empty());
    })
    .await;
}

/// 404, 405, 411, 413: not what Stripe sends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stripe_never_sends_is_told_so() {
    let database = Database::sqlite().await;
    let service = Service::start(&database, &[]);
    let one_byte_more = BODY_BYTES_MAX + 1;
    for (status, word, request) in [
        ("404", "not_found", "GET / HTTP/1.1\r\nconnection: close".to_owned()),
        (
            "404",
            "not_found",
            "POST /webhook/stripe/ HTTP/1.1\r\nconnection: close\r\ncontent-length: 0".to_owned(),
        ),
        ("404", "not_found", "GET /metrics HTTP/1.1\r\nconnection: close".to_owned()),
        (
            "405",
            "method_not_allowed",
            "GET /webhook/stripe HTTP/1.1\r\nconnection: close".to_owned(),
        ),
        (
            "405",
            "method_not_allowed",
            "DELETE /webhook/stripe HTTP/1.1\r\nconnection: close".to_owned(),
        ),
        (
            "411",
            "length_required",
            "POST /webhook/stripe HTTP/1.1\r\ntransfer-encoding: gzip, chunked".to_owned(),
        ),
        (
            "413",
            "body_too_large",
            format!("POST /webhook/stripe HTTP/1.1\r\ncontent-length: {one_byte_more}"),
        ),
    ] {
        let reply = raw(&service.webhook, &format!("{request}\r\nhost: x\r\n\r\n")).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{request}\n{reply}");
        assert!(reply.contains(&format!("\"error\":\"{word}\"")), "{request}\n{reply}");
        assert_eq!(status == "405", reply.to_lowercase().contains("allow: post"), "{reply}");
        assert!(reply.to_lowercase().contains("request-id: "), "{reply}");
    }
    drop(service);
    database.remove().await;
}

/// 503 with Retry-After, never 200, while the database is away; and readiness says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_is_503_with_retry_after() {
    let database = Database::postgres().await;
    let service = Service::start(&database, &[]);
    let body = pi("pi_1").order("O1").event("payment_intent.succeeded").body();
    assert_eq!(service.ask("/readyz").await.status, 200);

    let name = database.one("select current_database()").await;
    let forbid = format!(
        "alter database {name} allow_connections false;
         select pg_terminate_backend(pid) from pg_stat_activity
         where datname = '{name}' and pid <> pg_backend_pid()"
    );
    let elsewhere = Database::postgres_empty().await;
    elsewhere.execute(&forbid).await;
    let signature = secret().header(now(), &body);
    let length = body.len();
    let request = format!(
        "POST /webhook/stripe HTTP/1.1\r\nhost: x\r\nconnection: close\r\nstripe-signature: {signature}\r\n\
         content-length: {length}\r\n\r\n{}",
        String::from_utf8(body.clone()).expect("text")
    );
    let reply = raw(&service.webhook, &request).await;
    assert!(reply.starts_with("HTTP/1.1 503 "), "{reply}");
    let retry = format!("retry-after: {RETRY_AFTER_SECONDS}");
    assert!(reply.to_lowercase().contains(&retry), "{reply}");
    // An answer stands for a second.
    eventually("not ready", async || service.ask("/readyz").await.status == 503).await;
    assert_eq!(service.ask("/healthz").await.status, 200);

    elsewhere.execute(&format!("alter database {name} allow_connections true")).await;
    let applied = answer(200, "applied");
    eventually("recorded", async || told(&service.post(&body).await) == applied).await;
    elsewhere.remove().await;
    drop(service);
    database.remove().await;
}

/// Rotation: any of the secrets proves a call, and the metrics tell which ones are still in use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_secrets_are_valid_and_told_apart_by_their_last_four() {
    let database = Database::sqlite().await;
    let both = format!("whsec_new_secret_0123456789abcNEWW, {SECRET}");
    let service = Service::start(&database, &[("STRIPE_WEBHOOK_SECRET", &both)]);
    let new = SigningSecret::new("whsec_new_secret_0123456789abcNEWW").expect("a secret");
    let body = pi("pi_1").order("O1").event("payment_intent.succeeded").body();
    assert_eq!(service.post_with(&new.header(now(), &body), &body).await.status, 200);
    assert_eq!(service.post(&body).await.status, 200);
    // While a secret is rolled, Stripe signs with both.
    let v1 = new.header(now(), &body);
    let v1 = v1.split_once(",").expect("two items").1;
    let rolled = format!("{},{v1}", secret().header(now(), &body));
    assert_eq!(service.post_with(&rolled, &body).await.status, 200);
    let matches = async |last4: &str| {
        service.metric(&format!("paidup_signing_secret_matches_total{{last4=\"{last4}\"}}")).await
    };
    assert!(matches("NEWW").await >= 1.0);
    assert!(matches("ABCD").await >= 1.0);
    assert_eq!(matches("NEWW").await + matches("ABCD").await, 3.0);
    drop(service);
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_tell_what_came_and_how_long_it_took() {
    on_both(async |database| {
        let service = Service::start(database, &[]);
        for number in 0..3 {
            let paid = pi(&format!("pi_{number}")).order("O1").event("payment_intent.succeeded");
            service.post(&paid.body()).await;
        }
        service
            .post(&json!({"id": "evt_x", "type": "made.up.by_a_sender"}).to_string().into_bytes())
            .await;
        for (name, value) in [
            ("paidup_events_total{type=\"payment_intent.succeeded\",outcome=\"applied\"}", 3.0),
            ("paidup_events_total{type=\"other\",outcome=\"ignored\"}", 1.0),
            ("paidup_batch_events_sum", 4.0),
            ("paidup_commit_seconds_count", 4.0),
            ("paidup_request_seconds_count", 4.0),
            ("paidup_queue_events", 0.0),
        ] {
            assert_eq!(service.metric(name).await, value, "{name}");
        }
        let text = service.ask("/metrics").await.body;
        for name in [
            "paidup_queue_events",
            "paidup_connections{listener=\"127.0.0.1:",
            "paidup_commit_seconds_bucket{le=\"0.005\"}",
        ] {
            assert!(text.contains(name), "{name} is not in\n{text}");
        }
    })
    .await;
}

/// What was accepted before the signal is committed and answered; then the process ends well.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stop_commits_and_answers_what_was_accepted_and_exits_0() {
    on_both(async |database| {
        let service = Service::start(database, &[]);
        let mut open = Vec::new();
        for number in 0..20 {
            let body = pi(&format!("pi_{number}")).order(&format!("O{number}"));
            let body = body.event("payment_intent.succeeded").body();
            let signature = secret().header(now(), &body);
            let address = service.webhook.trim_start_matches("http://").split('/').next();
            let mut stream =
                TcpStream::connect(address.expect("an address")).await.expect("a connection");
            let head = format!(
                "POST /webhook/stripe HTTP/1.1\r\nhost: x\r\nstripe-signature: {signature}\r\n\
                 content-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).await.expect("sent");
            // Begun, and not complete when the signal comes.
            let (first, rest) = body.split_at(100);
            stream.write_all(first).await.expect("sent");
            open.push((stream, rest.to_vec()));
        }
        // Once this is answered, the connections before it are accepted.
        let last = pi("pi_last").order("O_last").event("payment_intent.succeeded").body();
        assert_eq!(service.post(&last).await.status, 200);
        eventually("connections", async || service.connections().await >= 20.0).await;
        service.terminate();
        eventually("the signal", async || service.log().contains("stopping")).await;
        let mut answered = 0;
        for (mut stream, rest) in open {
            let _ = stream.write_all(&rest).await;
            let mut reply = Vec::new();
            let _ = stream.read_to_end(&mut reply).await;
            let reply = String::from_utf8(reply).expect("text");
            assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
            answered += 1;
        }
        let (status, log) = service.ended().await;
        assert!(status.success(), "{status}\n{log}");
        assert!(log.contains("goodbye"), "{log}");
        let count =
            database.one("select cast(count(*) as text) from orders where status = 'paid'").await;
        assert_eq!(count, (answered + 1).to_string());
    })
    .await;
}

/// Whatever happens, no secret, no body and no address is seen in a log, an answer or a metric.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_bodies_and_addresses_are_never_shown() {
    on_both(async |database| {
        let all = [("RUST_LOG", "trace"), ("LOG_FORMAT", "json")];
        let service = Service::start(database, &all);
        // A row that the database refuses, so that its own words for it come into play.
        database
            .execute("insert into orders (id, amount_due, currency) values ('O9', 1, 'usd')")
            .await;
        if database.is_postgres() {
            database
                .execute("alter table orders add check (customer_email is null or id <> 'O8')")
                .await;
        }
        let event = |object: crate::support::fixtures::Object, kind: &str| {
            object.set("description", CANARY_TEXT).email(CANARY_EMAIL).event(kind).body()
        };
        let mut seen = String::new();
        for body in [
            event(pi("pi_1").order("O1"), "payment_intent.succeeded"),
            event(pi("pi_2"), "payment_intent.succeeded"),
            event(charge("ch_1").pi("pi_1").refunded(10), "charge.refunded"),
            event(session("cs_1").order("O8"), "checkout.session.completed"),
            event(session("cs_2").order("O9"), "checkout.session.completed"),
            format!("{CANARY_TEXT} {CANARY_EMAIL}").into_bytes(),
        ] {
            let Answer { status, body: text } = service.post(&body).await;
            let bad = service.post_with(&format!("t={},v1={CANARY_TEXT}", now()), &body).await;
            let _ = writeln!(seen, "{status} {text} {}", bad.body);
        }
        seen.push_str(&service.ask("/metrics").await.body);
        if database.is_postgres() {
            assert!(seen.contains("503"), "the refused row was to be among them: {seen}");
        }
        let (_, log) = service.stopped().await;
        assert!(log.contains("\"level\":\"DEBUG\""), "not everything was logged:\n{log}");
        seen.push_str(&log);
        let password = database.url.split_once("://").map(|(_, rest)| rest.to_owned());
        let password =
            password.and_then(|rest| Some(rest.split_once('@')?.0.split_once(':')?.1.to_owned()));
        for canary in [CANARY_TEXT, CANARY_EMAIL, SECRET, "0123456789abcdef"] {
            let line = seen.lines().find(|line| line.contains(canary));
            assert_eq!(line, None, "{canary} is shown");
        }
        if let Some(password) = password.filter(|text| text.len() > 3) {
            assert!(!seen.contains(&password));
        }
    })
    .await;
}

/// One JSON object a line, with the request's id in it, which the answer carries too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_logs_name_the_request() {
    let database = Database::sqlite().await;
    let service = Service::start(&database, &[("LOG_FORMAT", "json"), ("RUST_LOG", "info")]);
    let body = pi("pi_1").order("O1").event("payment_intent.succeeded").id("evt_1").body();
    let head = format!(
        "POST /webhook/stripe HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-request-id: of-the-proxy-1\r\n\
         stripe-signature: {}\r\ncontent-length: {}\r\n\r\n",
        secret().header(now(), &body),
        body.len()
    );
    let reply = raw(&service.webhook, &(head + std::str::from_utf8(&body).expect("text"))).await;
    assert!(reply.to_lowercase().contains("request-id: of-the-proxy-1"), "{reply}");
    let (_, log) = service.stopped().await;
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let line = lines.iter().find(|line| line["event"] == "evt_1").expect("a line for the event");
    assert_eq!(line["request"], "of-the-proxy-1");
    assert_eq!(line["outcome"], "applied");
    assert_eq!(line["level"], "INFO");
    assert!(line["message"].is_string() && line["timestamp"].is_string(), "{line}");
    database.remove().await;
}
