//! The console, as a browser without a script meets it: the real binary on both databases.

use std::collections::BTreeSet;

use reqwest::header::{COOKIE, LOCATION, RETRY_AFTER, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response};

use crate::support::databases::{Database, on_both};
use crate::support::fixtures::pi;
use crate::support::service::{Service, eventually};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const SCRIPT: &str = "<script>alert(1)</script>\"'>";

/// Every path that reads, and one that is not there.
const PAGES: [&str; 9] = [
    "",
    "/orders",
    "/order?id=O1",
    "/events",
    "/event?id=evt_1",
    "/notifications",
    "/live",
    "/nothing",
    "/assets/nothing.js",
];
/// Every path that changes something.
const CHANGES: [&str; 3] = ["/event/replay", "/notification/retry", "/logout"];

struct Browser<'a> {
    service: &'a Service,
    http: Client,
    cookie: String,
}

impl<'a> Browser<'a> {
    fn stranger(service: &'a Service) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().no_proxy().redirect(Policy::none()).build();
        Self { service, http: http.expect("a client"), cookie: String::new() }
    }

    async fn logged_in(service: &'a Service) -> Self {
        let mut browser = Self::stranger(service);
        let answer = browser.post("/login", &[("token", TOKEN)]).await;
        assert_eq!(answer.status(), 303);
        assert_eq!(answer.headers()[LOCATION], "/console");
        let set = answer.headers()[SET_COOKIE].to_str().expect("text").to_owned();
        browser.cookie = set.split(';').next().expect("a pair").to_owned();
        browser
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        fields: &[(&str, &str)],
        body: String,
    ) -> Response {
        let url = format!("{}/console{path}", self.service.operators);
        let mut request = self.http.request(method, url).header(COOKIE, &self.cookie).body(body);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.expect("an answer");
        is_hardened(path, &answer);
        answer
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.send(Method::GET, path, &[], String::new()).await;
        (answer.status().as_u16(), answer.text().await.expect("text"))
    }

    /// As our own page would, but for the form's token, which is for the test to give.
    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Response {
        let fields = [("sec-fetch-site", "same-origin")];
        self.send(Method::POST, path, &fields, encoded(form)).await
    }

    async fn page(&self, path: &str) -> String {
        let (status, page) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {page}");
        page
    }

    /// The token that the forms of this session bring back.
    async fn form(&self) -> String {
        let page = self.page("").await;
        let rest = page.split_once("name=\"form\" value=\"").expect("a form").1;
        rest.split('"').next().expect("a value").to_owned()
    }
}

