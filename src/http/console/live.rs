//! Tells open pages that something may have changed; they then ask for themselves anew.
//!
//! One task looks for all of them, once a second and only while a page is open, so the database is asked
//! as often for thirty pages as for one, and hears of what other processes recorded too. A stream ends
//! when the service stops, so that no open page holds it up.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Console;
use super::shell::{Trouble, typed};

/// The most pages that are kept fresh at once.
pub const LIVE_PAGES_MAX: usize = 64;
/// How often to look whether something has changed.
pub const LOOK_MILLISECONDS: u64 = 1000;
/// How often a quiet stream gives a sign of life; proxies close what is silent for a minute.
pub const SIGN_SECONDS: u64 = 20;

/// What open pages listen to.
pub(super) struct Live {
    /// Counts up with each change that was seen.
    beats: watch::Sender<u64>,
    /// Whether there is somebody who looks.
    is_looked: AtomicBool,
    places: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Live {
    pub(super) fn new(stop: CancellationToken) -> Self {
        let places = Arc::new(Semaphore::new(LIVE_PAGES_MAX));
        Self { beats: watch::Sender::new(0), is_looked: AtomicBool::new(false), places, stop }
    }

    /// Tells all open pages.
    pub(super) fn beat(&self) {
        self.beats.send_modify(|beats| *beats += 1);
    }
}

/// Looks while anybody listens.
async fn look(console: Console) {
    let live = &console.0.live;
    let is_wanted = || live.beats.receiver_count() > 0 && !live.stop.is_cancelled();
    let mut last = None;
    loop {
        while is_wanted() {
            // If the database is away there is nothing to tell; the next look may find it again.
            if let Ok(pulse) =
                console.run(|session| Box::pin(async move { session.pulse().await })).await
                && last.replace(pulse).is_some_and(|last| last != pulse)
            {
                live.beat();
            }
            sleep(Duration::from_millis(LOOK_MILLISECONDS)).await;
        }
        live.is_looked.store(false, Ordering::SeqCst);
        // Whoever came between these two lines found that somebody looks already.
        if !is_wanted() || live.is_looked.swap(true, Ordering::SeqCst) {
            return;
        }
    }
}

pub(super) async fn stream(State(console): State<Console>) -> Result<Response, Trouble> {
    let live = &console.0.live;
    let place = Arc::clone(&live.places).try_acquire_owned().map_err(|_| Trouble::Busy)?;
    let beats = live.beats.subscribe();
    if !live.is_looked.swap(true, Ordering::SeqCst) {
        tokio::spawn(look(console.clone()));
    }
    let (sender, receiver) = mpsc::channel(1);
    let stop = live.stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = sender.closed() => {}
            () = tell(beats, &sender) => {}
        }
    });
    Ok(typed(Body::new(Lines { receiver, _place: place }), "text/event-stream"))
}

async fn tell(mut beats: watch::Receiver<u64>, sender: &mpsc::Sender<Bytes>) {
    let mut line = ": open\n\n";
    // To send waits until the last line was taken: a page that is slow misses beats, and needs none
    // but the latest.
    while sender.send(Bytes::from_static(line.as_bytes())).await.is_ok() {
        line = match timeout(Duration::from_secs(SIGN_SECONDS), beats.changed()).await {
            Ok(Ok(())) => "event: changed\ndata:\n\n",
            Ok(Err(_)) => return,
            Err(_) => ": still here\n\n",
        };
    }
}

struct Lines {
    receiver: mpsc::Receiver<Bytes>,
    _place: OwnedSemaphorePermit,
}

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.receiver.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}
