//! Gets the body of a request in: in one piece, within its limits, and only if its head says in one
//! way how long it is.
//!
//! - `Content-Length`: hyper has read it, refused what is no number, and cuts the body there.
//! - `Transfer-Encoding: chunked`, alone: what a proxy makes of a call whose length it did not keep.
//!   The server ends the connection with the answer, so nothing can be smuggled behind the chunks.
//! - Both, another coding, or a POST with neither: refused. hyper follows the chunks and does not show
//!   the `Content-Length` beside them, so [`Lengths`] looks for it in the bytes themselves.
//!
//! A listener's [`Gate`] sees the head first: what it refuses costs no memory. Memory for the rest is taken as
//! bytes arrive ([`super::large`]).

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

use super::Limits;
use super::error::HttpError;
use super::large::{Held, LargeBodies};
use super::server::Gate;

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

/// What a listener asks of a request before it reads the body.
pub(super) struct Terms<'a> {
    pub(super) limits: &'a Limits,
    pub(super) large_bodies: &'a LargeBodies,
    pub(super) gate: Option<&'a Gate>,
    /// Whether a `Content-Length` came which hyper did not show.
    pub(super) may_hide_length: bool,
}

/// Gets the body in, unless its head is refused. What it holds must be kept until the answer is made.
pub(super) async fn receive<'a>(
    terms: Terms<'a>,
    request: Request<Incoming>,
) -> Result<(Request<Body>, Option<Held<'a>>), HttpError> {
    let Terms { limits, large_bodies, gate, may_hide_length } = terms;
    let framing = framing(&request, limits, may_hide_length)?;
    let (head, body) = request.into_parts();
    let length = match framing {
        Framing::Length(length) => Some(length),
        Framing::Chunked => None,
    };
    if let Some(gate) = gate {
        let may_be_large = length.is_none_or(|length| length > limits.small_body_bytes);
        gate(&head, may_be_large)?;
    }
    let collecting = collect(body, length, limits, large_bodies);
    let (body, held) = in_time(limits.body_deadline, collecting).await?;
    Ok((Request::from_parts(head, Body::from(body)), held))
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

/// The body in one piece: without a copy if it came in one, as most do. Memory is taken as its bytes arrive, in
/// steps that double, and for more than a small body has, from what large ones share.
async fn collect<'a>(
    mut body: Incoming,
    length: Option<usize>,
    limits: &Limits,
    large_bodies: &'a LargeBodies,
) -> Result<(Bytes, Option<Held<'a>>), HttpError> {
    let Some(first) = next(&mut body).await? else { return Ok((Bytes::new(), None)) };
    if length == Some(first.len()) && first.len() <= limits.small_body_bytes {
        return Ok((first, None));
    }
    let most = length.unwrap_or(limits.body_bytes);
    let (mut whole, mut held) = (Vec::new(), None);
    let mut chunk = Some(first);
    while let Some(bytes) = chunk {
        let needed = whole.len() + bytes.len();
        if needed > most {
            return Err(HttpError::BodyTooLarge);
        }
        if needed > whole.capacity() {
            let least = length.map_or(0, |length| length.min(limits.small_body_bytes));
            let capacity = needed.max(2 * whole.capacity()).max(least).min(most);
            if capacity > limits.small_body_bytes {
                held.get_or_insert_with(|| large_bodies.begin()).grow(capacity)?;
            }
            whole.reserve_exact(capacity - whole.len());
        }
        whole.extend_from_slice(&bytes);
        drop(bytes);
        chunk = match &held {
            None => next(&mut body).await?,
            Some(held) => tokio::select! {
                biased;
                () = held.evicted() => return Err(HttpError::BodiesTooMany),
                chunk = next(&mut body) => chunk?,
            },
        };
    }
    if let Some(held) = &mut held {
        held.arrive()?;
    }
    Ok((Bytes::from(whole), held))
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
