//! Slow clients of six kinds, more than there are places, come back whenever they are shut. The honest
//! one beside them must not feel it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use paidup::domain::signature::SigningSecret;
use paidup::http::{IDLE_SECONDS_MAX, client};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::Result;
use crate::events::{Events, SECRET};
use crate::form::Form;
use crate::process::{PATIENCE, Recipe};
use crate::report::Report;

const SHUT_SECONDS_MAX: f64 = 15.0;
const HONEST_P99_MAX: Duration = Duration::from_millis(50);
const MEMORY_MIB_MAX: u64 = 128;
const SLOW_READER_BUFFER_BYTES: u32 = 2048;
/// How often a slow client does the least that it does.
const DRIP: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    NoByte,
    SlowHead,
    SlowBody,
    SlowRead,
    ManyFields,
    KeptAlive,
}

const KINDS: [(Kind, &str); 6] = [
    (Kind::NoByte, "no byte"),
    (Kind::SlowHead, "a slow head"),
    (Kind::SlowBody, "a slow body"),
    (Kind::SlowRead, "a slow read"),
    (Kind::ManyFields, "many fields"),
    (Kind::KeptAlive, "kept alive for nothing"),
];

/// How long each was let be, by kind.
type Lives = Arc<Mutex<BTreeMap<Kind, Vec<Duration>>>>;

pub fn run(form: &Form) -> Result<Report> {
    form.run(async {
        let mut report = Report::default();
        let url = format!("sqlite://{}/clients.db", form.folder.display());
        let recipe = Recipe::new(form, "paidup", &url)?;
        let (mut paidup, _) = recipe.start().await?;
        let alone = honest(&recipe, "alone", Duration::from_secs(3)).await?;
        let lives = Lives::default();
        let mut slow = JoinSet::new();
        let clients = form.pick(300, 5000);
        for number in 0..clients {
            let (kind, _) = KINDS[number % KINDS.len()];
            slow.spawn(forever(kind, recipe.address, Arc::clone(&lives)));
        }
        let beside = honest(&recipe, "beside", Duration::from_secs(form.pick(25, 100))).await?;
        slow.shutdown().await;

        report.figure("slow clients at once", clients);
        for (name, times) in [("alone", &alone), ("beside them", &beside)] {
            report.figure(&format!("honest calls {name}"), times.len());
            report.milliseconds(&format!("honest p99 {name}"), percentile(times, 0.99));
        }
        let is_quick = !form.long || percentile(&beside, 0.99) < HONEST_P99_MAX;
        report.must("the honest client's p99 is below 50 ms", is_quick);
        let lives = lives.lock().map_err(|_| "a client panicked")?;
        for (kind, name) in KINDS {
            let seen = lives.get(&kind).cloned().unwrap_or_default();
            let longest = seen.iter().max().copied().unwrap_or_default();
            report.figure(&format!("{name}: times shut"), seen.len());
            report.milliseconds(&format!("{name}: the longest life"), longest);
            // A proxy's connection is kept for it while there is room.
            let most = if kind == Kind::KeptAlive {
                IDLE_SECONDS_MAX as f64 + 5.0
            } else {
                SHUT_SECONDS_MAX
            };
            let is_shut =
                longest <= Duration::from_secs_f64(most.max(form.seconds(most / 10.0 * 1.5)));
            report.must(&format!("{name}: shut in time"), is_shut);
            report
                .must(&format!("{name}: shut at all"), !seen.is_empty() || kind == Kind::KeptAlive);
        }
        report.figure("service memory at its most, MiB", paidup.peak_kib() / 1024);
        report.must("memory is bounded", paidup.peak_kib() / 1024 < MEMORY_MIB_MAX);
        report.must("it is the same paidup", paidup.has_ended()?.is_none());
        Ok(report)
    })
}

fn percentile(times: &[Duration], part: f64) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    let at = (sorted.len() as f64 * part) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// Posts events one after the other, each on a connection of its own; how long each took.
async fn honest(recipe: &Recipe, name: &'static str, lasts: Duration) -> Result<Vec<Duration>> {
    let secret = SigningSecret::new(SECRET)?;
    let (events, url) = (Events::new(name), format!("http://{}/webhook/stripe", recipe.address));
    let (begun, mut times, mut number) = (Instant::now(), Vec::new(), 0);
    while begun.elapsed() < lasts {
        let body = events.body(number);
        number += 1;
        let signature = secret.header(paidup::unix_seconds(), &body);
        let started = Instant::now();
        let answer =
            client::post(&url, &[("Stripe-Signature", &signature)], body, PATIENCE).await?;
        times.push(started.elapsed());
        if answer.status != 200 {
            return Err(format!("an honest call got {}: {}", answer.status, answer.body).into());
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok(times)
}

async fn forever(kind: Kind, address: SocketAddr, lives: Lives) {
    loop {
        let Ok(stream) = connect(kind, address).await else {
            sleep(DRIP).await;
            continue;
        };
        let started = Instant::now();
        live(kind, stream).await;
        if let Ok(mut lives) = lives.lock() {
            lives.entry(kind).or_default().push(started.elapsed());
        }
    }
}

/// Who never reads has little room for what comes, else it would take megabytes of answers first.
async fn connect(kind: Kind, address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if kind == Kind::SlowRead {
        socket.set_recv_buffer_size(SLOW_READER_BUFFER_BYTES)?;
    }
    socket.connect(address).await
}

/// Returns when the server has shut it.
async fn live(kind: Kind, mut stream: TcpStream) {
    let (first, drip): (&[u8], &[u8]) = match kind {
        Kind::NoByte => (b"", b""),
        Kind::SlowHead => (b"POST /webhook/stripe HTTP/1.1\r\nX: ", b"x"),
        Kind::SlowBody => (b"POST /webhook/stripe HTTP/1.1\r\nContent-Length: 15000\r\n\r\n", b"x"),
        Kind::SlowRead => (b"", b""),
        Kind::ManyFields => (b"POST /webhook/stripe HTTP/1.1\r\n", b"X: y\r\n"),
        Kind::KeptAlive => (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b""),
    };
    if kind == Kind::SlowRead {
        return never_read(stream).await;
    }
    if stream.write_all(first).await.is_err() {
        return;
    }
    let mut answer = [0; 4096];
    loop {
        match timeout(DRIP, stream.read(&mut answer)).await {
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(_)) => {}
            Err(_) if drip.is_empty() => {}
            Err(_) => {
                if stream.write_all(drip).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Asks and asks, and takes no answer: what it asks stops to be taken, and in the end it is reset.
async fn never_read(mut stream: TcpStream) {
    let asks = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    while stream.write_all(&asks).await.is_ok() {}
}
