//! The two databases, behind one set of statements.
//!
//! [`Store`] says where the data is; a [`Session`] is one connection to it. Both are enums over the two
//! closed cases. The statements stand in [`postgres`] and [`sqlite`] in the same order under the same
//! names, set-wise, and constant; [`transaction`] puts them in a row, which is the only way that anything
//! of an order is written, and [`replay`] folds what is recorded once more. What sending needs stands in
//! [`outbox`], what goes through all that is recorded in [`archive`], what operators look at in [`reads`],
//! who reads from Stripe in [`rounds`], what the console needs beside that in [`console`], in the same way.
//! When to write, and what to do when that fails, is left to [`crate::ingest`] and [`crate::notify`].
//!
//! A session belongs to one task. After an error it is rolled back or dropped; it is never handed back
//! to a pool, so no transaction of a cancelled call can linger on it (sqlx issues 4385 and 4393).

pub mod archive;
pub mod connection;
pub mod console;
pub mod error;
pub mod inserts;
pub mod outbox;
pub mod postgres;
pub mod reads;
pub mod records;
pub mod register;
pub mod replay;
pub mod rounds;
pub mod sqlite;
pub mod sqlstate;
mod stock;
pub mod transaction;

use std::path::PathBuf;
use std::str::FromStr;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use std::collections::BTreeSet;

use crate::domain::rows::{Link, Needs, Order, Page, Payment, Unparked};
pub use error::{Failure, StoreError};
pub use records::{ChangeRecord, EventRecord, Found, NewDelivery, NewEvent, OrderRecord, Recorded};

/// Where paidup keeps its data if nothing else is said: a file in the working directory.
pub const DATABASE_URL_DEFAULT: &str = "sqlite://paidup.db";
/// How long an SQLite statement waits for another process that writes.
pub const SQLITE_BUSY_SECONDS_MAX: u64 = 5;
/// Two processes that migrate one new SQLite file at once: the later one finds the work done, at the
/// latest after one attempt per migration and one more.
const SQLITE_MIGRATE_ATTEMPTS_MAX: u32 = 20;

static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");
static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Where the data is.
#[derive(Clone)]
pub enum Store {
    /// A Postgres server, which any number of processes share.
    Postgres(Box<PgConnectOptions>),
    /// An SQLite file, for a small shop on one machine.
    Sqlite(Box<SqliteConnectOptions>),
}

impl std::fmt::Debug for Store {
    /// The driver's options would print the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.describe())
    }
}

