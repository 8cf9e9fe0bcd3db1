//! The console: pages for people, on the operators' listener alone, below `/console`.
//!
//! [`guard`] stands before every path of it, the ones that are not there included, so no route can forget
//! it: it lets in [`session`]s, gives a changing handler only a form that came from a page of the same
//! session, and sets the same headers on every answer. Pages are rendered here from templates that escape
//! whatever came from Stripe or the shop, and are whole without the script, which only keeps them fresh
//! ([`live`]).
//!
//! It reads by way of readers of its own, so that a busy API does not keep people out.

mod chart;
mod events;
mod live;
mod login;
mod notifications;
mod order;
mod orders;
mod overview;
mod pretty;
mod process;
pub mod session;
mod shell;
mod words;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Method};
use metrics::counter;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

use self::live::Live;
use self::overview::Totals;
use self::session::{ConsoleUrl, Cookie, is_of_our_host, is_of_our_site};
use self::shell::Trouble;
use super::problem::Problem;
use super::readers::{Readers, Work};
use super::secrets::SecretUses;
use super::token::Doorkeeper;
use super::{Peer, audit, nul};
use crate::ingest::Ingest;
use crate::store::transaction::Rules;
use crate::store::{Session, Store};

/// Where it is.
pub const PATH: &str = "/console";
/// The longest form.
pub const FORM_BYTES_MAX: usize = 16 * 1024;
/// Nothing from elsewhere, nothing written into the page, nothing around it.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
);
const X_FRAME_OPTIONS: HeaderName = HeaderName::from_static("x-frame-options");

/// What the console is made of.
pub struct Parts {
    /// The database.
    pub store: Store,
    /// How to fold, for a replay.
    pub rules: Rules,
    /// Who knows the token.
    pub door: Doorkeeper,
    /// Where browsers reach it, if not at the listener itself.
    pub url: Option<ConsoleUrl>,
    /// What this process has measured.
    pub metrics: PrometheusHandle,
    /// The queue.
    pub ingest: Ingest,
    /// By which secrets calls were proven.
    pub secrets: Arc<SecretUses>,
    /// Ends what stays open.
    pub stop: CancellationToken,
    /// The time in milliseconds.
    pub now: fn() -> i64,
}

/// What the pages share.
#[derive(Clone)]
pub struct Console(Arc<Inner>);

struct Inner {
    parts: Parts,
    readers: Readers,
    totals: Mutex<Totals>,
    live: Live,
}

impl Console {
    /// Opens nothing yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let readers = Readers::new(parts.store.clone());
        let live = Live::new(parts.stop.clone());
        Self(Arc::new(Inner { parts, readers, totals: Mutex::default(), live }))
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl for<'a> FnOnce(&'a mut Session) -> Work<'a, T> + Send + 'static,
    ) -> Result<T, Trouble> {
        self.0.readers.run(work).await.map_err(|problem| match problem {
            Problem::Busy => Trouble::Busy,
            _ => Trouble::Database,
        })
    }

    fn now(&self) -> i64 {
        (self.0.parts.now)()
    }

    fn url(&self) -> Option<&ConsoleUrl> {
        self.0.parts.url.as_ref()
    }
}

