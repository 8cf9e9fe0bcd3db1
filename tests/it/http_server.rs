//! The server against raw TCP: what a slow, large or malformed caller gets, and that the honest one
//! beside it is served. Limits are small here, so that they are reached; nothing is asserted about
//! how soon, only that it comes.

#![allow(clippy::expect_used)] // Helpers of tests are tests too, which clippy does not see.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use hyper::body::Frame;
use paidup::http::error::{Allowed, HttpError};
use paidup::http::{Limits, OPERATOR_SEND_BUFFER_BYTES, WEBHOOK_SEND_BUFFER_BYTES, listen, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// A deadline that a test is meant to reach.
const SOON: Duration = Duration::from_millis(150);

pub struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub async fn start(router: Router, limits: Limits) -> Self {
        Self::start_with(OPERATOR_SEND_BUFFER_BYTES, router, limits).await
    }

    async fn start_with(send_buffer_bytes: u32, router: Router, limits: Limits) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = listen(any, send_buffer_bytes).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(listener, router, limits, stop.clone()));
        Self { address, stop, task }
    }

    pub async fn connect(&self) -> Caller {
        Caller { stream: TcpStream::connect(self.address).await.expect("a connection") }
    }

    async fn stopped(self) {
        self.stop.cancel();
        soon(self.task).await.expect("the server does not panic");
    }
}

/// Waits for what must come, and fails the test if it does not.
pub async fn soon<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it comes")
}

pub struct Caller {
    pub stream: TcpStream,
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Reply {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The code of an answer that is not a success; all of those have one shape.
    pub fn error(&self) -> String {
        assert_eq!(self.field("content-type"), Some("application/json"), "{self:?}");
        let value: serde_json::Value = serde_json::from_str(&self.body).expect("JSON");
        assert!(value["message"].is_string(), "{value}");
        value["error"].as_str().expect("a code").to_owned()
    }
}

impl Caller {
    pub async fn send(&mut self, text: &str) {
        soon(self.stream.write_all(text.as_bytes())).await.expect("sent");
    }

    /// Reads one answer, by its Content-Length.
    pub async fn reply(&mut self) -> Reply {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = soon(self.stream.read_u8()).await;
            head.push(byte.unwrap_or_else(|error| {
                panic!("{error} after {:?}", String::from_utf8_lossy(&head))
            }));
        }
        let head = String::from_utf8(head).expect("text");
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect(&head);
        let mut reply = Reply { status, head, body: String::new() };
        let length =
            reply.field("content-length").map_or(0, |length| length.parse().expect("a length"));
        let mut body = vec![0; length];
        soon(self.stream.read_exact(&mut body)).await.expect("the body");
        reply.body = String::from_utf8(body).expect("text");
        reply
    }

    pub async fn ask(&mut self, text: &str) -> Reply {
        self.send(text).await;
        self.reply().await
    }

    /// Waits until the server has closed the connection, and returns what came before that.
    pub async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = soon(self.stream.read_to_end(&mut rest)).await;
        String::from_utf8(rest).expect("text")
    }
}

pub fn echo() -> Router {
    Router::new()
        .route("/echo", post(|body: String| async move { body }))
        .route("/hello", get(|| async { "hello" }))
        .route(
            "/panic",
            get(|| async {
                if true {
                    panic!("of a test")
                }
            }),
        )
        .route(
            "/only",
            post(|| async {}).fallback(|| async { HttpError::MethodNotAllowed(Allowed::Post) }),
        )
        .fallback(|| async { HttpError::NotFound })
}

const HELLO: &str = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";

