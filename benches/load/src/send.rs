//! Sends the load over keep-alive HTTP/1.1 connections, each with one request under way: the next one
//! when the last one is answered, or, with a rate, when it is due. Requests are made and signed
//! beforehand, and one thread writes and reads them with as little work as there can be, for the load
//! shares its cores with what it measures.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::Error;
use crate::count::Database;
use crate::events::{self, Ids};
use crate::process;
use crate::result::{Cpu, Latency, Memory, RunResult};

/// A signature is made anew when it is this old; Stripe's libraries refuse it at 300 s.
const SIGNATURE_SECONDS_MAX: u64 = 200;
/// A run in which nothing was answered for this long is over.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const RECONNECT_DELAY: Duration = Duration::from_millis(20);
/// Failed requests, one after another, after which a connection gives up.
const FAILURES_IN_A_ROW_MAX: u32 = 100;
/// To ask for the memory once; more is taken as needed.
const BODY_BYTES_TYPICAL: usize = 3_400;
const ANSWER_BYTES_MAX: usize = 16 * 1024;

#[derive(clap::Args)]
pub struct Arguments {
    /// Where to: http://HOST:PORT/PATH; of several, the connections go to each in turn.
    #[arg(long = "url", required = true)]
    urls: Vec<String>,
    /// The webhook signing secret.
    #[arg(long, env = "STRIPE_WEBHOOK_SECRET", hide_env_values = true)]
    secret: String,
    /// How many requests to prepare, and at most to send, the warm-up included.
    #[arg(long, default_value_t = 100_000)]
    events: usize,
    /// Send for this long after the warm-up; without it, send all.
    #[arg(long)]
    seconds: Option<f64>,
    /// Of the events, how many are sent first and not measured.
    #[arg(long, default_value_t = 0)]
    warmup: usize,
    #[arg(long, default_value_t = 256)]
    connections: usize,
    /// So many events are due a second, answered or not; latency counts from then. Without it: as many
    /// as are answered.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// The same seed makes the same ids; a database that has seen them will call them duplicates.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, value_enum, default_value_t = Ids::ByTime)]
    ids: Ids,
    /// Make each body this large, in bytes; 0: as it is, 2 to 4 KB.
    #[arg(long, default_value_t = 0, conflicts_with = "mix")]
    body_bytes: usize,
    /// Several kinds of event for each order, mingled, with duplicates and refunds.
    #[arg(long)]
    mix: bool,
    /// The service: report its memory and processor time.
    #[arg(long)]
    pid: Option<u32>,
    #[command(flatten)]
    database: Database,
    /// What to call this run in the result.
    #[arg(long, default_value = "service")]
    contestant: String,
    /// What was varied from run to run, for the plots.
    #[arg(long)]
    x: Option<u64>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    /// Append the result to this file, one JSON line.
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
}

pub async fn run(arguments: Arguments) -> Result<(), Error> {
    let targets = arguments.urls.iter().map(|url| Target::parse(url));
    let targets = targets.collect::<Result<Vec<_>, _>>()?;
    let from = arguments.database.place().await?;
    let before_kib = arguments.pid.map(process::resident_kib);
    let sending = Rc::new(Sending::prepare(&targets[0], &arguments));
    send_all(&sending, &targets, &arguments).await;

    let mut result = sending.result(&arguments);
    result.memory = arguments.pid.map(|pid| Memory {
        before_kib: before_kib.unwrap_or(0),
        after_kib: process::resident_kib(pid),
        peak_kib: process::peak_kib(pid),
    });
    result.landed = arguments.database.landed(from).await?;
    if let Some(file) = &arguments.results {
        result.append_to(file)?;
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&result)?);
    } else {
        print_result(&result);
    }
    if result.events == 0 {
        return Err("not one event was answered 200".into());
    }
    match result.lost() {
        Some(lost) if lost > 0 => Err(format!("{lost} events were answered 200 and lost").into()),
        _ => Ok(()),
    }
}

