//! `paidup doctor`: asks Stripe whether its webhooks can reach us, and compares that with what came.
//!
//! Stripe reveals no signing secret, so whether ours is the endpoint's cannot be asked. What can be
//! known is whether what Stripe could not deliver is missing here, and whether anything came at all.

use reqwest::Url;
use serde::Deserialize;

use super::backfill::{List, TYPES_MAX};
use super::stripe::{ApiError, PAGE_ELEMENTS_MAX, StripeApi};
use super::{RecoveryError, run};
use crate::check::{Finding, Grade};
use crate::domain::event_types as types;
use crate::domain::order_ids::OrderIdRules;
use crate::domain::outcome::Outcome;
use crate::http::webhook::WEBHOOK_PATH;
use crate::store::connection::Connection;
use crate::store::reads::{EventFilter, events_page};
use crate::store::{Session, Store};
use crate::tell;
use crate::unix_milliseconds;

/// How far back it looks: as long as Stripe tries to deliver.
pub const DOCTOR_DAYS: i64 = 3;
/// The most pages of undelivered events that it looks through.
pub const UNDELIVERED_PAGES_MAX: usize = 10;
/// The most events of each type and outcome that it looks at.
pub const SEEN_EVENTS_MAX: i64 = 100;
const DAY_SECONDS: i64 = 24 * 60 * 60;

/// A webhook endpoint, as Stripe lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Endpoint {
    /// `we_…`
    pub id: String,
    /// Where it calls.
    pub url: String,
    /// `enabled` or `disabled`.
    pub status: String,
    /// The types of events, or `*`.
    pub enabled_events: Vec<String>,
    /// The version of its events; `None`: the account's default.
    pub api_version: Option<String>,
    /// Whether it is one of live mode.
    pub livemode: bool,
}

/// Looks at everything. `url` is where Stripe should call; without it, every endpoint that calls
/// `/webhook/stripe` is looked at.
///
/// # Errors
/// [`RecoveryError`] if Stripe or the database does not answer.
pub async fn doctor(
    store: &Store,
    api: &StripeApi,
    url: Option<&str>,
) -> Result<Vec<Finding>, RecoveryError> {
    tell::open(store).await?.close().await;
    let endpoints = endpoints(api).await?;
    let from = unix_milliseconds().div_euclid(1000) - DOCTOR_DAYS * DAY_SECONDS;
    let mut connection = Connection::new(store.clone(), "nothing is changed");
    let seen = seen(&mut connection, from * 1000).await?;
    let mut findings = judge(&endpoints, url, &seen);
    findings.push(undelivered(api, &mut connection, from).await?);
    findings.push(secret(&seen));
    connection.close().await;
    Ok(findings)
}

/// A version of the API that events came with.
#[derive(Debug, Clone, PartialEq, Eq)]
struct VersionSeen {
    /// The version; `None` if their bodies told none.
    api_version: Option<String>,
    livemode: bool,
    /// How many of those that were looked at.
    events: usize,
    /// When the last one came, in milliseconds since 1970.
    newest_at: i64,
}

/// What came since then, by the newest of each kind: however many came, it is soon looked at.
async fn seen(connection: &mut Connection, since: i64) -> Result<Vec<VersionSeen>, RecoveryError> {
    let kinds = run(connection, async |session: &mut Session| session.event_kinds().await).await?;
    let mut seen: Vec<VersionSeen> = Vec::new();
    for kind in kinds {
        let filter = EventFilter { kind: Some(kind.kind), outcome: Outcome::named(&kind.outcome) };
        let page = run(connection, async |session: &mut Session| {
            events_page(session, &filter, None, SEEN_EVENTS_MAX).await
        });
        for event in page.await?.rows.into_iter().filter(|event| event.received_at >= since) {
            let (api_version, livemode) = (event.api_version, event.livemode);
            let known = seen
                .iter_mut()
                .find(|known| known.api_version == api_version && known.livemode == livemode);
            if let Some(known) = known {
                known.events += 1;
                known.newest_at = known.newest_at.max(event.received_at);
            } else {
                let newest_at = event.received_at;
                seen.push(VersionSeen { api_version, livemode, events: 1, newest_at });
            }
        }
    }
    Ok(seen)
}

