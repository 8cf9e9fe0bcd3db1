//! `paidup backfill`: reads the events that Stripe keeps, and records those that are missing.
//!
//! They go through the same transaction as a webhook's events, so what was seen is a duplicate, and the
//! order in which they come makes no difference. Stripe keeps events for 30 days. One that is not
//! older than the page that is being read may be missed; the next backfill has it.

use bytes::Bytes;
use clap::Args;

use super::stripe::{ApiError, PAGE_ELEMENTS_MAX, Page, StripeApi};
use super::{RecoveryError, progress, run, since};
use crate::domain::event::Event;
use crate::domain::event_types as types;
use crate::domain::order_ids::OrderIdRules;
use crate::domain::origin::Fetched;
use crate::domain::outcome::Outcome;
use crate::store::connection::Connection;
use crate::store::transaction::{Answer, Rules, record};
use crate::store::{Session, Store, StoreError};
use crate::unix_milliseconds;
use crate::unix_seconds;

/// The most types of events that Stripe takes in one question.
pub const TYPES_MAX: usize = 20;
/// How far back to read unless told: as long as Stripe tries to deliver.
pub const SINCE_DEFAULT: &str = "3d";

/// Which events, and whether to record them.
#[derive(Debug, Clone, Args)]
pub struct BackfillArgs {
    /// Only what happened since then: 12h, 3d, or 2026-11-23T16:00:00Z. Stripe keeps 30 days.
    #[arg(long, default_value = SINCE_DEFAULT)]
    pub since: String,
    /// Only what Stripe could not deliver to every endpoint.
    #[arg(long)]
    pub only_undelivered: bool,
    /// Counts what is missing, and records nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// What a backfill came to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Filled {
    /// Events that Stripe has.
    pub read: u64,
    /// Those that were missing here.
    pub missing: u64,
    /// Of the missing, those that changed their order.
    pub applied: u64,
    /// Events that the database refuses, each for its own sake.
    pub refused: u64,
}

/// Reads the lists to their ends, and records what is missing.
///
/// # Errors
/// [`RecoveryError`]. What was committed before it stays; begin again from the same time.
pub async fn backfill(
    store: &Store,
    rules: &Rules,
    api: &StripeApi,
    args: &BackfillArgs,
) -> Result<Filled, RecoveryError> {
    let from = since(&args.since, unix_milliseconds())?.div_euclid(1000);
    let mut connection = Connection::new(store.clone(), super::AWAY_TOLD);
    let bar = progress("events");
    let mut filled = Filled::default();
    let all: Vec<&str> = types::all().collect();
    for types in all.chunks(TYPES_MAX) {
        let mut list = List::new(api, types, &rules.policy.order_ids, from, args.only_undelivered);
        while let Some(events) = list.next().await? {
            let events: Vec<&Event> = events.iter().collect();
            filled.read += events.len() as u64;
            if args.dry_run {
                filled.missing += missing(&mut connection, &events).await?;
            } else {
                land(&mut connection, rules, events, &mut filled).await?;
            }
            bar.set_position(filled.read);
            bar.set_message(format!("{} were missing", filled.missing));
        }
    }
    bar.finish_and_clear();
    connection.close().await;
    Ok(filled)
}

impl Filled {
    fn add(&mut self, answers: &[Answer]) {
        for answer in answers {
            if answer.outcome != Outcome::Duplicate {
                self.missing += 1;
                self.applied += u64::from(answer.outcome == Outcome::Applied);
            }
        }
    }
}

/// Records a page, in halves if the database refuses it, until the culprits stand alone.
pub(super) async fn land(
    connection: &mut Connection,
    rules: &Rules,
    page: Vec<&Event>,
    filled: &mut Filled,
) -> Result<(), StoreError> {
    let mut pending = vec![page];
    while let Some(mut events) = pending.pop() {
        let landed = run(connection, async |session: &mut Session| {
            record(session, rules, &events, unix_milliseconds()).await
        });
        match landed.await {
            Ok(answers) => filled.add(&answers),
            Err(error) if events.len() > 1 && error.may_be_of_one_event() => {
                pending.push(events.split_off(events.len() / 2));
                pending.push(events);
            }
            Err(StoreError::Refused(failure) | StoreError::TooSlow(failure)) => {
                filled.refused += 1;
                let event = events.first().map(|event| event.id()).unwrap_or_default();
                let advice = failure.advice();
                tracing::error!(event, "the database refuses this event: {failure}. {advice}");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn missing(connection: &mut Connection, events: &[&Event]) -> Result<u64, StoreError> {
    let ids: Vec<&str> = events.iter().map(|event| event.id()).collect();
    let known = run(connection, async |session: &mut Session| session.recorded_events(&ids).await);
    Ok(ids.len() as u64 - known.await?.len() as u64)
}

/// A list of Stripe's events, newest first, page after page.
pub(super) struct List<'a> {
    api: &'a StripeApi,
    types: &'a [&'a str],
    order_ids: &'a OrderIdRules,
    from: String,
    only_undelivered: bool,
    /// The last event of the last page; `None` before the first one.
    after: Option<String>,
    is_done: bool,
}

impl<'a> List<'a> {
    /// Those of these types that were made since then, in Unix seconds.
    pub(super) fn new(
        api: &'a StripeApi,
        types: &'a [&'a str],
        order_ids: &'a OrderIdRules,
        from: i64,
        only_undelivered: bool,
    ) -> Self {
        let from = from.to_string();
        Self { api, types, order_ids, from, only_undelivered, after: None, is_done: false }
    }

    /// The next page; `None` after the last one.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Event>>, ApiError> {
        if self.is_done {
            return Ok(None);
        }
        let limit = PAGE_ELEMENTS_MAX.to_string();
        let mut query = vec![("limit", limit.as_str()), ("created[gte]", self.from.as_str())];
        query.extend(self.types.iter().map(|kind| ("types[]", *kind)));
        if self.only_undelivered {
            query.push(("delivery_success", "false"));
        }
        query.extend(self.after.as_deref().map(|after| ("starting_after", after)));
        let Page { elements, has_more } = self.api.list("/v1/events", &query).await?;
        let read = |element| read(element, self.order_ids);
        let events = elements.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let last = events.last().map(|event| event.id().to_owned());
        // A list that does not move on would be read for ever.
        if has_more && last == self.after {
            return Err(ApiError::Malformed);
        }
        self.after = last;
        self.is_done = !has_more;
        Ok(Some(events))
    }
}

/// A page with something else among the events is none: what follows it could be missed.
fn read(element: Bytes, order_ids: &OrderIdRules) -> Result<Event, ApiError> {
    let fetched = Fetched::from_stripes_api_with_our_key(element, unix_seconds());
    Event::read_fetched(&fetched, order_ids).map_err(|_| ApiError::Malformed)
}
