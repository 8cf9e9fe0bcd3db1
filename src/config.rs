//! The settings, read once from the environment. Secrets become [`SigningSecret`]s on the way in;
//! their text is not kept, and no error repeats a value that could be one.
//!
//! [`env_file`] puts the file `.env` into the environment, [`value`](mod@value) reads the text of one
//! setting, [`signing`] the signing secrets, [`policy`] which
//! events count. What the other texts mean is decided here.

pub mod env_file;
pub mod policy;
pub mod signing;
pub mod value;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::domain::policy::{Mode, Policy};
use crate::domain::signature::{SigningSecret, TOLERANCE_SECONDS_DEFAULT};
use crate::http::console::session::ConsoleUrl;
use crate::http::token::{AdminToken, TOKEN_CHARS_MIN};
use crate::ingest::Retention;
use crate::notify::file;
use crate::notify::settings::Settings;
use crate::recovery::rounds::{EVERY_SECONDS_MAX, EVERY_SECONDS_MIN};
use crate::recovery::span_seconds;
use crate::recovery::stripe::{ApiBase, ApiKey, STRIPE_API_BASE_DEFAULT};
use crate::store::transaction::Rules;
use crate::store::{DATABASE_URL_DEFAULT, Store};
pub use signing::secrets;
pub use value::{Lookup, address, environment, value};
use value::{choice, one_line};

/// Where webhooks are taken, unless `LISTEN` says otherwise.
pub const LISTEN_DEFAULT: &str = "0.0.0.0:8000";
/// Where operators are served, unless `OPERATOR_LISTEN` says otherwise: this machine alone.
pub const OPERATOR_LISTEN_DEFAULT: &str = "127.0.0.1:8001";
/// Where `paidup dev` takes webhooks: never from another machine.
pub const DEV_LISTEN_DEFAULT: &str = "127.0.0.1:8000";
/// How long bodies are kept, unless `EVENT_BODY_DAYS` says otherwise.
pub const EVENT_BODY_DAYS_DEFAULT: u32 = 90;
/// The widest tolerance that may be set: beyond a day, a stolen call could be replayed for long.
pub const TOLERANCE_SECONDS_MAX: u32 = 24 * 60 * 60;
/// Where `paidup dev` keeps the secret that it makes.
pub const DEV_SECRET_FILE: &str = ".paidup/secret";
/// Where a service writes the admin token that it makes, if it has no terminal to print it on.
pub const ADMIN_TOKEN_PATH: &str = ".paidup/admin_token";

/// What the log shows of a running service. Each event makes a line under `paidup::event`, which a
/// busy service is better without; and Postgres notes each time that a table is there already.
pub const LOG_FILTER_DEFAULT: &str = "info,paidup::event=warn,sqlx::postgres::notice=warn";
/// The same for `paidup dev`, which shows each event.
pub const LOG_FILTER_DEV: &str = "info,sqlx::postgres::notice=warn";

/// How log lines look.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// All settings of a service.
#[derive(Debug, Clone)]
pub struct Config {
    /// The database.
    pub store: Store,
    /// The secrets, any of which proves a call.
    pub secrets: Vec<SigningSecret>,
    /// How far a signature's time may be from ours.
    pub tolerance_seconds: u32,
    /// Which events count, and what to do with unknown orders.
    pub policy: Policy,
    /// How long to keep what.
    pub retention: Retention,
    /// Where webhooks are taken.
    pub listen: SocketAddr,
    /// Where operators are served.
    pub operator_listen: SocketAddr,
    /// Whom to notify.
    pub notify: Settings,
    /// What opens the console and the API; `None` keeps them shut.
    pub admin_token: Option<AdminToken>,
    /// Where browsers reach the console, if not at the operators' listener itself.
    pub console_url: Option<ConsoleUrl>,
    /// How the service itself reads what it missed; `None`: it does not.
    pub backfill: Option<BackfillEvery>,
}

/// How often to ask Stripe for what was missed, and how to ask.
#[derive(Debug, Clone)]
pub struct BackfillEvery {
    /// From the begin of one round to that of the next.
    pub every: Duration,
    /// Whom to ask.
    pub base: ApiBase,
    /// By this key.
    pub key: ApiKey,
}

