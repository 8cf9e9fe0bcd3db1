//! The console and the command line against what senders put into events and browsers into addresses.

use reqwest::Client;
use reqwest::header::{COOKIE, SET_COOKIE};
use reqwest::redirect::Policy;

use crate::support::api::TOKEN;
use crate::support::databases::{Database, on_both};
use crate::support::fixtures::pi;
use crate::support::service::Service;

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
