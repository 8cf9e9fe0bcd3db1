//! The schema: made once, by however many processes at once, and brought forward with what it holds.

use paidup::domain::order::Status;
use paidup::store::StoreError;
use paidup::store::transaction::{Rules, record};

use crate::support::databases::Database;
use crate::support::fixtures::{charge, pi};

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

/// What the first version left behind: an order partially refunded, and a payment that waits for its
/// order. Written out, for the code of today writes rows of today.
const ROWS_OF_MIGRATION_1: &str = r#"
    insert into events (id, type, livemode, created, object_id, payment_key, order_id, outcome,
                        reason, received_at)
    values ('evt_1', 'payment_intent.succeeded', true, '2026-11-23T16:55:00Z', 'pi_1', 'pi_1', 'O1',
            'applied', 'new → paid; received 29900 usd', '2026-11-23T16:55:31.000Z'),
           ('evt_2', 'charge.refunded', true, '2026-11-23T16:55:30Z', 'ch_1', 'pi_1', 'O1',
            'applied', 'paid → partially_refunded; refunded 100 usd', '2026-11-23T16:55:31.000Z'),
           ('evt_3', 'payment_intent.succeeded', true, '2026-11-23T16:55:00Z', 'pi_2', 'pi_2', null,
            'parked', 'no order id yet', '2026-11-23T16:55:31.000Z');
    insert into payments (key, order_id, facts)
    values ('pi_1', 'O1', '{"ids":[{"kind":"payment_intent","id":"pi_1"},{"kind":"charge","id":"ch_1"}],
             "claim":{"authority":"payment_intent","order_id":"O1"},"livemode":true,
             "first_at":1795452900,"paid_at":1795452900,
             "received":{"source":"payment_intent","amount":29900,"currency":"usd"},
             "refunded_at":1795452930,"refunded":{"ch_1":{"part":100}},"currency":"usd"}'),
           ('pi_2', null, '{"ids":[{"kind":"payment_intent","id":"pi_2"}],"livemode":true,
             "first_at":1795452900,"paid_at":1795452900,
             "received":{"source":"payment_intent","amount":29900,"currency":"usd"},"currency":"usd"}');
    insert into payment_links (id, payment_key) values ('ch_1', 'pi_1');
    insert into orders (id, status, currency, amount_received, amount_refunded, version, paid_at,
                        refunded_at, created_at, updated_at)
    values ('O1', 'partially_refunded', 'usd', 29900, 100, 1, '2026-11-23T16:55:00Z',
            '2026-11-23T16:55:30Z', '2026-11-23T16:55:00Z', '2026-11-23T16:55:31.000Z');
    insert into order_changes (order_id, version, kinds, to_status, amount_received, amount_refunded,
                               currency, event_id, at)
    values ('O1', 1, 'order.partially_refunded', 'partially_refunded', 29900, 100, 'usd', 'evt_2',
            '2026-11-23T16:55:31.000Z');
"#;

/// From the second migration on, each one finds tables with rows in them.
#[tokio::test]
async fn what_the_tables_hold_outlasts_every_migration() {
    for database in [Database::sqlite_empty(), Database::postgres_empty().await] {
        database.store.migrate_to(Some(1)).await.expect("the first migration");
        database.execute(ROWS_OF_MIGRATION_1).await;
        let mut session = database.session().await;
        let before = session.order("O1").await.expect("an answer").expect("an order");
        drop(session);

        for version in 2..=database.store.migration() {
            database.store.migrate_to(Some(version)).await.expect("migrated");
            let mut session = database.session().await;
            let after = session.order("O1").await.expect("an answer").expect("an order");
            assert_eq!(after, before, "migration {version}");
            assert_eq!(after.order.snapshot.status, Status::PartiallyRefunded);
            let count = database.one("select cast(count(*) as text) from events").await;
            assert_eq!(count, "3", "migration {version}");
            assert_eq!(session.order_changes("O1").await.expect("changes").len(), 1);
        }
        // And it is as good as new: what is parked still finds its order, and what was refunded counts.
        let mut session = database.session().await;
        let rest = charge("ch_1").refunded(29_900).event("charge.refunded").event();
        record(&mut session, &Rules::default(), &[&rest], NOW).await.expect("recorded");
        let refunded = session.order("O1").await.expect("an answer").expect("an order");
        assert_eq!(refunded.order.snapshot.status, Status::Refunded);
        let late = pi("pi_2").order("O2").event("payment_intent.created").event();
        record(&mut session, &Rules::default(), &[&late], NOW).await.expect("recorded");
        let late = session.order("O2").await.expect("an answer").expect("an order");
        assert_eq!(late.order.snapshot.status, Status::Paid);
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
