//! paidup: Stripe webhooks in, order states out.
//!
//! The way of the data: **bytes → verified → event → recorded → notified.** Each noun is a type that
//! only the arrow before it can make.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`domain`] | the rules, without I/O: signature, event, payment, order, ledger |
//! | [`store`] | the two databases, and the one transaction over them |
//! | [`ingest`] | the writer: queued events → one transaction → many answers |
//! | [`notify`] | the outbox → webhook, e-mail, push, chat |
//! | [`http`] | the server, the webhook, the API, the console, health and metrics |
//! | [`config`] | the settings |
//! | [`tell`], [`notifications`], [`check`] | what the command line shows and looks at |
//! | [`recovery`] | what was missed, changed or grew old |
//! | [`dev`], [`trigger`] | the first minute: a secret, and events of our own |
//! | [`admin_token`] | the token of a run for which none is set |
//! | [`random`], [`files`] | bytes that nobody can guess; how many files may be open, and who can read them |
//!
//! Imports go one way: domain ← store ← ingest ← http, with notify beside ingest. [`serve`] is the only wiring.

// The samples of `trigger` are long JSON literals.
#![recursion_limit = "256"]

pub mod admin_token;
pub mod check;
pub mod config;
pub mod dev;
pub mod domain;
pub mod files;
pub mod http;
pub mod ingest;
pub mod notifications;
pub mod notify;
pub mod random;
pub mod recovery;
pub mod store;
pub mod tell;
pub mod trigger;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::http::api::Api;
use crate::http::changes::Changes;
use crate::http::console::{Console, Parts};
use crate::http::readers::Readers;
use crate::http::secrets;
use crate::http::token::Doorkeeper;
use crate::http::webhook::{self, Webhook};
use crate::http::{
    CONNECTIONS_MAX, Limits, OPERATOR_CONNECTIONS_MAX, OPERATOR_SEND_BUFFER_BYTES,
    WEBHOOK_SEND_BUFFER_BYTES, operators,
};
use crate::ingest::Ingest;
use crate::notify::worker::{self, Pace};
use crate::notify::{NotifyError, Sender, guard};
use crate::recovery::rounds::Rounds;
use crate::recovery::stripe::{ApiError, StripeApi};
use crate::store::transaction::Rules;
use crate::store::{Store, StoreError};

