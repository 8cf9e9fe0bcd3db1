//! `POST /webhook/stripe`: verify, read, record, and only then say 200.
//!
//! The work of each arrow is elsewhere ([`crate::domain::signature`], [`crate::domain::event`],
//! [`crate::ingest`]); here they are put in a row, measured and told to the log.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use metrics::{Counter, Histogram, counter, histogram};
use tracing::{info, warn};

use super::error::{Allowed, HttpError, Sampler, json, register_refusals};
use super::operators;
use super::secrets::SecretUses;
use super::server::Front;
use super::visible::excerpt;
use super::{Arrival, BODY_BYTES_MAX, Peer};
use crate::domain::delta::{Meaning, Reading};
use crate::domain::event::Event;
use crate::domain::event_types;
use crate::domain::order_ids::OrderIdRules;
use crate::domain::outcome::{IgnoredReason, Outcome};
use crate::domain::payment::dispute::DisputeStatus;
use crate::domain::signature::{self, Rejected, SigningSecret, Verified};
use crate::ingest::Ingest;
use crate::store::transaction::Answer;

/// Where Stripe calls.
pub const WEBHOOK_PATH: &str = "/webhook/stripe";
/// The target of the line that each event makes at `info`: `RUST_LOG=info,paidup::event=warn`
/// keeps it out of a busy production log, and `paidup dev` shows it.
pub const EVENT_LOG_TARGET: &str = "paidup::event";

const STRIPE_SIGNATURE: HeaderName = HeaderName::from_static("stripe-signature");

/// The event types that metrics tell apart, sorted: those that orders depend on, and two more that Stripe
/// sends for nearly every payment. Any other is `other`: what a sender writes into its events must not
/// make new time series.
static METRIC_TYPES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let mut kinds: Vec<&str> = event_types::all().chain(ALSO_COUNTED).collect();
    kinds.sort_unstable();
    kinds
});
const ALSO_COUNTED: [&str; 2] = ["payment_intent.created", "payment_intent.requires_action"];
const OUTCOMES: usize = 5;
/// A `v1` of the signature has the digits of an HMAC-SHA256.
const V1_HEX_DIGITS: usize = 64;

/// What the webhook needs to know.
pub struct Webhook {
    secrets: Vec<SigningSecret>,
    tolerance_seconds: u32,
    ingest: Ingest,
    clock: fn() -> i64,
    meters: Meters,
    warnings: Sampler,
    uses: Arc<SecretUses>,
    order_ids: Arc<OrderIdRules>,
    notices: Notices,
}

/// What an operator is warned of, each at most once a minute.
#[derive(Default)]
struct Notices {
    mode: OncePerMinute,
    account: OncePerMinute,
    order_id: OncePerMinute,
    unknown_status: OncePerMinute,
}

impl Notices {
    /// The one for this setting.
    fn of(&self, reason: &IgnoredReason) -> Option<&OncePerMinute> {
        match reason {
            IgnoredReason::TestEvent | IgnoredReason::LiveEvent => Some(&self.mode),
            IgnoredReason::Account(_) => Some(&self.account),
            IgnoredReason::OrderIdPattern(_) => Some(&self.order_id),
            _ => None,
        }
    }
}

impl Webhook {
    /// `clock` tells the time in Unix seconds. Make this after the metrics recorder is installed:
    /// the handles that it keeps belong to the recorder of that moment.
    #[must_use]
    pub fn new(
        secrets: Vec<SigningSecret>,
        tolerance_seconds: u32,
        ingest: Ingest,
        order_ids: Arc<OrderIdRules>,
        clock: fn() -> i64,
    ) -> Self {
        let (meters, uses) = (Meters::new(&secrets), SecretUses::new(&secrets));
        let (warnings, notices) = (Sampler::new(), Notices::default());
        Self {
            secrets,
            tolerance_seconds,
            ingest,
            clock,
            meters,
            warnings,
            uses,
            order_ids,
            notices,
        }
    }

    /// When which secret was last used.
    #[must_use]
    pub fn secret_uses(&self) -> Arc<SecretUses> {
        Arc::clone(&self.uses)
    }
}

/// The webhook's listener: its routes, and a gate that lets in no body that cannot be Stripe's.
pub fn front(webhook: Webhook) -> Front {
    let webhook = Arc::new(webhook);
    let judge = Arc::clone(&webhook);
    let gate = move |head: &Parts, may_be_large: bool| judge_head(&judge, head, may_be_large);
    Front { router: routes(webhook), gate: Some(Arc::new(gate)) }
}

