//! A stand-in of Stripe's API, by its published contract for lists: newest first, at most 100 a page,
//! `starting_after`, `has_more`, at most 20 `types[]`, and the key asked for. It can be told to be busy,
//! broken, or wrong.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, Uri};
use paidup::http::{Limits, serve};
use paidup::recovery::stripe::{ApiBase, ApiKey, StripeApi};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::fixtures::EventBody;

/// The key that it takes.
pub const KEY: &str = "rk_test_0123456789";

/// An answer that is given instead of the right one, once.
pub struct Odd {
    pub status: u16,
    pub retry_after: Option<&'static str>,
    pub body: &'static str,
}

#[derive(Default)]
struct Shelf {
    /// With whether each was delivered. As given: the oldest first.
    events: Vec<(Value, bool)>,
    endpoints: Vec<Value>,
    odd: VecDeque<Odd>,
    asked: Vec<String>,
    versions_asked: usize,
}

/// The stand-in. It serves until it is dropped.
pub struct Stripe {
    pub base: String,
    shelf: Arc<Mutex<Shelf>>,
    stop: CancellationToken,
}

impl Drop for Stripe {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Stripe {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let shelf = Arc::<Mutex<Shelf>>::default();
        let router = Router::new()
            .route("/v1/events", get(events))
            .route("/v1/webhook_endpoints", get(endpoints))
            .with_state(Arc::clone(&shelf));
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, router, Limits::default(), stop.clone()));
        Self { base, shelf, stop }
    }

    /// Something happened.
    pub fn happens(&self, event: &EventBody, is_delivered: bool) {
        self.shelf.lock().expect("no panic").events.push((event.json(), is_delivered));
    }

    pub fn endpoint(
        &self,
        id: &str,
        url: &str,
        status: &str,
        types: &[&str],
        version: Option<&str>,
    ) {
        self.shelf.lock().expect("no panic").endpoints.push(json!({
            "id": id, "object": "webhook_endpoint", "url": url, "status": status, "livemode": true,
            "enabled_events": types, "api_version": version, "secret": null, "metadata": {},
        }));
    }

    /// The next calls get these answers.
    pub fn will_answer(&self, odd: impl IntoIterator<Item = Odd>) {
        self.shelf.lock().expect("no panic").odd.extend(odd);
    }

    /// The queries so far, decoded.
    pub fn asked(&self) -> Vec<String> {
        self.shelf.lock().expect("no panic").asked.clone()
    }

    /// How many calls named a version.
    pub fn versions_asked(&self) -> usize {
        self.shelf.lock().expect("no panic").versions_asked
    }

    pub fn client(&self, key: &str) -> StripeApi {
        let base = ApiBase::new(&self.base).expect("of this machine");
        StripeApi::new(&base, &ApiKey::new(key).expect("a key")).expect("a client")
    }
}

fn answer(status: u16, retry_after: Option<&str>, body: String) -> Response {
    let mut response =
        Response::builder().status(status).header("content-type", "application/json");
    if let Some(seconds) = retry_after {
        response = response.header("retry-after", seconds);
    }
    response.body(Body::from(body)).expect("an answer")
}

fn refused(status: u16) -> Response {
    answer(status, None, r#"{"error":{"type":"invalid_request_error"}}"#.to_owned())
}

/// What every call goes through; then the query, decoded.
fn admitted(
    shelf: &mut Shelf,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<Vec<(String, String)>, Box<Response>> {
    let query = uri.query().unwrap_or_default();
    let query = query.replace("%5B", "[").replace("%5D", "]");
    shelf.asked.push(format!("{}?{query}", uri.path()));
    shelf.versions_asked += usize::from(headers.contains_key("stripe-version"));
    let key = headers.get("authorization").and_then(|value| value.to_str().ok());
    if key != Some(&format!("Bearer {KEY}")) {
        return Err(Box::new(refused(401)));
    }
    if let Some(odd) = shelf.odd.pop_front() {
        return Err(Box::new(answer(odd.status, odd.retry_after, odd.body.to_owned())));
    }
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// A page of the elements, the newest first.
fn page(url: &str, elements: &[Value], query: &[(String, String)]) -> Response {
    let one = |name: &str| query.iter().find(|(known, _)| known == name).map(|(_, value)| value);
    let limit: usize = one("limit").map_or(10, |limit| limit.parse().expect("a number"));
    if !(1..=100).contains(&limit) {
        return refused(400);
    }
    let begin = match one("starting_after") {
        None => 0,
        Some(after) => match elements.iter().position(|element| element["id"] == **after) {
            Some(position) => position + 1,
            None => return refused(400),
        },
    };
    let rest = &elements[begin..];
    let data = &rest[..rest.len().min(limit)];
    // Pretty, as Stripe's answers are: an element is to be taken as it stands there.
    let list = json!({
        "object": "list", "url": url, "has_more": data.len() < rest.len(), "data": data,
    });
    answer(200, None, serde_json::to_string_pretty(&list).expect("JSON"))
}

async fn events(State(shelf): State<Arc<Mutex<Shelf>>>, headers: HeaderMap, uri: Uri) -> Response {
    let mut shelf = shelf.lock().expect("no panic");
    let query = match admitted(&mut shelf, &headers, &uri) {
        Ok(query) => query,
        Err(response) => return *response,
    };
    let all = |name: &'static str| {
        query.iter().filter(move |(known, _)| known == name).map(|(_, value)| value)
    };
    let types: Vec<&String> = all("types[]").collect();
    if types.len() > 20 {
        return refused(400);
    }
    let from: i64 = all("created[gte]").next().map_or(0, |from| from.parse().expect("a number"));
    let delivered = all("delivery_success").next().map(|value| value == "true");
    let fitting: Vec<Value> = shelf
        .events
        .iter()
        .rev()
        .filter(|(event, is_delivered)| {
            (types.is_empty() || types.iter().any(|kind| event["type"] == **kind))
                && event["created"].as_i64().is_some_and(|created| created >= from)
                && delivered.is_none_or(|delivered| delivered == *is_delivered)
        })
        .map(|(event, _)| event.clone())
        .collect();
    page("/v1/events", &fitting, &query)
}

async fn endpoints(
    State(shelf): State<Arc<Mutex<Shelf>>>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let mut shelf = shelf.lock().expect("no panic");
    match admitted(&mut shelf, &headers, &uri) {
        Ok(query) => page("/v1/webhook_endpoints", &shelf.endpoints, &query),
        Err(response) => *response,
    }
}