/// How long `serve` waits at its start for a database that does not answer yet.
pub const DATABASE_WAIT_SECONDS_MAX: u64 = 30;
const DATABASE_PAUSE_MILLISECONDS: u64 = 500;
const METRICS_UPKEEP_SECONDS: u64 = 5;
/// From a fast local commit to the deadline of a reply.
const SECONDS_BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0];
const BATCH_BUCKETS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Why the service could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken, or not of this machine.
    #[error("{name}={address} cannot be listened on: {kind}. Set {name} to another one")]
    Listen {
        /// The variable.
        name: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        kind: std::io::ErrorKind,
    },
    /// The database does not answer, or cannot be migrated.
    #[error("{database}: {error}. {}", error.advice())]
    Store {
        /// Which.
        database: String,
        /// Why.
        #[source]
        error: StoreError,
    },
    /// The metrics cannot be set up.
    #[error("the metrics could not be set up: {0}")]
    Metrics(String),
    /// Nothing can be sent.
    #[error("NOTIFY_CONFIG: {0}")]
    Notify(#[from] NotifyError),
    /// Stripe cannot be asked.
    #[error("BACKFILL_EVERY: {0}")]
    Stripe(#[from] ApiError),
    /// The system gives no thread to the writer, or to another who needs one.
    #[error("the system gives no thread to the writer: {0}")]
    NoThread(std::io::ErrorKind),
    /// The writer ended before it was told to: a bug.
    #[error("the writer stopped, which is a bug of paidup's; what was answered 200 is committed")]
    WriterStopped,
    /// The notifier ended before it was told to: a bug.
    #[error("the notifier stopped, which is a bug of paidup's; what it had not sent is kept")]
    NotifierStopped,
}

/// A service whose addresses are known and whose database is ready.
pub struct Service {
    config: Config,
    webhook_listener: TcpListener,
    operator_listener: TcpListener,
    metrics: PrometheusHandle,
    senders: Vec<Sender>,
    backfill: Option<(StripeApi, Duration)>,
}

impl Service {
    /// Takes the addresses and brings the database's schema up to date.
    ///
    /// # Errors
    /// [`ServeError`] if an address is taken, or the database is not there within
    /// [`DATABASE_WAIT_SECONDS_MAX`].
    pub async fn open(config: Config) -> Result<Self, ServeError> {
        let metrics = metrics().map_err(|error| ServeError::Metrics(error.to_string()))?;
        let senders = if config.notify.destinations.is_empty() {
            Vec::new()
        } else {
            Sender::all(&config.notify, &guard::system_lookup())?
        };
        let backfill = match &config.backfill {
            Some(backfill) => {
                Some((StripeApi::new(&backfill.base, &backfill.key)?, backfill.every))
            }
            None => None,
        };
        let webhook_listener = listen("LISTEN", config.listen, WEBHOOK_SEND_BUFFER_BYTES)?;
        let operator_listener =
            listen("OPERATOR_LISTEN", config.operator_listen, OPERATOR_SEND_BUFFER_BYTES)?;
        migrate(&config).await.map_err(|error| {
            let database = config.store.describe();
            ServeError::Store { database, error }
        })?;
        Ok(Self { config, webhook_listener, operator_listener, metrics, senders, backfill })
    }

    /// Where webhooks are taken.
    #[must_use]
    pub fn webhook_address(&self) -> SocketAddr {
        self.webhook_listener.local_addr().unwrap_or(self.config.listen)
    }

    /// Where operators are served.
    #[must_use]
    pub fn operator_address(&self) -> SocketAddr {
        self.operator_listener.local_addr().unwrap_or(self.config.operator_listen)
    }

    /// Serves until `stop`; then answers what was accepted, and ends.
    ///
    /// # Errors
    /// [`ServeError::WriterStopped`], which only a bug can bring about.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ServeError> {
        let Self { config, webhook_listener, operator_listener, metrics, senders, backfill } = self;
        let rules = Rules { policy: config.policy, destinations: config.notify.rules() };
        let stop_writer = CancellationToken::new();
        let (ingest, mut writer) = ingest::start(
            config.store.clone(),
            rules.clone(),
            config.retention,
            stop_writer.clone(),
        )
        .map_err(|error| ServeError::NoThread(error.kind()))?;
        let stop_notifying = CancellationToken::new();
        let mut notifier =
            notifier(config.store.clone(), senders, ingest.changes(), stop_notifying.clone())?;
        let rounds =
            rounds(config.store.clone(), rules.clone(), backfill, ingest.clone(), stop.clone())?;
        let door = Doorkeeper::new(config.admin_token);
        let readers = Readers::new(config.store.clone());
        let changes = Changes::start(readers.clone(), ingest.news(), stop.clone());
        let now = unix_milliseconds;
        let api = Api::new(
            readers.clone(),
            rules.clone(),
            door.clone(),
            ingest.clone(),
            changes,
            stop.clone(),
            now,
        );
        let webhook = Webhook::new(
            config.secrets,
            config.tolerance_seconds,
            ingest.clone(),
            Arc::clone(&rules.policy.order_ids),
            unix_seconds,
        );
        let uses = webhook.secret_uses();
        let noting = tokio::spawn(secrets::keep(Arc::clone(&uses), readers, stop.clone(), now));
        let console = Console::new(Parts {
            store: config.store,
            rules,
            door,
            url: config.console_url,
            metrics: metrics.clone(),
            ingest: ingest.clone(),
            secrets: uses,
            stop: stop.clone(),
            now,
        });
        let (webhook_connections, operator_connections) = connections();
        let webhooks = tokio::spawn(http::serve(
            webhook_listener,
            webhook::front(webhook),
            Limits { connections: webhook_connections, ..Limits::default() },
            stop.clone(),
        ));
        let operators = tokio::spawn(http::serve(
            operator_listener,
            operators::router(metrics.clone(), ingest, api, console),
            Limits { connections: operator_connections, ..Limits::default() },
            stop.clone(),
        ));
        let upkeep = tokio::spawn(upkeep(metrics));

        let ended_early = tokio::select! {
            // First of all: once the listeners are closed the writer ends by itself, and rightly.
            biased;
            () = stop.cancelled() => None,
            _ = &mut writer => Some(ServeError::WriterStopped),
            () = ended(&mut notifier) => Some(ServeError::NotifierStopped),
        };
        if let Some(error) = &ended_early {
            error!("{error}");
            stop.cancel();
        }
        // First the answers, then the writer: what it still has is what they wait for.
        let _ = webhooks.await;
        let _ = operators.await;
        let _ = noting.await;
        if let Some(rounds) = rounds {
            let _ = rounds.await;
        }
        stop_writer.cancel();
        stop_notifying.cancel();
        upkeep.abort();
        if let Some(error) = ended_early {
            return Err(error);
        }
        writer.await.map_err(|_| ServeError::WriterStopped)?;
        if notifier.is_some() {
            ended(&mut notifier).await;
        }
        Ok(())
    }
}

