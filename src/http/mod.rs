//! HTTP: what comes from the net, and what is answered.
//!
//! - [`server`] takes connections and keeps slow, large and malformed ones from doing harm. It
//!   hands a handler only requests whose body is there in full, which `body` and `large` see to.
//! - [`webhook`] is `POST /webhook/stripe`: verify, read, record, answer.
//! - [`operators`] is health, readiness and metrics.
//! - [`attempts`] counts an address's wrong tokens, and `audit` logs them, and what operators change.
//! - [`api`] is orders, events and notifications as JSON, for whoever has the [`token`], by way of the
//!   [`readers`]' own sessions; [`changes`] is what its stream tells, [`problem`] how it refuses, and
//!   [`openapi`] what describes it.
//! - [`console`] is the same for people, in a browser; [`secrets`] notes for it by which signing secret
//!   calls were proven.
//! - [`views`] is what is recorded, as programs outside see it; [`visible`] is how texts from outside are
//!   shown to people, and [`nul`] what no text may hold.
//! - [`error`] turns every refusal into an answer.
//!
//! What they share is here: the [`Limits`], the [`Arrival`] of a request, and the [`Activity`] of a
//! connection, which the server keeps and its watchdog judges.
//!
//! The webhook does not touch the database: [`crate::ingest`] does.

pub mod api;
pub mod attempts;
mod audit;
mod body;
pub mod changes;
pub mod client;
pub mod console;
pub mod error;
mod large;
pub mod nul;
pub mod openapi;
pub mod operators;
pub mod problem;
pub mod readers;
pub mod secrets;
pub mod server;
pub mod token;
pub mod views;
pub mod visible;
pub mod webhook;
mod wire;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tokio::sync::Notify;

pub use error::HttpError;
pub use server::{Front, listen, serve};
pub use webhook::Webhook;

/// The header that tells the id of the request in every answer, and in the log.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
/// The header by which a proxy in front may bring its own id.
pub const REQUEST_ID_GIVEN: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken from a proxy.
pub const REQUEST_ID_BYTES_MAX: usize = 64;

/// The longest head (request line and fields); Stripe's have about 600 bytes.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The most fields in a head.
pub const HEAD_FIELDS_MAX: usize = 64;
/// The longest a head may take, from the opening of the connection or from its first byte.
pub const HEAD_SECONDS_MAX: u64 = 10;
/// The longest body; Stripe's events stay well below it.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// The longest a body may take, from the end of its head.
pub const BODY_SECONDS_MAX: u64 = 10;
/// A body up to this length needs no reservation. Together with [`CONNECTIONS_MAX`] this bounds
/// the memory that such bodies can hold.
pub const SMALL_BODY_BYTES_MAX: usize = 16 * 1024;
/// The most memory that larger bodies hold together, by the bytes that arrived. When it is full the slowest of
/// them gets 503, so that a flood of slow large bodies keeps out neither small ones nor fast large ones.
pub const LARGE_BODIES_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The most connections at once, of those that call webhooks. Slow ones are kept until their deadlines.
pub const CONNECTIONS_MAX: usize = 8192;
/// Who has waited no longer than this is not closed for another's sake: the bytes of an honest call come
/// at once, but we may be late to see them while thousands connect. A large body that grew within this time
/// keeps its memory.
pub const PLACE_MILLISECONDS_MIN: u64 = 100;
/// The most connections of operators at once.
pub const OPERATOR_CONNECTIONS_MAX: usize = 1024;
/// How long a connection is kept open for a next request: longer than any proxy keeps it (Google's 600 s is the
/// longest known), so that the proxy is the one to close it. Who closes first may get a request that is on its
/// way, and it fails with 502. At [`CONNECTIONS_MAX`] an idle connection makes room long before this.
pub const IDLE_SECONDS_MAX: u64 = 620;
/// The longest that a client may take to take what was written for it.
pub const WRITE_SECONDS_MAX: u64 = 10;
/// What the system may keep of a webhook connection's answers until its client takes them. Left to itself it
/// takes megabytes: thousands of small answers to a client that asks on and on and reads nothing.
pub const WEBHOOK_SEND_BUFFER_BYTES: u32 = 32 * 1024;
/// The same of an operators' connection, whose answers are long.
pub const OPERATOR_SEND_BUFFER_BYTES: u32 = 256 * 1024;
/// How long a refused caller may still send what is not read, so that it gets to read the answer.
pub const LINGER_SECONDS_MAX: u64 = 2;
/// The longest a graceful stop waits. It is below the 30 s after which Kubernetes kills.
pub const STOP_SECONDS_MAX: u64 = 25;
/// How long, at a stop, a connection that waits for a request is still listened to. What is on its way
/// then is answered, and its caller told that it was the last on this connection.
pub const FAREWELL_MILLISECONDS: u64 = 200;

