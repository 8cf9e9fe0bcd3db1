//! The schema: made once, by however many processes at once, and brought forward with what it holds.

use paidup::domain::order::Status;
use paidup::store::StoreError;
use paidup::store::transaction::{Rules, record};

use crate::support::databases::Database;
use crate::support::fixtures::pi;

/// So many start at once.
const PROCESSES: usize = 8;
/// In milliseconds.
const NOW: i64 = 1_795_452_931_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn processes_that_start_at_once_make_one_schema() {
    for database in [Database::sqlite_empty(), Database::postgres_empty().await] {
        let started: Vec<_> = (0..PROCESSES)
            .map(|_| {
                let store = database.store.clone();
                tokio::spawn(async move { store.migrate().await })
            })
            .collect();
        for one in started {
            one.await.expect("no panic").expect("migrated");
        }
        let mut session = database.session().await;
        assert_eq!(session.migration().await.expect("a version"), database.store.migration());
        database.remove().await;
    }
}

/// A start on a database that is in use changes nothing in it.
#[tokio::test]
async fn what_the_tables_hold_outlasts_a_migration() {
    for database in [Database::sqlite_empty(), Database::postgres_empty().await] {
        database.store.migrate().await.expect("a schema");
        let mut session = database.session().await;
        let paid = pi("pi_1").order("O1").event("payment_intent.succeeded").event();
        record(&mut session, &Rules::default(), &[&paid], NOW).await.expect("recorded");
        let before = session.order("O1").await.expect("an answer").expect("an order");
        database.store.migrate().await.expect("a look");
        database.store.migrate_to(None).await.expect("the migrator's own look");
        let after = session.order("O1").await.expect("an answer").expect("an order");
        assert_eq!(after, before);
        assert_eq!(after.order.snapshot.status, Status::Paid);
        database.remove().await;
    }
}

#[tokio::test]
async fn a_schema_from_the_future_is_not_touched() {
    for database in [Database::sqlite().await, Database::postgres().await] {
        let columns = "(version, description, success, checksum, execution_time)";
        let checksum = if database.is_postgres() { "''::bytea" } else { "x''" };
        database
            .execute(&format!(
                "insert into _sqlx_migrations {columns} values (9999, 'of the future', true, {checksum}, 0)"
            ))
            .await;
        let refused = database.store.migrate().await;
        assert!(
            matches!(&refused, Err(StoreError::Migration(told)) if told.contains("9999")),
            "{refused:?}"
        );
        database.remove().await;
    }
}