/// How many connections for webhooks and for operators the system has files for.
fn connections() -> (usize, usize) {
    let wanted = CONNECTIONS_MAX + OPERATOR_CONNECTIONS_MAX + files::FILES_RESERVED;
    let allowed = files::ask_for(wanted);
    let (webhooks, operators) = files::shares(allowed, CONNECTIONS_MAX, OPERATOR_CONNECTIONS_MAX);
    if allowed < wanted {
        warn!(
            allowed,
            wanted,
            webhooks,
            operators,
            "the system allows few open files, so fewer connections are kept; raise `ulimit -n`"
        );
    }
    (webhooks, operators)
}

/// Returns when the notifier has ended; never, if there is none.
async fn ended(notifier: &mut Option<JoinHandle<()>>) {
    match notifier {
        Some(notifier) => drop(notifier.await),
        None => std::future::pending().await,
    }
}

/// Starts to notify, if there is anybody to tell; a service that tells nobody carries nothing for it.
fn notifier(
    store: Store,
    senders: Vec<Sender>,
    changes: Arc<Notify>,
    stop: CancellationToken,
) -> Result<Option<JoinHandle<()>>, ServeError> {
    if senders.is_empty() {
        return Ok(None);
    }
    worker::start(store, senders, changes, Pace::default(), stop)
        .map(Some)
        .map_err(|error| ServeError::NoThread(error.kind()))
}

/// Starts to read from Stripe what was missed, if that was asked for.
fn rounds(
    store: Store,
    rules: Rules,
    backfill: Option<(StripeApi, Duration)>,
    ingest: Ingest,
    stop: CancellationToken,
) -> Result<Option<JoinHandle<()>>, ServeError> {
    let Some((api, every)) = backfill else { return Ok(None) };
    let rounds = Rounds::new(store, rules, api, every, ingest, stop).start();
    rounds.map(Some).map_err(|error| ServeError::NoThread(error.kind()))
}

/// Runs a service, and logs where it listens: `paidup serve`.
///
/// # Errors
/// As for [`Service::run`].
pub async fn serve(service: Service, stop: CancellationToken) -> Result<(), ServeError> {
    let database = service.config.store.describe();
    let (webhooks, operators) = (service.webhook_address(), service.operator_address());
    info!(
        database,
        "takes webhooks at http://{webhooks}/webhook/stripe; health and metrics at http://{operators}"
    );
    service.run(stop).await?;
    info!("all that was accepted is committed and answered; goodbye");
    Ok(())
}