impl Store {
    /// Reads `postgres://…` or `sqlite://…`. Nothing is opened.
    ///
    /// # Errors
    /// [`StoreError::Address`] if it is neither; the text of the URL, which holds a password, is not told.
    pub fn parse(url: &str) -> Result<Self, StoreError> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let options = PgConnectOptions::from_str(url).map_err(|_| StoreError::Address)?;
            Ok(Self::Postgres(Box::new(postgres::with_settings(options))))
        } else if url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(url).map_err(|_| StoreError::Address)?;
            Ok(Self::Sqlite(Box::new(sqlite::with_settings(options))))
        } else {
            Err(StoreError::Address)
        }
    }

    /// For people: which database it is, without user and password.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Postgres(options) => format!(
                "Postgres {} at {}:{}",
                options.get_database().unwrap_or(options.get_username()),
                options.get_host(),
                options.get_port()
            ),
            Self::Sqlite(options) => format!("SQLite {}", options.get_filename().display()),
        }
    }

    /// The embedded database's file.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        match self {
            Self::Postgres(_) => None,
            Self::Sqlite(options) => Some(options.get_filename().to_owned()),
        }
    }

    /// The newest migration that this paidup knows.
    #[must_use]
    pub fn migration(&self) -> i64 {
        let migrations = match self {
            Self::Postgres(_) => &POSTGRES_MIGRATIONS,
            Self::Sqlite(_) => &SQLITE_MIGRATIONS,
        };
        migrations.iter().map(|migration| migration.version).max().unwrap_or_default()
    }

    /// Opens a connection of its own.
    ///
    /// # Errors
    /// [`StoreError::Away`] if the database does not answer or does not let us in.
    pub async fn connect(&self) -> Result<Session, StoreError> {
        match self {
            Self::Postgres(options) => {
                let mut connection = options.connect().await.map_err(not_begun)?;
                postgres::prepare(&mut connection).await.map_err(StoreError::before_begin)?;
                Ok(Session::Postgres(connection))
            }
            Self::Sqlite(options) => {
                Ok(Session::Sqlite(sqlite::connect(options).await.map_err(not_begun)?))
            }
        }
    }

    /// Brings the schema up to date. Safe while other processes do the same. Where it is so already,
    /// nothing but a look is needed: the role need not be allowed to make tables.
    ///
    /// # Errors
    /// [`StoreError::Migration`] if a migration fails, or if a newer paidup has been here.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        if self.is_current().await? {
            return Ok(());
        }
        self.migrate_to(None).await
    }

    /// Whether a database on a server has exactly the migrations of this paidup, all of them whole. What
    /// cannot be read is not: the migrator tells then what is wrong.
    async fn is_current(&self) -> Result<bool, StoreError> {
        let Session::Postgres(mut connection) = self.connect().await? else { return Ok(false) };
        let known =
            POSTGRES_MIGRATIONS.iter().map(|one| (one.version, one.checksum.to_vec(), true));
        match postgres::migrations(&mut connection).await {
            Ok(applied) => Ok(applied.into_iter().eq(known)),
            Err(_) => Ok(false),
        }
    }

    /// Brings the schema to a version, `None` for the newest: tests fill the tables of an old one.
    ///
    /// # Errors
    /// As for [`Self::migrate`].
    pub async fn migrate_to(&self, version: Option<i64>) -> Result<(), StoreError> {
        let mut attempt = 1;
        loop {
            // Not `run`: what that borrows makes a future that no task can hold.
            let result = match self.connect().await? {
                // A lock of the server makes others wait.
                Session::Postgres(mut connection) => {
                    POSTGRES_MIGRATIONS.run_direct(version, &mut connection, false).await
                }
                Session::Sqlite(mut connection) => {
                    SQLITE_MIGRATIONS.run_direct(version, &mut connection, false).await
                }
            };
            match result {
                Ok(()) => return Ok(()),
                // SQLite has no such lock: whoever comes second fails on what is there already, and
                // finds it recorded when it looks again.
                Err(MigrateError::ExecuteMigration(..) | MigrateError::Execute(_))
                    if matches!(self, Self::Sqlite(_)) && attempt < SQLITE_MIGRATE_ATTEMPTS_MAX =>
                {
                    attempt += 1;
                }
                Err(error) => return Err(migration_error(error)),
            }
        }
    }
}

fn not_begun(error: sqlx::Error) -> StoreError {
    StoreError::from(error).before_begin()
}

fn migration_error(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            match StoreError::from(error) {
                StoreError::Refused(failure)
                | StoreError::TooSlow(failure)
                | StoreError::Away(failure) => {
                    StoreError::Migration(format!("{failure}. {}", failure.advice()))
                }
                other => other,
            }
        }
        MigrateError::VersionMissing(version) => StoreError::Migration(format!(
            "it has migration {version}, which this paidup does not know; run the newer version that made it"
        )),
        MigrateError::VersionMismatch(version) => StoreError::Migration(format!(
            "its migration {version} is not the one that this paidup has; it was made by another build"
        )),
        other => StoreError::Migration(other.to_string()),
    }
}

/// One connection.
#[derive(Debug)]
pub enum Session {
    /// To Postgres.
    Postgres(PgConnection),
    /// To the SQLite file, by way of a thread.
    Sqlite(SqliteConnection),
}

