//! The load: signed events over many connections, each answer logged with its time.
//!
//! It behaves as Stripe does: an event that was not answered 200 comes again. What was answered 200 is
//! kept in memory, and in a file that outlives this process.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use paidup::domain::signature::SigningSecret;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};

use crate::events::{Events, Random, SECRET};
use crate::form::Form;
use crate::process::{PATIENCE, until};
use crate::report::Report;
use crate::{Error, Result};

/// So many events are shuffled among each other.
const SHUFFLED_EVENTS: u32 = 1000;
/// How soon a connection goes on, unless the load says otherwise.
const PAUSE: Duration = Duration::from_millis(10);
/// An answer that takes longer than this is none.
const ANSWER_SECONDS_MAX: u64 = 30;

/// What to send, and to whom.
#[derive(Clone)]
pub struct Load {
    pub events: Events,
    pub connections: usize,
    /// The connections are spread over these; one that finds nobody tries the next.
    pub targets: Vec<SocketAddr>,
    /// So many in a hundred are sent twice.
    pub duplicates_percent: u64,
    /// Out of order, each thousand among itself.
    pub is_shuffled: bool,
    /// What was not answered 200 comes again after all that is new, as Stripe's later attempts do; else
    /// before it.
    pub is_patient: bool,
    /// No more than these; else until it is told to stop.
    pub events_max: Option<u32>,
    /// No faster than this.
    pub per_second: Option<f64>,
    /// How soon a connection goes on after it failed, or was refused.
    pub pause: Duration,
}

impl Load {
    /// Shuffled, one in ten twice, and as fast as it goes.
    pub fn new(events: Events, connections: usize, targets: &[SocketAddr]) -> Self {
        Self {
            events,
            connections,
            targets: targets.to_vec(),
            duplicates_percent: 10,
            is_shuffled: true,
            is_patient: false,
            events_max: None,
            per_second: None,
            pause: PAUSE,
        }
    }
}

/// One answer. Times count from the start of the driver.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    pub number: u32,
    pub status: u16,
    pub sent: Duration,
    pub answered: Duration,
}

impl Answer {
    pub fn took(&self) -> Duration {
        self.answered - self.sent
    }
}

/// What is sent next, and what came back. The ledger of the outside.
struct Book {
    next: u32,
    window: Vec<u32>,
    random: Random,
    again: VecDeque<u32>,
    under_way: usize,
    is_stopped: bool,
    answers: Vec<Answer>,
    unanswered: u64,
    unadvised: u64,
    file: BufWriter<File>,
}

struct Shared {
    load: Load,
    started: Instant,
    secret: SigningSecret,
    book: Mutex<Book>,
}

/// A load that goes on.
pub struct Driver {
    shared: Arc<Shared>,
    connections: JoinSet<()>,
}

/// All answers of a load that is over.
pub struct Log {
    events: Events,
    /// Sent at least once: all below this number.
    pub sent: u32,
    pub answers: Vec<Answer>,
    /// Calls to which no answer came.
    pub unanswered: u64,
    /// Answers of 503 that did not say when to come again.
    pub unadvised: u64,
}

impl Driver {
    pub fn start(form: &Form, load: Load) -> Result<Self> {
        let file =
            File::options().create(true).append(true).open(form.folder.join("acknowledged.log"))?;
        let book = Book {
            next: 0,
            window: Vec::new(),
            random: Random::new(1),
            again: VecDeque::new(),
            under_way: 0,
            is_stopped: false,
            answers: Vec::new(),
            unanswered: 0,
            unadvised: 0,
            file: BufWriter::new(file),
        };
        let secret = SigningSecret::new(SECRET).map_err(|_| "an empty secret")?;
        let shared =
            Arc::new(Shared { load, started: Instant::now(), secret, book: Mutex::new(book) });
        let mut connections = JoinSet::new();
        for connection in 0..shared.load.connections {
            connections.spawn(converse(Arc::clone(&shared), connection));
        }
        Ok(Self { shared, connections })
    }

    /// The time by the driver's clock.
    pub fn now(&self) -> Duration {
        self.shared.started.elapsed()
    }

    /// All events below this number were taken up so far.
    pub fn sent(&self) -> u32 {
        self.shared.book().next
    }

    /// How many were answered with this status so far.
    pub fn answered(&self, status: u16) -> usize {
        let book = self.shared.book();
        book.answers.iter().filter(|answer| answer.status == status).count()
    }

