//! Hostile HTTP over raw sockets against the real binary: heads, framings and bytes that no honest
//! caller sends. None is answered 2xx or 5xx, no panic is in the log, nothing behind a refused head is
//! read as a request, and after each of them the next honest caller is served.
//!
//! And the odd but authentic: each has the answer that the design gives it. Odd JSON is beside it.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::databases::{Database, on_both};
use crate::support::fixtures::{pi, secret};
use crate::support::service::{CALL_SECONDS_MAX, Service, told};

/// Answered 200 wherever it is read as a request.
const SMUGGLED: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
const POST: &str = "POST /webhook/stripe HTTP/1.1\r\nHost: x\r\n";
const HOSTILE_CASES_MIN: usize = 300;
/// What must never stand in a field's name.
const NO_TOKEN: &[u8] = b"\x01\x07\x0b\x0c\x1f\x7f\0 \t()<>@,;\\\"/[]?={}";

/// How long a case waits for a first answer before it closes its side: some are not whole, and get none.
const UNANSWERED: Duration = Duration::from_millis(100);
const ANSWERED: Duration = Duration::from_secs(CALL_SECONDS_MAX);

/// Sends it, waits so long for an answer to begin, closes our side, and takes all that comes back until
/// the server closes too.
async fn raw(service: &Service, bytes: &[u8], patience: Duration) -> String {
    let address = service.webhook.trim_start_matches("http://").split('/').next();
    let stream = TcpStream::connect(address.expect("an address")).await.expect("a connection");
    let (mut reader, mut writer) = stream.into_split();
    // It may close before it has read all: it owes nobody to.
    let sent = bytes.to_vec();
    let send = tokio::spawn(async move {
        let _ = writer.write_all(&sent).await;
        writer
    });
    let mut reply = Vec::new();
    let begin = async {
        // To be told to go on is no answer yet.
        while reply.is_empty() || reply == b"HTTP/1.1 100 Continue\r\n\r\n" {
            if !matches!(reader.read_buf(&mut reply).await, Ok(bytes) if bytes > 0) {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(patience, begin).await;
    let rest = async {
        let _ = send.await.expect("no panic").shutdown().await;
        let _ = reader.read_to_end(&mut reply).await;
    };
    tokio::time::timeout(ANSWERED, rest).await.expect("it ends");
    String::from_utf8_lossy(&reply).into_owned()
}

/// Of every answer, whichever version it is of.
fn statuses(reply: &str) -> Vec<u16> {
    let answers = reply.split("HTTP/1.").skip(1);
    answers.filter_map(|rest| rest.get(2..5)?.parse().ok()).collect()
}

/// A case by its name: the bytes, and whether a request is smuggled behind them.
struct Cases(Vec<(String, Vec<u8>)>);

impl Cases {
    fn add(&mut self, name: &str, bytes: impl AsRef<[u8]>) {
        self.0.push((name.to_owned(), bytes.as_ref().to_vec()));
    }

    /// Nothing that stands behind such a head may be read as a request.
    fn smuggle(&mut self, name: &str, head: impl AsRef<[u8]>) {
        self.add(name, [head.as_ref(), SMUGGLED.as_bytes()].concat());
    }
}

fn framings(cases: &mut Cases) {
    for coding in [
        "chunked",
        "CHUNKED",
        "\tchunked",
        "chunked\t",
        "xchunked",
        "chunked, identity",
        "identity",
        "gzip",
        "gzip, chunked",
        "chunked, chunked",
        ", chunked",
        "chunked,",
        "chunked;q=1",
        "\"chunked\"",
        "",
        "chunked\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: identity",
        "identity\r\nTransfer-Encoding: chunked",
    ] {
        for version in ["1.0", "1.1"] {
            for (length, place) in [("4", 0), ("4", 1), ("0", 0), ("9999", 1), ("x", 1), ("", 2)] {
                let field = format!("Content-Length: {length}\r\n");
                let [before, behind] = [0, 1].map(|at| if place == at { &field[..] } else { "" });
                let head = format!(
                    "POST /webhook/stripe HTTP/{version}\r\n{before}Transfer-Encoding: {coding}\r\n{behind}\r\n0\r\n\r\n"
                );
                cases.smuggle(&format!("{version} {coding:?} length {length:?} at {place}"), head);
            }
        }
    }
    for field in [
        "Transfer-Encoding : chunked",
        " Transfer-Encoding: chunked",
        "X: y\r\n Transfer-Encoding: chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding:\n\tchunked",
        "Transfer-Encoding\0: chunked",
        "Transfer\u{ad}-Encoding: chunked",
        "Transfer-Encoding: chunked\0",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding",
    ] {
        cases.smuggle(field, format!("{POST}{field}\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"));
    }
}

fn lengths(cases: &mut Cases) {
    for length in [
        "-1",
        "+4",
        "4, 5",
        "4,4",
        "0x4",
        "4x",
        "4 4",
        "4;",
        "4.0",
        "1e1",
        "",
        "½",
        "٤",
        "4\0",
        "\u{b}4",
        "1048577",
        "4294967296",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999999",
    ] {
        for fields in [
            format!("Content-Length: {length}"),
            format!("Content-Length: 4\r\nContent-Length: {length}"),
            format!("Content-Length: {length}\r\nContent-Length: 4"),
            format!("Content-Length: 4\r\n {length}"),
        ] {
            cases.smuggle(&fields, format!("{POST}{fields}\r\n\r\n{{}}\r\n"));
        }
    }
    cases.smuggle("a POST without a length", format!("{POST}\r\n"));
    cases.add("a body that ends early", format!("{POST}Content-Length: 100\r\n\r\n{{}}"));
}

fn chunks(cases: &mut Cases) {
    for body in [
        "",
        "\r\n",
        "x",
        "-1\r\n",
        "+1\r\na\r\n",
        "0x1\r\na\r\n",
        " 1\r\na\r\n",
        "1 1\r\na\r\n",
        "1\na\r\n",
        "1\ra\r\n",
        "1\r\na",
        "1\r\nab\r\n",
        "1\r\na\n",
        "1\r\na\r\n",
        "1;\n\r\na\r\n",
        "1;a=\"\n\r\na\r\n",
        "ffffffffffffffff\r\na",
        "10000000000000000\r\na",
        "100001\r\na",
        "7fffffff\r\na",
        "½\r\na\r\n",
        "0\r\nContent-Length: 4\r\n\r\n",
        "0\r\n: x\r\n\r\n",
        "0\r\nbad trailer\r\n\r\n",
        "0\n\n",
        "00000000000000000\r\n\r\n",
        "0;a\r\n\r\n",
        "0\r\n\r\n",
        "1\r\na\r\n0\r\n\r\n",
        "0\r\nStripe-Signature: t=1,v1=00\r\n\r\n",
    ] {
        let head = format!("{POST}Transfer-Encoding: chunked\r\n\r\n{body}");
        cases.smuggle(&format!("chunks {body:?}"), head);
    }
    let head = format!("{POST}Transfer-Encoding: chunked\r\n\r\n");
    cases.smuggle("a long extension", format!("{head}1;{}\r\na\r\n0\r\n\r\n", "x".repeat(20_000)));
    let trailers = "X: y\r\n".repeat(5000);
    cases.smuggle("a flood of trailers", format!("{head}0\r\n{trailers}\r\n"));
    cases.smuggle("many tiny chunks", format!("{head}{}0\r\n\r\n", "1\r\na\r\n".repeat(50_000)));
    let large = format!("180000\r\n{}\r\n0\r\n\r\n", "x".repeat(0x18_0000));
    cases.smuggle("a large chunk", format!("{head}{large}"));
}

fn request_lines(cases: &mut Cases) {
    for line in [
        "",
        " ",
        "\0",
        "GET",
        "GET ",
        "GET /",
        "GET /healthz",
        "GET  /healthz HTTP/1.1",
        "GET\t/healthz\tHTTP/1.1",
        " GET /healthz HTTP/1.1",
        "GET /healthz HTTP/1.1 x",
        "GET /healthz HTTP/0.9",
        "GET /healthz HTTP/1.2",
        "GET /healthz HTTP/2.0",
        "GET /healthz HTTP/3",
        "GET /healthz http/1.1",
        "GET /healthz HTTP/1.1\0",
        "GET /healthz\0 HTTP/1.1",
        "GET /health\tz HTTP/1.1",
        "GET healthz HTTP/1.1",
        "G\0ET /healthz HTTP/1.1",
        "G(T /healthz HTTP/1.1",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n",
        "GET * HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "CONNECT x:80 HTTP/1.1",
        "CONNECT /webhook/stripe HTTP/1.1",
        "TRACE /webhook/stripe HTTP/1.1",
        "GET http:// HTTP/1.1",
        "GET http://[ HTTP/1.1",
        "GET ://x HTTP/1.1",
        "GET http://x:99999999/ HTTP/1.1",
        "GET /webhook/stripe HTTP/1.1",
        "HEAD /webhook/stripe HTTP/1.1",
        "OPTIONS /webhook/stripe HTTP/1.1",
        "PUT /webhook/stripe HTTP/1.1",
        "PATCH /webhook/stripe HTTP/1.1",
        "DELETE /webhook/stripe HTTP/1.1",
        "post /webhook/stripe HTTP/1.1",
        "POST /webhook/stripe/ HTTP/1.1",
        "POST //webhook/stripe HTTP/1.1",
        "POST /webhook/../webhook/stripe HTTP/1.1",
        "POST /webhook%2fstripe HTTP/1.1",
        "POST /webhook/stripe%00 HTTP/1.1",
        "POST /WEBHOOK/STRIPE HTTP/1.1",
        "POST /webhook/stripe;x HTTP/1.1",
        "POST /%ff%fe HTTP/1.1",
        "POST /\u{fc} HTTP/1.1",
        "POST http://elsewhere/webhook/stripe HTTP/1.1",
        "POST https://u:p@x/webhook/stripe HTTP/1.1",
        "POST /webhook/stripe?x#y HTTP/1.1",
        "GET /metrics HTTP/1.1",
        "GET /api/v1/orders HTTP/1.1",
        "GET /api/openapi.json HTTP/1.1",
    ] {
        let text = format!("{line}\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        cases.add(&format!("line {line:?}"), text);
    }
    for (name, line) in [
        ("a long target", format!("GET /{} HTTP/1.1", "x".repeat(15_000))),
        ("a target of 70,000", format!("GET /{} HTTP/1.1", "x".repeat(70_000))),
        ("a long method", format!("{} / HTTP/1.1", "X".repeat(10_000))),
        ("a method without end", "X".repeat(1_000_000)),
        ("a flood of empty lines", "\r\n".repeat(100_000)),
    ] {
        cases.add(name, format!("{line}\r\nConnection: close\r\n\r\n"));
    }
}

fn fields(cases: &mut Cases) {
    for byte in (0..0x20_u8).chain([0x7f]).filter(|byte| *byte != b'\t') {
        let text = [
            POST.as_bytes(),
            b"X: a",
            &[byte],
            b"b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        ];
        cases.add(&format!("{byte:#04x} in a value"), text.concat());
    }
    for byte in NO_TOKEN {
        let text = [POST.as_bytes(), b"X", &[*byte], b"Y: z\r\nContent-Length: 0\r\n\r\n"];
        cases.add(&format!("{byte:#04x} in a name"), text.concat());
    }
    for (name, fields) in [
        ("no colon", "X\r\n".to_owned()),
        ("no name", ": x\r\n".to_owned()),
        ("folded", "X: y\r\n z\r\n".to_owned()),
        ("65 fields", "X: y\r\n".repeat(65)),
        ("a flood of fields", "X: y\r\n".repeat(100_000)),
        ("a value of 17 KiB", format!("X: {}\r\n", "x".repeat(17 * 1024))),
        ("a value of a MiB", format!("X: {}\r\n", "x".repeat(1024 * 1024))),
        ("a name of 17 KiB", format!("{}: x\r\n", "x".repeat(17 * 1024))),
        ("carriage returns alone", "X: y\rZ: a\r".to_owned()),
        ("two hosts", "Host: a\r\nHost: b\r\n".to_owned()),
        (
            "an upgrade",
            "Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\n".to_owned(),
        ),
        ("an expectation that nobody meets", "Expect: 200-ok\r\n".to_owned()),
        ("another method by a field", "X-HTTP-Method-Override: GET\r\n".to_owned()),
    ] {
        let text = format!("{POST}{fields}Connection: close\r\nContent-Length: 0\r\n\r\n");
        cases.add(name, text);
    }
}

/// Whole and well framed, but for the proof.
fn signatures(cases: &mut Cases, body: &[u8], now: i64) {
    let good = secret().header(now, body);
    let v1 = good.split_once("v1=").expect("it has one").1;
    let bytes = |text: &str| text.as_bytes().to_vec();
    let mut headers: Vec<(String, Vec<u8>)> = [
        "",
        ",",
        "=",
        "t",
        "t=",
        "v1=",
        "t=,v1=",
        "t=1",
        "v1=00",
        "t=x,v1=00",
        "t=1,v1=00",
        "t=1;v1=00",
    ]
    .into_iter()
    .map(|text| (text.to_owned(), bytes(text)))
    .collect();
    for (name, header) in [
        ("too old", secret().header(now - 310, body)),
        ("too new", secret().header(now + 3_600, body)),
        ("another body", secret().header(now, b"{}")),
        ("two times", format!("{good},t={now}")),
        ("another scheme", good.replace("v1=", "v0=")),
        ("upper case", good.replace(v1, &v1.to_uppercase())),
        ("cut", good[..good.len() - 1].to_owned()),
        ("one digit more", format!("{good}0")),
        ("17 items", format!("{good}{}", ",v1=00".repeat(16))),
        ("5,000 bytes", format!("{good},x={}", "x".repeat(5000))),
        ("quoted", format!("\"{good}\"")),
        ("twice", format!("{good}\r\nStripe-Signature: {good}")),
        ("twice, in another case", format!("{good}\r\nstripe-signature: {good}")),
        ("folded", good.replace(",v1", ",\r\n v1")),
    ] {
        headers.push((name.to_owned(), bytes(&header)));
    }
    headers.push(("not text".to_owned(), [good.as_bytes(), b",x=\xff"].concat()));
    for (name, header) in headers {
        let rest = format!("\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        let text = [POST.as_bytes(), b"Stripe-Signature: ", &header, rest.as_bytes(), body];
        cases.add(&format!("signature {name}"), text.concat());
    }
}

fn noise(cases: &mut Cases) {
    cases.add("a TLS hello", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".repeat(20));
    cases.add("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    cases.add("SSH", "SSH-2.0-OpenSSH_9.6\r\n");
    cases.add("SMTP", "EHLO x\r\nMAIL FROM:<a@b.c>\r\n");
    cases.add("Redis", "*1\r\n$4\r\nPING\r\n");
    cases.add("Postgres", b"\0\0\0\x08\x04\xd2\x16\x2f");
    cases.add("a proxy's line", format!("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n{SMUGGLED}"));
    cases.add("nothing", "");
    cases.add("a MiB of zeros", vec![0; 1024 * 1024]);
    cases.add("a MiB of 0xff", vec![0xff; 1024 * 1024]);
    let refused = format!("{POST}Content-Length: 2\r\n\r\n{{}}");
    cases.add("pipelined 1,000 times", refused.repeat(1000));
    cases.add("pipelined with noise behind", format!("{refused}{refused}noise\r\n\r\n{SMUGGLED}"));
    let deep = "[".repeat(1024 * 1024);
    cases.add("a deep body", format!("{POST}Content-Length: {}\r\n\r\n{deep}", deep.len()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_hostile_is_taken_or_does_harm() {
    let database = Database::sqlite().await;
    let service = Service::start(&database, &[]);
    let honest = pi("pi_1").order("O1").event("payment_intent.succeeded").body();
    assert_eq!(told(&service.post(&honest).await), (200, "applied".to_owned()));
    let mut cases = Cases(Vec::new());
    framings(&mut cases);
    lengths(&mut cases);
    chunks(&mut cases);
    request_lines(&mut cases);
    fields(&mut cases);
    signatures(&mut cases, &honest, paidup::unix_seconds());
    noise(&mut cases);
    let Cases(cases) = cases;
    assert!(cases.len() >= HOSTILE_CASES_MIN, "only {}", cases.len());

    let mut wrong = String::new();
    for (name, bytes) in &cases {
        let reply = raw(&service, bytes, UNANSWERED).await;
        let statuses = statuses(&reply);
        if statuses.iter().any(|status| !(400..500).contains(status)) {
            let _ = writeln!(wrong, "{name}: {statuses:?}");
        }
        let next = service.post(&honest).await;
        assert_eq!(told(&next), (200, "duplicate".to_owned()), "after {name}");
    }
    println!("{} hostile cases", cases.len());
    assert!(wrong.is_empty(), "of {}:\n{wrong}", cases.len());
    let (status, log) = service.stopped().await;
    assert!(status.success() && !log.contains("panic"), "{status}\n{log}");
    assert_eq!(database.one("select cast(count(*) as text) from events").await, "1");
    database.remove().await;
}

/// Stripe's own call, bent on its way by what stands in between, or by whoever has the secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_authentic_and_odd_http_has_the_answer_of_the_design() {
    let database = Database::sqlite().await;
    let service = Service::start(&database, &[]);
    let body = pi("pi_1").order("O1").event("payment_intent.succeeded").body();
    let body = String::from_utf8(body).expect("text");
    assert_eq!(told(&service.post(body.as_bytes()).await), (200, "applied".to_owned()));
    let signature =
        format!("Stripe-Signature: {}", secret().header(paidup::unix_seconds(), body.as_bytes()));
    let length = format!("Content-Length: {}", body.len());
    let chunked = "Transfer-Encoding: chunked";
    let chunks: String = body.chars().map(|char| format!("1\r\n{char}\r\n")).collect();
    let whole = format!("{:X}\r\n{body}\r\n0\r\n", body.len());
    let line = "POST /webhook/stripe HTTP/1.1";
    let trailer = format!("{:x}\r\n{body}\r\n0\r\n{signature}\r\n", body.len());
    for (name, line, fields, sent, expected) in [
        ("as Stripe sends it", line, vec![&signature[..], &length], &body, &[200][..]),
        (
            "with fields in lower case",
            line,
            vec![&signature.to_lowercase(), &length.to_lowercase()],
            &body,
            &[200],
        ),
        ("with two hosts", line, vec!["Host: a", "Host: b", &signature, &length], &body, &[200]),
        (
            "of the first version",
            "POST /webhook/stripe HTTP/1.0",
            vec![&signature, &length],
            &body,
            &[200],
        ),
        (
            "with an absolute target",
            "POST http://x.example/webhook/stripe HTTP/1.1",
            vec![&signature, &length],
            &body,
            &[200],
        ),
        (
            "with a query",
            "POST /webhook/stripe?a=b HTTP/1.1",
            vec![&signature, &length],
            &body,
            &[200],
        ),
        (
            "with empty lines before it",
            &format!("\r\n\r\n{line}"),
            vec![&signature, &length],
            &body,
            &[200],
        ),
        (
            "with another type",
            line,
            vec!["Content-Type: text/plain; charset=utf-16", &signature, &length],
            &body,
            &[200],
        ),
        (
            "with a coding of the content",
            line,
            vec!["Content-Encoding: gzip", &signature, &length],
            &body,
            &[200],
        ),
        ("with the length twice", line, vec![&signature, &length, &length], &body, &[200]),
        (
            "with zeros before the length",
            line,
            vec![&signature, &length.replace(": ", ": 000")],
            &body,
            &[200],
        ),
        (
            "waiting to be asked for the body",
            line,
            vec!["Expect: 100-continue", &signature, &length],
            &body,
            &[200],
        ),
        ("in one chunk", line, vec![&signature, chunked], &format!("{whole}\r\n"), &[200]),
        (
            "in chunks of a byte",
            line,
            vec![&signature, chunked],
            &format!("{chunks}0\r\n\r\n"),
            &[200],
        ),
        ("with trailers", line, vec![&signature, chunked], &format!("{whole}X: y\r\n\r\n"), &[200]),
        ("with the signature in a trailer", line, vec![chunked], &format!("{trailer}\r\n"), &[400]),
        (
            "with a request behind the chunks",
            line,
            vec![&signature, chunked],
            &format!("{whole}\r\n{SMUGGLED}"),
            &[200],
        ),
        (
            "with a length and chunks",
            line,
            vec![&signature, &length, chunked],
            &format!("{whole}\r\n"),
            &[411],
        ),
        (
            "with chunks and a length",
            line,
            vec![chunked, &length, &signature],
            &format!("{whole}\r\n"),
            &[411],
        ),
        ("with chunks that do not end", line, vec![&signature, chunked], &whole, &[400]),
        ("with no length", line, vec![&signature], &body, &[411]),
        ("cut", line, vec![&signature, &length], &body[1..].to_owned(), &[400]),
        (
            "with a byte changed",
            line,
            vec![&signature, &length],
            &body.replacen("O1", "O2", 1),
            &[400],
        ),
        (
            "with noise behind it",
            line,
            vec![&signature, &length],
            &format!("{body}\0\0"),
            &[200, 400],
        ),
        ("with the signature twice", line, vec![&signature, &signature, &length], &body, &[400]),
        ("with a folded field", line, vec!["X: y\r\n z", &signature, &length], &body, &[400]),
        ("to another path", "POST /webhook HTTP/1.1", vec![&signature, &length], &body, &[404]),
        (
            "with another method",
            "PUT /webhook/stripe HTTP/1.1",
            vec![&signature, &length],
            &body,
            &[405],
        ),
    ] {
        for end in ["\r\n", "\n"] {
            let head: String = fields.iter().map(|field| format!("{field}{end}")).collect();
            let is_whole = !["cut", "with chunks that do not end"].contains(&name);
            let text = format!("{line}{end}{head}{end}{sent}");
            let patience = if is_whole { ANSWERED } else { UNANSWERED };
            let reply = raw(&service, text.as_bytes(), patience).await;
            let answers: Vec<u16> =
                statuses(&reply).into_iter().filter(|status| *status != 100).collect();
            assert_eq!(answers, expected, "{name}, {end:?}\n{reply}");
        }
    }
    let (status, log) = service.stopped().await;
    assert!(status.success() && !log.contains("panic"), "{status}\n{log}");
    database.remove().await;
}

/// Authentic bodies: not JSON, JSON but no event, or an event with something odd where it matters and
/// where it does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_authentic_and_odd_json_has_the_answer_of_the_design() {
    on_both(async |database| {
        let service = Service::start(database, &[]);
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let digits = "9".repeat(100_000);
        let deepest = deep(400_000);
        let long_order = format!("\"order_id\":\"{}\"", "x".repeat(501));
        let many = format!("\"x\":[{}0],\"id\":\"pi_", "0,".repeat(100_000));
        for (number, (name, from, to, status, outcome)) in [
            ("nothing odd", "", "", 200, "applied"),
            (
                "a list of metadata",
                "\"metadata\":{\"note\":\"of the shop\",\"order_id\":\"O\"}",
                "\"metadata\":[]",
                200,
                "parked",
            ),
            (
                "metadata of null",
                "\"metadata\":{\"note\":\"of the shop\",\"order_id\":\"O\"}",
                "\"metadata\":null",
                200,
                "parked",
            ),
            (
                "metadata of text",
                "\"metadata\":{\"note\":\"of the shop\",\"order_id\":\"O\"}",
                "\"metadata\":\"x\"",
                200,
                "parked",
            ),
            ("an order id of 501 bytes", "\"order_id\":\"O\"", &long_order, 200, "ignored"),
            ("an empty order id", "\"order_id\":\"O\"", "\"order_id\":\"\"", 200, "ignored"),
            (
                "an order id with NUL",
                "\"order_id\":\"O\"",
                "\"order_id\":\"O\\u0000\"",
                200,
                "ignored",
            ),
            (
                "an order id of a bell",
                "\"order_id\":\"O\"",
                "\"order_id\":\"O\\u0007\"",
                200,
                "ignored",
            ),
            (
                "an order id of right-to-left marks",
                "\"order_id\":\"O\"",
                "\"order_id\":\"O\\u202e1\"",
                200,
                "applied",
            ),
            (
                "half a surrogate in an order id",
                "\"order_id\":\"O\"",
                "\"order_id\":\"\\ud800\"",
                200,
                "ignored",
            ),
            (
                "half a surrogate where nobody looks",
                "of the shop",
                "of \\udc00 the shop",
                200,
                "applied",
            ),
            (
                "a number beyond any type where an object may stand",
                "\"last_payment_error\":null",
                "\"last_payment_error\":1e400",
                200,
                "applied",
            ),
            (
                "a NUL where nobody looks",
                "\"id\":\"pi_",
                "\"x\":\"\\u0000\",\"id\":\"pi_",
                200,
                "applied",
            ),
            (
                "an amount beyond an integer",
                "\"amount_received\":29900",
                "\"amount_received\":1e400",
                200,
                "ignored",
            ),
            (
                "an amount of 100,000 digits",
                "\"amount_received\":29900",
                &format!("\"amount_received\":{digits}"),
                200,
                "ignored",
            ),
            (
                "an amount below zero",
                "\"amount_received\":29900",
                "\"amount_received\":-1",
                200,
                "ignored",
            ),
            (
                "an amount in text",
                "\"amount_received\":29900",
                "\"amount_received\":\"29900\"",
                200,
                "ignored",
            ),
            (
                "an amount of a fraction",
                "\"amount_received\":29900",
                "\"amount_received\":0.5",
                200,
                "ignored",
            ),
            (
                "a huge number where nobody looks",
                "\"id\":\"pi_",
                &format!("\"x\":{digits},\"id\":\"pi_"),
                200,
                "applied",
            ),
            ("a huge time", "\"created\":1000", "\"created\":1e300", 200, "applied"),
            ("a time of null", "\"created\":1000", "\"created\":null", 200, "applied"),
            (
                "400,000 lists deep",
                "\"id\":\"pi_",
                &format!("\"x\":{deepest},\"id\":\"pi_"),
                200,
                "applied",
            ),
            ("100,000 numbers", "\"id\":\"pi_", &many, 200, "applied"),
            ("a key twice", "\"id\":\"pi_", "\"id\":7,\"id\":\"pi_", 200, "applied"),
            ("an object of null", "\"object\":{", "\"object\":null,\"x\":{", 200, "ignored"),
            (
                "no closing bracket",
                "\"type\":\"payment_intent.succeeded\"}",
                "\"type\":\"payment_intent.succeeded\"",
                400,
                "not_an_event",
            ),
            (
                "two values",
                "\"type\":\"payment_intent.succeeded\"}",
                "\"type\":\"payment_intent.succeeded\"}{}",
                400,
                "not_an_event",
            ),
            ("a comment", "\"id\":\"pi_", "/* x */\"id\":\"pi_", 400, "not_an_event"),
            ("single quotes", "\"livemode\"", "'livemode'", 400, "not_an_event"),
            ("NaN", "\"created\":1000", "\"created\":NaN", 400, "not_an_event"),
            ("hexadecimal", "\"created\":1000", "\"created\":0x10", 400, "not_an_event"),
            (
                "a zero before a number",
                "\"created\":1000",
                "\"created\":01000",
                400,
                "not_an_event",
            ),
            ("a raw line end in text", "of the shop", "of the\nshop", 400, "not_an_event"),
            ("an unknown escape", "of the shop", "of\\x20the shop", 400, "not_an_event"),
            (
                "an event id of null",
                "\"id\":\"evt_",
                "\"id\":null,\"x\":\"evt_",
                400,
                "not_an_event",
            ),
            (
                "a type of a list",
                "\"type\":\"payment_intent.succeeded\"",
                "\"type\":[]",
                400,
                "not_an_event",
            ),
            (
                "an unknown type",
                "\"type\":\"payment_intent.succeeded\"",
                "\"type\":\"toString\"",
                200,
                "ignored",
            ),
        ]
        .into_iter()
        .enumerate()
        {
            let object = pi(&format!("pi_{number}")).order("O");
            let event = object.event("payment_intent.succeeded").id(&format!("evt_{number}"));
            let text = String::from_utf8(event.body()).expect("text");
            assert!(text.contains(from), "{name}: {from} is not in {text}");
            let answer = service.post(text.replacen(from, to, 1).as_bytes()).await;
            assert_eq!(told(&answer), (status, outcome.to_owned()), "{name}");
        }
        for (name, body) in [
            ("bytes that are no text", &b"{\"id\":\"evt_x\",\"type\":\"a.b\",\"x\":\"\xff\"}"[..]),
            ("an overlong slash", b"{\"id\":\"evt_x\",\"type\":\"a.b\",\"x\":\"\xc0\xaf\"}"),
            ("a surrogate in UTF-8", b"{\"id\":\"evt_x\",\"type\":\"a.b\",\"x\":\"\xed\xa0\x80\"}"),
            ("a byte order mark", b"\xef\xbb\xbf{\"id\":\"evt_x\",\"type\":\"a.b\"}"),
            ("UTF-16", b"{\0\"\0i\0d\0"),
            ("a form", b"payload=%7B%7D"),
        ] {
            assert_eq!(told(&service.post(body).await), (400, "not_an_event".to_owned()), "{name}");
        }
        let (status, log) = service.stopped().await;
        assert!(status.success() && !log.contains("panic"), "{status}\n{log}");
    })
    .await;
}
