//! What the database does not do, as data: the code that it gave, and what that means to paidup.
//!
//! The texts hold no values, only codes and names: what a database tells of a row may be a customer's.

use sqlx::postgres::{PgDatabaseError, PgSeverity};

use super::sqlite;
use super::sqlstate::{Meaning, SqlState};

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The address of the database cannot be read.
    #[error(
        "DATABASE_URL is not one that paidup knows; write postgres://user:password@host:5432/database \
         or sqlite://file.db"
    )]
    Address,
    /// Another transaction came in between; the same again may succeed at once.
    #[error("another transaction came in between")]
    Conflict,
    /// Another session holds a lock on a row that is needed.
    #[error("another session holds a lock on a row that is needed")]
    Held,
    /// The database refuses these very data; others may pass.
    #[error("the database refuses the data: {0}")]
    Refused(Failure),
    /// A statement reached its time limit, and nothing of it was done; with less to do it may pass.
    #[error("the database takes too long: {0}")]
    TooSlow(Failure),
    /// The database is away, full, read-only, or otherwise not in a state to write.
    #[error("the database cannot be used: {0}")]
    Away(Failure),
    /// The schema could not be brought up to date.
    #[error("the database could not be migrated: {0}")]
    Migration(String),
}

/// What the database, or the way to it, said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The code, if the database itself answered.
    pub code: Option<Code>,
    /// What became of the session.
    pub session: SessionState,
    /// Whether it came before a transaction had begun: nothing was sent that could have been committed.
    pub is_before_begin: bool,
    text: String,
}

/// A code that a database answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Of Postgres.
    SqlState(SqlState),
    /// Of SQLite, the extended one.
    Sqlite(u32),
}

/// What is left of a session after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// It works; a transaction on it can be taken back.
    Works,
    /// It is gone, or must not be used again.
    Gone,
    /// Nobody knows: there was no answer in time.
    Silent,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Failure {
    /// Something that is wrong, but for which there is no code.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        let session = SessionState::Works;
        Self { code: None, session, is_before_begin: false, text: text.into() }
    }

    /// The connection ended before the answer came.
    #[must_use]
    pub fn broken(text: impl Into<String>) -> Self {
        Self { session: SessionState::Gone, ..Self::new(text) }
    }

    /// No answer came within this number of seconds.
    #[must_use]
    pub fn silent(seconds: u64) -> Self {
        Self { session: SessionState::Silent, ..Self::new(format!("no answer within {seconds} s")) }
    }

    /// The database answers, and takes no writes.
    #[must_use]
    pub fn read_only() -> Self {
        let state = SqlState::READ_ONLY;
        let text = format!("{} (SQLSTATE {state})", state.words().meaning);
        Self { code: Some(Code::SqlState(state)), is_before_begin: true, ..Self::new(text) }
    }

    /// The SQLSTATE, if Postgres gave one.
    #[must_use]
    pub fn sqlstate(&self) -> Option<SqlState> {
        match self.code {
            Some(Code::SqlState(state)) => Some(state),
            _ => None,
        }
    }

    /// Whether the same may succeed later though nobody mends anything.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        self.sqlstate().is_none_or(|state| state.meaning() != Meaning::Refused)
    }

    /// What a person can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        self.sqlstate().map_or(
            "Is it running, and can this machine reach it? DATABASE_URL says where to look",
            |state| state.words().advice,
        )
    }

    fn of_postgres(error: &PgDatabaseError) -> Self {
        let Some(state) = SqlState::parse(error.code()) else {
            return Self::broken("the server gave no SQLSTATE");
        };
        let is_fatal = matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic);
        let session = if is_fatal || state.spoils_session() {
            SessionState::Gone
        } else {
            SessionState::Works
        };
        let mut text = format!("{} (SQLSTATE {state}", state.words().meaning);
        for (what, name) in [("table", error.table()), ("constraint", error.constraint())] {
            if let Some(name) = name {
                text += &format!(", {what} {name}");
            }
        }
        Self { code: Some(Code::SqlState(state)), session, ..Self::new(text + ")") }
    }

    fn of_sqlite(code: u32) -> Self {
        let text = format!("{} (SQLite code {code})", sqlite::words(code));
        Self { code: Some(Code::Sqlite(code)), ..Self::new(text) }
    }
}

impl StoreError {
    /// Says that it came before anything could have been done: whatever it was, no event is to blame.
    #[must_use]
    pub fn before_begin(self) -> Self {
        match self {
            Self::Refused(failure) | Self::TooSlow(failure) | Self::Away(failure) => {
                Self::Away(Failure { is_before_begin: true, ..failure })
            }
            other => other,
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Refused(failure) | Self::TooSlow(failure) | Self::Away(failure) => {
                failure.advice()
            }
            Self::Conflict | Self::Held => "Try again in a moment",
            Self::Address | Self::Migration(_) => "`paidup check` tells more",
        }
    }

    /// Whether one event of several may be to blame: the database itself refused what was asked.
    #[must_use]
    pub fn may_be_of_one_event(&self) -> bool {
        match self {
            Self::Held | Self::Refused(_) | Self::TooSlow(_) => true,
            Self::Away(failure) => failure.code.is_some() && !failure.is_before_begin,
            _ => false,
        }
    }

    /// What became of the session that it came on.
    #[must_use]
    pub fn session(&self) -> SessionState {
        match self {
            Self::Conflict | Self::Held => SessionState::Works,
            Self::Refused(failure) | Self::TooSlow(failure) => failure.session,
            Self::Away(failure) => failure.session,
            _ => SessionState::Gone,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => {
                if let Some(error) = database.try_downcast_ref::<PgDatabaseError>() {
                    let failure = Failure::of_postgres(error);
                    let meaning = failure.sqlstate().map(SqlState::meaning);
                    Self::of(meaning.unwrap_or(Meaning::Away), failure)
                } else {
                    let code = database.code().and_then(|code| code.parse().ok());
                    let code = code.unwrap_or_default();
                    Self::of(sqlite::meaning(code), Failure::of_sqlite(code))
                }
            }
            // Somebody else has written what paidup cannot read.
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                Self::Refused(Failure::new("a column holds what paidup cannot read"))
            }
            sqlx::Error::Io(error) => Self::Away(Failure::broken(error.kind().to_string())),
            sqlx::Error::Tls(_) => Self::Away(Failure::broken("TLS failed")),
            sqlx::Error::Configuration(_) => Self::Address,
            _ => Self::Away(Failure::broken("the connection broke")),
        }
    }
}

impl StoreError {
    fn of(meaning: Meaning, failure: Failure) -> Self {
        match meaning {
            Meaning::Conflict => Self::Conflict,
            Meaning::Held => Self::Held,
            Meaning::TooSlow => Self::TooSlow(failure),
            Meaning::Away => Self::Away(failure),
            Meaning::Refused => Self::Refused(failure),
        }
    }
}