/// The routes of the webhook's listener.
pub fn router(webhook: Webhook) -> Router {
    routes(Arc::new(webhook))
}

/// Refuses, before its body is read, a call whose head already shows that it proves nothing. A signature's time
/// is judged here only if the body may be large and thus take memory: else [`prove`] judges it last, so that
/// `too_old` speaks of calls that were signed with our secret.
fn judge_head(webhook: &Webhook, head: &Parts, may_be_large: bool) -> Result<(), HttpError> {
    match (head.uri.path() == WEBHOOK_PATH, head.method == Method::POST) {
        (true, true) => {}
        // Nothing else here takes a body. A small one is passed over.
        _ if !may_be_large => return Ok(()),
        (true, false) => return Err(HttpError::MethodNotAllowed(Allowed::Post)),
        (false, _) => return Err(HttpError::NotFound),
    }
    let header = only_signature(&head.headers)?;
    // Without secrets nothing matches: what else is wrong with the header is found.
    match signature::verify(header, Bytes::new(), &[], 0, 0) {
        Ok(_) | Err(Rejected::NoMatch) => {}
        Err(rejected) => return Err(rejected.into()),
    }
    let item = |name: &'static str| {
        let text = std::str::from_utf8(header).unwrap_or_default();
        let items = text.split(',').filter_map(|item| item.trim().split_once('='));
        items.filter(move |(key, _)| *key == name).map(|(_, value)| value.trim())
    };
    let is_v1 = |value: &str| {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        value.len() == V1_HEX_DIGITS && value.bytes().all(is_hex)
    };
    if !item("v1").any(is_v1) {
        return Err(Rejected::NoMatch.into());
    }
    let signed_at: i64 =
        item("t").next().and_then(|t| t.parse().ok()).ok_or(Rejected::Malformed)?;
    let (age, tolerance) =
        ((webhook.clock)().saturating_sub(signed_at), i64::from(webhook.tolerance_seconds));
    match age {
        age if may_be_large && age > tolerance => Err(Rejected::TooOld.into()),
        age if may_be_large && age < -tolerance => Err(Rejected::TooNew.into()),
        _ => Ok(()),
    }
}

fn routes(webhook: Arc<Webhook>) -> Router {
    let health = operators::health(webhook.ingest.clone());
    let health = health.layer(from_fn_with_state(Arc::clone(&webhook), note_wrong_method));
    Router::new()
        .route(WEBHOOK_PATH, post(receive).fallback(post_only))
        .fallback(nothing_here)
        .with_state(webhook)
        .merge(health)
}

async fn post_only(State(webhook): State<Arc<Webhook>>, request: Request) -> HttpError {
    let error = HttpError::MethodNotAllowed(Allowed::Post);
    misdirected(&webhook, &error, &request);
    error
}

async fn nothing_here(State(webhook): State<Arc<Webhook>>, request: Request) -> HttpError {
    misdirected(&webhook, &HttpError::NotFound, &request);
    HttpError::NotFound
}

/// Health can only be read.
async fn note_wrong_method(
    State(webhook): State<Arc<Webhook>>,
    request: Request,
    next: Next,
) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        misdirected(&webhook, &HttpError::MethodNotAllowed(Allowed::Get), &request);
    }
    next.run(request).await
}

/// Counts and logs a request that goes to the wrong place. A wrong path, or a slash behind the right one, is
/// the most frequent mistake in setting up a webhook, and Stripe shows its owner no more than the status.
fn misdirected(webhook: &Webhook, error: &HttpError, request: &Request) {
    let reason = error.reason();
    counter!("paidup_refusals_total", "reason" => reason).increment(1);
    let Some(suppressed) = webhook.warnings.admit() else { return };
    let caller = Peer::of(request).map(|caller| caller.to_string()).unwrap_or_default();
    let (method, path) = (excerpt(request.method().as_str()), excerpt(request.uri().path()));
    let request = Arrival::of(request).id().to_owned();
    warn!(
        reason,
        method,
        path,
        caller,
        request,
        suppressed,
        "request refused: {error}; webhooks go to POST {WEBHOOK_PATH}"
    );
}

async fn receive(State(webhook): State<Arc<Webhook>>, request: Request) -> Response {
    let arrival = Arrival::of(&request);
    let response = match take(&webhook, request, &arrival).await {
        Ok(outcome) => json(StatusCode::OK, received(outcome)),
        Err(error) => {
            refused(&webhook, &error, &arrival);
            error.into_response()
        }
    };
    webhook.meters.request_seconds.record(arrival.at().elapsed());
    response
}