pub fn posted(body: &str) -> String {
    format!("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// In one chunk, or none.
pub fn chunked(body: &str) -> String {
    let chunk =
        if body.is_empty() { String::new() } else { format!("{:x}\r\n{body}\r\n", body.len()) };
    format!("POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n")
}

#[tokio::test]
async fn a_connection_without_a_byte_is_closed() {
    let limits = Limits { head_deadline: SOON, ..Limits::default() };
    let server = Running::start(echo(), limits).await;
    assert_eq!(server.connect().await.rest().await, "");
}

#[tokio::test]
async fn a_head_that_does_not_end_is_closed_whether_it_stops_or_drips() {
    let limits = Limits { head_deadline: SOON, ..Limits::default() };
    let server = Running::start(echo(), limits).await;
    let mut stopped = server.connect().await;
    stopped.send("GET /hello HTTP/1.1\r\nHo").await;
    assert_eq!(stopped.rest().await, "");

    let mut dripping = server.connect().await;
    dripping.send("GET /hello HTTP/1.1\r\nX: ").await;
    let (mut reader, mut writer) = dripping.stream.split();
    let drip = async {
        while writer.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let mut rest = Vec::new();
    let (_, read) = soon(async { tokio::join!(drip, reader.read_to_end(&mut rest)) }).await;
    assert!(rest.is_empty(), "{read:?}");
}

#[tokio::test]
async fn the_head_of_a_second_request_has_its_deadline_too() {
    let limits = Limits { head_deadline: SOON * 5, ..Limits::default() };
    let server = Running::start(echo(), limits).await;
    let mut caller = server.connect().await;
    assert_eq!(caller.ask(HELLO).await.body, "hello");
    caller.send("GET /he").await;
    assert_eq!(caller.rest().await, "");
}

#[tokio::test]
async fn a_connection_that_is_kept_alive_for_nothing_is_closed() {
    let limits = Limits { idle_deadline: SOON, ..Limits::default() };
    let server = Running::start(echo(), limits).await;
    let mut caller = server.connect().await;
    assert_eq!(caller.ask(HELLO).await.body, "hello");
    assert_eq!(caller.rest().await, "");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_with_408_and_the_connection_closed() {
    let limits = Limits { body_deadline: SOON, linger_deadline: SOON, ..Limits::default() };
    let server = Running::start(echo(), limits).await;
    let mut caller = server.connect().await;
    caller.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf").await;
    let reply = caller.reply().await;
    assert_eq!((reply.status, reply.error().as_str()), (408, "body_too_slow"));
    assert_eq!(reply.field("connection"), Some("close"));
    assert_eq!(caller.rest().await, "");
}

/// Nothing after the refused head is read as a request, however the two headers stand.
#[tokio::test]
async fn content_length_with_transfer_encoding_is_refused_however_they_stand() {
    let server = Running::start(echo(), Limits::default()).await;
    for pair in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Transfer-Encoding: chunked\r\nContent-Length: anything",
        "transfer-encoding: chunked\ncONTENT-lENGTH:4",
        "Content-Length: 4\r\nContent-Length: 4\r\nTransfer-Encoding: chunked",
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive",
    ] {
        // The first on its connection, and after one that told its length.
        for before in ["", "one"] {
            let mut caller = server.connect().await;
            if !before.is_empty() {
                assert_eq!(caller.ask(&posted(before)).await.body, before);
            }
            let head = format!("POST /echo HTTP/1.1\r\nHost: x\r\n{pair}\r\n\r\n");
            let reply = caller.ask(&format!("{head}0\r\n\r\n{HELLO}")).await;
            assert_eq!((reply.status, reply.error().as_str()), (411, "length_required"), "{pair}");
            caller.stream.shutdown().await.expect("half closed");
            assert_eq!(caller.rest().await, "", "{pair}");
        }
    }
}

/// Behind its head is another one that is here already; whose `Content-Length` it is cannot be told.
#[tokio::test]
async fn chunks_with_a_content_length_behind_them_are_refused() {
    let server = Running::start(echo(), Limits::default()).await;
    let mut caller = server.connect().await;
    let reply = caller.ask(&format!("{}{}", chunked("abc"), posted("x"))).await;
    assert_eq!((reply.status, reply.error().as_str()), (411, "length_required"));
}

#[tokio::test]
async fn a_body_of_untold_length_is_refused_with_411() {
    let server = Running::start(echo(), Limits::default()).await;
    for fields in [
        "X: y",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: ,chunked",
    ] {
        let mut caller = server.connect().await;
        let text = format!("POST /echo HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n{HELLO}");
        let reply = caller.ask(&text).await;
        assert_eq!((reply.status, reply.error().as_str()), (411, "length_required"), "{fields}");
        assert_eq!(reply.field("connection"), Some("close"));
        caller.stream.shutdown().await.expect("half closed");
        assert_eq!(caller.rest().await, "", "{fields}");
    }
}

/// A proxy that did not keep the length sends them. Behind them nothing is read.
#[tokio::test]
async fn chunks_alone_are_taken_and_end_the_connection() {
    let server = Running::start(echo(), Limits::default()).await;
    let head = "POST /echo HTTP/1.1\r\nTransfer-Encoding: CHUNKED \r\n\r\n";
    let in_pieces = format!("{head}3;a=b\r\nabc\r\n0002\r\nde\r\n0\r\nX: trailer\r\n\r\n");
    for (text, body) in [
        (chunked("abc"), "abc"),
        (chunked(""), ""),
        (in_pieces, "abcde"),
        (format!("{head}1\r\na\r\n1\r\n\n\r\n1\r\nb\r\n0\r\n\r\n"), "a\nb"),
    ] {
        let mut caller = server.connect().await;
        // After a request that told its length, too.
        assert_eq!(caller.ask(&posted("one")).await.body, "one");
        let reply = caller.ask(&format!("{text}{HELLO}")).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, body), "{text}");
        assert_eq!(reply.field("connection"), Some("close"));
        caller.stream.shutdown().await.expect("half closed");
        assert_eq!(caller.rest().await, "", "{text}");
    }
}

#[tokio::test]
async fn chunks_that_are_malformed_or_do_not_end_are_refused() {
    let server = Running::start(echo(), Limits { body_deadline: SOON, ..Limits::default() }).await;
    let head = "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (chunks, expected) in [
        ("x\r\nabc\r\n", (400, "body_broken")),
        ("3\nabc\r\n0\r\n\r\n", (400, "body_broken")),
        ("3\r\nabcd\r\n0\r\n\r\n", (400, "body_broken")),
        ("-3\r\nabc\r\n0\r\n\r\n", (400, "body_broken")),
        ("ffffffffffffffff0\r\nabc\r\n", (400, "body_broken")),
        ("3\r\nabc\r\n", (408, "body_too_slow")),
        ("3\r\nabc\r\n0\r\n", (408, "body_too_slow")),
    ] {
        let mut caller = server.connect().await;
        let reply = caller.ask(&format!("{head}{chunks}")).await;
        assert_eq!((reply.status, reply.error().as_str()), expected, "{chunks:?}");
        assert_eq!(reply.field("connection"), Some("close"));
    }
}