/// The routes, all of them behind the [`guard`].
pub fn router(console: Console) -> Router {
    let routes = Router::new()
        .route("/", get(overview::show))
        .route("/login", get(login::show).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/orders", get(orders::list))
        .route("/order", get(order::show))
        .route("/events", get(events::list))
        .route("/event", get(events::show))
        .route("/event/replay", post(events::replay))
        .route("/notifications", get(notifications::list))
        .route("/notification/retry", post(notifications::retry))
        .route("/live", get(live::stream))
        .route("/assets/{name}", get(shell::asset))
        .method_not_allowed_fallback(nothing_here)
        .fallback(nothing_here)
        .layer(from_fn_with_state(console.clone(), guard))
        .with_state(console);
    let to_console = get(async || shell::see(PATH));
    Router::new()
        .route("/", to_console.clone())
        .route("/console/", to_console)
        .layer(map_response(hardened))
        .nest(PATH, routes)
}

async fn nothing_here() -> Trouble {
    Trouble::NotFound
}

/// A session that was let in.
#[derive(Clone)]
struct User(Cookie);

/// What a form brought: only one that may change something gets here.
#[derive(Clone)]
struct Form(HashMap<String, String>);

impl Form {
    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

async fn guard(State(console): State<Console>, request: Request, next: Next) -> Response {
    let caller = Peer::of(&request);
    let response = match admit(&console, request).await {
        Ok(request) => run(request, next, caller).await,
        Err(trouble) => {
            let reason = match trouble {
                Trouble::Misdirected => Some("host_unknown"),
                Trouble::Foreign => Some("form_foreign"),
                _ => None,
            };
            if let Some(reason) = reason {
                counter!("paidup_refusals_total", "reason" => reason).increment(1);
            }
            trouble.into_response()
        }
    };
    hardened(response).await
}

/// Runs a request that was let in. One of a session that may change something is logged.
async fn run(request: Request, next: Next, caller: Option<IpAddr>) -> Response {
    let change = match (request.extensions().get::<User>(), request.extensions().get::<Form>()) {
        (Some(_), Some(form)) => {
            let dry = if form.get("keep") == "no" { " (dry run)" } else { "" };
            let call = format!("{} {PATH}{}{dry}", request.method(), request.uri().path());
            Some((call, form.get("id").to_owned()))
        }
        _ => None,
    };
    let response = next.run(request).await;
    if let Some((call, id)) = change {
        audit::changed(&call, &id, caller, response.status());
    }
    response
}

async fn hardened(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let fixed = HeaderValue::from_static;
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
    headers.insert(REFERRER_POLICY, fixed("no-referrer"));
    // For browsers that do not read the policy's frame-ancestors.
    headers.insert(X_FRAME_OPTIONS, fixed("DENY"));
    headers.entry(CACHE_CONTROL).or_insert(fixed("no-store"));
    response
}

/// Lets a request pass that may: with its [`User`], and with its [`Form`] if it is to change something.
async fn admit(console: &Console, request: Request) -> Result<Request, Trouble> {
    if !is_of_our_host(request.headers(), console.url()) {
        return Err(Trouble::Misdirected);
    }
    let is_change = !matches!(*request.method(), Method::GET | Method::HEAD);
    if is_change && !is_of_our_site(request.headers(), console.url()) {
        return Err(Trouble::Foreign);
    }
    let (mut request, form) = if is_change { take_form(request).await? } else { (request, None) };
    if !is_open(request.uri().path()) {
        let cookie = Cookie::of(request.headers());
        let is_known = match &cookie {
            Some(cookie) => is_known(console, cookie).await?,
            None => false,
        };
        let Some(cookie) = cookie.filter(|_| is_known) else {
            return Err(login::wanted(&request, is_change));
        };
        if form.as_ref().is_some_and(|form| !cookie.is_form_token(form.get("form"))) {
            return Err(Trouble::Foreign);
        }
        request.extensions_mut().insert(User(cookie));
    }
    if let Some(why) = nul::in_query(request.uri().query()) {
        return Err(Trouble::Nul(why));
    }
    if let Some(form) = form {
        if let Some(why) = form.0.iter().find_map(nul::in_field) {
            return Err(Trouble::Nul(why));
        }
        request.extensions_mut().insert(form);
    }
    Ok(request)
}

/// What can be seen without a session: the way in, and how it looks.
fn is_open(path: &str) -> bool {
    path == "/login" || path.starts_with("/assets/")
}

async fn take_form(request: Request) -> Result<(Request, Option<Form>), Trouble> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, FORM_BYTES_MAX).await.map_err(|_| Trouble::Malformed)?;
    let form = form_urlencoded::parse(&body).into_owned().collect();
    Ok((Request::from_parts(head, axum::body::Body::empty()), Some(Form(form))))
}

async fn is_known(console: &Console, cookie: &Cookie) -> Result<bool, Trouble> {
    let Some(hash) = console.0.parts.door.seal(cookie.as_bytes()) else { return Ok(false) };
    let now = console.now() / 1000;
    console
        .run(move |session| {
            Box::pin(async move { session.console_session_is_open(&hash, now).await })
        })
        .await
}