/// A setting that cannot be used: which one, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {told}")]
pub struct ConfigError {
    /// The variable.
    pub name: &'static str,
    /// What is wrong with it, and what to do.
    pub told: String,
}

impl ConfigError {
    fn new(name: &'static str, told: impl Into<String>) -> Self {
        Self { name, told: told.into() }
    }
}

impl Config {
    /// Reads all settings, for `paidup serve`.
    ///
    /// # Errors
    /// Every setting that cannot be used, not only the first.
    pub fn read(lookup: Lookup<'_>) -> Result<Self, Vec<ConfigError>> {
        let secrets = secrets(lookup).and_then(|secrets| match secrets {
            Some(secrets) => Ok(secrets),
            None => Err(ConfigError::new(
                "STRIPE_WEBHOOK_SECRET",
                "not set. It is the signing secret (whsec_…) on the endpoint's page in the Stripe \
                 Dashboard, or what `stripe listen` prints. To try paidup without Stripe, run `paidup dev`",
            )),
        });
        Self::with_secrets(lookup, secrets, LISTEN_DEFAULT, Mode::Live)
    }

    /// Reads all settings but the secrets, for `paidup serve --dev-secret`.
    ///
    /// # Errors
    /// Every setting that cannot be used.
    pub fn read_with(
        lookup: Lookup<'_>,
        secrets: Vec<SigningSecret>,
    ) -> Result<Self, Vec<ConfigError>> {
        Self::with_secrets(lookup, Ok(secrets), LISTEN_DEFAULT, Mode::Test)
    }

    /// Reads all settings but the secrets, for `paidup dev`, which has its own.
    ///
    /// # Errors
    /// Every setting that cannot be used; among them a `LISTEN` that other machines can reach.
    pub fn read_dev(
        lookup: Lookup<'_>,
        secrets: Vec<SigningSecret>,
    ) -> Result<Self, Vec<ConfigError>> {
        let config = Self::with_secrets(lookup, Ok(secrets), DEV_LISTEN_DEFAULT, Mode::Test)?;
        let mut errors = Vec::new();
        for (name, address) in
            [("LISTEN", config.listen), ("OPERATOR_LISTEN", config.operator_listen)]
        {
            if !address.ip().is_loopback() {
                let told = format!(
                    "{address} can be reached from other machines, and `paidup dev` is for this one \
                     alone. Leave it out, or run `paidup serve`"
                );
                errors.push(ConfigError::new(name, told));
            }
        }
        if errors.is_empty() { Ok(config) } else { Err(errors) }
    }

    fn with_secrets(
        lookup: Lookup<'_>,
        secrets: Result<Vec<SigningSecret>, ConfigError>,
        listen_default: &str,
        mode: Mode,
    ) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let mut note = |error: ConfigError| errors.push(error);
        let secrets = secrets.map_err(&mut note).ok();
        let store = store(lookup).map_err(&mut note).ok();
        let tolerance = tolerance(lookup).map_err(&mut note).ok();
        let policy =
            policy::policy(lookup, mode).map_err(|told| told.into_iter().for_each(&mut note)).ok();
        let retention = retention(lookup).map_err(&mut note).ok();
        let listen = listen(lookup, listen_default).map_err(&mut note).ok();
        let operator_listen =
            address(lookup, "OPERATOR_LISTEN", OPERATOR_LISTEN_DEFAULT).map_err(&mut note).ok();
        let notify = notify(lookup).map_err(|told| told.into_iter().for_each(&mut note)).ok();
        let admin_token = admin_token(lookup).map_err(&mut note).ok();
        let console_url = console_url(lookup).map_err(&mut note).ok();
        let backfill = backfill(lookup).map_err(&mut note).ok();
        let all = || {
            Some(Self {
                store: store?,
                secrets: secrets?,
                tolerance_seconds: tolerance?,
                policy: policy?,
                retention: retention?,
                listen: listen?,
                operator_listen: operator_listen?,
                notify: notify?,
                admin_token: admin_token?,
                console_url: console_url?,
                backfill: backfill?,
            })
        };
        all().ok_or(errors)
    }
}

