//! The way in and out: the token for a cookie, and the cookie for nothing.

use std::net::IpAddr;

use askama::Template;
use axum::Extension;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::StatusCode;
use http::header::{RETRY_AFTER, SET_COOKIE};
use serde::Deserialize;

use super::session::{Cookie, SESSION_SECONDS};
use super::shell::{Shell, Trouble, page, see};
use super::{Console, Form, PATH, User};
use crate::http::attempts::ATTEMPTS_SECONDS;
use crate::http::token::Stranger;
use crate::http::{Peer, audit};

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    shell: Shell,
    told: Option<&'static str>,
    next: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct LoginQuery {
    next: String,
}

pub(super) async fn show(Query(query): Query<LoginQuery>) -> Result<Response, Trouble> {
    page(&LoginPage { shell: Shell::outside(), told: None, next: query.next })
}

/// Sends whoever wants to read to the login page and back; a change is not repeated.
pub(super) fn wanted(request: &Request, is_change: bool) -> Trouble {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    // Only pages are gone back to.
    let is_page = !is_change && request.uri().path() != "/live";
    Trouble::Stranger { next: is_page.then(|| format!("{PATH}{}", path.trim_end_matches('/'))) }
}

/// A path of the console's, and nothing that a browser could take for another place.
fn is_ours(path: &str) -> bool {
    let rest = path.strip_prefix(PATH);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

pub(super) async fn log_in(
    State(console): State<Console>,
    Extension(form): Extension<Form>,
    request: Request,
) -> Result<Response, Trouble> {
    let next = form.get("next").to_owned();
    let (token, peer) = (form.get("token").trim().as_bytes(), Peer::of(&request));
    if let Err(stranger) = console.0.parts.door.try_token(token, peer) {
        return refuse(stranger, peer, next);
    }
    let cookie = Cookie::new(crate::random::bytes().map_err(|_| Trouble::NoRandom)?);
    let hash = console.0.parts.door.seal(cookie.as_bytes()).ok_or(Trouble::Unwritten)?;
    let now = console.now() / 1000;
    let open = console.run(move |session| {
        Box::pin(
            async move { session.open_console_session(&hash, now + SESSION_SECONDS, now).await },
        )
    });
    open.await?;
    audit::logged_in(peer);
    let mut response = see(if is_ours(&next) { &next } else { PATH });
    if let Some(set) = cookie.set(console.url()) {
        response.headers_mut().insert(SET_COOKIE, set);
    }
    Ok(response)
}

fn refuse(stranger: Stranger, peer: Option<IpAddr>, next: String) -> Result<Response, Trouble> {
    let (status, reason, told) = match stranger {
        Stranger::Unknown => (StatusCode::FORBIDDEN, "login_refused", "That is not the token."),
        Stranger::TooMany => (
            StatusCode::TOO_MANY_REQUESTS,
            "logins_too_many",
            "That is not the token. Too many wrong tokens came; try again in a minute.",
        ),
    };
    audit::token_refused(reason, peer);
    let mut response = page(&LoginPage { shell: Shell::outside(), told: Some(told), next })?;
    *response.status_mut() = status;
    if stranger == Stranger::TooMany {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(ATTEMPTS_SECONDS));
    }
    Ok(response)
}

pub(super) async fn log_out(
    State(console): State<Console>,
    Extension(User(cookie)): Extension<User>,
) -> Result<Response, Trouble> {
    if let Some(hash) = console.0.parts.door.seal(cookie.as_bytes()) {
        let close = console.run(move |session| {
            Box::pin(async move { session.close_console_session(&hash).await })
        });
        close.await?;
    }
    let mut response = see("/console/login").into_response();
    if let Some(unset) = Cookie::unset(console.url()) {
        response.headers_mut().insert(SET_COOKIE, unset);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_in_leads_to_no_other_place() {
        for (path, is_one) in [
            ("/console", true),
            ("/console/order?id=a%2Fb", true),
            ("/console?x=1", true),
            ("/consoles", false),
            ("//evil.example/console", false),
            ("https://evil.example/console", false),
            ("/console/..\\evil", false),
            ("/console/\r\nset-cookie: x=1", false),
            ("", false),
        ] {
            assert_eq!(is_ours(path), is_one, "{path:?}");
        }
    }
}