fn encoded(form: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

/// What every answer must have, whatever it is.
fn is_hardened(path: &str, answer: &Response) {
    let field = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let policy = field("content-security-policy").expect(path);
    assert!(policy.starts_with("default-src 'none'"), "{path}: {policy}");
    for part in ["frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"] {
        assert!(policy.contains(part), "{path}: {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{path}: {policy}");
    assert_eq!(field("x-content-type-options"), Some("nosniff"), "{path}");
    assert_eq!(field("referrer-policy"), Some("no-referrer"), "{path}");
    assert_eq!(field("x-frame-options"), Some("DENY"), "{path}");
    let kept = if path.starts_with("/assets/") && answer.status() == 200 {
        "public, max-age=31536000, immutable"
    } else {
        "no-store"
    };
    assert_eq!(field("cache-control"), Some(kept), "{path}");
}

fn start(database: &Database) -> Service {
    Service::start(database, &[("ADMIN_TOKEN", TOKEN)])
}

/// The tables above name every route there is.
#[test]
fn the_tests_know_every_route() {
    let code = include_str!("../../src/http/console/mod.rs");
    let routes = code.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next());
    let routes: BTreeSet<&str> = routes.map(|route| route.trim_end_matches('/')).collect();
    let paths = PAGES.iter().chain(&CHANGES).map(|path| path.split('?').next().unwrap_or_default());
    let mut known: BTreeSet<&str> = paths.collect();
    known.remove("/nothing");
    known.remove("/assets/nothing.js");
    known.extend(["/login", "/assets/{name}", "/console"]);
    assert_eq!(routes, known);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_sees_nothing_and_changes_nothing() {
    on_both(async |database| {
        let service = start(database);
        let mut stranger = Browser::stranger(&service);
        for cookie in ["", "paidup_session=short", &format!("paidup_session={}", "0".repeat(64))] {
            stranger.cookie = cookie.to_owned();
            for path in PAGES {
                let answer = stranger.send(Method::GET, path, &[], String::new()).await;
                if path.starts_with("/assets/") {
                    assert_eq!(answer.status(), 404);
                    continue;
                }
                // A stream that asks for a login would be a page that it cannot read.
                let expected = if path == "/live" { 401 } else { 303 };
                assert_eq!(answer.status(), expected, "{path}");
                if expected == 303 {
                    let to = answer.headers()[LOCATION].to_str().expect("text");
                    assert!(to.starts_with("/console/login?next=%2Fconsole"), "{to}");
                }
            }
            for path in CHANGES.into_iter().chain(PAGES) {
                let expected = if path.starts_with("/assets/") { 404 } else { 401 };
                assert_eq!(stranger.post(path, &[("form", "")]).await.status(), expected, "{path}");
                let put = stranger.send(Method::PUT, path, &[], "a=b".to_owned()).await;
                assert_eq!(put.status(), expected, "{path}");
            }
        }
        for path in ["/", "/console/"] {
            let url = format!("{}{path}", service.operators);
            let answer = stranger.http.get(url).send().await.expect("an answer");
            is_hardened(path, &answer);
            assert_eq!(
                (answer.status().as_u16(), &answer.headers()[LOCATION]),
                (303, &"/console".parse().expect("a value"))
            );
        }
        // None of it is where Stripe calls.
        let outside = service.webhook.replace("/webhook/stripe", "/console/login");
        let answer = stranger.http.get(outside).send().await.expect("an answer");
        assert_eq!(answer.status(), 404);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_opens_a_session_that_ends() {
    on_both(async |database| {
        let service = start(database);
        let stranger = Browser::stranger(&service);
        let foreign = [("sec-fetch-site", "cross-site")];
        let body = encoded(&[("token", TOKEN)]);
        let answer = stranger.send(Method::POST, "/login", &foreign, body).await;
        assert_eq!((answer.status().as_u16(), answer.headers().get(SET_COOKIE)), (403, None));
        for (next, to) in [
            ("/console/order?id=a%2Fb", "/console/order?id=a%2Fb"),
            ("https://evil.example/", "/console"),
            ("//evil.example", "/console"),
        ] {
            let answer = stranger.post("/login", &[("token", TOKEN), ("next", next)]).await;
            assert_eq!(answer.headers()[LOCATION], to);
        }

        let browser = Browser::logged_in(&service).await;
        let value = browser.cookie.split_once('=').expect("a pair").1.to_owned();
        assert_eq!(value.len(), 64);
        let kept = if database.is_postgres() {
            "select encode(cookie_hash, 'hex') from console_sessions"
        } else {
            "select lower(hex(cookie_hash)) from console_sessions"
        };
        let kept = database.column(kept).await;
        assert!(kept.iter().all(|kept| kept.len() == 64 && *kept != value), "{kept:?}");

        let out = browser.post("/logout", &[("form", &browser.form().await)]).await;
        assert_eq!(out.headers()[LOCATION], "/console/login");
        let unset = out.headers()[SET_COOKIE].to_str().expect("text");
        assert!(unset.starts_with("paidup_session=;") && unset.contains("Max-Age=0"), "{unset}");
        assert_eq!(browser.get("").await.0, 303);

        let browser = Browser::logged_in(&service).await;
        database.execute("update console_sessions set expires_at = 1").await;
        assert_eq!(browser.get("").await.0, 303);
        // A session lasts over a restart, and in every other process; but not over another token.
        let browser = Browser::logged_in(&service).await;
        let other = start(database);
        let there = Browser {
            service: &other,
            cookie: browser.cookie.clone(),
            ..Browser::stranger(&other)
        };
        assert_eq!(there.get("").await.0, 200);
        let other = Service::start(
            database,
            &[("ADMIN_TOKEN", "another token of 32 characters..".replace(' ', "_").as_str())],
        );
        let there = Browser {
            service: &other,
            cookie: browser.cookie.clone(),
            ..Browser::stranger(&other)
        };
        assert_eq!(there.get("").await.0, 303);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_tokens_are_limited_and_keep_nobody_out() {
    let database = Database::sqlite().await;
    let service = start(&database);
    let stranger = Browser::stranger(&service);
    for _ in 0..paidup::http::attempts::ATTEMPTS_MAX {
        let answer = stranger.post("/login", &[("token", "wrong wrong wrong")]).await;
        assert_eq!(answer.status(), 403);
        assert!(answer.text().await.expect("text").contains("That is not the token."));
    }
    let answer = stranger.post("/login", &[("token", "wrong wrong wrong")]).await;
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.headers()[RETRY_AFTER], "60");
    Browser::logged_in(&service).await;
    assert!(service.log().contains("login_refused") && !service.log().contains("wrong wrong"));
    drop(service);
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_page_of_the_same_session_changes_anything() {
    on_both(async |database| {
        let service = start(database);
        let (browser, other) =
            (Browser::logged_in(&service).await, Browser::logged_in(&service).await);
        let (form, foreign) = (browser.form().await, other.form().await);
        assert_ne!(form, foreign);
        let event = pi("pi_1").amount(500, "usd").event("payment_intent.succeeded");
        service.post(&event.body()).await;
        let same = ("sec-fetch-site", "same-origin");
        let host = service.operators.trim_start_matches("http://").to_owned();
        for path in CHANGES {
            for (fields, token) in [
                (vec![same], ""),
                (vec![same], foreign.as_str()),
                (vec![same], &form[..63]),
                (vec![("sec-fetch-site", "cross-site")], &form),
                (vec![("sec-fetch-site", "same-site")], &form),
                (vec![("sec-fetch-site", "none")], &form),
                (vec![("origin", "https://evil.example")], &form),
                (vec![("origin", "null")], ""),
            ] {
                let body = encoded(&[("form", token), ("id", "1"), ("keep", "yes")]);
                let answer = browser.send(Method::POST, path, &fields, body).await;
                assert_eq!(answer.status(), 403, "{path} {fields:?}");
            }
            let long = format!("form={form}&x={}", "a".repeat(20_000));
            let answer = browser.send(Method::POST, path, &[same], long).await;
            assert_eq!(answer.status(), 400, "{path}");
        }
        // The last of these shows that it is the refusals that kept the ones above out.
        let ours = format!("http://{host}");
        for fields in [vec![same], vec![("origin", "null")], vec![("origin", ours.as_str())]] {
            let body = encoded(&[("form", &form), ("id", &event.event_id())]);
            let answer = browser.send(Method::POST, "/event/replay", &fields, body).await;
            assert_eq!(answer.status(), 200, "{fields:?}");
        }
        assert_eq!(browser.get("").await.0, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_from_outside_is_shown_and_never_run() {
    on_both(async |database| {
        let service = start(database);
        let browser = Browser::logged_in(&service).await;
        let long = "é%/".repeat(125);
        for (number, id) in [SCRIPT, "a/b%2F c", "..", "čeština ✓", &long].into_iter().enumerate()
        {
            let paid = pi(&format!("pi_{number}"))
                .order(id)
                .amount(29900, "usd")
                .set("receipt_email", format!("{SCRIPT}@example.com"))
                .set("description", SCRIPT);
            let event = paid.event("payment_intent.succeeded");
            assert_eq!(service.post(&event.body()).await.status, 200);
            let failed = pi(&format!("pi_f{number}"))
                .order(&format!("F{number}{SCRIPT}"))
                .set("last_payment_error", serde_json::json!({"code": SCRIPT, "message": SCRIPT}));
            service.post(&failed.event("payment_intent.payment_failed").body()).await;

            // A search for a payment leads to its order.
            let search = format!("/orders?q=pi_{number}");
            let found = browser.send(Method::GET, &search, &[], String::new());
            let to = found.await.headers()[LOCATION].to_str().expect("text").to_owned();
            let to = to.strip_prefix("/console").expect("a page of ours").to_owned();
            assert!(browser.page(&to).await.contains("299.00 USD was received"), "{to}");
            let failed = format!("/order?{}", encoded(&[("id", &format!("F{number}{SCRIPT}"))]));
            let event = format!("/event?id={}", event.event_id());
            for path in ["", "/orders", "/events", "/notifications", &event, &to, &failed] {
                let page = browser.page(path).await;
                let shown = page.replace("<script src=\"/console/assets/", "");
                assert!(!shown.contains("<script") && !shown.contains("\"'>"), "{path}: {page}");
                assert!(!page.contains("style=") && !page.contains(" onclick"), "{path}");
            }
            let strange = format!("/orders?{}", encoded(&[("q", SCRIPT), ("status", SCRIPT)]));
            let answer = browser.send(Method::GET, &strange, &[], String::new()).await;
            assert!(!answer.text().await.expect("text").contains("<script>"));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_overview_tells_what_came_and_what_it_came_to() {
    on_both(async |database| {
        let service = start(database);
        let browser = Browser::logged_in(&service).await;
        assert!(browser.page("").await.contains("none yet"));
        let paid = pi("pi_1").order("O1").amount(29900, "usd").event("payment_intent.succeeded");
        let parked = pi("pi_2").amount(500, "jpy").event("payment_intent.succeeded");
        for body in [paid.body(), paid.body(), parked.body()] {
            assert_eq!(service.post(&body).await.status, 200);
        }
        service.post_with("t=1,v1=00", b"{}").await;
        let page = browser.page("").await;
        for said in ["applied 1", "duplicate 1", "parked 1", "3 in all", "no_match", "in use"] {
            assert!(page.contains(said), "{said}: {page}");
        }
        let minutes = "select outcome || ' ' || sum(events) from event_minutes group by outcome order by outcome";
        assert_eq!(database.column(minutes).await, ["applied 1", "duplicate 1", "parked 1"]);
        // The totals were counted once, before; another process counts them anew.
        let other = start(database);
        let there = Browser { service: &other, cookie: browser.cookie.clone(), ..Browser::stranger(&other) };
        eventually("the totals", async || {
            let page = there.page("").await;
            page.contains("299.00 USD") && page.contains("As of")
        })
        .await;
        // By its stop, which secret was used is in the database.
        assert_eq!(database.column("select last4 from signing_secret_uses").await, [""; 0]);
        let (status, log) = service.stopped().await;
        assert!(status.success(), "{log}");
        assert_eq!(database.column("select last4 from signing_secret_uses").await.len(), 1);
        assert!(!there.page("").await.contains("<td>never</td>"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_event_is_replayed_after_a_dry_run() {
    on_both(async |database| {
        let hold = Service::start(database, &[("ADMIN_TOKEN", TOKEN), ("STRIPE_MODE", "test")]);
        let event = pi("pi_1").order("O1").amount(500, "usd").event("payment_intent.succeeded");
        hold.post(&event.body()).await;
        drop(hold);
        let service = start(database);
        let browser = Browser::logged_in(&service).await;
        let form = browser.form().await;
        let path = format!("/event?id={}", event.event_id());
        assert!(browser.page(&path).await.contains("ignored"));
        let id = event.event_id();
        let dry =
            browser.post("/event/replay", &[("form", &form), ("id", &id), ("keep", "no")]).await;
        let dry = dry.text().await.expect("text");
        for said in ["A dry run", "Order O1 would become paid: received 5.00 USD", "from ignored"] {
            assert!(dry.contains(said), "{said}: {dry}");
        }
        let page = browser.page("/order?id=O1").await;
        assert!(page.contains("it has no row, since its events were ignored"), "{page}");
        assert!(page.contains("a live event, and STRIPE_MODE is test"), "{page}");
        let kept =
            browser.post("/event/replay", &[("form", &form), ("id", &id), ("keep", "yes")]).await;
        assert!(kept.text().await.expect("text").contains("Order O1 became paid"));
        let page = browser.page("/order?id=O1").await;
        assert!(page.contains("5.00 USD was received, and nothing given back."), "{page}");
        assert!(
            browser
                .page("/events?outcome=applied&type=payment_intent.succeeded")
                .await
                .contains("O1")
        );
        assert!(browser.page("/events?outcome=parked").await.contains("There is no such event."));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_notification_is_sent_again() {
    on_both(async |database| {
        let service = start(database);
        let paid = pi("pi_1").order("O1").amount(500, "usd").event("payment_intent.succeeded");
        service.post(&paid.body()).await;
        database.execute(DEAD).await;
        let browser = Browser::logged_in(&service).await;
        let page = browser.page("/notifications?status=dead").await;
        assert!(page.contains("answered 500") && page.contains("shipping"), "{page}");
        assert!(browser.page("/order?id=O1").await.contains("Notification to shipping"));
        let form = browser.form().await;
        let id = database.column("select cast(id as text) from deliveries").await.remove(0);
        let again = browser
            .post("/notification/retry", &[("form", &form), ("id", &id), ("status", "dead")])
            .await;
        let to = again.headers()[LOCATION].to_str().expect("text");
        assert_eq!(to, "/console/notifications?status=dead&told=again");
        assert_eq!(database.column("select status from deliveries").await, ["waiting"]);
        let gone = browser.post("/notification/retry", &[("form", &form), ("id", "999")]).await;
        assert_eq!(gone.headers()[LOCATION], "/console/notifications?told=not");
    })
    .await;
}

/// A notification that was given up.
pub const DEAD: &str = "insert into deliveries (order_id, version, destination, status, attempts,
        next_attempt_at, last_error, created_at, settled_at)
    values ('O1', 1, 'shipping', 'dead', 12, '2026-11-20T00:00:00.000Z', 'answered 500',
            '2026-11-20T00:00:00.000Z', '2026-11-23T00:00:00.000Z')";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_pages_are_told_of_changes_and_hold_up_no_stop() {
    on_both(async |database| {
        let service = start(database);
        let browser = Browser::logged_in(&service).await;
        let url = format!("{}/console/live", service.operators);
        let request = browser.http.get(url).header(COOKIE, &browser.cookie);
        let mut stream = request.send().await.expect("an answer");
        assert_eq!(stream.headers()["content-type"], "text/event-stream");
        let mut heard = String::new();
        let mut posted = 0;
        while !heard.contains("event: changed") {
            // The first look may come after the first event, so there is one after each line.
            let line = stream.chunk().await.expect("a line").expect("no end");
            heard.push_str(std::str::from_utf8(&line).expect("text"));
            let event = pi(&format!("pi_{posted}")).order("O1").event("payment_intent.succeeded");
            assert_eq!(service.post(&event.body()).await.status, 200);
            posted += 1;
        }
        let (status, log) = service.stopped().await;
        assert!(status.success() && !log.contains("did not end in time"), "{log}");
        while let Ok(Some(_)) = stream.chunk().await {}
    })
    .await;
}
