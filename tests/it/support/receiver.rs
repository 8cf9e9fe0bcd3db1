//! A receiver of calls on this machine: it records each, and answers as it is told to.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::service::eventually;

/// One call that came.
#[derive(Debug, Clone)]
pub struct Call {
    pub path: String,
    pub headers: HashMap<String, String>,
    pub body: Bytes,
}

impl Call {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// `id version`, of a webhook of ours.
    pub fn change(&self) -> String {
        let body = self.json();
        let (order, version) = (&body["data"]["order"]["id"], &body["data"]["version"]);
        format!("{} {version}", order.as_str().expect("an order"))
    }
}

/// What to answer.
#[derive(Debug, Clone)]
pub enum Reply {
    /// This status, and a short body.
    Status(u16),
    /// This status with a header.
    With(u16, &'static str, String),
    /// This status, and so many bytes.
    Long(u16, usize),
    /// Nothing, for ever.
    Hang,
}

type Script = Arc<dyn Fn(&Call, usize) -> Reply + Send + Sync>;

/// A receiver that runs until it is dropped.
pub struct Receiver {
    /// `http://127.0.0.1:…`
    pub url: String,
    calls: Arc<Mutex<Vec<Call>>>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    /// Answers each call by its number, from 0.
    pub async fn start(script: impl Fn(&Call, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let calls = Arc::new(Mutex::new(Vec::new()));
        let (recorded, script): (_, Script) = (Arc::clone(&calls), Arc::new(script));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let (calls, script) = (Arc::clone(&recorded), Arc::clone(&script));
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        answer(request, Arc::clone(&calls), Arc::clone(&script))
                    });
                    let _ =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { url, calls, task }
    }

    /// Takes everything.
    pub async fn content() -> Self {
        Self::start(|_, _| Reply::Status(204)).await
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("no panic").clone()
    }

    /// Waits until so many have come.
    pub async fn has(&self, count: usize) -> Vec<Call> {
        eventually(&format!("{count} calls"), async || self.calls().len() >= count).await;
        self.calls()
    }
}

async fn answer(
    request: Request<Incoming>,
    calls: Arc<Mutex<Vec<Call>>>,
    script: Script,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let text = |value: &http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
    let call = Call {
        path: head.uri.path().to_owned(),
        headers: headers.collect(),
        body: body.collect().await.map(|body| body.to_bytes()).unwrap_or_default(),
    };
    let number = {
        let mut calls = calls.lock().expect("no panic");
        calls.push(call.clone());
        calls.len() - 1
    };
    let response = |status: u16| Response::builder().status(status);
    let answer = match script(&call, number) {
        Reply::Status(status) => response(status).body(Full::new(Bytes::from_static(b"ok"))),
        Reply::With(status, name, value) => {
            response(status).header(name, value).body(Full::default())
        }
        Reply::Long(status, bytes) => response(status).body(Full::new(vec![b'x'; bytes].into())),
        Reply::Hang => std::future::pending().await,
    };
    Ok(answer.expect("a response"))
}