/// How long, how much and how many; the defaults are the constants of the same names.
#[derive(Debug, Clone)]
pub struct Limits {
    /// [`HEAD_BYTES_MAX`]
    pub head_bytes: usize,
    /// [`HEAD_FIELDS_MAX`]
    pub head_fields: usize,
    /// [`HEAD_SECONDS_MAX`]
    pub head_deadline: Duration,
    /// [`BODY_BYTES_MAX`]
    pub body_bytes: usize,
    /// [`BODY_SECONDS_MAX`]
    pub body_deadline: Duration,
    /// [`SMALL_BODY_BYTES_MAX`]
    pub small_body_bytes: usize,
    /// [`LARGE_BODIES_BYTES_MAX`]
    pub large_bodies_bytes: usize,
    /// [`CONNECTIONS_MAX`]
    pub connections: usize,
    /// [`PLACE_MILLISECONDS_MIN`]
    pub place_kept: Duration,
    /// [`IDLE_SECONDS_MAX`]
    pub idle_deadline: Duration,
    /// [`WRITE_SECONDS_MAX`]
    pub write_deadline: Duration,
    /// [`LINGER_SECONDS_MAX`]
    pub linger_deadline: Duration,
    /// [`STOP_SECONDS_MAX`]
    pub stop_deadline: Duration,
    /// [`FAREWELL_MILLISECONDS`]
    pub farewell: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: HEAD_BYTES_MAX,
            head_fields: HEAD_FIELDS_MAX,
            head_deadline: Duration::from_secs(HEAD_SECONDS_MAX),
            body_bytes: BODY_BYTES_MAX,
            body_deadline: Duration::from_secs(BODY_SECONDS_MAX),
            small_body_bytes: SMALL_BODY_BYTES_MAX,
            large_bodies_bytes: LARGE_BODIES_BYTES_MAX,
            connections: CONNECTIONS_MAX,
            place_kept: Duration::from_millis(PLACE_MILLISECONDS_MIN),
            idle_deadline: Duration::from_secs(IDLE_SECONDS_MAX),
            write_deadline: Duration::from_secs(WRITE_SECONDS_MAX),
            linger_deadline: Duration::from_secs(LINGER_SECONDS_MAX),
            stop_deadline: Duration::from_secs(STOP_SECONDS_MAX),
            farewell: Duration::from_millis(FAREWELL_MILLISECONDS),
        }
    }
}

impl Limits {
    /// No deadline on a client passes sooner than this after it began.
    fn shortest_wait(&self) -> Duration {
        self.head_deadline.min(self.idle_deadline).min(self.write_deadline)
    }
}

/// When a request's head was there, and the request's name in the log.
#[derive(Debug, Clone)]
pub struct Arrival {
    at: Instant,
    id: HeaderValue,
}

impl Arrival {
    /// Notes the arrival of a request with this head, now.
    #[must_use]
    pub fn now(head: &HeaderMap) -> Self {
        let given = head.get(REQUEST_ID_GIVEN).filter(|value| is_plain(value.as_bytes()));
        Self { at: Instant::now(), id: given.cloned().unwrap_or_else(request_id) }
    }

    /// The arrival that the server noted, or, under another server, this moment.
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        request.extensions().get().cloned().unwrap_or_else(|| Self::now(request.headers()))
    }

    /// When the head had been read.
    #[must_use]
    pub fn at(&self) -> Instant {
        self.at
    }

    /// The request's id, for a header.
    #[must_use]
    pub fn header(&self) -> &HeaderValue {
        &self.id
    }

    /// The request's id, for a log line.
    #[must_use]
    pub fn id(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }
}

/// Where a request's connection comes from: the caller, or a proxy in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

impl Peer {
    /// The address that the server noted; under another server, none.
    #[must_use]
    pub fn of<B>(request: &Request<B>) -> Option<IpAddr> {
        request.extensions().get::<Self>().map(|peer| peer.0)
    }
}

/// A log line is no place for what a stranger likes to write.
fn is_plain(id: &[u8]) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