struct Target {
    address: String,
    path: String,
}

impl Target {
    fn parse(url: &str) -> Result<Self, Error> {
        let rest = url.strip_prefix("http://").ok_or("the URL must begin with http://")?;
        let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
        let address =
            if address.contains(':') { address.to_owned() } else { format!("{address}:80") };
        Ok(Self { address, path: format!("/{path}") })
    }
}

/// Everything that the connections share. One thread, so cells.
struct Sending {
    /// All requests, head and body, one behind the other.
    bytes: Vec<u8>,
    requests: Vec<Request>,
    sendings: Vec<u32>,
    signature_at: usize,
    signed_at: u64,
    key: Hmac<Sha256>,
    warmup: usize,
    duration: Option<Duration>,
    /// From one event's due time to the next one's.
    interval: Option<Duration>,
    pid: Option<u32>,
    begun: Instant,
    next: Cell<usize>,
    started: Cell<Option<Start>>,
    ended: Cell<Option<Start>>,
    answered: Cell<u64>,
    measured: Cell<u64>,
    latencies_micros: RefCell<Vec<u32>>,
    accepted: RefCell<Vec<bool>>,
    refused: RefCell<BTreeMap<u16, u64>>,
    failed: Cell<u64>,
    first_failure: RefCell<Option<String>>,
}

struct Request {
    start: usize,
    body: usize,
    end: usize,
    order: u32,
}

/// The clocks at the start and at the end of what is measured.
#[derive(Clone, Copy)]
struct Start {
    at: Instant,
    service_micros: u64,
    load_micros: u64,
    machine_micros: u64,
}

impl Start {
    fn now(pid: Option<u32>) -> Self {
        Self {
            at: Instant::now(),
            service_micros: pid.map_or(0, process::cpu_micros),
            load_micros: process::cpu_micros(std::process::id()),
            machine_micros: process::machine_cpu_micros(),
        }
    }
}

const SIGNATURE_BYTES: usize = "t=1234567890,v1=".len() + 64;