fn listen(
    name: &'static str,
    address: SocketAddr,
    send_buffer_bytes: u32,
) -> Result<TcpListener, ServeError> {
    crate::http::listen(address, send_buffer_bytes).map_err(|error| {
        let kind = error.kind();
        ServeError::Listen { name, address, kind }
    })
}

/// Migrates; a database that is away is waited for, as it may be starting too.
async fn migrate(config: &Config) -> Result<(), StoreError> {
    let patience = Instant::now() + Duration::from_secs(DATABASE_WAIT_SECONDS_MAX);
    let mut is_told = false;
    loop {
        match config.store.migrate().await {
            Err(StoreError::Away(failure)) if failure.may_pass() && Instant::now() < patience => {
                if !std::mem::replace(&mut is_told, true) {
                    let database = config.store.describe();
                    warn!("{database} does not answer yet: {failure}; waiting for it");
                }
                sleep(Duration::from_millis(DATABASE_PAUSE_MILLISECONDS)).await;
            }
            result => return result,
        }
    }
}

/// The recorder of this process; it can be installed only once.
fn metrics() -> Result<PrometheusHandle, BuildError> {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let seconds = |name: &str| Matcher::Full(name.to_owned());
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(seconds("paidup_request_seconds"), &SECONDS_BUCKETS)?
        .set_buckets_for_metric(seconds("paidup_commit_seconds"), &SECONDS_BUCKETS)?
        .set_buckets_for_metric(seconds("paidup_batch_events"), &BATCH_BUCKETS)?
        .install_recorder()?;
    describe_metrics();
    Ok(HANDLE.get_or_init(|| handle).clone())
}

fn describe_metrics() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_counter!("paidup_events_total", "Events answered 200, by type and outcome");
    describe_counter!("paidup_refusals_total", "Requests not answered 200, by reason");
    describe_counter!(
        "paidup_signing_secret_matches_total",
        "Calls proven, by the last four characters of the secret that did it"
    );
    describe_counter!(
        "paidup_event_conflicts_total",
        "Events that came with another content under the id of a recorded one"
    );
    describe_gauge!("paidup_queue_events", "Events that wait for the writer");
    describe_gauge!("paidup_connections", "Open connections, by listener");
    describe_counter!(
        "paidup_notifications_total",
        "Attempts to notify, by destination and result; dead are those given up"
    );
    describe_gauge!(
        "paidup_notification_oldest_seconds",
        "How long the oldest notification has been waiting, by destination"
    );
    describe_gauge!(
        "paidup_destination_rests",
        "1 while nothing is sent to a destination: it failed, or said that it is gone"
    );
    describe_counter!(
        "paidup_backfill_rounds_total",
        "Times that this process read from Stripe what was missed, by result"
    );
    describe_counter!(
        "paidup_backfill_events_total",
        "Events that were missing, and were recorded so"
    );
    describe_gauge!(
        "paidup_backfill_success_timestamp_seconds",
        "When any process last read all that Stripe has, in Unix time"
    );
    describe_histogram!("paidup_batch_events", "Events in one transaction");
    describe_histogram!("paidup_commit_seconds", "Time of one transaction, with its retries");
    describe_histogram!("paidup_request_seconds", "Time from a webhook's head to its answer");
}

async fn upkeep(metrics: PrometheusHandle) {
    loop {
        sleep(Duration::from_secs(METRICS_UPKEEP_SECONDS)).await;
        metrics.run_upkeep();
    }
}

/// The time of this machine, in seconds since 1970.
#[must_use]
pub fn unix_seconds() -> i64 {
    unix_milliseconds() / 1000
}

/// The time of this machine, in milliseconds since 1970.
#[must_use]
pub fn unix_milliseconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
