//! What all pages have around them: the frame, the files that they name, and the page that says why there
//! is none.

use std::sync::LazyLock;

use askama::Template;
use axum::body::Body;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use sha2::{Digest, Sha256};

use super::User;
use crate::http::error::RETRY_AFTER_SECONDS;
use crate::http::visible;

const STYLE: &str = include_str!("assets/console.css");
const SCRIPT: &str = include_str!("assets/console.js");
const ICON: &str = include_str!("assets/icon.svg");

/// A file that pages name. Its name changes with what it says, so browsers may keep it for ever.
struct Asset {
    name: String,
    kind: &'static str,
    text: &'static str,
}

impl Asset {
    fn new(extension: &str, kind: &'static str, text: &'static str) -> Self {
        let hash = hex::encode(Sha256::digest(text));
        Self { name: format!("{}.{extension}", &hash[..16]), kind, text }
    }
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        Asset::new("css", "text/css; charset=utf-8", STYLE),
        Asset::new("js", "text/javascript; charset=utf-8", SCRIPT),
        Asset::new("svg", "image/svg+xml", ICON),
    ]
});

pub(super) async fn asset(Path(name): Path<String>) -> Result<Response, Trouble> {
    let asset = ASSETS.iter().find(|asset| asset.name == name).ok_or(Trouble::NotFound)?;
    let mut response = typed(asset.text, asset.kind);
    let for_ever = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(CACHE_CONTROL, for_ever);
    Ok(response)
}

/// What the frame of a page shows.
pub(super) struct Shell {
    /// The name of the page in the navigation.
    pub(super) name: &'static str,
    /// What forms bring back; `None` on pages that need no session.
    pub(super) form: Option<String>,
    /// Whether the script keeps the page fresh.
    pub(super) is_live: bool,
    pub(super) style: &'static str,
    pub(super) script: &'static str,
    pub(super) icon: &'static str,
}

impl Shell {
    /// Of a page that anybody may see.
    pub(super) fn outside() -> Self {
        let [style, script, icon] = &*ASSETS;
        let (style, script, icon) = (&style.name, &script.name, &icon.name);
        Self { name: "", form: None, is_live: false, style, script, icon }
    }

    /// Of a page of this session.
    pub(super) fn of(user: &User, name: &'static str) -> Self {
        Self { name, form: Some(user.0.form_token()), ..Self::outside() }
    }

    /// The same, kept fresh.
    pub(super) fn live(user: &User, name: &'static str) -> Self {
        Self { is_live: true, ..Self::of(user, name) }
    }

    /// The pages of the navigation.
    pub(super) fn pages(&self) -> [(&'static str, &'static str); 4] {
        [
            ("/console", "Overview"),
            ("/console/orders", "Orders"),
            ("/console/events", "Events"),
            ("/console/notifications", "Notifications"),
        ]
    }
}

/// Why there is no page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    #[error("There is nothing here.")]
    NotFound,
    #[error("Log in first.")]
    Stranger {
        /// Where to go from the page that logs in; `None` if it was to be a change.
        next: Option<String>,
    },
    #[error(
        "The request did not come from a page of this session. Open the page again and repeat it."
    )]
    Foreign,
    #[error("The request cannot be understood.")]
    Malformed,
    /// A parameter has a NUL.
    #[error("{0}")]
    Nul(&'static str),
    #[error(
        "The console does not know the host name that this browser asked for. If a proxy serves the console \
         under that name, set CONSOLE_URL to its address, such as CONSOLE_URL=https://ops.shop.example."
    )]
    Misdirected,
    #[error("Too many are looking already. Come again in a moment.")]
    Busy,
    #[error("The database does not answer. Come again in a moment.")]
    Database,
    #[error("This is a bug of paidup's: the page could not be written.")]
    Unwritten,
    #[error("The system gives no random numbers.")]
    NoRandom,
}

impl From<askama::Error> for Trouble {
    fn from(_: askama::Error) -> Self {
        Self::Unwritten
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let (status, title) = match &self {
            Self::Stranger { next: Some(next) } => {
                let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
                return see(&format!("/console/login?next={next}"));
            }
            Self::NotFound => (StatusCode::NOT_FOUND, "Not found"),
            Self::Stranger { next: None } => (StatusCode::UNAUTHORIZED, "Logged out"),
            Self::Foreign => (StatusCode::FORBIDDEN, "Refused"),
            Self::Malformed | Self::Nul(_) => (StatusCode::BAD_REQUEST, "Refused"),
            Self::Misdirected => (StatusCode::MISDIRECTED_REQUEST, "Refused"),
            Self::Busy | Self::Database => (StatusCode::SERVICE_UNAVAILABLE, "Not now"),
            Self::Unwritten | Self::NoRandom => (StatusCode::INTERNAL_SERVER_ERROR, "A failure"),
        };
        let page = TroublePage { shell: Shell::outside(), title, told: self.to_string() };
        let mut response = html(page.render().unwrap_or_default());
        *response.status_mut() = status;
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        response
    }
}

#[derive(Template)]
#[template(path = "trouble.html")]
struct TroublePage {
    shell: Shell,
    title: &'static str,
    told: String,
}

/// A page.
pub(super) fn page(template: &impl Template) -> Result<Response, Trouble> {
    Ok(html(template.render()?))
}

fn html(text: String) -> Response {
    typed(visible::page(text), "text/html; charset=utf-8")
}

pub(super) fn typed(body: impl Into<Body>, kind: &'static str) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Sends the browser there, to read.
pub(super) fn see(path: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    // A path of ours has no characters that a header could not hold.
    let path = HeaderValue::try_from(path).unwrap_or(HeaderValue::from_static("/console"));
    response.headers_mut().insert(LOCATION, path);
    response
}

/// The address of a page with these values in its query; those that are empty are left out.
pub(super) fn address(path: &str, pairs: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// One of what a filter may be set to.
pub(super) struct Choice {
    pub(super) value: &'static str,
    pub(super) name: &'static str,
    pub(super) is_chosen: bool,
}

/// No filter, under this name, and these.
pub(super) fn choices(
    none: &'static str,
    values: impl IntoIterator<Item = &'static str>,
    chosen: &str,
) -> Vec<Choice> {
    let of = |value, name| Choice { value, name, is_chosen: value == chosen };
    let values = values.into_iter().map(|value| of(value, value));
    std::iter::once(of("", none)).chain(values).collect()
}
