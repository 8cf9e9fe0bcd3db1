//! Counts the rows that landed.

use std::path::PathBuf;
use std::str::FromStr;

use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use crate::Error;
use crate::result::Landed;

/// How far a Postgres cluster has come; two of these tell what happened between. Nobody else may be
/// using the cluster.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Bytes of write-ahead log.
    wal: u64,
    /// Transactions that wrote. Exact at once, unlike the server's own statistics.
    transactions: u64,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(wal, transactions)| {
            Some(Self { wal: wal.parse().ok()?, transactions: transactions.parse().ok()? })
        });
        numbers.ok_or_else(|| "not a place: WAL/TRANSACTIONS".to_owned())
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.wal, self.transactions)
    }
}

#[derive(clap::Args)]
pub struct PlaceArguments {
    #[command(flatten)]
    database: Database,
}

pub async fn print_place(arguments: PlaceArguments) -> Result<(), Error> {
    let place = arguments.database.place().await?.ok_or("place needs --postgres")?;
    println!("{place}");
    Ok(())
}

/// Where the rows are to be found.
#[derive(clap::Args, Clone)]
pub struct Database {
    /// Count the rows that landed in this Postgres database.
    #[arg(long, value_name = "URL")]
    pub postgres: Option<String>,
    /// Count the rows that landed in this SQLite file.
    #[arg(long, value_name = "FILE", conflicts_with = "postgres")]
    pub sqlite: Option<PathBuf>,
}

impl Database {
    /// How far it has come; none for SQLite.
    pub async fn place(&self) -> Result<Option<Place>, Error> {
        let Some(url) = &self.postgres else {
            return Ok(None);
        };
        let mut database = PgConnection::connect(url).await?;
        let (wal, transactions): (i64, i64) = sqlx::query_as(
            "select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint,
                    pg_snapshot_xmax(pg_current_snapshot())::text::bigint",
        )
        .fetch_one(&mut database)
        .await?;
        database.close().await?;
        Ok(Some(Place { wal: wal as u64, transactions: transactions as u64 }))
    }

    /// What there is now, and what it took since `from`.
    pub async fn landed(&self, from: Option<Place>) -> Result<Option<Landed>, Error> {
        if let Some(url) = &self.postgres {
            let passed = self.place().await?.zip(from);
            let mut landed = postgres(url).await?;
            landed.commits = passed.map(|(to, from)| to.transactions - from.transactions);
            landed.wal_bytes = passed.map(|(to, from)| to.wal - from.wal);
            return Ok(Some(landed));
        }
        match &self.sqlite {
            Some(file) => Ok(Some(sqlite(file.clone()).await?)),
            None => Ok(None),
        }
    }
}

const COUNTS: &str = "select
    (select count(*) from events),
    (select count(*) from payments),
    (select count(*) from payment_links),
    (select count(*) from orders),
    (select count(*) from orders where status = 'paid'),
    (select count(*) from order_changes)";

type Counts = (i64, i64, i64, i64, i64, i64);

fn from_counts(counts: Counts) -> Landed {
    Landed {
        events: counts.0 as u64,
        payments: counts.1 as u64,
        payment_links: counts.2 as u64,
        orders: counts.3 as u64,
        orders_paid: counts.4 as u64,
        order_changes: counts.5 as u64,
        ..Landed::default()
    }
}

async fn postgres(url: &str) -> Result<Landed, Error> {
    let mut database = PgConnection::connect(url).await?;
    let counts: Counts = sqlx::query_as(COUNTS).fetch_one(&mut database).await?;
    database.close().await?;
    Ok(from_counts(counts))
}

async fn sqlite(file: PathBuf) -> Result<Landed, Error> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut database: SqliteConnection = options.connect().await?;
    let counts: Counts = sqlx::query_as(COUNTS).fetch_one(&mut database).await?;
    database.close().await?;
    Ok(from_counts(counts))
}
