//! What an operator sees of notifications, and does about them: `paidup notify`.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Subcommand;
use tokio::time::timeout;

use crate::notify::message::Message;
use crate::notify::settings::Settings;
use crate::notify::worker::ATTEMPT_SECONDS_MAX;
use crate::notify::{NotifyError, Outcome, Sender, guard};
use crate::store::outbox::{DeliveryRecord, Disabled, Tally};
use crate::store::{Session, Store, StoreError};
use crate::tell::{self, TellError, milliseconds, printable, table, trimmed};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum NotifyCommand {
    /// Shows each destination, and the newest notifications.
    List {
        /// Only those that are waiting, sent, skipped or dead.
        #[arg(long, value_parser = ["waiting", "sent", "skipped", "dead"])]
        status: Option<String>,
        /// Only those of this destination.
        #[arg(long)]
        destination: Option<String>,
        /// How many.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Shows one notification.
    Show {
        /// Its number, as `list` shows it.
        id: i64,
    },
    /// Sends again what is dead, or one notification whatever became of it.
    #[command(arg_required_else_help = true)]
    Retry {
        /// Its number, as `list` shows it.
        #[arg(conflicts_with = "dead")]
        id: Option<i64>,
        /// All that are dead.
        #[arg(long)]
        dead: bool,
        /// Of those, only the ones of this destination.
        #[arg(long, requires = "dead")]
        destination: Option<String>,
    },
    /// Sends a message that tells of no order, to see whether it arrives.
    Test {
        /// The destination's name in NOTIFY_CONFIG.
        destination: String,
    },
    /// Sends again to a destination that answered that it is gone.
    Enable {
        /// Its name.
        destination: String,
    },
}

/// Why it could not be done.
#[derive(Debug, thiserror::Error)]
pub enum NotificationsError {
    /// The database.
    #[error("{0}")]
    Tell(#[from] TellError),
    /// The database.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// What sends.
    #[error("{0}")]
    Notify(#[from] NotifyError),
    /// No such notification.
    #[error("there is no notification {0}; `paidup notify list` shows them")]
    NoDelivery(i64),
    /// It is being sent.
    #[error("notification {0} is being sent right now; look again in half a minute")]
    Busy(i64),
    /// No such destination.
    #[error("NOTIFY_CONFIG has no destination {0:?}; it has: {1}")]
    NoDestination(String, String),
    /// It is enabled already.
    #[error("{0:?} is not disabled")]
    NotDisabled(String),
    /// The message did not arrive.
    #[error("{0}: {1}")]
    Unsent(String, String),
}

/// Does it, and says what there is to say. `now` is in milliseconds.
///
/// # Errors
/// [`NotificationsError`], as a sentence for the person who asked.
pub async fn run(
    command: NotifyCommand,
    store: &Store,
    settings: &Settings,
    now: i64,
) -> Result<String, NotificationsError> {
    if let NotifyCommand::Test { destination } = command {
        return test(settings, &destination, now).await;
    }
    let mut session = tell::open(store).await?;
    let told = match command {
        NotifyCommand::List { status, destination, limit } => {
            let (status, destination) = (status.as_deref(), destination.as_deref());
            list(&mut session, settings, status, destination, limit).await?
        }
        NotifyCommand::Show { id } => {
            let record = session.delivery(id).await?;
            shown(&record.ok_or(NotificationsError::NoDelivery(id))?)
        }
        NotifyCommand::Retry { id: Some(id), .. } => retry(&mut session, id, now).await?,
        NotifyCommand::Retry { destination, .. } => {
            let count = session.retry_dead(destination.as_deref(), now).await?;
            format!("{count} notifications are due again")
        }
        NotifyCommand::Enable { destination } => {
            if session.enable_destination(&destination).await? == 0 {
                return Err(NotificationsError::NotDisabled(destination));
            }
            format!("{destination} is sent to again, with all that was kept for it")
        }
        NotifyCommand::Test { .. } => String::new(),
    };
    session.close().await;
    Ok(told)
}

async fn retry(session: &mut Session, id: i64, now: i64) -> Result<String, NotificationsError> {
    if session.retry_delivery(id, now).await? == 0 {
        let is_there = session.delivery(id).await?.is_some();
        let error =
            if is_there { NotificationsError::Busy } else { NotificationsError::NoDelivery };
        return Err(error(id));
    }
    Ok(format!("notification {id} is due again"))
}

async fn test(settings: &Settings, name: &str, now: i64) -> Result<String, NotificationsError> {
    let names = || {
        let names: Vec<&str> = settings.destinations.iter().map(|one| one.name.as_str()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    let mut only = settings.clone();
    only.destinations.retain(|one| one.name == name);
    if only.destinations.is_empty() {
        return Err(NotificationsError::NoDestination(name.to_owned(), names()));
    }
    let message = Message::test(now);
    for sender in Sender::all(&only, &guard::system_lookup())? {
        let sending = sender.send(&message, now);
        let outcome = timeout(Duration::from_secs(ATTEMPT_SECONDS_MAX), sending).await;
        let why = match outcome {
            Ok(Outcome::Sent) => continue,
            Ok(Outcome::Skipped(why) | Outcome::Refused(why) | Outcome::Gone(why)) => why,
            Ok(Outcome::Failed { why, .. }) => why,
            Ok(Outcome::NoAddress) => "there is no address to send to".to_owned(),
            Err(_) => format!("no answer within {ATTEMPT_SECONDS_MAX} s"),
        };
        return Err(NotificationsError::Unsent(name.to_owned(), why));
    }
    Ok(format!("{name} took the test message {}", message.id))
}

async fn list(
    session: &mut Session,
    settings: &Settings,
    status: Option<&str>,
    destination: Option<&str>,
    limit: i64,
) -> Result<String, NotificationsError> {
    let (tallies, disabled) = (session.tallies().await?, session.disabled_destinations().await?);
    let records = session.deliveries(status, destination, limit).await?;
    let mut text = format!("Destinations\n{}\n", destinations(settings, &tallies, &disabled));
    let _ = writeln!(text, "\nNotifications, the newest first ({})", records.len());
    let mut table = table();
    for record in &records {
        table.add_row([
            record.id.to_string(),
            milliseconds(record.created_at),
            record.destination.clone(),
            printable(&record.order_id),
            format!("version {}", record.version),
            record.kinds.clone(),
            state(record),
            record.last_error.as_deref().map(printable).unwrap_or_default(),
        ]);
    }
    let _ = writeln!(text, "{}", trimmed(&table));
    Ok(text)
}

/// Those of the file, and those that something is kept for and the file does not have.
fn destinations(settings: &Settings, tallies: &[Tally], disabled: &[Disabled]) -> String {
    let mut names: Vec<&str> = settings.destinations.iter().map(|one| one.name.as_str()).collect();
    for tally in tallies {
        if !names.contains(&tally.destination.as_str()) {
            names.push(&tally.destination);
        }
    }
    let mut table = table();
    for name in names {
        let of = |status: &str| {
            tallies.iter().find(|tally| tally.destination == name && tally.status == status)
        };
        let count = |status: &str| of(status).map_or(0, |tally| tally.count);
        let mut note = String::new();
        if let Some(waiting) = of("waiting") {
            let _ = write!(note, "waiting since {}", milliseconds(waiting.oldest_at));
        }
        if !settings.destinations.iter().any(|one| one.name == name) {
            note.push_str("; not in NOTIFY_CONFIG, so nothing is sent to it");
        }
        if let Some(one) = disabled.iter().find(|one| one.name == name) {
            let since = milliseconds(one.disabled_at);
            let _ = write!(note, "; disabled since {since}: it {}", one.reason);
        }
        table.add_row([
            name.to_owned(),
            format!("{} waiting", count("waiting")),
            format!("{} sent", count("sent")),
            format!("{} skipped", count("skipped")),
            format!("{} dead", count("dead")),
            note.trim_start_matches("; ").to_owned(),
        ]);
    }
    trimmed(&table)
}

/// Where it stands, in a few words.
fn state(record: &DeliveryRecord) -> String {
    match (record.status.as_str(), record.claimed_at, record.settled_at) {
        ("waiting", Some(since), _) => format!("being sent since {}", milliseconds(since)),
        ("waiting", None, _) if record.attempts == 0 => "waiting".to_owned(),
        ("waiting", None, _) => format!(
            "waiting, tried {} times, again at {}",
            record.attempts,
            milliseconds(record.next_attempt_at)
        ),
        (status, _, Some(at)) => format!("{status} at {}", milliseconds(at)),
        (status, _, None) => status.to_owned(),
    }
}

fn shown(record: &DeliveryRecord) -> String {
    let mut table = table();
    let error = record.last_error.as_deref().map(printable);
    let rows = [
        ("order", Some(printable(&record.order_id))),
        ("version", Some(record.version.to_string())),
        ("tells of", Some(record.kinds.clone())),
        ("destination", Some(record.destination.clone())),
        ("state", Some(state(record))),
        ("attempts", Some(record.attempts.to_string())),
        ("last error", error),
        ("written at", Some(milliseconds(record.created_at))),
    ];
    for (name, value) in rows {
        if let Some(value) = value {
            table.add_row([name.to_owned(), value]);
        }
    }
    format!("Notification {}\n{}\n", record.id, trimmed(&table))
}
