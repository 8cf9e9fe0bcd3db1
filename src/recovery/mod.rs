//! What an operator does when something was missed, changed or grew old.
//!
//! - [`backfill`] reads what Stripe has and records what is missing; [`doctor`] looks whether Stripe can
//!   reach us at all. Both ask Stripe's API, by way of [`stripe`].
//! - [`rounds`] does what [`backfill`] does within the service, by one process of all.
//! - [`replay`] folds recorded events once more.
//! - [`prune`] drops what is old, now.
//! - [`export`] writes out all orders.
//!
//! But for the rounds they work beside a running service, on a connection of their own, in transactions as short as its.
//! What is common to them is here: a point in time as people write it, and progress as they see it.

pub mod backfill;
pub mod doctor;
pub mod export;
pub mod prune;
pub mod replay;
pub mod rounds;
pub mod stripe;

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::store::StoreError;
use crate::store::connection::Connection;
use crate::tell::TellError;

/// How often a transaction is tried again because another came in between, or the shop holds a row.
pub const RETRIES_MAX: u32 = 10;
/// The pause before that.
pub const RETRY_MILLISECONDS: u64 = 200;
/// How long a transaction may take before its connection is given up as dead.
pub const TRANSACTION_SECONDS_MAX: u64 = 15;
const PROGRESS_MILLISECONDS: u64 = 100;
const AWAY_TOLD: &str = "what was committed so far stays, and the same command goes on from there";

/// Why it could not be done, or not to the end.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// A point in time that cannot be read.
    #[error("{0:?} is no point in time: write 30m, 12h or 3d, or 2026-11-23T16:00:00Z")]
    Since(String),
    /// An order or event that is not there.
    #[error("{0}")]
    Tell(#[from] TellError),
    /// No such event.
    #[error("there is no event {0:?}")]
    NoEvent(String),
    /// The database.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Stripe.
    #[error("{0}")]
    Api(#[from] stripe::ApiError),
    /// What is written to does not take it.
    #[error("it could not be written: {0}")]
    Write(std::io::ErrorKind),
}

impl From<std::io::Error> for RecoveryError {
    fn from(error: std::io::Error) -> Self {
        Self::Write(error.kind())
    }
}

/// A point in time, in milliseconds since 1970: so long before `now`, or a date and time.
///
/// # Errors
/// [`RecoveryError::Since`] if it is neither.
pub fn since(text: &str, now: i64) -> Result<i64, RecoveryError> {
    let wrong = || RecoveryError::Since(text.to_owned());
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time.as_millisecond());
    }
    Ok(now - i64::try_from(span_seconds(text).ok_or_else(wrong)?).map_err(|_| wrong())? * 1000)
}

/// A span of time as people write it, in seconds: 90s, 30m, 12h or 3d.
#[must_use]
pub fn span_seconds(text: &str) -> Option<u64> {
    let unit = text.chars().last()?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return None,
    };
    let count: u32 = text.strip_suffix(unit)?.parse().ok()?;
    Some(u64::from(count) * seconds)
}

/// Runs a transaction, and again while another is in its way.
async fn run<T>(
    connection: &mut Connection,
    mut work: impl AsyncFnMut(&mut crate::store::Session) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut retries = 0;
    loop {
        let result = connection.run(TRANSACTION_SECONDS_MAX, async |session| work(session).await);
        match result.await {
            Err(StoreError::Conflict | StoreError::Held) if retries < RETRIES_MAX => retries += 1,
            result => return result,
        }
        tokio::time::sleep(Duration::from_millis(RETRY_MILLISECONDS)).await;
    }
}

/// Progress on the error output, if that is a terminal; else nothing is shown.
fn progress(what: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} {prefix} {elapsed} {msg}") {
        bar.set_style(style);
    }
    bar.set_prefix(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(PROGRESS_MILLISECONDS));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_in_time_is_so_long_ago_or_a_date() {
        let now = 1_795_452_931_123;
        for (text, expected) in [
            ("0s", Some(now)),
            ("90s", Some(now - 90_000)),
            ("30m", Some(now - 1_800_000)),
            ("12h", Some(now - 43_200_000)),
            ("3d", Some(now - 259_200_000)),
            ("2026-11-23T16:55:31Z", Some(1_795_452_931_000)),
            ("", None),
            ("3", None),
            ("d", None),
            ("-3d", None),
            ("3dd", None),
            ("3w", None),
            ("3é", None),
            ("yesterday", None),
        ] {
            assert_eq!(since(text, now).ok(), expected, "{text}");
        }
    }
}