/// The database that `DATABASE_URL`, or the file of `DATABASE_URL_FILE`, names; else the file in the
/// working directory.
///
/// # Errors
/// If it is not the address of a database. Its text, which may hold a password, is not repeated.
pub fn store(lookup: Lookup<'_>) -> Result<Store, ConfigError> {
    let (name, url) = one_line(lookup, "DATABASE_URL", "DATABASE_URL_FILE")?
        .unwrap_or(("DATABASE_URL", DATABASE_URL_DEFAULT.to_owned()));
    Store::parse(&url).map_err(|_| {
        ConfigError::new(
            name,
            "not the address of a database. Write postgres://user:password@host:5432/database \
             (special characters in the password percent-encoded) or sqlite://file.db",
        )
    })
}

fn tolerance(lookup: Lookup<'_>) -> Result<u32, ConfigError> {
    const NAME: &str = "STRIPE_SIGNATURE_TOLERANCE_SECONDS";
    let Some(text) = value(lookup, NAME) else { return Ok(TOLERANCE_SECONDS_DEFAULT) };
    text.parse().ok().filter(|seconds| (1..=TOLERANCE_SECONDS_MAX).contains(seconds)).ok_or_else(
        || {
            let told =
                format!("{text:?} is not a number of seconds from 1 to {TOLERANCE_SECONDS_MAX}");
            ConfigError::new(NAME, told)
        },
    )
}

/// How to fold, and whom to tell, for a command that folds beside the service.
///
/// # Errors
/// Every setting that cannot be used.
pub fn rules(lookup: Lookup<'_>) -> Result<Rules, Vec<ConfigError>> {
    let destinations = notify(lookup)?.rules();
    let mode = policy::mode_of_folder(lookup);
    Ok(Rules { policy: policy::policy(lookup, mode)?, destinations })
}

/// The token of `ADMIN_TOKEN` or `ADMIN_TOKEN_FILE`; `None` if neither is set.
fn admin_token(lookup: Lookup<'_>) -> Result<Option<AdminToken>, ConfigError> {
    let Some((name, text)) = one_line(lookup, "ADMIN_TOKEN", "ADMIN_TOKEN_FILE")? else {
        return Ok(None);
    };
    let told = format!(
        "holds no token: {TOKEN_CHARS_MIN} characters or more, no spaces, e.g. of `openssl rand -hex 32`"
    );
    let token = AdminToken::new(&text).ok_or_else(|| ConfigError::new(name, told))?;
    Ok(Some(token))
}

/// Where browsers reach the console; `None` if at the operators' listener itself.
fn console_url(lookup: Lookup<'_>) -> Result<Option<ConsoleUrl>, ConfigError> {
    const NAME: &str = "CONSOLE_URL";
    let Some(text) = value(lookup, NAME) else { return Ok(None) };
    let told = "not an address of a host alone, such as https://ops.shop.example";
    ConsoleUrl::new(&text).map(Some).ok_or_else(|| ConfigError::new(NAME, told))
}

/// How to ask Stripe's API; `None` if there is no key.
///
/// # Errors
/// If the key or the address cannot be used. The key is not repeated.
pub fn stripe(lookup: Lookup<'_>) -> Result<Option<(ApiBase, ApiKey)>, ConfigError> {
    const BASE_NAME: &str = "STRIPE_API_BASE";
    let base = value(lookup, BASE_NAME).unwrap_or_else(|| STRIPE_API_BASE_DEFAULT.to_owned());
    let base = ApiBase::new(&base).ok_or_else(|| {
        ConfigError::new(BASE_NAME, "not an https address; http is taken for this machine alone")
    })?;
    let Some((name, text)) = one_line(lookup, "STRIPE_API_KEY", "STRIPE_API_KEY_FILE")? else {
        return Ok(None);
    };
    let told = "holds no API key; it begins with rk_ (a restricted key, which is better) or sk_";
    let key = ApiKey::new(&text).ok_or_else(|| ConfigError::new(name, told))?;
    Ok(Some((base, key)))
}

