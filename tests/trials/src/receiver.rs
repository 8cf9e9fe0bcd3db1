//! A system that paidup tells of changes, and that remembers all it was told.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::Result;

/// The variable that holds the secret of the notifications.
pub const SECRET_NAME: &str = "TRIALS_NOTIFY_SECRET";
/// Base64 of 32 bytes, as Standard Webhooks wants it.
pub const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// What one message told: an order, a version of it, and the state that it led to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Telling {
    pub order: String,
    pub version: i64,
    pub status: String,
    pub received: i64,
    pub refunded: i64,
}

/// One message, however often it came.
#[derive(Debug, Clone)]
pub struct Message {
    pub telling: Telling,
    pub times: u32,
    /// Something else came under the same id.
    pub differs: bool,
}

/// Everything that was told, by webhook-id.
pub type Tellings = HashMap<String, Message>;

pub struct Receiver {
    address: SocketAddr,
    tellings: Arc<Mutex<Tellings>>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let tellings = Arc::new(Mutex::new(Tellings::new()));
        let into = Arc::clone(&tellings);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let into = Arc::clone(&into);
                let service = service_fn(move |request| take(request, Arc::clone(&into)));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self { address, tellings, task })
    }

    /// For `NOTIFY_CONFIG`: this one wants everything.
    pub fn settings(&self) -> String {
        format!(
            "[[webhook]]\nname = \"recorder\"\nurl = \"http://{}/\"\nsecret_env = \"{SECRET_NAME}\"\n\
             allow_private = true\n",
            self.address
        )
    }

    /// Forgets what was told of an order: the judge must miss it.
    pub fn forget(&self, order: &str) {
        let mut tellings = self.tellings.lock().unwrap_or_else(PoisonError::into_inner);
        tellings.retain(|_, message| message.telling.order != order);
    }

    /// Makes up two messages of one change: the judge must not be content.
    pub fn invent(&self, telling: &Telling) {
        let mut tellings = self.tellings.lock().unwrap_or_else(PoisonError::into_inner);
        for copy in 1..=2 {
            let message = Message { telling: telling.clone(), times: 1, differs: false };
            tellings.insert(format!("{}-{}-{copy}", telling.order, telling.version), message);
        }
    }

    /// All that was told so far.
    pub fn tellings(&self) -> Tellings {
        self.tellings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn take(
    request: Request<Incoming>,
    into: Arc<Mutex<Tellings>>,
) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    let id = request.headers().get("webhook-id").and_then(|id| id.to_str().ok());
    let id = id.unwrap_or_default().to_owned();
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let mut response = Response::new(Full::default());
    match read(&body) {
        Some(telling) if !id.is_empty() => {
            let mut into = into.lock().unwrap_or_else(PoisonError::into_inner);
            match into.entry(id) {
                Entry::Occupied(mut known) => {
                    known.get_mut().times += 1;
                    known.get_mut().differs |= known.get().telling != telling;
                }
                Entry::Vacant(place) => {
                    place.insert(Message { telling, times: 1, differs: false });
                }
            }
        }
        _ => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    Ok(response)
}

fn read(body: &[u8]) -> Option<Telling> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let data = body.get("data")?;
    let order = data.get("order")?;
    Some(Telling {
        order: order.get("id")?.as_str()?.to_owned(),
        version: data.get("version")?.as_i64()?,
        status: order.get("status")?.as_str()?.to_owned(),
        received: order.get("amount_received")?.as_i64()?,
        refunded: order.get("amount_refunded")?.as_i64()?,
    })
}
