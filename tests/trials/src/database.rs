//! A look into the database from outside: rows as texts, whichever database it is.

use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection, Executor, Row};

use crate::Result;

/// A connection of the trial's own.
pub enum Database {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

/// A recorded event: its id, its body, and when it came (Unix seconds).
pub type Stored = (String, Option<Vec<u8>>, i64);

impl Database {
    pub async fn open(url: &str) -> Result<Self> {
        if url.starts_with("sqlite:") {
            let mut connection = SqliteConnection::connect(url).await?;
            connection.execute("pragma busy_timeout = 10000").await?;
            Ok(Self::Sqlite(connection))
        } else {
            Ok(Self::Postgres(PgConnection::connect(url).await?))
        }
    }

    /// Every row; each column of the query is a text or null.
    pub async fn rows(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let sql = AssertSqlSafe(sql.to_owned());
        Ok(match self {
            Self::Postgres(connection) => {
                let rows = connection.fetch_all(sqlx::query(sql)).await?;
                rows.iter()
                    .map(|row| (0..row.len()).map(|at| row.try_get(at)).collect())
                    .collect::<std::result::Result<_, _>>()?
            }
            Self::Sqlite(connection) => {
                let rows = connection.fetch_all(sqlx::query(sql)).await?;
                rows.iter()
                    .map(|row| (0..row.len()).map(|at| row.try_get(at)).collect())
                    .collect::<std::result::Result<_, _>>()?
            }
        })
    }

    /// The number that a query finds.
    pub async fn number(&mut self, sql: &str) -> Result<i64> {
        let sql = AssertSqlSafe(sql.to_owned());
        Ok(match self {
            Self::Postgres(connection) => sqlx::query_scalar(sql).fetch_one(connection).await?,
            Self::Sqlite(connection) => sqlx::query_scalar(sql).fetch_one(connection).await?,
        })
    }

    /// Runs statements.
    pub async fn execute(&mut self, sql: &str) -> Result<()> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Postgres(connection) => {
                connection.execute(sqlx::raw_sql(sql)).await?;
            }
            Self::Sqlite(connection) => {
                connection.execute(sqlx::raw_sql(sql)).await?;
            }
        }
        Ok(())
    }

    /// The events of these ids, in the order of their ids.
    pub async fn events(&mut self, ids: &[String]) -> Result<Vec<Stored>> {
        Ok(match self {
            Self::Postgres(connection) => {
                sqlx::query_as(
                    "select id, body, floor(extract(epoch from received_at))::bigint
                     from events where id = any($1) order by id",
                )
                .bind(ids)
                .fetch_all(connection)
                .await?
            }
            Self::Sqlite(connection) => {
                sqlx::query_as(
                    "select id, body, cast(strftime('%s', received_at) as integer)
                     from events where id in (select value from json_each($1)) order by id",
                )
                .bind(serde_json::to_string(ids)?)
                .fetch_all(connection)
                .await?
            }
        })
    }

    /// The next ids of this table after that one.
    pub async fn ids(&mut self, table: &str, after: &str, limit: u32) -> Result<Vec<String>> {
        let sql = format!("select id from {table} where id > $1 order by id limit $2");
        let (sql, limit) = (AssertSqlSafe(sql), i64::from(limit));
        Ok(match self {
            Self::Postgres(connection) => {
                sqlx::query_scalar(sql).bind(after).bind(limit).fetch_all(connection).await?
            }
            Self::Sqlite(connection) => {
                sqlx::query_scalar(sql).bind(after).bind(limit).fetch_all(connection).await?
            }
        })
    }

    /// Makes due now what a killed paidup had claimed, so that CI need not wait for the leases.
    pub async fn end_leases(&mut self) -> Result<()> {
        let now = match self {
            Self::Postgres(_) => "now()",
            Self::Sqlite(_) => "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
        };
        self.execute(&format!(
            "update deliveries set next_attempt_at = {now} where status = 'waiting'"
        ))
        .await
    }

    /// A time of a column, in Unix seconds, as text.
    pub fn seconds(&self, column: &str) -> String {
        match self {
            Self::Postgres(_) => format!("floor(extract(epoch from {column}))::bigint::text"),
            Self::Sqlite(_) => format!("strftime('%s', {column})"),
        }
    }
}