/// How often the service reads what it missed, by `BACKFILL_EVERY`; `None` if it is not set.
fn backfill(lookup: Lookup<'_>) -> Result<Option<BackfillEvery>, ConfigError> {
    const NAME: &str = "BACKFILL_EVERY";
    let Some(text) = value(lookup, NAME) else { return Ok(None) };
    let seconds = span_seconds(&text)
        .filter(|seconds| (EVERY_SECONDS_MIN..=EVERY_SECONDS_MAX).contains(seconds))
        .ok_or_else(|| {
            let told = format!("{text:?} is not a time from 1m to 24h, such as 15m");
            ConfigError::new(NAME, told)
        })?;
    let (base, key) = stripe(lookup)?.ok_or_else(|| {
        let told = "needs STRIPE_API_KEY, a restricted key with read access to Events";
        ConfigError::new(NAME, told)
    })?;
    Ok(Some(BackfillEvery { every: Duration::from_secs(seconds), base, key }))
}

/// Where Stripe reaches us, by `PUBLIC_URL`: the whole address of the webhook.
#[must_use]
pub fn public_url(lookup: Lookup<'_>) -> Option<String> {
    value(lookup, "PUBLIC_URL")
}

/// How long to keep what.
///
/// # Errors
/// If it is no number of days.
pub fn retention(lookup: Lookup<'_>) -> Result<Retention, ConfigError> {
    const NAME: &str = "EVENT_BODY_DAYS";
    let days = match value(lookup, NAME) {
        None => EVENT_BODY_DAYS_DEFAULT,
        Some(text) => text.parse().map_err(|_| {
            let told = format!("{text:?} is not a whole number of days; 0 keeps bodies for ever");
            ConfigError::new(NAME, told)
        })?,
    };
    Ok(Retention { event_body_days: (days > 0).then_some(days) })
}

/// Where webhooks are taken: `LISTEN`, else the default address with the port that `PORT` gives.
///
/// # Errors
/// If `LISTEN` is not an IP address with a port, or `PORT` not a port.
pub fn listen(lookup: Lookup<'_>, default: &str) -> Result<SocketAddr, ConfigError> {
    const PORT_NAME: &str = "PORT";
    let mut listen = address(lookup, "LISTEN", default)?;
    if let (None, Some(text)) = (value(lookup, "LISTEN"), value(lookup, PORT_NAME)) {
        listen.set_port(text.parse().map_err(|_| {
            let told = format!("{text:?} is not a port; expected a number from 0 to 65535");
            ConfigError::new(PORT_NAME, told)
        })?);
    }
    Ok(listen)
}

/// Whom to notify, by the file that `NOTIFY_CONFIG` names; nobody, if it names none.
///
/// # Errors
/// Every mistake in the file, and in the secrets that it names.
pub fn notify(lookup: Lookup<'_>) -> Result<Settings, Vec<ConfigError>> {
    const NAME: &str = "NOTIFY_CONFIG";
    let Some(path) = value(lookup, NAME) else { return Ok(Settings::default()) };
    // The variables that the file names are settings too.
    let lookup = |name: &str| value(lookup, name);
    file::read(Path::new(&path), &lookup)
        .map_err(|told| told.into_iter().map(|one| ConfigError::new(NAME, one)).collect())
}

/// What is logged, by `RUST_LOG`; `None` if it is not set.
#[must_use]
pub fn log_filter(lookup: Lookup<'_>) -> Option<String> {
    value(lookup, "RUST_LOG")
}