/// Bytes → verified → event → recorded.
async fn take(
    webhook: &Webhook,
    request: Request,
    arrival: &Arrival,
) -> Result<Outcome, HttpError> {
    let (head, body) = request.into_parts();
    // The server has the whole body already; this takes it out without a copy.
    let body =
        axum::body::to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| HttpError::BodyTooLarge)?;
    let verified = prove(webhook, &head.headers, body)?;
    let event = Event::read(&verified, &webhook.order_ids)?;
    warn_of_unknown_status(webhook, &event);
    drop(verified);
    let told = Told { id: event.id().to_owned(), kind: event.kind().to_owned() };
    let Answer { outcome, ignored, .. } = webhook.ingest.submit(event).await?;
    webhook.meters.event(&told.kind, outcome).increment(1);
    tell(&told, outcome, arrival);
    warn_of_setting(webhook, &told, ignored.as_ref());
    Ok(outcome)
}

/// An event that a setting leaves out is mostly a setting that is wrong.
fn warn_of_setting(webhook: &Webhook, told: &Told, ignored: Option<&IgnoredReason>) {
    let Some(reason) = ignored else { return };
    let Some(setting) = reason.setting() else { return };
    if webhook.notices.of(reason).is_some_and(|notice| notice.admit((webhook.clock)())) {
        let (event, kind) = (&told.id, &told.kind);
        warn!(
            event,
            r#type = kind,
            setting,
            "event recorded and ignored: {reason}. If it should count, change {setting} and run \
             `paidup replay`"
        );
    }
}

fn warn_of_unknown_status(webhook: &Webhook, event: &Event) {
    let Reading::Relevant(delta) = event.reading() else { return };
    let what = match delta.meaning {
        Meaning::RefundUnknown => "refund",
        Meaning::Disputed(DisputeStatus::Unknown) => "dispute",
        _ => return,
    };
    if webhook.notices.unknown_status.admit((webhook.clock)()) {
        let (event, kind) = (event.id(), event.kind());
        warn!(
            event,
            r#type = kind,
            "this version of paidup does not know the status of a {what}; it is recorded, and counts \
             for nothing until a newer version reads it"
        );
    }
}

/// Lets one through in each minute.
#[derive(Default)]
struct OncePerMinute(AtomicI64);

impl OncePerMinute {
    /// `now` is in Unix seconds.
    fn admit(&self, now: i64) -> bool {
        let minute = now.div_euclid(60);
        self.0.swap(minute, Ordering::Relaxed) != minute
    }
}

fn prove(webhook: &Webhook, head: &HeaderMap, body: Bytes) -> Result<Verified, Rejected> {
    let header = only_signature(head)?;
    let now = (webhook.clock)();
    let secrets = &webhook.secrets;
    let verified = signature::verify(header, body, secrets, now, webhook.tolerance_seconds)?;
    if let Some(matches) = webhook.meters.secret_matches.get(verified.secret()) {
        matches.increment(1);
    }
    webhook.uses.note(verified.secret(), now.saturating_mul(1000));
    Ok(verified)
}

/// Two header lines could be read in two ways, by a proxy and by us; so they are not read at all.
fn only_signature(head: &HeaderMap) -> Result<&[u8], Rejected> {
    let mut lines = head.get_all(STRIPE_SIGNATURE).iter();
    let first = lines.next().ok_or(Rejected::Missing)?;
    match lines.next() {
        None => Ok(first.as_bytes()),
        Some(_) => Err(Rejected::Malformed),
    }
}

fn received(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Applied => r#"{"received":true,"outcome":"applied"}"#,
        Outcome::Unchanged => r#"{"received":true,"outcome":"unchanged"}"#,
        Outcome::Parked => r#"{"received":true,"outcome":"parked"}"#,
        Outcome::Ignored => r#"{"received":true,"outcome":"ignored"}"#,
        Outcome::Duplicate => r#"{"received":true,"outcome":"duplicate"}"#,
    }
}

/// What the log says of an event once the event itself has gone to the writer.
struct Told {
    id: String,
    kind: String,
}