async fn endpoints(api: &StripeApi) -> Result<Vec<Endpoint>, ApiError> {
    let limit = PAGE_ELEMENTS_MAX.to_string();
    let mut endpoints: Vec<Endpoint> = Vec::new();
    loop {
        let mut query = vec![("limit", limit.as_str())];
        let after = endpoints.last().map(|last| last.id.clone());
        query.extend(after.as_deref().map(|after| ("starting_after", after)));
        let page = api.list("/v1/webhook_endpoints", &query).await?;
        for element in page.elements {
            endpoints.push(serde_json::from_slice(&element).map_err(|_| ApiError::Malformed)?);
        }
        if !page.has_more {
            return Ok(endpoints);
        }
        if endpoints.last().map(|last| &last.id) == after.as_ref() {
            return Err(ApiError::Malformed);
        }
    }
}

/// What the endpoints themselves tell, beside what came.
fn judge(endpoints: &[Endpoint], url: Option<&str>, seen: &[VersionSeen]) -> Vec<Finding> {
    let is_ours = |endpoint: &&Endpoint| match url {
        Some(url) => same_place(&endpoint.url, url),
        None => endpoint.url.trim_end_matches('/').ends_with(WEBHOOK_PATH),
    };
    let ours: Vec<&Endpoint> = endpoints.iter().filter(is_ours).collect();
    let place = url.unwrap_or("…/webhook/stripe");
    let mut findings = Vec::new();
    if url.is_none() {
        findings.push(Finding::doubtful(format!(
            "PUBLIC_URL is not set, so every endpoint that calls {WEBHOOK_PATH} is taken for ours"
        )));
    }
    if ours.is_empty() {
        let others: Vec<&str> = endpoints.iter().map(|endpoint| endpoint.url.as_str()).collect();
        let others = if others.is_empty() { "none at all".to_owned() } else { others.join(", ") };
        findings.push(Finding::bad(format!(
            "no webhook endpoint of this account and mode calls {place}; there is {others}. Add one \
             in the Dashboard"
        )));
    }
    for endpoint in &ours {
        findings.extend(judge_one(endpoint, seen));
    }
    let enabled = || ours.iter().filter(|endpoint| endpoint.status == "enabled");
    for (position, one) in enabled().enumerate() {
        let twins = enabled()
            .skip(position + 1)
            .filter(|other| same_place(&one.url, &other.url) && one.livemode == other.livemode);
        findings.extend(twins.map(|other| {
            Finding::doubtful(format!(
                "{} and {} both call {}: each event comes twice, signed with two secrets. It does no \
                 harm if paidup has both; delete one in the Dashboard",
                one.id, other.id, one.url
            ))
        }));
    }
    findings
}

fn judge_one(endpoint: &Endpoint, seen: &[VersionSeen]) -> Vec<Finding> {
    let name = format!("{} ({})", endpoint.id, endpoint.url);
    if endpoint.status != "enabled" {
        return vec![Finding::bad(format!(
            "{name} is {}: Stripe calls it no more. Enable it in the Dashboard, then run `paidup \
             backfill`",
            endpoint.status
        ))];
    }
    let mut findings = vec![Finding::good(format!("{name} is enabled"))];
    let missing = |wanted: &[&str]| -> Vec<String> {
        let has =
            |kind: &str| endpoint.enabled_events.iter().any(|event| event == "*" || event == kind);
        wanted.iter().filter(|kind| !has(kind)).map(|kind| (*kind).to_owned()).collect()
    };
    let (needed, advised) = (missing(&types::NEEDED), missing(&types::ADVISED));
    if !needed.is_empty() {
        findings.push(Finding::bad(format!("{name} does not send {}", needed.join(", "))));
    }
    if !advised.is_empty() {
        findings.push(Finding::doubtful(format!(
            "{name} does not send {}; the guide to Stripe says what each adds",
            advised.join(", ")
        )));
    }
    findings.extend(version(&name, endpoint, seen));
    findings
}