/// A new id: eight random digits that tell the process, and a count.
fn request_id() -> HeaderValue {
    static PROCESS: LazyLock<String> = LazyLock::new(|| {
        let random = RandomState::new().build_hasher().finish();
        format!("{:08x}", random & 0xffff_ffff)
    });
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let id = format!("{}-{count}", *PROCESS);
    HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("none"))
}

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It is new, or a head has begun: waits for (the rest of) a head.
    Head,
    /// Waits for a body.
    Body,
    /// Waits for nothing but our own work, until the last byte of the answer is handed to hyper.
    Work,
    /// Waits for the next head, which has not begun. (If its first bytes came together with the
    /// last body, this is not seen; they then have as long as an idle connection has.)
    Idle,
}

/// What a connection is told from outside; the stronger order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    None,
    /// Answer what has begun, then end.
    Finish,
    /// End now if you wait for the client; else as for `Finish`.
    Yield,
    /// End now.
    Cut,
}

/// What the watchdog found.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// Nothing yet; look again after this time.
    Again(Duration),
    /// The connection was kept alive long enough.
    Idle,
    /// The client was too slow, in this way.
    Overdue(&'static str),
}

/// What a connection is doing since when: written by its own task, read by the accept loop too.
struct Activity {
    started: Instant,
    /// Milliseconds from `started` to the begin of the phase, and in the lowest two bits the phase.
    phase: AtomicU64,
    /// One more than the milliseconds from `started` to when the client stopped taking what was
    /// written for it; 0 if it takes all.
    stalled: AtomicU64,
    /// The caller may still send what is not read: the last request was refused before its body
    /// was read to the end, or is the last one whatever follows.
    body_unread: AtomicBool,
    /// How many lines that begin with `Content-Length` came, but for those that hyper showed.
    lengths: AtomicU64,
    order: AtomicU8,
    ordered: Notify,
}

