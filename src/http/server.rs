//! The HTTP/1.1 server: takes connections, and keeps slow, large and malformed ones from doing harm.
//!
//! hyper reads and writes HTTP; this file says how long, how much and how many. `axum::serve` does
//! not: it closes no slow connection. What a request means is left to the router.
//!
//! - A connection is in a [`Phase`], and a watchdog ends it when it stays too long in one that
//!   waits for the client. hyper's own `header_read_timeout` is off: it gives an idle connection no
//!   more time than a head. A proxy in front needs the former to be longer than its own idle time
//!   (60 s to 600 s), or it sends calls into connections that are just being closed.
//! - At [`Limits::connections`], a new connection is still taken, and the one that has waited the
//!   longest for its client is closed for it. If new ones had to queue instead, an attacker who
//!   only opens connections would stand before every honest caller. An honest call sends its bytes
//!   at once, and is not closed while it is worked on.
//! - A request is routed when its whole body is here, so a handler waits for nothing but its work.
//! - How a head may say where its body ends, `body` knows. After chunks the connection ends.
//! - A head that is not HTTP is answered by hyper itself, with a bare 400, 414 or 431.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::request::Parts;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use metrics::{Gauge, counter, gauge};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::Service;
use tracing::{debug, error, info, warn};

use super::body::{self, Terms};
use super::error::{HttpError, Sampler};
use super::large::LargeBodies;
use super::wire::{Answer, Wire};
use super::{Activity, Arrival, Limits, Look, Order, Peer, Phase, REQUEST_ID};

/// How long to leave the listener alone when the system has no socket or memory for one more.
const ACCEPT_PAUSE_MILLISECONDS: u64 = 100;
/// How often to look again for a connection to close when all of them are being worked on, or new.
const PLACE_PAUSE_MILLISECONDS: u64 = 20;
/// How long connections that were cut may take to be gone; only a blocked thread needs it.
const CUT_SECONDS_MAX: u64 = 1;
const LINGER_READ_BYTES: usize = 8 * 1024;
/// How many connections the system completes before they are taken here; it may allow fewer
/// (`net.core.somaxconn`). Beyond them it drops what comes, and callers try again after a second.
const BACKLOG_CONNECTIONS: u32 = 4096;

/// Listens at this address, for [`serve`]. The system keeps at most about twice these bytes of what a
/// client has not taken yet.
///
/// # Errors
/// If it is taken, or not of this machine.
pub fn listen(address: SocketAddr, send_buffer_bytes: u32) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Connections have what their listener has.
    socket.set_send_buffer_size(send_buffer_bytes)?;
    socket.bind(address)?;
    socket.listen(BACKLOG_CONNECTIONS)
}

/// Judges a head before its body is read; the second argument tells whether the body may be large. What is
/// refused here ends its connection, as its body is still on the wire.
pub type Gate = Arc<dyn Fn(&Parts, bool) -> Result<(), HttpError> + Send + Sync>;

/// What is served: a router, and perhaps a gate before it.
pub struct Front {
    /// Answers.
    pub router: Router,
    /// Refuses.
    pub gate: Option<Gate>,
}

impl From<Router> for Front {
    fn from(router: Router) -> Self {
        Self { router, gate: None }
    }
}

/// Serves the router until `stop`, and then until every request that had begun is answered, or
/// until [`Limits::stop_deadline`] has passed.
pub async fn serve(
    listener: TcpListener,
    front: impl Into<Front>,
    limits: Limits,
    stop: CancellationToken,
) {
    let address = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
    let server = Arc::new(Server::new(front.into(), limits, address));
    accept_until(&stop, &listener, &server).await;
    accept_waiting(&listener, &server).await;
    drop(listener);
    server.finish().await;
}

