//! Databases of a test's own: an SQLite file in a temporary folder, and a database on the Postgres
//! server that `TEST_DATABASE_URL` names. Without that variable the tests fail; they are not skipped.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use paidup::store::{Session, Store};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, SqliteConnection};

/// A database with paidup's schema, gone when the test has passed.
pub struct Database {
    pub store: Store,
    pub url: String,
    folder: Option<PathBuf>,
    server: Option<(String, String)>,
}

fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let nanos =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("paidup_test_{}_{}_{count}", std::process::id(), nanos.subsec_nanos())
}

/// The server that the Postgres tests use.
pub fn postgres_server() -> String {
    std::env::var("TEST_DATABASE_URL").expect(
        "TEST_DATABASE_URL is not set; ./test.sh starts a Postgres for the tests and sets it, or name \
         one whose user may create databases",
    )
}

impl Database {
    /// An empty SQLite file.
    pub fn sqlite_empty() -> Self {
        let folder = std::env::temp_dir().join(unique());
        std::fs::create_dir(&folder).expect("a folder");
        let url = format!("sqlite://{}/paidup.db", folder.display());
        let store = Store::parse(&url).expect("a URL");
        Self { store, url, folder: Some(folder), server: None }
    }

    /// An empty Postgres database.
    pub async fn postgres_empty() -> Self {
        let server = postgres_server();
        let name = unique();
        let mut connection = PgConnection::connect(&server).await.expect("the test server");
        let create = format!("create database {name}");
        connection.execute(AssertSqlSafe(create)).await.expect("a database");
        let (base, query) = server.split_once('?').unwrap_or((&server, ""));
        let root = base.rsplit_once('/').expect("a database in the URL").0;
        let query = if query.is_empty() { String::new() } else { format!("?{query}") };
        let url = format!("{root}/{name}{query}");
        let store = Store::parse(&url).expect("a URL");
        Self { store, url, folder: None, server: Some((server, name)) }
    }

    pub async fn sqlite() -> Self {
        let database = Self::sqlite_empty();
        database.store.migrate().await.expect("migrated");
        database
    }

    pub async fn postgres() -> Self {
        let database = Self::postgres_empty().await;
        database.store.migrate().await.expect("migrated");
        database
    }

    pub fn is_postgres(&self) -> bool {
        self.server.is_some()
    }

    pub async fn session(&self) -> Session {
        self.store.connect().await.expect("a session")
    }

    /// Runs statements as the shop would, on a connection of its own.
    pub async fn execute(&self, sql: &str) -> u64 {
        let sql = AssertSqlSafe(sql.to_owned());
        if self.is_postgres() {
            let mut connection = PgConnection::connect(&self.url).await.expect("a connection");
            connection.execute(sqlx::raw_sql(sql)).await.expect("executed").rows_affected()
        } else {
            let mut connection = SqliteConnection::connect(&self.url).await.expect("a connection");
            let wait = "pragma busy_timeout = 10000; pragma foreign_keys = on";
            connection.execute(wait).await.expect("set");
            connection.execute(sqlx::raw_sql(sql)).await.expect("executed").rows_affected()
        }
    }

    /// The first column of every row, as text; `null` for none.
    pub async fn column(&self, sql: &str) -> Vec<String> {
        let show = |text: Option<String>| text.unwrap_or_else(|| "null".to_owned());
        let sql = AssertSqlSafe(sql.to_owned());
        if self.is_postgres() {
            let mut connection = PgConnection::connect(&self.url).await.expect("a connection");
            let rows = connection.fetch_all(sql).await.expect("rows");
            rows.iter().map(|row| show(row.get(0))).collect()
        } else {
            let mut connection = SqliteConnection::connect(&self.url).await.expect("a connection");
            let rows = connection.fetch_all(sql).await.expect("rows");
            rows.iter().map(|row| show(row.get(0))).collect()
        }
    }

    pub async fn one(&self, sql: &str) -> String {
        self.column(sql).await.into_iter().next().expect("a row")
    }

    /// Removes it. A test that failed leaves its database for a person to look at.
    pub async fn remove(self) {
        if let Some(folder) = self.folder {
            std::fs::remove_dir_all(folder).expect("removed");
        }
        if let Some((server, name)) = self.server {
            let mut connection = PgConnection::connect(&server).await.expect("the test server");
            let drop = format!("drop database {name} with (force)");
            connection.execute(AssertSqlSafe(drop)).await.expect("dropped");
        }
    }
}

/// Runs a test on both databases.
pub async fn on_both(test: impl AsyncFn(&Database)) {
    for database in [Database::sqlite().await, Database::postgres().await] {
        test(&database).await;
        database.remove().await;
    }
}
