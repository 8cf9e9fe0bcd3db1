//! The operators' API of a service, as a shop's program calls it.

use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::Value;

use super::databases::Database;
use super::service::{CALL_SECONDS_MAX, Service};

pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";

pub struct Api {
    pub service: Service,
    pub http: Client,
}

impl Api {
    pub fn start(database: &Database, settings: &[(&str, &str)]) -> Self {
        let mut settings = settings.to_vec();
        settings.push(("ADMIN_TOKEN", TOKEN));
        Self::of(Service::start(database, &settings))
    }

    pub fn of(service: Service) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let within = Duration::from_secs(CALL_SECONDS_MAX);
        let http = Client::builder().no_proxy().timeout(within).build().expect("a client");
        Self { service, http }
    }

    /// Status, kind of body, and body.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&str>,
    ) -> (u16, String, Value) {
        let (status, kind, body) = self.send(method, path, token, body).await;
        (status, kind, serde_json::from_str(&body).expect("JSON"))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&str>,
    ) -> (u16, String, String) {
        let url = format!("{}{path}", self.service.operators);
        let mut request = self.http.request(method, url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.header("content-length", body.len()).body(body.to_owned());
        }
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        let kind = response.headers()["content-type"].to_str().expect("text").to_owned();
        (status, kind, response.text().await.expect("a body"))
    }

    pub async fn text(&self, path: &str) -> String {
        self.send(Method::GET, path, Some(TOKEN), None).await.2
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        let (status, kind, body) = self.call(Method::GET, path, Some(TOKEN), None).await;
        let is_problem = kind == "application/problem+json";
        assert_eq!(is_problem, status >= 400, "{status} {kind}");
        if is_problem {
            assert_eq!(body["status"], status);
            let type_ = body["type"].as_str().expect("a type");
            assert!(type_.starts_with("urn:paidup:problem:"), "{body}");
        }
        (status, body)
    }

    pub async fn post(&self, path: &str) -> (u16, Value) {
        let (status, _, body) = self.call(Method::POST, path, Some(TOKEN), Some("")).await;
        (status, body)
    }

    pub async fn put(&self, path: &str, body: Value) -> (u16, Value) {
        let (status, _, body) =
            self.call(Method::PUT, path, Some(TOKEN), Some(&body.to_string())).await;
        (status, body)
    }
}
