//! A look into the database from outside: rows as texts, whichever database it is.

use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, ColumnIndex, Connection, Decode, Executor, Row, Type};

use crate::Result;

/// A connection of the trial's own.
pub enum Database {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

/// A row as texts.
pub type Texts = Vec<Option<String>>;

/// A recorded event: its id, its body, and when it came (Unix seconds).
pub type Stored = (String, Option<Vec<u8>>, i64);

fn texts<'r, R>(rows: &'r [R]) -> Result<Vec<Texts>>
where
    R: Row,
    usize: ColumnIndex<R>,
    Option<String>: Decode<'r, R::Database> + Type<R::Database>,
{
    let text = |row: &'r R| (0..row.len()).map(|at| row.try_get(at)).collect();
    Ok(rows.iter().map(text).collect::<std::result::Result<_, _>>()?)
}

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
    pub async fn rows(&mut self, sql: &str) -> Result<Vec<Texts>> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Postgres(connection) => texts(&connection.fetch_all(sqlx::query(sql)).await?),
            Self::Sqlite(connection) => texts(&connection.fetch_all(sqlx::query(sql)).await?),
        }
    }

    /// The same, of a query that asks with [`Self::among`] for these ids.
    pub async fn rows_among(&mut self, sql: &str, ids: &[String]) -> Result<Vec<Texts>> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Postgres(connection) => {
                texts(&sqlx::query(sql).bind(ids).fetch_all(connection).await?)
            }
            Self::Sqlite(connection) => {
                let ids = serde_json::to_string(ids)?;
                texts(&sqlx::query(sql).bind(ids).fetch_all(connection).await?)
            }
        }
    }

    /// What stands behind a column that is to be one of the ids.
    pub fn among(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "= any($1)",
            Self::Sqlite(_) => "in (select value from json_each($1))",
        }
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
        let (received_at, among) = (self.seconds("received_at"), self.among());
        let sql = AssertSqlSafe(format!(
            "select id, body, cast({received_at} as bigint) from events where id {among} order by id"
        ));
        Ok(match self {
            Self::Postgres(connection) => {
                sqlx::query_as(sql).bind(ids).fetch_all(connection).await?
            }
            Self::Sqlite(connection) => {
                let ids = serde_json::to_string(ids)?;
                sqlx::query_as(sql).bind(ids).fetch_all(connection).await?
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