impl Sending {
    fn prepare(target: &Target, arguments: &Arguments) -> Self {
        let key = Hmac::<Sha256>::new_from_slice(arguments.secret.as_bytes());
        let key = key.unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"));
        let signed_at = events::now();
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: Stripe/1.0 (+https://stripe.com/docs/webhooks)\r\n\
             Accept: */*; q=0.5, application/xml\r\nCache-Control: no-cache\r\n\
             Content-Type: application/json; charset=utf-8\r\nStripe-Signature: ",
            target.path, target.address
        );
        let mut bytes = Vec::with_capacity(
            arguments.events * (head.len() + BODY_BYTES_TYPICAL.max(arguments.body_bytes)),
        );
        let mut requests = Vec::with_capacity(arguments.events);
        let add = |body: &str, order: u32| {
            let start = bytes.len();
            bytes.extend_from_slice(head.as_bytes());
            bytes.extend_from_slice(&signature(&key, signed_at, body.as_bytes()));
            let length = format!("\r\nContent-Length: {}\r\n\r\n", body.len());
            bytes.extend_from_slice(length.as_bytes());
            let body_at = bytes.len();
            bytes.extend_from_slice(body.as_bytes());
            requests.push(Request { start, body: body_at, end: bytes.len(), order });
        };
        let Arguments { events, seed, ids, body_bytes, .. } = *arguments;
        let sendings = if arguments.mix {
            events::mix(events, seed, ids, add)
        } else {
            events::distinct(events, seed, ids, body_bytes, add)
        };
        Self {
            bytes,
            accepted: RefCell::new(vec![false; requests.len()]),
            requests,
            latencies_micros: RefCell::new(Vec::with_capacity(sendings.len())),
            sendings,
            signature_at: head.len(),
            signed_at,
            key,
            warmup: arguments.warmup,
            duration: arguments.seconds.map(Duration::from_secs_f64),
            interval: arguments.rate.map(|rate| Duration::from_secs(1) / rate),
            pid: arguments.pid,
            begun: Instant::now(),
            next: Cell::new(0),
            started: Cell::new(None),
            ended: Cell::new(None),
            answered: Cell::new(0),
            measured: Cell::new(0),
            refused: RefCell::default(),
            failed: Cell::new(0),
            first_failure: RefCell::default(),
        }
    }

    /// The next sending, or none when all are sent or the time is over.
    fn take(&self) -> Option<usize> {
        let index = self.next.get();
        if index >= self.sendings.len() {
            return None;
        }
        if index >= self.warmup {
            let started = self.started.get().unwrap_or_else(|| Start::now(self.pid));
            self.started.set(Some(started));
            if self.duration.is_some_and(|duration| started.at.elapsed() >= duration) {
                return None;
            }
        }
        self.next.set(index + 1);
        Some(index)
    }

    /// Waits until this one is to be sent. Its latency counts from the time returned: if no connection
    /// was free then, the wait for one is a part of it.
    async fn due(&self, index: usize) -> Instant {
        let Some(interval) = self.interval else { return Instant::now() };
        let due = self.begun + interval.mul_f64(index as f64);
        tokio::time::sleep_until(due.into()).await;
        due
    }

    fn answered(&self, index: usize, status: u16, elapsed: Duration) {
        self.answered.set(self.answered.get() + 1);
        if status == 200 {
            self.accepted.borrow_mut()[self.sendings[index] as usize] = true;
            if index >= self.warmup {
                self.measured.set(self.measured.get() + 1);
            }
        } else {
            *self.refused.borrow_mut().entry(status).or_default() += 1;
        }
        if index >= self.warmup {
            let micros = u32::try_from(elapsed.as_micros()).unwrap_or(u32::MAX);
            self.latencies_micros.borrow_mut().push(micros);
        }
    }

    fn failed(&self, error: &std::io::Error) {
        self.failed.set(self.failed.get() + 1);
        let mut first = self.first_failure.borrow_mut();
        if first.is_none() {
            *first = Some(error.to_string());
        }
    }

    /// The request, signed anew if it has waited for long.
    fn request(&self, index: usize, fresh: &mut Vec<u8>) -> &[u8] {
        let request = &self.requests[self.sendings[index] as usize];
        let now = events::now();
        if now.saturating_sub(self.signed_at) > SIGNATURE_SECONDS_MAX {
            *fresh = signature(&self.key, now, &self.bytes[request.body..request.end]).into();
        }
        &self.bytes[request.start..request.end]
    }

    fn result(&self, arguments: &Arguments) -> RunResult {
        let (started, ended) = match (self.started.get(), self.ended.get()) {
            (Some(started), Some(ended)) => (started, ended),
            _ => {
                let now = Start::now(self.pid);
                (now, now)
            }
        };
        let seconds = (ended.at - started.at).as_secs_f64().max(f64::MIN_POSITIVE);
        let events = self.measured.get();
        let per_event = |from: u64, to: u64| to.saturating_sub(from) as f64 / events.max(1) as f64;
        let accepted = self.accepted.borrow();
        let accepted: Vec<&Request> = self
            .requests
            .iter()
            .zip(accepted.iter())
            .filter(|(_, ok)| **ok)
            .map(|(r, _)| r)
            .collect();
        if let Some(failure) = &*self.first_failure.borrow() {
            eprintln!("{} requests failed; the first: {failure}", self.failed.get());
        }
        RunResult {
            contestant: arguments.contestant.clone(),
            x: arguments.x,
            seconds,
            events,
            events_per_second: events as f64 / seconds,
            latency: Latency::of(self.latencies_micros.take()),
            accepted_distinct: accepted.len() as u64,
            orders_distinct: accepted.iter().map(|r| r.order).collect::<HashSet<_>>().len() as u64,
            refused: self.refused.take(),
            failed: self.failed.get(),
            landed: None,
            memory: None,
            cpu: Some(Cpu {
                service_us: per_event(started.service_micros, ended.service_micros),
                load_us: per_event(started.load_micros, ended.load_micros),
                machine_us: per_event(started.machine_micros, ended.machine_micros),
            }),
        }
    }
}

fn signature(key: &Hmac<Sha256>, time: u64, body: &[u8]) -> [u8; SIGNATURE_BYTES] {
    let mut text = [0; SIGNATURE_BYTES];
    text[..16].copy_from_slice(format!("t={time:010},v1=").as_bytes());
    let mut mac = key.clone();
    mac.update(&text[2..12]);
    mac.update(b".");
    mac.update(body);
    let mac = mac.finalize().into_bytes();
    // The place is exactly twice as long as the MAC, so this cannot fail.
    let _ = hex::encode_to_slice(mac, &mut text[16..]);
    text
}

async fn send_all(sending: &Rc<Sending>, targets: &[Target], arguments: &Arguments) {
    let local = LocalSet::new();
    let addresses: Vec<Rc<str>> =
        targets.iter().map(|target| target.address.as_str().into()).collect();
    let addresses = addresses.iter().cycle().take(arguments.connections);
    let clients: Vec<_> = addresses
        .map(|address| local.spawn_local(client(Rc::clone(sending), Rc::clone(address))))
        .collect();
    let all = async {
        for client in clients {
            let _ = client.await;
        }
    };
    let over = local.run_until(async {
        tokio::select! {
            () = all => true,
            () = silence(sending) => false,
        }
    });
    if !over.await {
        let unanswered = sending.next.get() as u64 - sending.answered.get() - sending.failed.get();
        eprintln!("nothing was answered for {SILENCE_MAX:?}; {unanswered} requests got no answer");
        sending.failed.set(sending.failed.get() + unanswered);
    }
    sending.ended.set(Some(Start::now(sending.pid)));
}

async fn silence(sending: &Sending) {
    let mut last = (0, Instant::now());
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let done = sending.answered.get() + sending.failed.get();
        if done != last.0 {
            last = (done, Instant::now());
        } else if last.1.elapsed() > SILENCE_MAX {
            return;
        }
    }
}

/// One connection: the next request when the last one is answered.
async fn client(sending: Rc<Sending>, address: Rc<str>) {
    let mut connection = None;
    let mut answer = vec![0; ANSWER_BYTES_MAX];
    let mut fresh = Vec::new();
    let mut failures_in_a_row = 0;
    while let Some(index) = sending.take() {
        let started = sending.due(index).await;
        match exchange(&sending, index, &address, &mut connection, &mut answer, &mut fresh).await {
            Ok(status) => {
                sending.answered(index, status, started.elapsed());
                failures_in_a_row = 0;
            }
            Err(error) => {
                sending.failed(&error);
                connection = None;
                failures_in_a_row += 1;
                if failures_in_a_row == FAILURES_IN_A_ROW_MAX {
                    return;
                }
                tokio::time::sleep(RECONNECT_DELAY).await;
            }
        }
    }
}

async fn exchange(
    sending: &Sending,
    index: usize,
    address: &str,
    connection: &mut Option<TcpStream>,
    answer: &mut [u8],
    fresh: &mut Vec<u8>,
) -> std::io::Result<u16> {
    let stream = match connection {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            connection.insert(stream)
        }
    };
    let request = sending.request(index, fresh);
    if fresh.is_empty() {
        stream.write_all(request).await?;
    } else {
        let mut request = request.to_vec();
        request[sending.signature_at..][..SIGNATURE_BYTES].copy_from_slice(fresh);
        stream.write_all(&request).await?;
    }
    let mut have = 0;
    loop {
        let read = stream.read(&mut answer[have..]).await?;
        if read == 0 {
            return Err(std::io::Error::other("the connection ended within an answer"));
        }
        have += read;
        if let Some(read) = Answer::read(&answer[..have])? {
            if read.close {
                *connection = None;
            }
            return Ok(read.status);
        }
        if have == answer.len() {
            return Err(std::io::Error::other("the answer is too long"));
        }
    }
}

/// As much of an HTTP/1.1 answer as there is need to know.
#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    close: bool,
}

impl Answer {
    /// None as long as it is not whole.
    fn read(bytes: &[u8]) -> std::io::Result<Option<Self>> {
        let Some(head_length) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let malformed = || std::io::Error::other("the answer is not HTTP/1.1 as this reads it");
        let head = std::str::from_utf8(&bytes[..head_length]).map_err(|_| malformed())?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
        let status = status.and_then(|rest| rest.get(..3)?.parse().ok()).ok_or_else(malformed)?;
        let (mut length, mut chunked, mut close) = (0, false, false);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().map_err(|_| malformed())?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = value.eq_ignore_ascii_case("chunked");
            } else if name.eq_ignore_ascii_case("connection") {
                close = value.eq_ignore_ascii_case("close");
            }
        }
        let body = &bytes[head_length + 4..];
        let whole = if chunked { body.ends_with(b"0\r\n\r\n") } else { body.len() >= length };
        Ok(whole.then_some(Self { status, close }))
    }
}

fn print_result(result: &RunResult) {
    let RunResult { contestant, events, seconds, events_per_second, latency, .. } = result;
    println!("{contestant}: {events} events in {seconds:.2} s = {events_per_second:.0} events/s");
    println!(
        "  latency: p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, most {:.2} ms",
        latency.p50_ms, latency.p99_ms, latency.p999_ms, latency.max_ms
    );
    println!(
        "  answered 200: {} distinct events of {} orders; refused: {:?}; failed: {}",
        result.accepted_distinct, result.orders_distinct, result.refused, result.failed
    );
    if let Some(landed) = result.landed {
        println!("  landed: {landed:?}; lost: {}", result.lost().unwrap_or(0));
    }
    if let Some(memory) = result.memory {
        println!(
            "  service memory: {:.1} MiB before, {:.1} after, {:.1} at most",
            mib(memory.before_kib),
            mib(memory.after_kib),
            mib(memory.peak_kib)
        );
    }
    if let Some(cpu) = result.cpu {
        println!(
            "  processor time an event: service {:.0} µs, load {:.0} µs, whole machine {:.0} µs",
            cpu.service_us, cpu.load_us, cpu.machine_us
        );
    }
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_stripes() {
        // Computed with: printf '1700000000.{}' | openssl dgst -sha256 -hmac whsec_test
        let key = Hmac::<Sha256>::new_from_slice(b"whsec_test").unwrap();
        let text = signature(&key, 1_700_000_000, b"{}");
        assert_eq!(
            std::str::from_utf8(&text).unwrap(),
            "t=1700000000,v1=35495024f4ef3f94e5a93e22221544c4b75e9a42300cd965ab81cb85cd994e91"
        );
    }

    #[test]
    fn answers_are_read_whole() {
        let read = |text: &str| Answer::read(text.as_bytes()).unwrap();
        let whole = |status, close| Some(Answer { status, close });
        assert_eq!(read("HTTP/1.1 200 OK\r\n"), None);
        assert_eq!(read("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh"), None);
        assert_eq!(read("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"), whole(200, false));
        assert_eq!(read("HTTP/1.1 503 No\r\nConnection: close\r\n\r\n"), whole(503, true));
        let chunked = "HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n";
        assert_eq!(read(chunked), None);
        assert_eq!(read(&format!("{chunked}0\r\n\r\n")), whole(400, false));
        assert!(Answer::read(b"SSH-2.0\r\n\r\n").is_err());
    }
}
