//! The live stream of order changes: whoever made them, in the order of their commits.
//!
//! One task reads new changes from the database, and only while somebody listens: soon after the writer of
//! this process has committed some, and once a second for those of others. All listeners hear what it
//! read. One that is behind, or comes back, reads for itself from its own place on, until it has caught
//! up; so a slow one misses nothing and holds nobody up.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::problem::Problem;
use super::readers::Readers;
use crate::store::reads::{PAGE_ROWS_MAX, StreamedChange};

/// How often to look for changes of other processes while somebody listens.
pub const LOOK_MILLISECONDS: u64 = 1000;
/// How long to rest between two looks, however much is committed.
pub const REST_MILLISECONDS: u64 = 100;
/// The most readings that a listener may be behind before it reads for itself.
const READINGS_MAX: usize = 16;

/// What was read at once.
#[derive(Debug, Clone)]
struct Reading {
    /// It begins after this change.
    after: i64,
    changes: Arc<[StreamedChange]>,
}

/// Where listeners come from. Clones share one look at the database.
#[derive(Clone)]
pub struct Changes {
    readers: Readers,
    readings: broadcast::Sender<Reading>,
    stop: CancellationToken,
}

impl Changes {
    /// Starts to look, until `stop`. `news` hears when this process has committed something.
    #[must_use]
    pub fn start(readers: Readers, news: watch::Receiver<()>, stop: CancellationToken) -> Self {
        let changes = Self { readers, readings: broadcast::Sender::new(READINGS_MAX), stop };
        tokio::spawn(changes.clone().look(news));
        changes
    }

    async fn look(self, mut news: watch::Receiver<()>) {
        let mut place = None;
        while !self.stop.is_cancelled() {
            if self.readings.receiver_count() == 0 {
                place = None;
            } else if let Ok(reading) = self.read(place).await {
                let last = reading.changes.last().map_or(reading.after, |last| last.sequence);
                // Even an empty one, if it is the first: somebody may wait for what came before it.
                if place != Some(last) {
                    // Nobody may listen any more.
                    let _ = self.readings.send(reading);
                }
                place = Some(last);
            }
            sleep(Duration::from_millis(REST_MILLISECONDS)).await;
            let heard = timeout(Duration::from_millis(LOOK_MILLISECONDS), news.changed());
            tokio::select! {
                () = self.stop.cancelled() => return,
                // Whoever tells of news ends with the service.
                heard = heard => if matches!(heard, Ok(Err(_))) { return },
            }
        }
    }

    /// What follows this place; from now on, if there is none yet.
    async fn read(&self, place: Option<i64>) -> Result<Reading, Problem> {
        let read = self.readers.run(move |session| {
            Box::pin(async move {
                let Some(after) = place else {
                    return Ok(Reading { after: session.last_change().await?, changes: [].into() });
                };
                let changes = session.changes_after(after, PAGE_ROWS_MAX).await?;
                Ok(Reading { after, changes: changes.into() })
            })
        });
        read.await
    }

    /// Listens from after this change on; `None`: from now on.
    ///
    /// # Errors
    /// That the database does not answer.
    pub async fn listen(&self, after: Option<i64>) -> Result<Listener, Problem> {
        // First of all, so that what is committed meanwhile is heard.
        let readings = self.readings.subscribe();
        let place = match after {
            Some(place) => place,
            None => self.read(None).await?.after,
        };
        let changes = self.clone();
        Ok(Listener { changes, readings, place, is_behind: after.is_some() })
    }
}

/// One listener.
pub struct Listener {
    changes: Changes,
    readings: broadcast::Receiver<Reading>,
    /// It has heard all until this change.
    place: i64,
    /// It has to read for itself.
    is_behind: bool,
}

impl Listener {
    /// The next changes, at least one; `None` when the service stops. It may be cancelled.
    ///
    /// # Errors
    /// That the database does not answer; the place is kept.
    pub async fn next(&mut self) -> Result<Option<Vec<StreamedChange>>, Problem> {
        loop {
            if self.changes.stop.is_cancelled() {
                return Ok(None);
            }
            if self.is_behind {
                let changes = self.changes.read(Some(self.place)).await?.changes;
                if let Some(last) = changes.last() {
                    self.place = last.sequence;
                    return Ok(Some(changes.to_vec()));
                }
                self.is_behind = false;
            }
            let reading = tokio::select! {
                () = self.changes.stop.cancelled() => continue,
                reading = self.readings.recv() => reading,
            };
            match reading {
                Ok(reading) if reading.after <= self.place => {
                    let changes = reading.changes.iter();
                    let new: Vec<_> =
                        changes.filter(|one| one.sequence > self.place).cloned().collect();
                    if let Some(last) = new.last() {
                        self.place = last.sequence;
                        return Ok(Some(new));
                    }
                }
                // It begins behind this place: something between was not heard.
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => self.is_behind = true,
                Err(broadcast::error::RecvError::Closed) => return Ok(None),
            }
        }
    }
}
