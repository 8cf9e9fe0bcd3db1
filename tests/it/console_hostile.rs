//! The console and the command line against what senders put into events and browsers into addresses.

use reqwest::header::{COOKIE, HOST, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Method};

use crate::support::api::{Api, TOKEN};
use crate::support::databases::{Database, on_both};
use crate::support::fixtures::pi;
use crate::support::service::{Service, paidup};

/// As many bytes as the nesting of the event that ended the process.
const DEEP_BYTES: usize = 200 * 1024;
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A session of the console.
struct Browser {
    http: Client,
    console: String,
    cookie: String,
}

impl Browser {
    fn stranger(service: &Service) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().no_proxy().redirect(Policy::none()).build();
        let console = format!("{}/console", service.operators);
        Self { http: http.expect("a client"), console, cookie: String::new() }
    }

    async fn logged_in(service: &Service) -> Self {
        let mut browser = Self::stranger(service);
        let form = browser.http.post(format!("{}/login", browser.console));
        let answer = form.body(format!("token={TOKEN}")).send().await.expect("an answer");
        let set = answer.headers()[SET_COOKIE].to_str().expect("text");
        browser.cookie = set.split(';').next().expect("a pair").to_owned();
        browser
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let request = self.http.get(format!("{}{path}", self.console));
        let answer = request.header(COOKIE, &self.cookie).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    }
}

fn start(database: &Database) -> Service {
    Service::start(database, &[("ADMIN_TOKEN", TOKEN)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deeply_nested_event_is_a_page_like_any_other() {
    on_both(async |database| {
        let service = start(database);
        let browser = Browser::logged_in(&service).await;
        let event = pi("pi_1").order("O1").event("payment_intent.succeeded");
        let body = String::from_utf8(event.body()).expect("text");
        let nested = format!("{}{}", "[".repeat(DEEP_BYTES / 2), "]".repeat(DEEP_BYTES / 2));
        let body =
            body.replacen("\"metadata\":{", &format!("\"metadata\":{{\"deep\":{nested},"), 1);
        assert!(body.len() > DEEP_BYTES);
        assert_eq!(service.post(body.as_bytes()).await.status, 200);
        let (status, page) = browser.get(&format!("/event?id={}", event.event_id())).await;
        assert_eq!(status, 200);
        assert!(page.len() < PAGE_BYTES_MAX, "a page of {} bytes", page.len());
        assert_eq!(service.ask("/healthz").await.status, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nul_is_refused_by_the_name_of_its_parameter() {
    on_both(async |database| {
        let api = Api::start(database, &[]);
        let browser = Browser::logged_in(&api.service).await;
        for (path, name) in [
            ("/api/v1/orders?search=%00", "search"),
            ("/api/v1/orders?after=O1%00", "after"),
            ("/api/v1/events?type=a%00b", "type"),
            ("/api/v1/events?order=%00", "order"),
            ("/api/v1/notifications?destination=%00", "destination"),
        ] {
            let (status, problem) = api.get(path).await;
            let detail = problem["detail"].as_str().expect("a sentence");
            assert!(status == 400 && detail.contains(&format!("parameter {name} ")), "{problem}");
        }
        for (path, name) in [
            ("/orders?q=%00", "q"),
            ("/order?id=O%00", "id"),
            ("/event?id=%00", "id"),
            ("/events?type=%00", "type"),
            ("/notifications?to=%00", "to"),
        ] {
            let (status, page) = browser.get(path).await;
            assert!(status == 400 && page.contains(&format!("parameter {name} ")), "{page}");
        }
        assert_eq!(api.get("/api/v1/events/evt%00").await.0, 404);
        assert_eq!(api.post("/api/v1/events/evt%00/replay").await.0, 404);
        // The sign before it is no reason to refuse what only looks like one.
        assert_eq!(api.get("/api/v1/orders?search=%2500").await.0, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_console_answers_to_no_name_that_it_does_not_know() {
    let database = Database::sqlite().await;
    let service = Service::start(&database, &[("CONSOLE_URL", "https://ops.shop.example")]);
    let browser = Browser::stranger(&service);
    let ask = async |host: &str| {
        let request = browser.http.request(Method::GET, format!("{}/login", browser.console));
        let answer = request.header(HOST, host).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    let (status, page) = ask("evil.example").await;
    assert!(status == 421 && page.contains("set CONSOLE_URL"), "{status} {page}");
    for host in ["ops.shop.example", "localhost:8001", "127.0.0.1", "[::1]:8001", "paidup"] {
        assert_eq!(ask(host).await.0, 200, "{host}");
    }
    drop(service);
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_id_is_shown_as_another_one() {
    let database = Database::sqlite().await;
    let service = start(&database);
    let browser = Browser::logged_in(&service).await;
    let id = "ORDER\u{202e}54321";
    let event = pi("pi_\u{2066}1").order(id).amount(500, "usd");
    let event = event.event("payment_intent.succeeded").id("evt_1");
    assert_eq!(service.post(&event.body()).await.status, 200);
    let path = "/order?id=ORDER%E2%80%AE54321";
    for path in ["/orders", "/events", "/event?id=evt_1", "/orders?q=%E2%80%AE1", path] {
        let (status, page) = browser.get(path).await;
        assert_eq!(status, 200, "{path}");
        assert!(!page.contains(['\u{202e}', '\u{2066}']), "{path}: {page}");
        assert!(page.contains("\\u202e54321") || path.contains("q="), "{path}: {page}");
    }
    for command in ["order", "explain"] {
        let mut paidup = paidup();
        paidup.args([command, id]).env("DATABASE_URL", &database.url);
        let output = paidup.output().expect("it runs");
        let text = String::from_utf8(output.stdout).expect("text");
        assert!(output.status.success() && text.contains("ORDER\\u202e54321"), "{text}");
        let is_control = |char: char| char.is_control() && char != '\n';
        assert!(!text.contains(is_control) && !text.contains('\u{2066}'), "{text:?}");
    }
    drop(service);
    database.remove().await;
}
