//! Slow clients of six kinds, thousands at once, who come back whenever they are shut. The honest one
//! beside them must not feel it. Then paidup has fewer files than it gets connections.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
use crate::process::{PATIENCE, Paidup, Recipe, need_files};
use crate::report::{Report, percentile};

const SHUT_SECONDS_MAX: f64 = 15.0;
/// The same for the short form, which ends before ten times as long would be over.
const SHUT_SECONDS_MAX_SHORT: f64 = 25.0;
const HONEST_P99_MAX: Duration = Duration::from_millis(50);
const MEMORY_MIB_MAX: u64 = 192;
const SLOW_READER_BUFFER_BYTES: u32 = 2048;
/// How often a slow client does the least that it does.
const DRIP: Duration = Duration::from_millis(500);
/// So few files paidup may have open in the second part, and so many come for them.
const FEW_FILES: u32 = 600;
const CROWD: usize = 600;
/// Its signature looks like one, else it would be refused before the body.
const SLOW_BODY: &str = "POST /webhook/stripe HTTP/1.1\r\nContent-Length: 15000\r\n\
    Stripe-Signature: t=1,v1=0000000000000000000000000000000000000000000000000000000000000000\r\n\r\n";
const NO_PLACE: &str = "paidup_refusals_total{reason=\"connections_too_many\"}";

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

pub fn run(form: &Form) -> Result<Report> {
    form.run(async {
        let mut report = Report::default();
        let clients = form.pick(300, 5000);
        need_files(clients * 2 + 1000)?;
        among_slow_ones(form, &mut report, clients).await?;
        in_a_crowd(form, &mut report).await?;
        Ok(report)
    })
}

/// As many as there are places for, and an honest one.
async fn among_slow_ones(form: &Form, report: &mut Report, clients: usize) -> Result<()> {
    let url = format!("sqlite://{}/clients.db", form.folder.display());
    let recipe = Recipe::new(form, "clients", &url)?;
    let (mut paidup, _) = recipe.start().await?;
    let alone = honest(&recipe, "alone", Duration::from_secs(form.pick(3, 10))).await?;
    let (lives, slow) = let_loose(&recipe, clients);
    let beside = honest(&recipe, "beside", Duration::from_secs(form.pick(35, 100)));
    let (beside, open) = with_most_open(&paidup, beside).await;
    let beside = beside?;
    let lives = lives.all();
    drop(slow);

    report.figure("slow clients at once", clients);
    report.figure("connections open at once, at most", open);
    report.must("nearly all of them were open at once", open > clients as f64 * 0.9);
    for (name, times) in [("alone", &alone), ("beside them", &beside)] {
        report.figure(&format!("honest calls {name}"), times.len());
        report.milliseconds(&format!("honest p50 {name}"), percentile(times, 50));
        report.milliseconds(&format!("honest p99 {name}"), percentile(times, 99));
        report.milliseconds(&format!("honest slowest {name}"), percentile(times, 100));
    }
    let is_quick = !form.long || percentile(&beside, 99) < HONEST_P99_MAX;
    report.must("the honest client's p99 is below 50 ms", is_quick);
    for (kind, name) in KINDS {
        let Life { shut, longest } = lives.get(&kind).copied().unwrap_or_default();
        report.figure(&format!("{name}: times shut"), shut);
        report.milliseconds(&format!("{name}: the longest life"), longest);
        // A proxy's connection is kept for it while there is room, longer than this lasts.
        let (most, lasts_long) = if kind == Kind::KeptAlive {
            (IDLE_SECONDS_MAX as f64 + 5.0, true)
        } else {
            (form.pick(SHUT_SECONDS_MAX_SHORT, SHUT_SECONDS_MAX), false)
        };
        report.must(&format!("{name}: shut in time"), longest.as_secs_f64() <= most);
        report.must(&format!("{name}: shut at all"), shut > 0 || lasts_long);
    }
    let peak = paidup.peak_kib() / 1024;
    report.figure("service memory at its most, MiB", peak);
    report.must("memory is bounded", peak < MEMORY_MIB_MAX);
    report.must("it is the same paidup", paidup.has_ended()?.is_none());
    Ok(())
}