async fn accept_until(stop: &CancellationToken, listener: &TcpListener, server: &Arc<Server>) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = server.make_place() => {}
                }
                serve_one(server, stream, peer);
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                // Too many open files, as a rule. To ask again at once would spin.
                if let Some(suppressed) = server.warnings.admit() {
                    warn!(%error, suppressed, "a connection could not be accepted");
                }
                server.close_longest_waiting();
                sleep(Duration::from_millis(ACCEPT_PAUSE_MILLISECONDS)).await;
            }
        }
    }
}

/// Takes those whom the system has let in already: their requests may have been sent, and to close the
/// listener on them would cut them off.
async fn accept_waiting(listener: &TcpListener, server: &Arc<Server>) {
    // The system's news of the last ones is heard when a task gives way.
    tokio::task::yield_now().await;
    let next = || poll_fn(|context| Poll::Ready(listener.poll_accept(context)));
    while server.count() < server.limits.connections
        && let Poll::Ready(Ok((stream, peer))) = next().await
    {
        serve_one(server, stream, peer);
    }
}

fn serve_one(server: &Arc<Server>, stream: TcpStream, peer: SocketAddr) {
    let place = Place::take(server);
    tokio::spawn(async move { drive(&place, Peer(peer.ip()), stream).await });
}

/// Errors of the one connection that would have been accepted, not of the listener.
fn is_of_the_connection(error: &io::Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    [ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted].contains(&error.kind())
}

/// What all connections of one listener share.
struct Server {
    router: Router,
    limits: Limits,
    http: http1::Builder,
    started: Instant,
    connections: Mutex<Connections>,
    ended: Notify,
    large_bodies: LargeBodies,
    gate: Option<Gate>,
    address: String,
    open: Gauge,
    warnings: Sampler,
}

#[derive(Default)]
struct Connections {
    last: u64,
    open: HashMap<u64, Arc<Activity>>,
}

impl Server {
    fn new(front: Front, limits: Limits, address: String) -> Self {
        let Front { router, gate } = front;
        let mut http = http1::Builder::new();
        http.header_read_timeout(None)
            .max_header_size(limits.head_bytes)
            // hyper panics below 8 KiB.
            .max_buf_size(limits.head_bytes.max(8 * 1024))
            .max_headers(limits.head_fields);
        Self {
            router,
            http,
            started: Instant::now(),
            connections: Mutex::default(),
            ended: Notify::new(),
            large_bodies: LargeBodies::new(limits.large_bodies_bytes, limits.place_kept),
            gate,
            open: gauge!("paidup_connections", "listener" => address.clone()),
            address,
            warnings: Sampler::new(),
            limits,
        }
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self) -> usize {
        self.connections().open.len()
    }

    /// Waits until there is place for one more connection, and makes that come soon.
    async fn make_place(&self) {
        while self.count() >= self.limits.connections {
            self.close_longest_waiting();
            // All may have been at work just now, and none of them may end.
            let pause = Duration::from_millis(PLACE_PAUSE_MILLISECONDS);
            let _ = timeout(pause, self.ended.notified()).await;
        }
    }

    fn close_longest_waiting(&self) {
        let connections = self.connections();
        let asked = |activity: &Activity| activity.given_order() >= Order::Yield;
        let waiting =
            connections.open.iter().filter(|(_, activity)| !asked(activity)).filter_map(
                |(number, activity)| Some(((activity.waiting_since()?, number), activity)),
            );
        let Some(((since, _), longest)) = waiting.min_by_key(|(rank, _)| *rank) else { return };
        let waited = self.started.elapsed().saturating_sub(Duration::from_millis(since));
        if waited < self.limits.place_kept {
            return;
        }
        longest.order(Order::Yield);
        counter!("paidup_refusals_total", "reason" => "connections_too_many").increment(1);
        if let Some(suppressed) = self.warnings.admit() {
            warn!(
                connections = connections.open.len(),
                suppressed, "too many connections; closed the one that waited longest"
            );
        }
    }

    fn order_all(&self, order: Order) {
        self.connections().open.values().for_each(|activity| activity.order(order));
    }