    /// The answers from the one of that number on.
    pub fn answers_from(&self, first: usize) -> Vec<Answer> {
        self.shared.book().answers.get(first..).unwrap_or_default().to_vec()
    }

    /// Waits until an event is answered 200 that was sent after this; only answers from the one of that
    /// number on are looked at.
    pub async fn serves_again(&self, seen: usize, after: Duration) -> Result<()> {
        until("paidup serves again", async || {
            self.answers_from(seen).iter().any(|one| one.status == 200 && one.sent > after)
        })
        .await?;
        Ok(())
    }

    /// Waits for so many more answers of 200.
    pub async fn more(&self, count: usize) -> Result<()> {
        let mut seen = self.shared.book().answers.len();
        let mut found = 0;
        until(&format!("{count} more events are answered 200"), async || {
            let answers = self.answers_from(seen);
            seen += answers.len();
            found += answers.iter().filter(|answer| answer.status == 200).count();
            found >= count
        })
        .await?;
        Ok(())
    }

    /// Sends nothing new; what was sent goes on until it is answered 200.
    pub fn stop(&self) {
        let mut book = self.shared.book();
        book.is_stopped = true;
        let rest = std::mem::take(&mut book.window);
        book.again.extend(rest);
    }

    /// Waits until all has been answered 200, and ends.
    pub async fn finish(mut self) -> Result<Log> {
        self.stop_after_all();
        let all = async { while self.connections.join_next().await.is_some() {} };
        let patience = PATIENCE * 2;
        if timeout(patience, all).await.is_err() {
            let book = self.shared.book();
            let left = book.again.len() + book.under_way;
            return Err(Error::from(format!("{left} events are not answered 200 in {patience:?}")));
        }
        self.into_log()
    }

    fn stop_after_all(&self) {
        if self.shared.load.events_max.is_none() {
            self.stop();
        }
    }

    fn into_log(self) -> Result<Log> {
        let mut book = self.shared.book();
        book.file.flush()?;
        Ok(Log {
            events: self.shared.load.events.clone(),
            sent: book.next,
            answers: std::mem::take(&mut book.answers),
            unanswered: book.unanswered,
            unadvised: book.unadvised,
        })
    }
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next event to send; `None` for now, or `Err` when all is answered.
    fn take(&self) -> std::result::Result<Option<u32>, ()> {
        let mut book = self.book();
        let is_next_new = self.load.is_patient || book.again.is_empty();
        if is_next_new && book.window.is_empty() && !book.is_stopped {
            self.fill(&mut book);
        }
        let Book { window, again, .. } = &mut *book;
        let next = if self.load.is_patient {
            window.pop().or_else(|| again.pop_front())
        } else {
            again.pop_front().or_else(|| window.pop())
        };
        match next {
            Some(number) => {
                book.under_way += 1;
                Ok(Some(number))
            }
            None if book.under_way > 0 => Ok(None),
            None => Err(()),
        }
    }

    fn fill(&self, book: &mut Book) {
        let most = self.load.events_max.unwrap_or(u32::MAX);
        let end = book.next.saturating_add(SHUFFLED_EVENTS).min(most);
        for number in book.next..end {
            book.window.push(number);
            if book.random.below(100) < self.load.duplicates_percent {
                book.window.push(number);
            }
        }
        book.next = end;
        if self.load.is_shuffled {
            let Book { window, random, .. } = book;
            random.shuffle(window);
        } else {
            book.window.reverse();
        }
    }

    /// Nobody was there to take it.
    fn give_back(&self, number: u32) {
        let mut book = self.book();
        book.under_way -= 1;
        book.again.push_back(number);
    }

    fn answered(&self, number: u32, status: Option<u16>, sent: Duration) {
        let answered = self.started.elapsed();
        let mut book = self.book();
        book.under_way -= 1;
        if status != Some(200) {
            book.again.push_back(number);
        }
        match status {
            Some(status) => book.answers.push(Answer { number, status, sent, answered }),
            None => book.unanswered += 1,
        }
        if status == Some(200) {
            let id = self.load.events.id(number);
            // What a trial judges by is in memory; the file is for people.
            let _ = writeln!(book.file, "{} {id}", answered.as_micros());
        }
    }
}

