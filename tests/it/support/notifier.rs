//! A worker of the library's in this process, with a clock that the test moves.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use paidup::notify::Sender;
use paidup::notify::file;
use paidup::notify::guard::{self, Lookup};
use paidup::notify::settings::Settings;
use paidup::notify::worker::{self, Pace};
use paidup::store::transaction::{Rules, record};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::databases::Database;
use super::fixtures::EventBody;
use super::service::eventually;

/// 2026-11-23T16:55:31.123Z, in milliseconds: when the tests' events come.
pub const NOW: i64 = 1_795_452_931_123;
/// A secret as receivers have it.
pub const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Reads a `notify.toml` whose secrets are all [`WEBHOOK_SECRET`].
pub fn settings(text: &str) -> Settings {
    file::parse(text, Path::new("."), &|_| Some(WEBHOOK_SECRET.to_owned())).expect("settings")
}

/// A `[[webhook]]` to a receiver of the test's.
pub fn webhook(name: &str, url: &str) -> String {
    format!(
        "[[webhook]]\nname = \"{name}\"\nurl = \"{url}\"\nsecret_env = \"S\"\nallow_private = true\n"
    )
}

/// Always finds these addresses.
pub fn lookup_of(found: impl Fn(&str) -> Vec<IpAddr> + Send + Sync + 'static) -> Lookup {
    Arc::new(move |name| {
        let found = found(&name);
        Box::pin(async move { Ok(found) })
    })
}

/// Commits events, so that these settings' destinations are to be told.
pub async fn deliver(database: &Database, settings: &Settings, events: &[EventBody]) {
    let rules = Rules { destinations: settings.rules(), ..Rules::default() };
    let mut session = database.session().await;
    for event in events {
        record(&mut session, &rules, &[&event.event()], NOW).await.expect("recorded");
    }
}

/// A worker that runs.
pub struct Notifier {
    clock: Arc<AtomicI64>,
    pub changes: Arc<Notify>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// What a test may choose.
pub struct Choice {
    /// How far the clock is ahead of [`NOW`] at the start.
    pub ahead: i64,
    pub attempt: Duration,
    pub lease: Duration,
    pub poll: Duration,
    pub lookup: Lookup,
}

impl Default for Choice {
    fn default() -> Self {
        Self {
            ahead: 0,
            attempt: Duration::from_secs(15),
            lease: Duration::from_secs(25),
            poll: Duration::from_millis(50),
            lookup: guard::system_lookup(),
        }
    }
}

impl Notifier {
    pub fn start(database: &Database, settings: &Settings) -> Self {
        Self::start_with(database, settings, Choice::default())
    }

    pub fn start_with(database: &Database, settings: &Settings, choice: Choice) -> Self {
        let senders = Sender::all(settings, &choice.lookup).expect("senders");
        let (changes, stop) = (Arc::new(Notify::new()), CancellationToken::new());
        let clock = Arc::new(AtomicI64::new(NOW + choice.ahead));
        let told = Arc::clone(&clock);
        let pace = Pace {
            clock: Arc::new(move || told.load(Ordering::SeqCst)),
            attempt: choice.attempt,
            lease: choice.lease,
            poll: choice.poll,
        };
        let (store, told) = (database.store.clone(), Arc::clone(&changes));
        let task = worker::start(store, senders, told, pace, stop.clone()).expect("a thread");
        Self { clock, changes, stop, task }
    }

    /// Lets time pass.
    pub fn pass(&self, seconds: i64) {
        self.clock.fetch_add(seconds * 1000, Ordering::SeqCst);
        self.changes.notify_one();
    }

    pub async fn stopped(mut self) {
        self.stop.cancel();
        (&mut self.task).await.expect("no panic");
    }
}

/// A test that fails must not wait for a worker that goes on.
impl Drop for Notifier {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Waits until the first delivery of a destination looks so: `status attempts error`.
pub async fn becomes(database: &Database, destination: &str, expected: &str) {
    let sql = format!(
        "select status || ' ' || attempts || ' ' || coalesce(last_error, '-') from deliveries
         where destination = '{destination}' and claimed_at is null order by id limit 1"
    );
    let mut last = Vec::new();
    let told = format!("{destination}: {expected}");
    eventually(&told, async || {
        let row = database.column(&sql).await;
        if row != last {
            last.clone_from(&row);
            eprintln!("{destination}: {row:?}");
        }
        row.first().is_some_and(|row| row == expected)
    })
    .await;
}