/// More than the system has files for. Whoever waited longest makes room; the database has its own.
async fn in_a_crowd(form: &Form, report: &mut Report) -> Result<()> {
    report.section("crowd");
    let url = format!("sqlite://{}/crowd.db", form.folder.display());
    let recipe = Recipe::new(form, "crowd", &url)?.with_files(FEW_FILES);
    let (mut paidup, _) = recipe.start().await?;
    let (lives, slow) = let_loose(&recipe, CROWD);
    let beside = honest(&recipe, "crowd", Duration::from_secs(form.pick(10, 30)));
    let (beside, open) = with_most_open(&paidup, beside).await;
    let beside = beside?;
    let without_place = paidup.metric(NO_PLACE).await?;
    let lives = lives.all();
    drop(slow);
    report.figure("slow clients at once", CROWD);
    report.figure("files that paidup may have open", FEW_FILES);
    report.figure("connections open at once, at most", open);
    report.figure("closed for another's sake", without_place);
    report.figure("honest calls", beside.len());
    report.milliseconds("honest p99", percentile(&beside, 99));
    let kept = lives.get(&Kind::KeptAlive).copied().unwrap_or_default();
    report.milliseconds("kept alive for nothing: the longest life", kept.longest);
    report.must("some were closed for another's sake", without_place > 0.0);
    report.must("files are left for the database", open < f64::from(FEW_FILES - 200));
    let log = recipe.log();
    report.must("the log says that there are few files", log.contains("ulimit -n"));
    report.must("it never ran out of them", !log.contains("could not be accepted"));
    report.must("it is the same paidup", paidup.has_ended()?.is_none());
    Ok(())
}

/// Runs this; and the most connections that paidup had open meanwhile.
async fn with_most_open<T>(paidup: &Paidup, work: impl Future<Output = T>) -> (T, f64) {
    let most = Mutex::new(0.0_f64);
    let look = async {
        loop {
            sleep(DRIP).await;
            if let Ok(open) = paidup.metric("paidup_connections").await {
                let mut most = most.lock().unwrap_or_else(PoisonError::into_inner);
                *most = most.max(open);
            }
        }
    };
    let done = tokio::select! {
        done = work => done,
        never = look => never,
    };
    let most = most.into_inner().unwrap_or_else(PoisonError::into_inner);
    (done, most)
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

/// How often a kind was shut, and how long the longest of them was let be.
#[derive(Default, Clone, Copy)]
struct Life {
    shut: usize,
    longest: Duration,
}

/// How long each was let be.
#[derive(Clone, Default)]
struct Lives(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    ended: BTreeMap<Kind, Life>,
    open: HashMap<usize, (Kind, Instant)>,
}

impl Lives {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Also of those who are there still.
    fn all(&self) -> BTreeMap<Kind, Life> {
        let book = self.book();
        let mut lives = book.ended.clone();
        for (kind, since) in book.open.values() {
            let life = lives.entry(*kind).or_default();
            life.longest = life.longest.max(since.elapsed());
        }
        lives
    }

    fn begin(&self, number: usize, kind: Kind) {
        self.book().open.insert(number, (kind, Instant::now()));
    }

    fn end(&self, number: usize) {
        let mut book = self.book();
        let Some((kind, since)) = book.open.remove(&number) else { return };
        let life = book.ended.entry(kind).or_default();
        life.shut += 1;
        life.longest = life.longest.max(since.elapsed());
    }
}

/// Starts so many slow clients, of all kinds by turns. They end when the second value is dropped.
fn let_loose(recipe: &Recipe, clients: usize) -> (Lives, JoinSet<()>) {
    let lives = Lives::default();
    let mut slow = JoinSet::new();
    for (number, (kind, _)) in (0..clients).zip(KINDS.into_iter().cycle()) {
        slow.spawn(forever(number, kind, recipe.address, lives.clone()));
    }
    (lives, slow)
}

async fn forever(number: usize, kind: Kind, address: SocketAddr, lives: Lives) {
    loop {
        let Ok(stream) = connect(kind, address).await else {
            sleep(DRIP).await;
            continue;
        };
        lives.begin(number, kind);
        live(kind, stream).await;
        lives.end(number);
    }
}

/// Who reads slowly has little room for what comes, else its system would take all of it.
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
        Kind::SlowBody => (SLOW_BODY.as_bytes(), b"x"),
        Kind::SlowRead => return read_slowly(stream).await,
        Kind::ManyFields => (b"POST /webhook/stripe HTTP/1.1\r\n", b"X: y\r\n"),
        Kind::KeptAlive => (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b""),
    };
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

/// Asks and asks, and takes the answers byte by byte. In the end it is reset.
async fn read_slowly(mut stream: TcpStream) {
    let asks = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    let (mut reader, mut writer) = stream.split();
    let ask = async { while writer.write_all(&asks).await.is_ok() {} };
    let drip = async {
        loop {
            sleep(DRIP).await;
            if reader.read_u8().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = ask => {}
        () = drip => {}
    }
}