fn tell(told: &Told, outcome: Outcome, arrival: &Arrival) {
    let Told { id, kind } = told;
    let request = arrival.id();
    match outcome {
        // Money waits here until an order is named, so this is told even where the rest is not.
        Outcome::Parked => info!(
            event = id,
            r#type = kind,
            outcome = outcome.name(),
            request,
            "event parked: no order id came with it, nor with its payment so far; \
             put metadata.order_id on the payment"
        ),
        Outcome::Applied => info!(
            target: EVENT_LOG_TARGET,
            event = id, r#type = kind, outcome = outcome.name(), request, "event applied"
        ),
        Outcome::Unchanged => info!(
            target: EVENT_LOG_TARGET,
            event = id, r#type = kind, outcome = outcome.name(), request,
            "event recorded; it changed nothing"
        ),
        Outcome::Ignored => info!(
            target: EVENT_LOG_TARGET,
            event = id, r#type = kind, outcome = outcome.name(), request,
            "event recorded and ignored; its row in events says why"
        ),
        Outcome::Duplicate => info!(
            target: EVENT_LOG_TARGET,
            event = id, r#type = kind, outcome = outcome.name(), request,
            "event was recorded before"
        ),
    }
}

/// Counts a refusal, and logs it unless too many were logged in this second.
fn refused(webhook: &Webhook, error: &HttpError, arrival: &Arrival) {
    let (reason, request) = (error.reason(), arrival.id());
    counter!("paidup_refusals_total", "reason" => reason).increment(1);
    let Some(suppressed) = webhook.warnings.admit() else { return };
    match error {
        HttpError::InvalidSignature(Rejected::TooOld | Rejected::TooNew) => {
            let clock = (webhook.clock)();
            let tolerance = webhook.tolerance_seconds;
            warn!(reason, request, clock, tolerance, suppressed, "call refused: {error}");
        }
        _ => warn!(reason, request, suppressed, "call refused: {error}"),
    }
}

/// Handles that are looked up once: a look-up by labels costs more than the counting.
struct Meters {
    request_seconds: Histogram,
    secret_matches: Vec<Counter>,
    /// By type, the last one `other`, and outcome; each made when it is first needed, so that
    /// only series with events in them are exported.
    events: Vec<[OnceLock<Counter>; OUTCOMES]>,
}

impl Meters {
    fn new(secrets: &[SigningSecret]) -> Self {
        register_refusals();
        let matches = |secret: &SigningSecret| counter!("paidup_signing_secret_matches_total", "last4" => secret.last4().to_owned());
        Self {
            request_seconds: histogram!("paidup_request_seconds"),
            secret_matches: secrets.iter().map(matches).collect(),
            events: (0..=METRIC_TYPES.len()).map(|_| Default::default()).collect(),
        }
    }

    fn event(&self, kind: &str, outcome: Outcome) -> &Counter {
        let kinds = &*METRIC_TYPES;
        let row = kinds.binary_search(&kind).unwrap_or(kinds.len());
        let label = kinds.get(row).copied().unwrap_or("other");
        self.events[row][column(outcome)].get_or_init(
            || counter!("paidup_events_total", "type" => label, "outcome" => outcome.name()),
        )
    }
}

fn column(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Applied => 0,
        Outcome::Unchanged => 1,
        Outcome::Parked => 2,
        Outcome::Ignored => 3,
        Outcome::Duplicate => 4,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const ALL: [Outcome; OUTCOMES] = [
        Outcome::Applied,
        Outcome::Unchanged,
        Outcome::Parked,
        Outcome::Ignored,
        Outcome::Duplicate,
    ];

    #[test]
    fn the_answer_names_the_outcome() {
        for (index, outcome) in ALL.into_iter().enumerate() {
            let answer: serde_json::Value = serde_json::from_str(received(outcome)).expect("JSON");
            let expected = serde_json::json!({ "received": true, "outcome": outcome.name() });
            assert_eq!(answer, expected);
            assert_eq!(column(outcome), index);
        }
    }

    #[test]
    fn metric_types_can_be_searched() {
        assert!(METRIC_TYPES.is_sorted_by(|one, other| one < other), "each is there once");
        let meters = Meters::new(&[]);
        for kind in METRIC_TYPES.iter().copied().chain(["", "zzz", "v2.core.event"]) {
            let _ = meters.event(kind, Outcome::Duplicate);
        }
    }

    #[test]
    fn there_is_one_signature_header_or_none_is_read() {
        let mut head = HeaderMap::new();
        assert_eq!(only_signature(&head), Err(Rejected::Missing));
        head.append(STRIPE_SIGNATURE, HeaderValue::from_static("t=1,v1=aa"));
        assert_eq!(only_signature(&head), Ok(&b"t=1,v1=aa"[..]));
        head.append(STRIPE_SIGNATURE, HeaderValue::from_static("t=1,v1=aa"));
        assert_eq!(only_signature(&head), Err(Rejected::Malformed));
    }
}