/// Whether what came has the endpoint's version.
fn version(name: &str, endpoint: &Endpoint, seen: &[VersionSeen]) -> Option<Finding> {
    let of_mode = || seen.iter().filter(|seen| seen.livemode == endpoint.livemode);
    let newest = of_mode().max_by_key(|seen| seen.newest_at)?;
    let came = newest.api_version.as_deref().unwrap_or("none");
    match &endpoint.api_version {
        None => Some(Finding::good(format!(
            "{name} sends the account's default API version, which this cannot ask for; what came last \
             has {came}"
        ))),
        Some(version) if newest.api_version.as_ref() == Some(version) => Some(Finding::good(
            format!("{name} sends API version {version}, and so what came last has"),
        )),
        Some(version) => Some(Finding::doubtful(format!(
            "{name} sends API version {version}, but what came last has {came}: it came from another \
             endpoint or from a backfill, or the version was changed since"
        ))),
    }
}

/// What Stripe could not deliver, and whether it is here all the same.
async fn undelivered(
    api: &StripeApi,
    connection: &mut Connection,
    from: i64,
) -> Result<Finding, RecoveryError> {
    let (mut undelivered, mut missing, mut pages) = (0, 0, 0);
    let all: Vec<&str> = types::all().collect();
    for types in all.chunks(TYPES_MAX) {
        // Only ids are compared here.
        let order_ids = OrderIdRules::default();
        let mut list = List::new(api, types, &order_ids, from, true);
        while pages < UNDELIVERED_PAGES_MAX
            && let Some(events) = list.next().await?
        {
            pages += 1;
            let ids: Vec<&str> = events.iter().map(|event| event.id()).collect();
            let known =
                run(connection, async |session: &mut Session| session.recorded_events(&ids).await);
            undelivered += ids.len();
            missing += ids.len() - known.await?.len();
        }
    }
    let least = if pages < UNDELIVERED_PAGES_MAX { "" } else { "at least " };
    Ok(match (undelivered, missing) {
        (0, _) => {
            Finding::good(format!("Stripe delivered all events of the last {DOCTOR_DAYS} days"))
        }
        (_, 0) => Finding::good(format!(
            "{least}{undelivered} events of the last {DOCTOR_DAYS} days were not delivered to every \
             endpoint, and all of them are here"
        )),
        _ => Finding::bad(format!(
            "{least}{missing} events of the last {DOCTOR_DAYS} days were not delivered, and are missing \
             here. Run `paidup backfill --only-undelivered`"
        )),
    })
}

/// What can be known of the secret.
fn secret(seen: &[VersionSeen]) -> Finding {
    let came: usize = seen.iter().map(|seen| seen.events).sum();
    if came == 0 {
        return Finding::doubtful(format!(
            "nothing was recorded in the last {DOCTOR_DAYS} days, so nothing is known of the signing \
             secret. Stripe reveals none; send a test event from the endpoint's page and look for \
             no_match in paidup_refusals_total"
        ));
    }
    Finding::good(format!(
        "{came} events were recorded (the newest {SEEN_EVENTS_MAX} of each kind counted) in the last {DOCTOR_DAYS} days. Whether the signing secret is the \
         endpoint's, Stripe does not tell: paidup_signing_secret_matches_total and the reason no_match \
         of paidup_refusals_total do"
    ))
}

/// Whether two addresses are one, but for their writing.
fn same_place(one: &str, other: &str) -> bool {
    let plain = |text: &str| {
        let mut url = Url::parse(text).ok()?;
        url.set_fragment(None);
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Some(url)
    };
    match (plain(one), plain(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

/// Whether anything is wrong.
#[must_use]
pub fn is_bad(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.grade == Grade::Bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_same_however_it_is_written() {
        for (one, other, same) in [
            (
                "https://shop.example/webhook/stripe",
                "https://Shop.Example:443/webhook/stripe/",
                true,
            ),
            ("https://shop.example/webhook/stripe", "http://shop.example/webhook/stripe", false),
            ("https://shop.example/webhook/stripe", "https://shop.example/webhook/Stripe", false),
            (
                "https://shop.example/webhook/stripe",
                "https://shop.example.evil/webhook/stripe",
                false,
            ),
        ] {
            assert_eq!(same_place(one, other), same, "{one} {other}");
        }
    }
}