/// How the log looks, by `LOG_FORMAT`.
///
/// # Errors
/// If it is neither `text` nor `json`.
pub fn log_format(lookup: Lookup<'_>) -> Result<LogFormat, ConfigError> {
    choice(lookup, "LOG_FORMAT", &[("text", LogFormat::Text), ("json", LogFormat::Json)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::UnknownOrders;

    fn read(set: &[(&str, &str)]) -> Result<Config, Vec<ConfigError>> {
        Config::read(&|name| {
            set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    const SECRET: (&str, &str) = ("STRIPE_WEBHOOK_SECRET", "whsec_0123456789abcdefGHIJKLMN");

    #[test]
    fn one_secret_is_enough() {
        let config = read(&[SECRET, ("DATABASE_URL", ""), ("LISTEN", " ")]).expect("a config");
        assert_eq!(config.store.describe(), "SQLite paidup.db");
        assert_eq!(config.listen.to_string(), LISTEN_DEFAULT);
        assert_eq!(config.operator_listen.to_string(), OPERATOR_LISTEN_DEFAULT);
        assert_eq!(config.policy.mode, Mode::Live);
        assert_eq!(config.policy.unknown_orders, UnknownOrders::Create);
        assert_eq!(config.tolerance_seconds, 300);
        assert_eq!(config.retention.event_body_days, Some(90));
    }

    #[test]
    fn every_wrong_setting_is_told_at_once() {
        let errors = read(&[
            ("DATABASE_URL", "mysql://root:hunter2@db"),
            ("LISTEN", "8000"),
            ("OPERATOR_LISTEN", "localhost"),
            ("STRIPE_MODE", "prod"),
            ("UNKNOWN_ORDERS", "drop"),
            ("EVENT_BODY_DAYS", "-1"),
            ("STRIPE_SIGNATURE_TOLERANCE_SECONDS", "0"),
        ])
        .expect_err("errors");
        let names: Vec<&str> = errors.iter().map(|error| error.name).collect();
        assert_eq!(
            names,
            [
                "STRIPE_WEBHOOK_SECRET",
                "DATABASE_URL",
                "STRIPE_SIGNATURE_TOLERANCE_SECONDS",
                "STRIPE_MODE",
                "UNKNOWN_ORDERS",
                "EVENT_BODY_DAYS",
                "LISTEN",
                "OPERATOR_LISTEN"
            ]
        );
        assert!(!format!("{errors:?}").contains("hunter2"));
    }

    #[test]
    fn a_variable_and_its_file_twin_exclude_each_other() {
        for (name, twin) in [
            ("STRIPE_WEBHOOK_SECRET", "STRIPE_WEBHOOK_SECRET_FILE"),
            ("DATABASE_URL", "DATABASE_URL_FILE"),
            ("ADMIN_TOKEN", "ADMIN_TOKEN_FILE"),
        ] {
            let both = read(&[SECRET, (name, SECRET.1), (twin, "/nowhere/at/all")]);
            let errors = both.expect_err(name);
            assert_eq!(
                errors[0].to_string(),
                format!("{name}: set together with {twin}; leave one of them out")
            );
            let mut settings = vec![(twin, "/nowhere/at/all")];
            settings.extend((name != SECRET.0).then_some(SECRET));
            assert_eq!(read(&settings).expect_err(name)[0].name, twin);
        }
    }

    #[test]
    fn the_service_asks_stripe_only_with_a_key_and_not_too_often() {
        let key = ("STRIPE_API_KEY", "rk_test_hunter2");
        assert!(read(&[SECRET, key]).expect("a config").backfill.is_none());
        for (every, seconds) in [("15m", Some(900)), ("60s", Some(60)), ("24h", Some(86_400))]
            .into_iter()
            .chain(["59s", "2d", "15", "often", "-1m"].map(|wrong| (wrong, None)))
        {
            let read_every = read(&[SECRET, key, ("BACKFILL_EVERY", every)]);
            let found = read_every.ok().and_then(|config| config.backfill);
            assert_eq!(found.map(|backfill| backfill.every.as_secs()), seconds, "{every}");
        }
        let errors = read(&[SECRET, ("BACKFILL_EVERY", "15m")]).expect_err("no key");
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].name, "BACKFILL_EVERY");
        assert!(errors[0].told.contains("STRIPE_API_KEY"), "{errors:?}");
    }

    #[test]
    fn dev_serves_this_machine_alone() {
        let secret = || vec![SigningSecret::new("whsec_0123456789abcdef").expect("a secret")];
        let open = |name: &str| (name == "LISTEN").then(|| "0.0.0.0:8000".to_owned());
        let errors = Config::read_dev(&open, secret()).expect_err("an error");
        assert_eq!(errors[0].name, "LISTEN");
        let config = Config::read_dev(&|_| None, secret()).expect("a config");
        assert_eq!(config.listen.to_string(), DEV_LISTEN_DEFAULT);
    }
}
