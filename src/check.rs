//! `paidup check`: looks at the settings, the secrets, the database, the clock and the addresses, and
//! says of each what is wrong and how to mend it. It changes nothing but what starting paidup would.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::config::{self, Config, ConfigError, Lookup};
use crate::ingest::trial_id;
use crate::notify::{Sender, guard};
use crate::store::{Session, Store, StoreError};
use crate::unix_seconds;

/// How far the clock may be from the database's before it is told: a tenth of Stripe's tolerance.
pub const CLOCK_SECONDS_MAX: u64 = 30;
const DATABASE_SECONDS_MAX: u64 = 10;

/// How a thing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// As it should be.
    Good,
    /// It works, but look at it.
    Doubtful,
    /// It does not work.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How it was found.
    pub grade: Grade,
    /// What, and what to do about it.
    pub told: String,
}

impl Finding {
    pub(crate) fn good(told: impl Into<String>) -> Self {
        Self { grade: Grade::Good, told: told.into() }
    }

    pub(crate) fn doubtful(told: impl Into<String>) -> Self {
        Self { grade: Grade::Doubtful, told: told.into() }
    }

    pub(crate) fn bad(told: impl Into<String>) -> Self {
        Self { grade: Grade::Bad, told: told.into() }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mark = match self.grade {
            Grade::Good => "ok  ",
            Grade::Doubtful => "look",
            Grade::Bad => "BAD ",
        };
        write!(f, "{mark}  {}", self.told)
    }
}

/// Looks at everything that `paidup serve` would use.
pub async fn check(lookup: Lookup<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    match Config::read(lookup) {
        Ok(config) => {
            findings.push(Finding::good("the settings can be read"));
            findings.extend(addresses(&config).await);
            findings.extend(notifications(&config));
        }
        Err(errors) => findings.extend(errors.iter().map(setting)),
    }
    findings.extend(secrets(lookup));
    if let Ok(store) = config::store(lookup) {
        findings.extend(database(&store).await);
    }
    findings
}

fn setting(error: &ConfigError) -> Finding {
    Finding::bad(error.to_string())
}

fn secrets(lookup: Lookup<'_>) -> Vec<Finding> {
    let Ok(Some(secrets)) = config::secrets(lookup) else { return Vec::new() };
    let last4: Vec<String> = secrets.iter().map(|secret| format!("…{}", secret.last4())).collect();
    vec![Finding::good(format!("signing secrets: {}", last4.join(", ")))]
}

/// The file itself was read with the settings; here are the templates, and who is told.
fn notifications(config: &Config) -> Vec<Finding> {
    let destinations = &config.notify.destinations;
    if destinations.is_empty() {
        return Vec::new();
    }
    match Sender::all(&config.notify, &guard::system_lookup()) {
        Ok(_) => {
            let names: Vec<&str> = destinations.iter().map(|one| one.name.as_str()).collect();
            vec![Finding::good(format!(
                "notifies {}; `paidup notify test NAME` shows whether it arrives",
                names.join(", ")
            ))]
        }
        Err(error) => vec![Finding::bad(format!("NOTIFY_CONFIG: {error}"))],
    }
}

async fn addresses(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, address) in [("LISTEN", config.listen), ("OPERATOR_LISTEN", config.operator_listen)]
    {
        findings.push(match TcpListener::bind(address).await {
            Ok(_) => Finding::good(format!("{name}={address} is free")),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Finding::doubtful(format!(
                "{name}={address} is in use; if that is not paidup itself, set {name} to another one"
            )),
            Err(error) => Finding::bad(format!(
                "{name}={address} cannot be listened on: {}. Set {name} to an address of this machine",
                error.kind()
            )),
        });
    }
    if !config.operator_listen.ip().is_loopback() {
        findings.push(Finding::doubtful(format!(
            "OPERATOR_LISTEN={} can be reached from other machines; keep the Internet away from it",
            config.operator_listen
        )));
    }
    findings
}

async fn database(store: &Store) -> Vec<Finding> {
    let name = store.describe();
    if store.file().is_some_and(|file| !file.exists()) {
        return vec![Finding::good(format!(
            "{name} is not there yet; paidup makes it at its start"
        ))];
    }
    let limit = Duration::from_secs(DATABASE_SECONDS_MAX);
    match timeout(limit, look(store)).await {
        Ok(Ok(findings)) => findings,
        Ok(Err(error)) => vec![Finding::bad(format!("{name}: {error}. {}", error.advice()))],
        Err(_) => vec![Finding::bad(format!(
            "{name} does not answer within {DATABASE_SECONDS_MAX} s; is a firewall in between?"
        ))],
    }
}

async fn look(store: &Store) -> Result<Vec<Finding>, StoreError> {
    let mut session = store.connect().await?;
    let mut findings = vec![Finding::good(format!("{} answers", store.describe()))];
    findings.push(migrations(store, &mut session).await?);
    session.ping().await?;
    if session.migration().await? == store.migration() {
        session.try_write(&trial_id()).await?;
        findings.push(Finding::good("a write works; it was taken back"));
    }
    let apart = (session.clock().await? / 1000).abs_diff(unix_seconds());
    findings.push(if apart <= CLOCK_SECONDS_MAX {
        Finding::good("the clock agrees with the database's")
    } else {
        Finding::bad(format!(
            "the clocks of this machine and of the database are {apart} s apart; Stripe's signatures \
             are refused from {} s on. Set both by NTP",
            crate::domain::signature::TOLERANCE_SECONDS_DEFAULT
        ))
    });
    session.close().await;
    Ok(findings)
}

async fn migrations(store: &Store, session: &mut Session) -> Result<Finding, StoreError> {
    let (applied, known) = (session.migration().await?, store.migration());
    Ok(match applied.cmp(&known) {
        std::cmp::Ordering::Equal => Finding::good(format!("its schema is at migration {known}")),
        std::cmp::Ordering::Less => Finding::doubtful(format!(
            "its schema is at migration {applied} of {known}; paidup migrates at its start, and so \
             does `paidup migrate`"
        )),
        std::cmp::Ordering::Greater => Finding::bad(format!(
            "its schema is at migration {applied}, and this paidup knows only {known}; run the newer \
             version that migrated it"
        )),
    })
}