/// Of chunks too: what is one byte too large.
#[tokio::test]
async fn chunks_have_the_limits_of_any_body() {
    let limits = Limits { small_body_bytes: 100, large_bodies_bytes: 1000, ..Limits::default() };
    let server = Running::start(echo(), Limits { body_bytes: 1000, ..limits }).await;
    let most = "x".repeat(1000);
    assert_eq!(server.connect().await.ask(&chunked(&most)).await.body, most);
    let reply = server.connect().await.ask(&chunked(&"x".repeat(1001))).await;
    assert_eq!((reply.status, reply.error().as_str()), (413, "body_too_large"));

    let small = "x".repeat(100);
    assert_eq!(server.connect().await.ask(&chunked(&small)).await.body, small);
    assert_eq!(server.connect().await.ask(&chunked(&most)).await.body, most);
}

#[tokio::test]
async fn content_lengths_that_contradict_are_refused() {
    let server = Running::start(echo(), Limits::default()).await;
    for fields in [
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: 4, 5",
        "Content-Length: +4",
        "Content-Length: 4x",
        "Content-Length: -4",
        "Content-Length: 4\r\nTransfer-Encoding: gzip",
        "Content-Length : 4",
    ] {
        let mut caller = server.connect().await;
        let text = format!("POST /echo HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\nabcd{HELLO}");
        assert_eq!(caller.ask(&text).await.status, 400, "{fields}");
        caller.stream.shutdown().await.expect("half closed");
        assert_eq!(caller.rest().await, "", "{fields}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_unread() {
    let server = Running::start(echo(), Limits::default()).await;
    for expect in ["", "Expect: 100-continue\r\n"] {
        let mut caller = server.connect().await;
        let length = 1024 * 1024 + 1;
        let head = format!("POST /echo HTTP/1.1\r\n{expect}Content-Length: {length}\r\n\r\n");
        let reply = caller.ask(&head).await;
        assert_eq!((reply.status, reply.error().as_str()), (413, "body_too_large"));
        assert_eq!(reply.field("connection"), Some("close"));
        caller.stream.shutdown().await.expect("half closed");
        assert_eq!(caller.rest().await, "");
    }
}

/// A caller that sends all of it before it looks still gets the answer, not a reset.
#[tokio::test]
async fn a_caller_who_sends_a_too_large_body_first_still_reads_the_answer() {
    let limits = Limits { linger_deadline: PATIENCE, ..Limits::default() };
    let server = Running::start(echo(), limits).await;
    let mut caller = server.connect().await;
    let reply = caller.ask(&posted(&"x".repeat(8 * 1024 * 1024))).await;
    assert_eq!(reply.status, 413);
}

#[tokio::test]
async fn the_largest_body_is_taken_also_with_expect_continue() {
    let server = Running::start(echo(), Limits::default()).await;
    let body = "x".repeat(1024 * 1024);
    let mut caller = server.connect().await;
    let reply = caller.ask(&posted(&body)).await;
    assert!(reply.status == 200 && reply.body == body, "{}", reply.status);

    let head = "POST /echo HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    assert_eq!(caller.ask(head).await.status, 100);
    assert_eq!(caller.ask("abcd").await.body, "abcd");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_with_431() {
    let server = Running::start(echo(), Limits::default()).await;
    let long = format!("X: {}\r\n", "x".repeat(17 * 1024));
    let many = (0..65).map(|number| format!("X{number}: y\r\n")).collect::<String>();
    for fields in [long, many] {
        let mut caller = server.connect().await;
        let text = format!("GET /hello HTTP/1.1\r\nHost: x\r\n{fields}\r\n{HELLO}");
        assert_eq!(caller.ask(&text).await.status, 431);
        caller.stream.shutdown().await.expect("half closed");
        assert_eq!(caller.rest().await, "");
    }
}

#[tokio::test]
async fn requests_are_answered_in_order_on_one_connection() {
    let server = Running::start(echo(), Limits::default()).await;
    let mut caller = server.connect().await;
    assert_eq!(caller.ask(&posted("one")).await.body, "one");
    assert_eq!(caller.ask(HELLO).await.body, "hello");
    let pipelined = (0..50).map(|number| posted(&number.to_string())).collect::<String>();
    caller.send(&pipelined).await;
    for number in 0..50 {
        assert_eq!(caller.reply().await.body, number.to_string());
    }
    // In pieces, and the first version of the protocol, which closes.
    caller.send("POST /echo HTTP/1.0\r\nContent-").await;
    caller.send("Length: 6\r\n\r\nabc").await;
    assert_eq!(caller.ask("def").await.body, "abcdef");
    assert_eq!(caller.rest().await, "");
}

#[tokio::test]
async fn wrong_paths_and_methods_are_told_in_one_shape() {
    let server = Running::start(echo(), Limits::default()).await;
    let mut caller = server.connect().await;
    let reply = caller.ask("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!((reply.status, reply.error().as_str()), (404, "not_found"));
    let reply = caller.ask("GET /only HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!((reply.status, reply.error().as_str()), (405, "method_not_allowed"));
    assert_eq!(reply.field("allow"), Some("POST"));
}

#[tokio::test]
async fn every_answer_names_its_request() {
    let server = Running::start(echo(), Limits::default()).await;
    let mut caller = server.connect().await;
    let first = caller.ask(HELLO).await;
    let second = caller.ask("GET /nothing HTTP/1.1\r\n\r\n").await;
    assert!(first.field("request-id").is_some());
    assert_ne!(first.field("request-id"), second.field("request-id"));
    let given = caller.ask("GET /hello HTTP/1.1\r\nX-Request-Id: a-1\r\n\r\n").await;
    assert_eq!(given.field("request-id"), Some("a-1"));
    let refused = caller.ask("POST /echo HTTP/1.1\r\nX-Request-Id: a-2\r\n\r\n").await;
    assert_eq!((refused.status, refused.field("request-id")), (411, Some("a-2")));
}

#[tokio::test]
async fn a_handler_that_panics_costs_only_its_request() {
    let server = Running::start(echo(), Limits::default()).await;
    let mut caller = server.connect().await;
    let reply = caller.ask("GET /panic HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!((reply.status, reply.error().as_str()), (500, "internal"));
    assert_eq!(caller.ask(HELLO).await.body, "hello");
}

/// An answer without end, which tells when the server has given it up.
struct Endless {
    _given_up: mpsc::Sender<()>,
}

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 4096])))))
    }
}

