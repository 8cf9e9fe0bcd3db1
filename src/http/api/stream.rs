//! `GET /stream`: order changes as they are committed, as server-sent events.
//!
//! The id of each is its number; who comes back with `Last-Event-ID` goes on after it. What there is to
//! send comes from [`super::super::changes`].

use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

use super::super::changes::Listener;
use super::super::problem::{Problem, ProblemView};
use super::super::views::StreamedChangeView;
use super::Api;

/// The most streams at once.
pub const STREAMS_MAX: usize = 32;
/// How often a sign of life is sent while there is nothing to tell.
pub const HEARTBEAT_SECONDS: u64 = 15;
/// How long a caller is asked to wait before it comes back.
pub const COME_BACK_MILLISECONDS: u64 = 2000;
/// The most pieces that wait for a slow caller; then nothing more is read for it.
const PIECES_MAX: usize = 2;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Keeps proxies such as nginx from collecting what should be passed on at once.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Order changes as they are committed, as server-sent events named `change`: the id is the change's number,
/// the data its JSON. A comment is sent every 15 seconds. It ends when the service stops.
#[utoipa::path(
    get,
    path = "/api/v1/stream",
    params(("Last-Event-ID" = Option<i64>, Header, description = "Begins after this change; without it, with the next one")),
    responses(
        (status = 200, body = StreamedChangeView, content_type = "text/event-stream", description = "Changes, as they are committed"),
        (status = 400, body = ProblemView, content_type = "application/problem+json", description = "The question cannot be understood"),
        (status = 401, body = ProblemView, content_type = "application/problem+json", description = "No token, or a wrong one"),
        (status = 429, body = ProblemView, content_type = "application/problem+json", description = "Too many wrong tokens came"),
        (status = 503, body = ProblemView, content_type = "application/problem+json", description = "Come again in a moment"),
    ),
    security(("token" = []))
)]
pub(in crate::http) async fn stream_changes(
    State(api): State<Api>,
    head: HeaderMap,
) -> Result<Response, Problem> {
    let after = head.get(LAST_EVENT_ID).map(last_event_id).transpose()?;
    let place = api.streams.clone().try_acquire_owned().map_err(|_| Problem::Busy)?;
    let listener = api.changes.listen(after).await?;
    let (pieces, receiver) = mpsc::channel(PIECES_MAX);
    tokio::spawn(tell(listener, pieces, place));
    let mut response = Response::new(Body::new(Pieces(receiver)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

fn last_event_id(value: &HeaderValue) -> Result<i64, Problem> {
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.filter(|number| *number >= 0).ok_or(Problem::Malformed("Last-Event-ID is a number."))
}

/// Tells one caller until it goes away, or there is an end. Its place is free again then.
async fn tell(mut listener: Listener, pieces: mpsc::Sender<Bytes>, _place: OwnedSemaphorePermit) {
    let mut piece = format!("retry: {COME_BACK_MILLISECONDS}\n\n");
    loop {
        if pieces.send(Bytes::from(piece)).await.is_err() {
            return;
        }
        let heartbeat = Duration::from_secs(HEARTBEAT_SECONDS);
        let next = tokio::select! {
            () = pieces.closed() => return,
            next = timeout(heartbeat, listener.next()) => next,
        };
        piece = String::new();
        match next {
            Err(_) => piece.push_str(":\n\n"),
            Ok(Ok(Some(changes))) => {
                for change in changes.into_iter().map(StreamedChangeView::from) {
                    let data = serde_json::to_string(&change).unwrap_or_default();
                    let _ =
                        write!(piece, "id: {}\nevent: change\ndata: {data}\n\n", change.sequence);
                }
            }
            // It stops, or the database is away: the caller comes back, and goes on where it was.
            Ok(Ok(None) | Err(_)) => return,
        }
    }
}

/// The body of the answer: what comes, as it comes.
struct Pieces(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
