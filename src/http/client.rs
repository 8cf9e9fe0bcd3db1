//! The few calls that the command line makes to a paidup on this machine: plain HTTP/1.1, one request
//! on one connection.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest answer that is read.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, as text.
    pub body: String,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not `http://host:port/…`.
    #[error(
        "{0:?} is not an address such as http://127.0.0.1:8000/webhook/stripe (https is not spoken here)"
    )]
    Address(String),
    /// Nothing takes connections there.
    #[error(
        "nothing listens at {0}. Start paidup, with `paidup dev` or `paidup serve`, in another terminal"
    )]
    NothingListens(String),
    /// It took too long.
    #[error("no answer from {0} in time")]
    TimedOut(String),
    /// The connection broke, or what came is no HTTP.
    #[error("the connection to {0} broke; is that paidup?")]
    Broke(String),
}

/// Asks with GET.
///
/// # Errors
/// [`ClientError`] if no answer comes.
pub async fn get(url: &str, within: Duration) -> Result<Answer, ClientError> {
    ask(url, Method::GET, &[], Bytes::new(), within).await
}

/// Sends a body with POST.
///
/// # Errors
/// [`ClientError`] if no answer comes.
pub async fn post(
    url: &str,
    headers: &[(&str, &str)],
    body: Bytes,
    within: Duration,
) -> Result<Answer, ClientError> {
    ask(url, Method::POST, headers, body, within).await
}

async fn ask(
    url: &str,
    method: Method,
    headers: &[(&str, &str)],
    body: Bytes,
    within: Duration,
) -> Result<Answer, ClientError> {
    let bad = || ClientError::Address(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| bad())?;
    if uri.scheme_str() != Some("http") {
        return Err(bad());
    }
    let host = uri.host().ok_or_else(bad)?;
    let address = format!("{host}:{}", uri.port_u16().unwrap_or(80));
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder().method(method).uri(path).header("host", &address);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body)).map_err(|_| bad())?;
    match timeout(within, exchange(&address, request)).await {
        Ok(answer) => answer,
        Err(_) => Err(ClientError::TimedOut(address)),
    }
}

async fn exchange(address: &str, request: Request<Full<Bytes>>) -> Result<Answer, ClientError> {
    let broke = || ClientError::Broke(address.to_owned());
    let stream = TcpStream::connect(address)
        .await
        .map_err(|_| ClientError::NothingListens(address.to_owned()))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|_| broke())?;
    let talk = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|_| broke())?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|_| broke())?.to_bytes();
    talk.abort();
    Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
}
