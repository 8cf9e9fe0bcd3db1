//! Events: the newest first, filtered by type and outcome; one with its body as it came, and what a
//! parked one waits for; and folding it again, first as a dry run that shows what would change.

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::order::OneQuery;
use super::orders::PAGE_ROWS;
use super::pretty::{Shown, pretty};
use super::shell::{Choice, Shell, Trouble, address, choices, page};
use super::words::{milliseconds, seconds};
use super::{Console, Form, User};
use crate::domain::money;
use crate::domain::outcome::Outcome;
use crate::store::EventRecord;
use crate::store::reads::{Cursor, EventFilter, EventWithBody, events_page};
use crate::store::replay::{Again, Keep, Replayed, replay as fold_again};

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct EventsQuery {
    #[serde(rename = "type")]
    kind: String,
    outcome: String,
    after: String,
}

impl EventsQuery {
    fn filter(&self) -> EventFilter {
        let kind = Some(self.kind.trim().to_owned()).filter(|kind| !kind.is_empty());
        let outcome = Outcome::ALL.into_iter().find(|outcome| outcome.name() == self.outcome);
        EventFilter { kind, outcome }
    }
}

struct Row {
    address: String,
    id: String,
    kind: String,
    at: String,
    created: String,
    outcome: String,
    /// Its order, and where that is.
    order: Option<(String, String)>,
    payment: Option<String>,
    reason: String,
    mode: &'static str,
    version: String,
    conflicts: i64,
}

impl From<EventRecord> for Row {
    fn from(event: EventRecord) -> Self {
        let order = event.order_id.map(|id| (address("/console/order", &[("id", &id)]), id));
        Self {
            address: address("/console/event", &[("id", &event.id)]),
            at: milliseconds(event.received_at),
            created: event.created.map(seconds).unwrap_or_default(),
            id: event.id,
            kind: event.kind,
            outcome: event.outcome,
            order,
            payment: event.payment_key,
            reason: event.reason.unwrap_or_default(),
            mode: if event.livemode { "live" } else { "test" },
            version: event.api_version.unwrap_or_default(),
            conflicts: event.conflicts,
        }
    }
}

#[derive(Template)]
#[template(path = "events.html")]
struct EventsPage {
    shell: Shell,
    kind: String,
    outcomes: Vec<Choice>,
    rows: Vec<Row>,
    next: Option<String>,
}

pub(super) async fn list(
    State(console): State<Console>,
    Extension(user): Extension<User>,
    Query(query): Query<EventsQuery>,
) -> Result<Response, Trouble> {
    let (filter, after) = (query.filter(), Cursor::parse(&query.after));
    let found = console.run(move |session| {
        Box::pin(async move { events_page(session, &filter, after.as_ref(), PAGE_ROWS).await })
    });
    let found = found.await?;
    let next = found.next.map(|next| {
        let next = next.to_string();
        let pairs = [("type", query.kind.as_str()), ("outcome", &query.outcome), ("after", &next)];
        address("/console/events", &pairs)
    });
    page(&EventsPage {
        shell: Shell::live(&user, "Events"),
        outcomes: choices("any", Outcome::ALL.map(Outcome::name), &query.outcome),
        kind: query.kind,
        rows: found.rows.into_iter().map(Row::from).collect(),
        next,
    })
}

/// What folding an event again came to, or would.
struct Told {
    is_dry: bool,
    lines: Vec<String>,
}

#[derive(Template)]
#[template(path = "event.html")]
struct EventPage {
    shell: Shell,
    event: Row,
    /// `None` once it was pruned.
    body: Option<Shown>,
    told: Option<Told>,
}

pub(super) async fn show(
    State(console): State<Console>,
    Extension(user): Extension<User>,
    Query(OneQuery { id }): Query<OneQuery>,
) -> Result<Response, Trouble> {
    event_page(&console, &user, id, None).await
}

async fn event_page(
    console: &Console,
    user: &User,
    id: String,
    told: Option<Told>,
) -> Result<Response, Trouble> {
    let read = console.run(move |session| Box::pin(async move { session.event(&id).await }));
    let EventWithBody { event, body } = read.await?.ok_or(Trouble::NotFound)?;
    // What was just shown must not be taken away by a page that knows nothing of it.
    let shell =
        if told.is_some() { Shell::of(user, "Events") } else { Shell::live(user, "Events") };
    page(&EventPage { shell, event: event.into(), body: body.map(|body| pretty(&body)), told })
}

pub(super) async fn replay(
    State(console): State<Console>,
    Extension(user): Extension<User>,
    Extension(form): Extension<Form>,
) -> Result<Response, Trouble> {
    let id = form.get("id").to_owned();
    let is_dry = form.get("keep") != "yes";
    let keep = if is_dry { Keep::DryRun } else { Keep::Commit };
    let (ids, now, shared) = ([id.clone()], console.now(), console.clone());
    let replayed = console.run(move |session| {
        Box::pin(async move { fold_again(session, &shared.0.parts.rules, &ids, now, keep).await })
    });
    let replayed = replayed.await?;
    if !is_dry && !replayed.changes.is_empty() {
        console.0.parts.ingest.tell_changes();
    }
    let told = Told { is_dry, lines: lines(&replayed, is_dry) };
    event_page(&console, &user, id, Some(told)).await
}

fn lines(replayed: &Replayed, is_dry: bool) -> Vec<String> {
    let becomes = if is_dry { "would become" } else { "became" };
    let mut lines = Vec::new();
    for change in &replayed.changes {
        let to = &change.to;
        let show = |amount| money::show(amount, to.currency.as_deref());
        lines.push(format!(
            "Order {} {becomes} {}: received {}, refunded {}.",
            change.order_id,
            to.status.name(),
            show(to.amount_received),
            show(to.amount_refunded)
        ));
    }
    lines.extend(replayed.events.iter().map(|event| match &event.again {
        Again::Same if is_dry => "The event would stay as it is.".to_owned(),
        Again::Same => "The event stays as it is.".to_owned(),
        Again::Moved { was, is, reason } => {
            format!("The event {becomes} {is}, from {was}: {reason}.")
        }
        Again::NoBody => "Its body was pruned: it cannot be folded again.".to_owned(),
        Again::Unreadable => "Its body cannot be read.".to_owned(),
    }));
    lines
}