/// Defines a statement of both databases, from the modules `postgres` and `sqlite` where it stands.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        impl Session {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// Any [`StoreError`]; the session is then to be rolled back or dropped.
                pub async fn $name(&mut self, $($argument: $type),*) -> Result<$result, StoreError> {
                    Ok(match self {
                        Self::Postgres(connection) => postgres::$name(connection, $($argument),*).await?,
                        Self::Sqlite(connection) => sqlite::$name(connection, $($argument),*).await?,
                    })
                }
            )*
        }
    };
}
pub(crate) use statements;

statements! {
    /// Begins a transaction in which this session alone folds.
    begin() -> ();
    /// The same, in which no statement may take longer than somebody waits for the answer.
    begin_batch() -> ();
    /// Commits it.
    commit() -> ();
    /// Takes it back.
    rollback() -> ();
    /// Asks for a sign of life, and whether it takes writes at all.
    ping() -> ();
    /// Writes to every table that an event is written to, under this id, and takes it back.
    try_write(id: &str) -> ();
    /// The newest migration that was applied; 0 if none was.
    migration() -> i64;
    /// The clock of the database, in milliseconds since 1970.
    clock() -> i64;

    /// Which of these events are recorded already, with their bodies.
    recorded_events(ids: &[&str]) -> Vec<Recorded>;
    /// The same, and what a fold needs. Orders are locked against the shop, and nobody is waited for.
    find(ids: &[&str], needs: &Needs) -> Found;
    /// The payments of these pages of orders.
    pages(pages: &BTreeSet<(String, i64)>) -> Vec<Payment>;

    /// Which of these orders, of which none has a row, another session is about to insert.
    orders_being_inserted(ids: &[&str]) -> Vec<String>;
    /// Whether nobody keeps this session from writing to whole tables. Asked outside of a transaction.
    tables_are_free() -> bool;

    /// Counts one more delivery with another content under the same id.
    count_conflicts(ids: &[&str]) -> ();
    /// Updates payments.
    update_payments(payments: &[Payment]) -> ();
    /// Deletes the payments that became part of another.
    delete_payments(keys: &[String]) -> ();
    /// Updates links.
    update_links(links: &[(String, Link)]) -> ();
    /// Inserts or updates what pages of orders add up to.
    write_pages(pages: &[Page]) -> ();
    /// Updates orders: all that is paidup's to write.
    update_orders(orders: &[(String, Order)], now: i64) -> ();
    /// Gives parked events their order, and settles them if it has a row.
    settle_unparked(unparked: &[Unparked]) -> ();

    /// Orders that the shop wrote since they were last weighed, after this id, at most so many.
    orders_to_weigh(after: &str, limit: i64) -> Vec<String>;
    /// Orders that parked events name, after this id, at most so many.
    parked_orders(after: &str, limit: i64) -> Vec<String>;
    /// Settles the parked events of those of these orders that have a row.
    settle_held(orders: &[String], reason: &str) -> ();

    /// Drops the bodies of events received in this window (milliseconds), at most so many; tells how many.
    /// Parked ones are kept whole: money waits there.
    prune_bodies(from: i64, until: i64, limit: i64) -> u64;
    /// Deletes events received in this window (milliseconds), at most so many; tells how many.
    prune_events(from: i64, until: i64, limit: i64) -> u64;

    /// One order, as it is.
    order(id: &str) -> Option<OrderRecord>;
    /// The changes of an order, in the order they were made.
    order_changes(id: &str) -> Vec<ChangeRecord>;
    /// The payments of an order.
    order_payments(id: &str) -> Vec<Payment>;
    /// The events recorded under any of these payment keys or event ids, and those that name this
    /// order and were ignored, as they came.
    events_of(payment_keys: &[String], event_ids: &[String], order_id: &str) -> Vec<EventRecord>;
}

impl Session {
    /// Says goodbye to the database. Dropping the session does the same less politely.
    pub async fn close(self) {
        let _ = match self {
            Self::Postgres(connection) => connection.close().await,
            Self::Sqlite(connection) => connection.close().await,
        };
    }
}