    async fn finish(&self) {
        self.order_all(Order::Finish);
        if !self.all_ended(self.limits.stop_deadline).await {
            warn!(connections = self.count(), "connections were cut: they did not end in time");
            self.order_all(Order::Cut);
            let _ = self.all_ended(Duration::from_secs(CUT_SECONDS_MAX)).await;
        }
        info!(listener = self.address, "the listener is closed");
    }

    async fn all_ended(&self, within: Duration) -> bool {
        let all = async {
            while self.count() > 0 {
                self.ended.notified().await;
            }
        };
        timeout(within, all).await.is_ok()
    }
}

/// A place among the connections, free again when dropped, even by a panic.
struct Place {
    server: Arc<Server>,
    number: u64,
    activity: Arc<Activity>,
}

impl Place {
    fn take(server: &Arc<Server>) -> Self {
        let activity = Arc::new(Activity::new(server.started));
        let mut connections = server.connections();
        connections.last += 1;
        let number = connections.last;
        connections.open.insert(number, Arc::clone(&activity));
        drop(connections);
        server.open.increment(1.0);
        Self { server: Arc::clone(server), number, activity }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.server.connections().open.remove(&self.number);
        self.server.open.decrement(1.0);
        self.server.ended.notify_one();
    }
}

/// How a connection ended.
enum Ending {
    Done,
    /// The answer was written, but the caller may still be sending what is not read any more.
    BodyUnread,
}

/// Serves one connection to its end.
async fn drive(place: &Place, peer: Peer, stream: TcpStream) {
    let (server, activity) = (&*place.server, &place.activity);
    // An answer is one small write: it must not wait for the acknowledgement of the last one.
    let _ = stream.set_nodelay(true);
    let mut wire = Wire::new(stream, activity);
    if let Ending::BodyUnread = exchange(place, peer, &mut wire).await {
        linger(&mut wire.stream, activity, &server.limits).await;
    }
    if activity.stalls() {
        // What the client does not take must not stay in the kernel for it either.
        let _ = wire.stream.set_zero_linger();
    }
}

async fn exchange(place: &Place, peer: Peer, wire: &mut Wire<'_>) -> Ending {
    let (server, activity) = (&*place.server, &place.activity);
    let service = service_fn(|request| answer(server, activity, peer, request));
    let mut connection = pin!(server.http.serve_connection(TokioIo::new(wire), service));
    let mut watchdog = pin!(sleep(server.limits.shortest_wait()));
    let mut farewell = pin!(sleep(Duration::ZERO));
    let mut is_leaving = false;
    loop {
        tokio::select! {
            biased;
            result = connection.as_mut() => return match result {
                Ok(()) if activity.left_body_unread() => Ending::BodyUnread,
                Ok(()) => Ending::Done,
                // hyper has answered a head that it could not read.
                Err(error) if error.is_parse() => {
                    head_refused(server, peer, &error);
                    Ending::BodyUnread
                }
                Err(error) => {
                    debug!(%error, "a connection broke");
                    Ending::Done
                }
            },
            () = activity.ordered.notified() => match activity.given_order() {
                Order::Cut => return Ending::Done,
                Order::Yield if activity.waiting_since().is_some() => return Ending::Done,
                // A request may be on its way; hyper would close on it.
                Order::Finish if activity.waits_for_head() => {
                    let end = tokio::time::Instant::now() + server.limits.farewell;
                    farewell.as_mut().reset(end);
                    is_leaving = true;
                }
                Order::Yield | Order::Finish => connection.as_mut().graceful_shutdown(),
                Order::None => {}
            },
            () = farewell.as_mut(), if is_leaving => {
                is_leaving = false;
                connection.as_mut().graceful_shutdown();
            },
            () = watchdog.as_mut() => match activity.look(&server.limits) {
                Look::Again(pause) => watchdog.as_mut().reset(tokio::time::Instant::now() + pause),
                Look::Idle => return Ending::Done,
                Look::Overdue(reason) => {
                    counter!("paidup_refusals_total", "reason" => reason).increment(1);
                    debug!(reason, "a connection was closed");
                    return Ending::Done;
                }
            },
        }
    }
}