/// One connection: the next event when the last one is answered.
async fn converse(shared: Arc<Shared>, connection: usize) {
    let mut target = connection;
    let mut sender: Option<SendRequest<Full<Bytes>>> = None;
    let pace = shared
        .load
        .per_second
        .map(|rate| Duration::from_secs_f64(shared.load.connections as f64 / rate));
    let mut due = tokio::time::Instant::now();
    loop {
        if let Some(pace) = pace {
            sleep_until(due).await;
            due = (due + pace).max(tokio::time::Instant::now() - pace);
        }
        let number = match shared.take() {
            Ok(Some(number)) => number,
            Ok(None) => {
                sleep(PAUSE).await;
                continue;
            }
            Err(()) => return,
        };
        if sender.as_ref().is_none_or(SendRequest::is_closed) {
            sender = connect(&shared.load.targets, &mut target).await;
        }
        let Some(open) = &mut sender else {
            shared.give_back(number);
            sleep(PAUSE).await;
            continue;
        };
        let sent = shared.started.elapsed();
        let within = Duration::from_secs(ANSWER_SECONDS_MAX);
        let call = timeout(within, post(&shared, open, number)).await.unwrap_or(Call::CutOff);
        let status = match call {
            Call::Answered { status, is_advised } => {
                if status == 503 && !is_advised {
                    shared.book().unadvised += 1;
                }
                Some(status)
            }
            Call::CutOff => None,
            Call::NotSent => {
                shared.give_back(number);
                sender = None;
                continue;
            }
        };
        shared.answered(number, status, sent);
        if status.is_none() {
            sender = None;
        }
        if status != Some(200) {
            sleep(shared.load.pause).await;
        }
    }
}

/// A connection to the first target that takes one, from this one on.
async fn connect(targets: &[SocketAddr], at: &mut usize) -> Option<SendRequest<Full<Bytes>>> {
    for _ in 0..targets.len() {
        let stream = TcpStream::connect(targets.get(*at % targets.len())?).await;
        if let Ok(stream) = stream {
            let _ = stream.set_nodelay(true);
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
            tokio::spawn(connection);
            return Some(sender);
        }
        *at += 1;
    }
    None
}

/// What became of a call.
enum Call {
    /// Answered, with this status, and with a `Retry-After` or without.
    Answered { status: u16, is_advised: bool },
    /// Cut off: it may have been recorded.
    CutOff,
    /// The connection was closed before anything was sent on it.
    NotSent,
}

async fn post(shared: &Shared, sender: &mut SendRequest<Full<Bytes>>, number: u32) -> Call {
    let body = shared.load.events.body(number);
    let signature = shared.secret.header(paidup::unix_seconds(), &body);
    let request = Request::builder()
        .method(Method::POST)
        .uri("/webhook/stripe")
        .header("host", "localhost")
        .header("content-type", "application/json; charset=utf-8")
        .header("stripe-signature", signature)
        .body(Full::new(body));
    let Ok(request) = request else { return Call::NotSent };
    if sender.ready().await.is_err() {
        return Call::NotSent;
    }
    let response = match sender.send_request(request).await {
        Ok(response) => response,
        Err(error) if error.is_canceled() => return Call::NotSent,
        Err(_) => return Call::CutOff,
    };
    let status = response.status().as_u16();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let is_advised = retry_after.is_some_and(|seconds| seconds.parse::<u32>().is_ok());
    // An answer that does not end is none.
    match response.into_body().collect().await {
        Ok(_) => Call::Answered { status, is_advised },
        Err(_) => Call::CutOff,
    }
}

impl Log {
    /// The numbers of all events that were answered 200.
    pub fn acknowledged(&self) -> HashSet<u32> {
        self.accepted().map(|answer| answer.number).collect()
    }

    /// The answers of 200.
    pub fn accepted(&self) -> impl Iterator<Item = &Answer> {
        self.answers.iter().filter(|answer| answer.status == 200)
    }

    /// How many answers there were of each status.
    pub fn statuses(&self) -> BTreeMap<u16, usize> {
        let mut statuses = BTreeMap::new();
        for answer in &self.answers {
            *statuses.entry(answer.status).or_default() += 1;
        }
        statuses
    }

    /// How many answers of 503 there were; that there were none but these and 200 must hold.
    pub fn report_refusals(&self, report: &mut Report) {
        let statuses = self.statuses();
        report.figure("answers of 503", statuses.get(&503).copied().unwrap_or_default());
        let other = statuses.into_keys().find(|status| ![200, 503].contains(status));
        report.must(&format!("only 200 and 503, not {other:?}"), other.is_none());
    }

    pub fn events(&self) -> &Events {
        &self.events
    }
}
