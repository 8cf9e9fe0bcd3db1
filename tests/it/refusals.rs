//! Refused requests are visible: each has a counter that exists before the first of them, and a line in the log
//! with the caller's address. So have the calls of operators that change something.

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::api::{Api, TOKEN};
use crate::support::databases::{Database, on_both};
use crate::support::fixtures::pi;
use crate::support::service::{Service, eventually};

/// How the service's answer to these bytes begins.
async fn raw(service: &Service, bytes: &str) -> String {
    let address = service.webhook.trim_start_matches("http://").split('/').next();
    let mut stream = TcpStream::connect(address.expect("an address")).await.expect("a connection");
    stream.write_all(bytes.as_bytes()).await.expect("sent");
    let mut reply = Vec::new();
    while !reply.ends_with(b"\r\n")
        && stream.read_buf(&mut reply).await.is_ok_and(|bytes| bytes > 0)
    {}
    String::from_utf8_lossy(&reply).into_owned()
}

async fn refusals(service: &Service, reason: &str) -> f64 {
    service.metric(&format!("paidup_refusals_total{{reason=\"{reason}\"}}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_counter_of_refusals_is_there_from_the_start() {
    let database = Database::sqlite().await;
    let service = Service::start(&database, &[]);
    let metrics = service.ask("/metrics").await.body;
    for reason in [
        "missing",
        "no_match",
        "too_old",
        "not_json",
        "database",
        "queue_full",
        "order_held",
        "body_too_slow",
        "bodies_too_many",
        "not_found",
        "method_not_allowed",
        "head_malformed",
        "head_too_large",
        "head_too_slow",
        "connections_too_many",
        "token_wrong",
        "login_refused",
    ] {
        let line = format!("paidup_refusals_total{{reason=\"{reason}\"}} 0");
        assert!(metrics.lines().any(|one| one == line), "{reason}:\n{metrics}");
    }
    drop(service);
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_to_a_wrong_place_is_counted_and_logged() {
    let database = Database::sqlite().await;
    let service = Service::start(&database, &[]);
    let fields = "Host: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let long = format!("GET /{} HTTP/1.1\r\n{fields}", "x".repeat(5000));
    let large = format!("GET / HTTP/1.1\r\nX: {}\r\n{fields}", "x".repeat(20_000));
    for (request, status, reason, said) in [
        (
            format!("POST /webhook/stripe/?key=s3cret HTTP/1.1\r\n{fields}"),
            404,
            "not_found",
            "path=\"/webhook/stripe/\"",
        ),
        (long, 404, "not_found", "xxxx…\""),
        (
            format!("GET /webhook/stripe HTTP/1.1\r\n{fields}"),
            405,
            "method_not_allowed",
            "method=\"GET\"",
        ),
        (
            format!("POST /healthz HTTP/1.1\r\n{fields}"),
            405,
            "method_not_allowed",
            "path=\"/healthz\"",
        ),
        ("\u{16}\u{3}\u{1}\r\n\r\n".to_owned(), 400, "head_malformed", "head_malformed"),
        (large, 431, "head_too_large", "head_too_large"),
    ] {
        let before = refusals(&service, reason).await;
        let reply = raw(&service, &request).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{reply}");
        assert_eq!(refusals(&service, reason).await - before, 1.0, "{reason}");
        let is_line =
            |line: &str| line.contains(reason) && line.contains(said) && line.contains("127.0.0.1");
        eventually(said, async || service.log().lines().any(is_line)).await;
    }
    let log = service.log();
    assert!(log.contains("webhooks go to POST /webhook/stripe"), "{log}");
    assert!(!log.contains("s3cret") && log.lines().all(|line| line.len() < 1000), "{log}");
    drop(service);
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_operators_change_is_logged_with_their_address() {
    on_both(async |database| {
        let api = Api::start(database, &[]);
        let event = pi("pi_1").order("O1").event("payment_intent.succeeded").id("evt_1");
        assert_eq!(api.service.post(&event.body()).await.status, 200);
        let order = json!({"amount_due": 1, "currency": "usd", "customer_email": "a@shop.example"});
        assert_eq!(api.put("/api/v1/orders/O2", order).await.0, 201);
        assert_eq!(api.post("/api/v1/events/evt_1/replay?dry_run=true").await.0, 200);
        assert_eq!(api.post("/api/v1/notifications/7/retry").await.0, 404);
        let wrong = api.call(Method::GET, "/api/v1/orders", Some("a wrong one"), None).await;
        assert_eq!(wrong.0, 401);
        assert_eq!(api.call(Method::GET, "/api/v1/orders", None, None).await.0, 401);
        let login = format!("{}/console/login", api.service.operators);
        for (token, status) in [("another wrong one", 403), (TOKEN, 303)] {
            let form = api.http.post(&login).body(format!("token={token}"));
            // The way on asks for a session, which this client does not keep.
            let answer = form.send().await.expect("an answer");
            assert!([status, 200].contains(&answer.status().as_u16()), "{token}");
        }
        for reason in ["token_wrong", "token_missing", "login_refused"] {
            assert_eq!(refusals(&api.service, reason).await, 1.0, "{reason}");
        }
        for said in [
            "PUT /api/v1/orders/O2",
            "POST /api/v1/events/evt_1/replay?dry_run=true",
            "POST /api/v1/notifications/7/retry",
            "token_wrong",
            "token_missing",
            "login_refused",
            "a login to the console",
        ] {
            let is_line = |line: &str| line.contains(said) && line.contains("127.0.0.1");
            eventually(said, async || api.service.log().lines().any(is_line)).await;
        }
        let log = api.service.log();
        for secret in [TOKEN, "wrong one", "a@shop.example"] {
            assert!(!log.contains(secret), "{secret}: {log}");
        }
    })
    .await;
}
