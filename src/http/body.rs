//! Gets the body of a request in: in one piece, within its limits, and only if its head says in one
//! way how long it is.
//!
//! - `Content-Length`: hyper has read it, refused what is no number, and cuts the body there.
//! - `Transfer-Encoding: chunked`, alone: what a proxy makes of a call whose length it did not keep.
//!   The server ends the connection with the answer, so nothing can be smuggled behind the chunks.
//! - Both, another coding, or a POST with neither: refused. hyper follows the chunks and does not show
//!   the `Content-Length` beside them, so [`Lengths`] looks for it in the bytes themselves.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::Limits;
use super::error::HttpError;

/// Counts the lines that begin with `Content-Length`, in all that a connection brings.
///
/// A head brings at least as many as hyper shows of it. If more came than were shown when a head
/// says `chunked`, one may be hidden in that head. It may as well stand in a body, or in a next head
/// that is here already; nobody honest sends such, and the error is on the safe side.
#[derive(Debug)]
pub(super) struct Lengths {
    /// How much of the name this line began with; none, if it began in another way.
    matched: Option<usize>,
}

impl Lengths {
    pub(super) fn new() -> Self {
        Self { matched: Some(0) }
    }

    /// How many of such lines these bytes bring, which follow on those before.
    pub(super) fn count(&mut self, mut bytes: &[u8]) -> u64 {
        let name = CONTENT_LENGTH.as_str().as_bytes();
        let mut found = 0;
        while !bytes.is_empty() {
            let Some(matched) = self.matched else {
                let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { break };
                bytes = &bytes[end + 1..];
                self.matched = Some(0);
                continue;
            };
            let (byte, rest) = (bytes[0], &bytes[1..]);
            bytes = rest;
            self.matched = match byte {
                b'\n' => Some(0),
                _ if !byte.eq_ignore_ascii_case(&name[matched]) => None,
                _ if matched + 1 < name.len() => Some(matched + 1),
                _ => {
                    found += 1;
                    None
                }
            };
        }
        found
    }
}

/// How a head says where its body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
}

/// Whether a request is framed by a `Transfer-Encoding`: its connection ends with the answer.
pub(super) fn has_coding(head: &HeaderMap) -> bool {
    head.contains_key(TRANSFER_ENCODING)
}

/// Gets the body in. What is reserved of `large_bodies_bytes` must be held until the answer is made.
/// `may_hide_length` tells that a `Content-Length` came which hyper did not show.
pub(super) async fn receive<'a>(
    limits: &Limits,
    large_bodies_bytes: &'a Semaphore,
    may_hide_length: bool,
    request: Request<Incoming>,
) -> Result<(Request<Body>, Option<SemaphorePermit<'a>>), HttpError> {
    let framing = framing(&request, limits, may_hide_length)?;
    let (head, body) = request.into_parts();
    let (body, reserved) = match framing {
        Framing::Length(length) => {
            let reserved = if length > limits.small_body_bytes {
                Some(reserve(large_bodies_bytes, length)?)
            } else {
                None
            };
            (in_time(limits.body_deadline, collect(body, length)).await?, reserved)
        }
        Framing::Chunked => {
            let chunks = collect_chunks(body, limits, large_bodies_bytes);
            in_time(limits.body_deadline, chunks).await?
        }
    };
    Ok((Request::from_parts(head, Body::from(body)), reserved))
}

async fn in_time<T>(
    deadline: Duration,
    body: impl Future<Output = Result<T, HttpError>>,
) -> Result<T, HttpError> {
    timeout(deadline, body).await.unwrap_or(Err(HttpError::BodyTooSlow))
}

fn framing(
    request: &Request<Incoming>,
    limits: &Limits,
    may_hide_length: bool,
) -> Result<Framing, HttpError> {
    let head = request.headers();
    let has_length = head.contains_key(CONTENT_LENGTH);
    let mut codings = head.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) if !has_length && request.method() == Method::POST => {
            Err(HttpError::LengthRequired)
        }
        (None, _) => {
            let length = request.body().size_hint().exact().ok_or(HttpError::LengthRequired)?;
            usize::try_from(length)
                .ok()
                .filter(|length| *length <= limits.body_bytes)
                .map(Framing::Length)
                .ok_or(HttpError::BodyTooLarge)
        }
        (Some(coding), None) if !has_length && !may_hide_length => {
            let is_chunked = coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
            if is_chunked { Ok(Framing::Chunked) } else { Err(HttpError::LengthRequired) }
        }
        (Some(_), _) => Err(HttpError::LengthRequired),
    }
}

fn reserve(large_bodies_bytes: &Semaphore, bytes: usize) -> Result<SemaphorePermit<'_>, HttpError> {
    let bytes = u32::try_from(bytes).map_err(|_| HttpError::BodyTooLarge)?;
    large_bodies_bytes.try_acquire_many(bytes).map_err(|_| HttpError::BodiesTooMany)
}

/// The body in one piece: without a copy if it came in one, as most do.
async fn collect(mut body: Incoming, length: usize) -> Result<Bytes, HttpError> {
    let Some(first) = next(&mut body).await? else { return Ok(Bytes::new()) };
    if first.len() >= length {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(length);
    whole.extend_from_slice(&first);
    drop(first);
    while let Some(chunk) = next(&mut body).await? {
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// The same of a body that does not tell its length. Once it is no small one any more, it reserves
/// all that it may become.
async fn collect_chunks<'a>(
    mut body: Incoming,
    limits: &Limits,
    large_bodies_bytes: &'a Semaphore,
) -> Result<(Bytes, Option<SemaphorePermit<'a>>), HttpError> {
    let (mut whole, mut reserved) = (BytesMut::new(), None);
    while let Some(chunk) = next(&mut body).await? {
        let length = whole.len() + chunk.len();
        if length > limits.body_bytes {
            return Err(HttpError::BodyTooLarge);
        }
        if length > limits.small_body_bytes && reserved.is_none() {
            let most = limits.body_bytes.min(limits.large_bodies_bytes);
            reserved = Some(reserve(large_bodies_bytes, most)?);
            whole.reserve(limits.body_bytes - whole.len());
        }
        whole.extend_from_slice(&chunk);
    }
    Ok((whole.freeze(), reserved))
}

async fn next(body: &mut Incoming) -> Result<Option<Bytes>, HttpError> {
    while let Some(frame) = body.frame().await {
        // Trailers are passed over.
        if let Ok(data) = frame.map_err(|_| HttpError::BodyBroken)?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_length_is_seen_at_the_begin_of_a_line_alone() {
        for (text, expected) in [
            ("POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n", 1),
            ("POST / HTTP/1.1\ncOnTeNt-LeNgTh:4\n\n", 1),
            ("POST / HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n", 2),
            ("GET / HTTP/1.1\r\nX: Content-Length: 4\r\n\r\n", 0),
            ("GET / HTTP/1.1\r\nX-Content-Length: 4\r\nContent-Lengt: 4\r\n\r\n", 0),
            ("GET / HTTP/1.1\r\nContent-Type: a\r\nContent-\nContent-Length", 1),
            ("\n\n\nContent-Length\n\nContent-Length", 2),
            ("", 0),
        ] {
            assert_eq!(Lengths::new().count(text.as_bytes()), expected, "{text:?}");
            // However the bytes are cut.
            let mut lengths = Lengths::new();
            let found: u64 = text.as_bytes().chunks(1).map(|byte| lengths.count(byte)).sum();
            assert_eq!(found, expected, "{text:?} byte by byte");
        }
    }
}