impl Activity {
    fn new(started: Instant) -> Self {
        let activity = Self {
            started,
            phase: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
            body_unread: AtomicBool::new(false),
            lengths: AtomicU64::new(0),
            order: AtomicU8::new(Order::None as u8),
            ordered: Notify::new(),
        };
        activity.enter(Phase::Head);
        activity
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn enter(&self, phase: Phase) {
        self.enter_at(self.now(), phase);
    }

    fn enter_at(&self, now: u64, phase: Phase) {
        self.phase.store(now << 2 | phase as u64, Ordering::Relaxed);
    }

    fn phase(&self) -> (Phase, u64) {
        let packed = self.phase.load(Ordering::Relaxed);
        let phase = match packed & 3 {
            0 => Phase::Head,
            1 => Phase::Body,
            2 => Phase::Work,
            _ => Phase::Idle,
        };
        (phase, packed >> 2)
    }

    /// Since when it waits for its client, if it does; in milliseconds from `started`.
    fn waiting_since(&self) -> Option<u64> {
        match (self.stalled.load(Ordering::Relaxed), self.phase()) {
            (0, (Phase::Work, _)) => None,
            (0, (_, since)) => Some(since),
            (stalled, _) => Some(stalled - 1),
        }
    }

    /// Whether no request is under way.
    fn waits_for_head(&self) -> bool {
        matches!(self.phase().0, Phase::Head | Phase::Idle)
    }

    fn left_body_unread(&self) -> bool {
        self.body_unread.load(Ordering::Relaxed)
    }

    fn leave_body_unread(&self, unread: bool) {
        self.body_unread.store(unread, Ordering::Relaxed);
    }

    fn lengths_came(&self, count: u64) {
        if count > 0 {
            self.lengths.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// hyper shows a `Content-Length`. It came, so it was counted.
    fn length_shown(&self) {
        let _ = self
            .lengths
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1));
    }

    fn may_hide_length(&self) -> bool {
        self.lengths.load(Ordering::Relaxed) > 0
    }

    fn order(&self, order: Order) {
        self.order.fetch_max(order as u8, Ordering::Relaxed);
        self.ordered.notify_one();
    }

    fn given_order(&self) -> Order {
        match self.order.load(Ordering::Relaxed) {
            0 => Order::None,
            1 => Order::Finish,
            2 => Order::Yield,
            _ => Order::Cut,
        }
    }

    /// Notes whether the client takes what is written for it.
    fn wrote(&self, stalls: bool) {
        if stalls && self.stalled.load(Ordering::Relaxed) == 0 {
            self.stalled.store(self.now() + 1, Ordering::Relaxed);
        }
    }

    fn stalls(&self) -> bool {
        self.stalled.load(Ordering::Relaxed) != 0
    }

    /// All that was written has left us. Only this ends a stall: a client that takes a byte now
    /// and then is slow too.
    fn flushed(&self) {
        if self.stalled.load(Ordering::Relaxed) != 0 {
            self.stalled.store(0, Ordering::Relaxed);
        }
    }

    /// What the watchdog finds now.
    fn look(&self, limits: &Limits) -> Look {
        self.look_at(self.now(), limits)
    }

    fn look_at(&self, now: u64, limits: &Limits) -> Look {
        let left = |since: u64, limit: Duration| {
            let waited = Duration::from_millis(now.saturating_sub(since));
            limit.checked_sub(waited).filter(|left| !left.is_zero())
        };
        let mut pause = limits.shortest_wait();
        let stalled = self.stalled.load(Ordering::Relaxed);
        if stalled > 0 {
            match left(stalled - 1, limits.write_deadline) {
                Some(rest) => pause = pause.min(rest),
                None => return Look::Overdue("reader_too_slow"),
            }
        }
        let (rest, overdue) = match self.phase() {
            (Phase::Head, since) => {
                (left(since, limits.head_deadline), Look::Overdue("head_too_slow"))
            }
            (Phase::Idle, since) => (left(since, limits.idle_deadline), Look::Idle),
            // The body's deadline is kept where the body is read; it is answered with 408.
            (Phase::Body | Phase::Work, _) => (Some(pause), Look::Idle),
        };
        rest.map_or(overdue, |rest| Look::Again(pause.min(rest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_id_of_a_proxy_is_kept_and_any_other_replaced() {
        for (given, kept) in [
            ("01J9-abc_D.7", true),
            ("", false),
            ("a b", false),
            ("x\ty", false),
            (&"a".repeat(64), true),
            (&"a".repeat(65), false),
        ] {
            let mut head = HeaderMap::new();
            head.insert(REQUEST_ID_GIVEN, HeaderValue::from_str(given).expect(given));
            assert_eq!(Arrival::now(&head).id() == given, kept, "{given}");
        }
    }

    #[test]
    fn ids_of_ours_differ() {
        let head = HeaderMap::new();
        assert_ne!(Arrival::now(&head).id(), Arrival::now(&head).id());
    }

    /// The defaults: head 10 s, idle 620 s, write 10 s.
    #[test]
    fn a_connection_waits_for_its_client_only_so_long() {
        let seconds = |seconds| Look::Again(Duration::from_secs(seconds));
        for (phase, after_seconds, expected) in [
            (Phase::Head, 0, seconds(10)),
            (Phase::Head, 9, seconds(1)),
            (Phase::Head, 10, Look::Overdue("head_too_slow")),
            (Phase::Idle, 10, seconds(10)),
            (Phase::Idle, 600, seconds(10)),
            (Phase::Idle, 619, seconds(1)),
            (Phase::Idle, 620, Look::Idle),
            (Phase::Body, 1000, seconds(10)),
            (Phase::Work, 1000, seconds(10)),
        ] {
            let activity = Activity::new(Instant::now());
            activity.enter_at(5, phase);
            let look = activity.look_at(5 + after_seconds * 1000, &Limits::default());
            assert_eq!(look, expected, "{phase:?} after {after_seconds} s");
        }
    }

    #[test]
    fn a_stalled_reader_is_overdue_even_while_work_goes_on() {
        let activity = Activity::new(Instant::now());
        activity.enter_at(0, Phase::Work);
        assert_eq!(activity.waiting_since(), None);
        activity.stalled.store(1, Ordering::Relaxed);
        assert_eq!(activity.waiting_since(), Some(0));
        let limits = Limits::default();
        assert_eq!(activity.look_at(9_000, &limits), Look::Again(Duration::from_secs(1)));
        assert_eq!(activity.look_at(10_000, &limits), Look::Overdue("reader_too_slow"));
        activity.flushed();
        assert_eq!(activity.look_at(10_000, &limits), Look::Again(Duration::from_secs(10)));
    }

    #[test]
    fn the_stronger_order_stands() {
        let activity = Activity::new(Instant::now());
        activity.order(Order::Yield);
        activity.order(Order::Finish);
        assert_eq!(activity.given_order(), Order::Yield);
    }
}