/// Counts and logs a head that hyper answered by itself: with 431 or 414, else with 400.
fn head_refused(server: &Server, peer: Peer, error: &hyper::Error) {
    let reason = if error.is_parse_too_large() { "head_too_large" } else { "head_malformed" };
    counter!("paidup_refusals_total", "reason" => reason).increment(1);
    if let Some(suppressed) = server.warnings.admit() {
        // hyper's words are constant: they repeat nothing of the request.
        warn!(reason, caller = %peer.0, suppressed, "request refused: {error}");
    }
}

/// Takes what the caller still sends, for a while. To close at once would make the kernel reset
/// the connection, and the caller could lose the answer that says what is wrong.
async fn linger(stream: &mut TcpStream, activity: &Activity, limits: &Limits) {
    activity.enter(Phase::Head);
    let mut waste = vec![0; LINGER_READ_BYTES];
    let take_all = async { while !matches!(stream.read(&mut waste).await, Ok(0) | Err(_)) {} };
    let cut = async {
        while activity.given_order() < Order::Yield {
            activity.ordered.notified().await;
        }
    };
    tokio::select! {
        _ = timeout(limits.linger_deadline, take_all) => {}
        () = cut => {}
    }
}

/// Answers one request, whatever it is.
async fn answer(
    server: &Server,
    activity: &Arc<Activity>,
    peer: Peer,
    request: Request<Incoming>,
) -> Result<http::Response<Answer>, Infallible> {
    activity.enter(Phase::Body);
    let arrival = Arrival::now(request.headers());
    let has_coding = body::has_coding(request.headers());
    if request.headers().contains_key(CONTENT_LENGTH) {
        activity.length_shown();
    }
    let terms = Terms {
        limits: &server.limits,
        large_bodies: &server.large_bodies,
        gate: server.gate.as_ref(),
        may_hide_length: activity.may_hide_length(),
    };
    let result = match body::receive(terms, request).await {
        Ok((mut request, _held)) => {
            activity.enter(Phase::Work);
            request.extensions_mut().insert(arrival.clone());
            request.extensions_mut().insert(peer);
            route(server, request).await
        }
        Err(refusal) => {
            activity.leave_body_unread(true);
            Err(refusal)
        }
    };
    let mut response = result.unwrap_or_else(|refusal| {
        told(server, &refusal, &arrival, peer);
        refusal.into_response()
    });
    response.headers_mut().insert(REQUEST_ID, arrival.header().clone());
    if has_coding {
        // What stands behind the chunks may be a part of them to another reader: it is not read.
        activity.leave_body_unread(true);
    }
    if activity.left_body_unread() || activity.given_order() != Order::None {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Answer::new(body, Arc::clone(activity))))
}

fn told(server: &Server, refusal: &HttpError, arrival: &Arrival, peer: Peer) {
    let (reason, request) = (refusal.reason(), arrival.id());
    counter!("paidup_refusals_total", "reason" => reason).increment(1);
    if matches!(refusal, HttpError::Panicked) {
        error!(request, "a handler panicked; this is a bug in paidup");
    } else if let Some(suppressed) = server.warnings.admit() {
        warn!(reason, request, caller = %peer.0, suppressed, "request refused: {refusal}");
    }
}

/// Calls the handler. If it panics, this request is answered with 500, and nothing else suffers.
async fn route(server: &Server, request: Request<Body>) -> Result<Response, HttpError> {
    let mut router = server.router.clone();
    let mut call = pin!(async move { router.call(request).await });
    let result =
        poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(_) => Poll::Ready(Err(HttpError::Panicked)),
        });
    let Ok(response) = result.await?;
    Ok(response)
}
