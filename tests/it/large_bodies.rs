//! Large bodies on their way share little memory. Those that only declare a length hold none of it, slow ones make
//! room for others, and what cannot be Stripe's is refused before its body.

use std::time::Duration;

use paidup::http::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http_server::{Caller, PATIENCE, Running, chunked, echo, posted, soon};
use crate::support::databases::Database;
use crate::support::fixtures::secret;
use crate::support::service::Service;

/// A large body has more than 100 bytes, and all of them together 1,000.
fn limits() -> Limits {
    Limits {
        small_body_bytes: 100,
        large_bodies_bytes: 1000,
        body_bytes: 1000,
        body_deadline: PATIENCE,
        ..Limits::default()
    }
}

/// A caller whose head declares so many bytes and whose body has not come; the 100 tells that it is waited for.
async fn declared(server: &Running, bytes: usize) -> Caller {
    let mut caller = server.connect().await;
    let fields = format!("Expect: 100-continue\r\nContent-Length: {bytes}");
    assert_eq!(caller.ask(&format!("POST /echo HTTP/1.1\r\n{fields}\r\n\r\n")).await.status, 100);
    caller
}

#[tokio::test]
async fn a_length_that_is_only_declared_holds_no_memory() {
    let server = Running::start(echo(), limits()).await;
    let mut idle = Vec::new();
    for _ in 0..32 {
        idle.push(declared(&server, 1000).await);
    }
    let body = "x".repeat(900);
    for whole in [posted(&body), chunked(&body)] {
        assert_eq!(server.connect().await.ask(&whole).await.body, body);
    }
    let mut late = idle.pop().expect("one");
    assert_eq!(late.ask(&"y".repeat(1000)).await.body, "y".repeat(1000));
}

#[tokio::test]
async fn the_slowest_large_body_makes_room() {
    let server = Running::start(echo(), Limits { place_kept: Duration::ZERO, ..limits() }).await;
    let mut slow = declared(&server, 800).await;
    slow.send(&"x".repeat(799)).await;
    // Whichever of them the server reads first: the slow one never gets further, the others do.
    let body = "y".repeat(900);
    let mut served = 0;
    while served < 2 {
        served += usize::from(server.connect().await.ask(&posted(&body)).await.body == body);
    }
    let reply = slow.reply().await;
    assert_eq!((reply.status, reply.error().as_str()), (503, "unavailable"));
    assert_eq!((reply.field("retry-after"), reply.field("connection")), (Some("5"), Some("close")));
}

#[tokio::test]
async fn a_large_body_that_grows_keeps_its_memory_and_small_ones_need_none() {
    let limits = Limits { place_kept: Duration::from_secs(3600), ..limits() };
    let server = Running::start(echo(), limits).await;
    let mut growing = declared(&server, 800).await;
    growing.send(&"x".repeat(799)).await;
    let body = "y".repeat(900);
    // Until the server has read what was sent, there is room.
    soon(async { while server.connect().await.ask(&posted(&body)).await.status != 503 {} }).await;
    for small in [posted("small"), chunked("small")] {
        assert_eq!(server.connect().await.ask(&small).await.body, "small");
    }
    assert_eq!(growing.ask("x").await.body, "x".repeat(800));
    assert_eq!(server.connect().await.ask(&posted(&body)).await.body, body);
}

/// Sends a head to the webhook, and waits for an answer of which the body was never sent.
async fn answered(service: &Service, path: &str, signature: Option<&str>, bytes: usize) -> String {
    let address = service.webhook.trim_start_matches("http://").split('/').next();
    let mut stream = TcpStream::connect(address.expect("an address")).await.expect("a connection");
    let signature = signature.map(|value| format!("Stripe-Signature: {value}\r\n"));
    let fields = format!("{}Content-Length: {bytes}", signature.unwrap_or_default());
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut reply = Vec::new();
    while !reply.ends_with(b"}")
        && soon(stream.read_buf(&mut reply)).await.is_ok_and(|read| read > 0)
    {}
    String::from_utf8_lossy(&reply).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_stripes_is_refused_before_its_body() {
    let database = Database::sqlite().await;
    let service = Service::start(&database, &[]);
    let now = paidup::unix_seconds();
    let header = |at| secret().header(at, b"another body");
    let (fresh, old, new) = (header(now), header(now - 310), header(now + 310));
    let upper = fresh.to_uppercase().replace("T=", "t=").replace("V1=", "v1=");
    let told = service.post_with(&fresh, b"{}").await;
    for (bytes, signature, reason) in [
        (1_000_000, None, "missing"),
        (1_000_000, Some("t=1"), "malformed"),
        (1_000_000, Some("t=1,v1=00"), "no_match"),
        (1_000_000, Some(upper.as_str()), "no_match"),
        (1_000_000, Some(old.as_str()), "too_old"),
        (1_000_000, Some(new.as_str()), "too_new"),
        (100, None, "missing"),
        (100, Some("t=1,v1=00"), "no_match"),
    ] {
        let metric = format!("paidup_refusals_total{{reason=\"{reason}\"}}");
        let before = service.metric(&metric).await;
        let reply = answered(&service, "/webhook/stripe", signature, bytes).await;
        assert!(reply.starts_with("HTTP/1.1 400 ") && reply.ends_with(&told.body), "{reply}");
        assert_eq!(service.metric(&metric).await - before, 1.0, "{reason}");
    }
    let reply = answered(&service, "/webhook/stripe/", Some(&fresh), 1_000_000).await;
    assert!(reply.starts_with("HTTP/1.1 404 "), "{reply}");
    // What may be Stripe's is read, and judged with its body.
    let body = vec![b' '; 1_000_000];
    assert_eq!(service.post_with(&fresh, &body).await.status, 400);
    assert_eq!(service.metric("paidup_refusals_total{reason=\"no_match\"}").await, 5.0);
    drop(service);
    database.remove().await;
}