#[tokio::test]
async fn a_caller_who_does_not_take_the_answer_is_cut() {
    let (given_up, mut is_given_up) = mpsc::channel(1);
    let endless = get(move || async move { Body::new(Endless { _given_up: given_up }) });
    let limits = Limits { write_deadline: SOON, stop_deadline: PATIENCE * 10, ..Limits::default() };
    let server = Running::start(Router::new().route("/endless", endless), limits).await;
    let mut caller = server.connect().await;
    caller.send("GET /endless HTTP/1.1\r\nHost: x\r\n\r\n").await;
    soon(caller.stream.read_u8()).await.expect("the answer begins");
    // The router holds a sender too, and goes with the server; it would wait for this answer.
    server.stop.cancel();
    assert_eq!(soon(is_given_up.recv()).await, None);
    soon(server.task).await.expect("the server does not panic");
}

/// It drips through: each read makes place for a little more. That is no reading either.
#[tokio::test]
async fn a_caller_who_takes_the_answer_in_drips_is_cut() {
    let (given_up, mut is_given_up) = mpsc::channel(1);
    let endless = get(move || async move { Body::new(Endless { _given_up: given_up }) });
    let limits = Limits { write_deadline: SOON, stop_deadline: PATIENCE * 10, ..Limits::default() };
    let server = Running::start(Router::new().route("/endless", endless), limits).await;
    let mut caller = server.connect().await;
    caller.send("GET /endless HTTP/1.1\r\nHost: x\r\n\r\n").await;
    soon(caller.stream.read_u8()).await.expect("the answer begins");
    server.stop.cancel();
    let drip = async {
        let mut drop = vec![0; 4096];
        while caller.stream.read(&mut drop).await.is_ok_and(|bytes| bytes > 0) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    soon(async { tokio::join!(drip, is_given_up.recv()) }).await;
    soon(server.task).await.expect("the server does not panic");
}

/// Left to itself, the system keeps megabytes of answers for a caller who reads nothing, and takes them
/// for a reader as long as it does. It has room for so few here that this soon shows.
#[tokio::test]
async fn a_caller_who_asks_on_and_takes_no_answer_is_heard_only_for_a_while_and_cut() {
    let heard = Arc::new(AtomicUsize::new(0));
    let count = {
        let heard = Arc::clone(&heard);
        move || async move {
            heard.fetch_add(1, Ordering::Relaxed);
            "x".repeat(1024)
        }
    };
    let limits = Limits { write_deadline: SOON, ..Limits::default() };
    let router = Router::new().route("/count", get(count));
    let server = Running::start_with(WEBHOOK_SEND_BUFFER_BYTES, router, limits).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(2048).expect("it has little room");
    let mut stream = soon(socket.connect(server.address)).await.expect("a connection");
    let asks = "GET /count HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    soon(async { while stream.write_all(asks.as_bytes()).await.is_ok() {} }).await;
    let heard = heard.load(Ordering::Relaxed);
    assert!((1..500).contains(&heard), "{heard} requests were answered");
}

/// A stall that has passed is forgotten: the connection outlives the deadline that then ran.
#[tokio::test]
async fn a_caller_who_takes_a_long_answer_in_time_is_not_cut_later() {
    let long = Bytes::from(vec![b'x'; 16 * 1024 * 1024]);
    let router = echo().route("/long", get(move || async move { long }));
    let deadline = Duration::from_secs(2);
    let limits = Limits { write_deadline: deadline, ..Limits::default() };
    let server = Running::start(router, limits).await;
    let mut caller = server.connect().await;
    let reply = caller.ask("GET /long HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(reply.body.len(), 16 * 1024 * 1024);
    let taken = Instant::now();
    while taken.elapsed() < deadline + SOON {
        assert_eq!(caller.ask(HELLO).await.body, "hello");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_newcomer_takes_the_place_of_the_one_that_waited_longest() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let server = Running::start(echo(), limits).await;
    let mut oldest = server.connect().await;
    oldest.send("GET /hello HTTP/1.1\r\nHo").await;
    let mut second = server.connect().await;
    // It has been accepted when it is answered; the oldest was accepted before it.
    assert_eq!(second.ask(HELLO).await.body, "hello");
    let mut newcomer = server.connect().await;
    assert_eq!(newcomer.ask(HELLO).await.body, "hello");
    assert_eq!(oldest.rest().await, "");
    assert_eq!(second.ask(HELLO).await.body, "hello");
}

/// However long idle connections are kept: they hold no place that somebody needs.
#[tokio::test]
async fn idle_connections_make_room_for_newcomers() {
    let limits = Limits { connections: 3, ..Limits::default() };
    assert!(limits.idle_deadline > Duration::from_secs(600), "longer than any proxy's");
    let server = Running::start(echo(), limits).await;
    let mut idle = Vec::new();
    for _ in 0..3 {
        let mut caller = server.connect().await;
        assert_eq!(caller.ask(HELLO).await.body, "hello");
        idle.push(caller);
    }
    let mut newcomers = Vec::new();
    for oldest in &mut idle {
        let mut newcomer = server.connect().await;
        assert_eq!(newcomer.ask(HELLO).await.body, "hello");
        newcomers.push(newcomer);
        assert_eq!(oldest.rest().await, "");
    }
}

#[tokio::test]
async fn who_has_only_just_come_is_not_closed_for_another() {
    let limits =
        Limits { connections: 1, place_kept: Duration::from_secs(3600), ..Limits::default() };
    let server = Running::start(echo(), limits).await;
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    second.send(HELLO).await;
    // Time enough for it to be taken, were there a place.
    sleep(SOON).await;
    assert_eq!(first.ask(HELLO).await.body, "hello");
    drop(first);
    assert_eq!(second.reply().await.body, "hello");
}

#[tokio::test]
async fn a_request_at_work_keeps_its_place() {
    let (go, router) = waiting();
    let limits = Limits { connections: 1, ..Limits::default() };
    let server = Running::start(router, limits).await;
    let mut working = server.connect().await;
    working.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    soon(go.begun.notified()).await;
    let mut newcomer = server.connect().await;
    newcomer.send(HELLO).await;
    go.end.notify_one();
    assert_eq!(working.reply().await.body, "waited");
    assert_eq!(newcomer.reply().await.body, "hello");
}

#[derive(Default)]
struct Go {
    begun: Notify,
    end: Notify,
}

/// `/wait` tells that it has begun, and answers when it is told to.
fn waiting() -> (Arc<Go>, Router) {
    let go = Arc::new(Go::default());
    let handler = {
        let go = Arc::clone(&go);
        move || async move {
            go.begun.notify_one();
            go.end.notified().await;
            "waited"
        }
    };
    (go, echo().route("/wait", get(handler)))
}

#[tokio::test]
async fn a_stop_answers_what_has_begun_and_closes_the_rest() {
    let (go, router) = waiting();
    let server = Running::start(router, Limits::default()).await;
    let mut silent = server.connect().await;
    let mut idle = server.connect().await;
    assert_eq!(idle.ask(HELLO).await.body, "hello");
    let mut working = server.connect().await;
    working.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    soon(go.begun.notified()).await;

    server.stop.cancel();
    assert_eq!(idle.rest().await, "");
    assert_eq!(silent.rest().await, "");
    let refused = TcpStream::connect(server.address).await;
    assert!(refused.is_err(), "no one listens any more");
    assert!(!server.task.is_finished());
    go.end.notify_one();
    let reply = working.reply().await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "waited"));
    assert_eq!(reply.field("connection"), Some("close"));
    assert_eq!(working.rest().await, "");
    server.stopped().await;
}

#[tokio::test]
async fn a_stop_answers_what_is_on_its_way_and_says_that_it_is_the_last() {
    let (go, router) = waiting();
    let limits = Limits { farewell: PATIENCE, stop_deadline: PATIENCE, ..Limits::default() };
    let server = Running::start(router, limits).await;
    let mut silent = server.connect().await;
    let mut idle = server.connect().await;
    assert_eq!(idle.ask(HELLO).await.body, "hello");
    let mut working = server.connect().await;
    working.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    soon(go.begun.notified()).await;

    server.stop.cancel();
    // Once no one listens any more, all have been told.
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    for caller in [&mut silent, &mut idle] {
        caller.send(HELLO).await;
        let reply = caller.reply().await;
        assert_eq!((reply.status, reply.field("connection")), (200, Some("close")));
        assert_eq!(caller.rest().await, "");
    }
    go.end.notify_one();
    assert_eq!(working.reply().await.status, 200);
    server.stopped().await;
}

#[tokio::test]
async fn a_stop_answers_those_whom_the_system_has_let_in() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let mut caller = Caller { stream: TcpStream::connect(address).await.expect("a connection") };
    caller.send(HELLO).await;
    let stop = CancellationToken::new();
    stop.cancel();
    let task = tokio::spawn(serve(listener, echo(), Limits::default(), stop));
    let reply = caller.reply().await;
    assert_eq!((reply.status, reply.field("connection")), (200, Some("close")));
    soon(task).await.expect("the server does not panic");
}

#[tokio::test]
async fn a_stop_waits_only_so_long() {
    let (go, router) = waiting();
    let limits = Limits { stop_deadline: SOON, ..Limits::default() };
    let server = Running::start(router, limits).await;
    let mut working = server.connect().await;
    working.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    soon(go.begun.notified()).await;
    server.stopped().await;
    assert_eq!(working.rest().await, "");
}
