//! The statements in Postgres' words. [`super::sqlite`] has the same, in the same order.
//!
//! Sets go in as arrays and are unnested, so that a statement costs one round trip whatever the size
//! of the batch, and its text never changes. There are as few as can be, for the server may be a network
//! away: four for a batch of new payments' events. Times go in and out as numbers of (milli)seconds.

use std::collections::BTreeSet;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, FromRow as _, Row as _, query, query_as, query_scalar, raw_sql};

use super::records::{
    ChangeRecord, EventRecord, Found, LinkRow, OrderRecord, OrderRow, PageRow, PaymentRow,
    Recorded, claim_text, disputes_text, facts_text, summary_text,
};
use super::{Failure, StoreError};
use crate::domain::order::Problem;
use crate::domain::payment::dispute::DisputeStatus;
use crate::domain::rows::{Link, Needs, Order, Page, Payment, Unparked};

/// The constraint that keeps out a second row of an order.
pub(super) const ORDERS_KEY: &str = "orders_pkey";

/// The columns of an order but for its id, of a row that `$row` names.
macro_rules! order_columns {
    ($row:literal) => {
        concat!(
            $crate::store::records::order_columns_but_times!($row),
            ", ",
            "floor(extract(epoch from ",
            $row,
            ".paid_at))::bigint as paid_at, ",
            "floor(extract(epoch from ",
            $row,
            ".failed_at))::bigint as failed_at, ",
            "floor(extract(epoch from ",
            $row,
            ".refunded_at))::bigint as refunded_at, ",
            "floor(extract(epoch from ",
            $row,
            ".created_at))::bigint as created_at, ",
            "floor(extract(epoch from ",
            $row,
            ".updated_at) * 1000)::bigint as updated_at",
        )
    };
}
pub(super) use order_columns;

pub(super) type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

pub(super) fn with_settings(options: PgConnectOptions) -> PgConnectOptions {
    options.application_name("paidup")
}

/// The settings of a session, as statements: a pooler in between refuses them as start-up options.
///
/// The timeouts bound each statement on the server, whatever becomes of this process. A server that
/// is set to forget the last commits in a crash is told not to with ours: what was answered 200 stays.
///
/// Every statement here finds its rows by an index. Postgres keeps a statement's plan for the session;
/// one that it made while the tables were new, and reads them whole, would be kept as they grow.
pub(super) async fn prepare(connection: &mut PgConnection) -> Result<(), StoreError> {
    raw_sql(
        "set statement_timeout = '10s';
         set idle_in_transaction_session_timeout = '5s';
         set enable_seqscan = off;
         set enable_hashjoin = off;
         set enable_mergejoin = off;
         select set_config('synchronous_commit', 'on', false)
         where current_setting('synchronous_commit') = 'off'",
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Begins, takes the lock, and sets the limits of what follows.
macro_rules! begin_and_lock {
    ($limits:literal) => {
        concat!(
            "begin isolation level read committed;
             set local plan_cache_mode = force_generic_plan;
             set local lock_timeout = '8s';
             select pg_advisory_xact_lock(1885433203);
             ",
            $limits
        )
    };
}

/// One transaction folds at a time, over all processes: two that learn two halves of one payment at
/// once would each miss what the other writes, and rows that are not there yet cannot be locked.
/// 1885433203 is `paid` in ASCII; the lock is this database's alone.
///
/// A process that died in its transaction is thrown out by `idle_in_transaction_session_timeout`.
/// The shop, which may hold rows of `orders`, is waited for only shortly: others wait behind us.
///
/// Each statement must see what was committed before it began: under another isolation level, which may
/// be the server's default, all would see what there was before the lock was waited for.
///
/// All that is done with an order finds its rows by keys, so one plan is as good for a row as for many.
/// Left to itself the server plans the search for a small batch anew each time, which takes longer than
/// the search.
pub(super) async fn begin(connection: &mut PgConnection) -> Result<(), StoreError> {
    let begun = raw_sql(begin_and_lock!("set local lock_timeout = '500ms'"));
    begun_as(begun.execute(connection).await)
}

/// For a batch that can be made smaller, and tried again soon: nobody waits for an answer any more when it
/// takes so long. The commit itself has the session's whole limit ([`super::console::postgres::count_and_commit`]): a server
/// that is made to cancel its wait for a standby says that it has committed.
pub(super) async fn begin_batch(connection: &mut PgConnection) -> Result<(), StoreError> {
    let begun = raw_sql(begin_and_lock!(
        "set local lock_timeout = '100ms'; set local statement_timeout = '2s'"
    ));
    begun_as(begun.execute(connection).await)
}

fn begun_as<T>(begun: Result<T, sqlx::Error>) -> Result<(), StoreError> {
    match begun.map_err(StoreError::from) {
        Ok(_) => Ok(()),
        // Not a row of the shop's, but the whole of paidup: no event is to blame.
        Err(StoreError::Held) => {
            Err(StoreError::Away(Failure::new("another paidup holds the lock for too long")))
        }
        Err(error) => Err(error.before_begin()),
    }
}

pub(super) async fn commit(connection: &mut PgConnection) -> Result<(), StoreError> {
    raw_sql("commit").execute(connection).await?;
    Ok(())
}

pub(super) async fn rollback(connection: &mut PgConnection) -> Result<(), StoreError> {
    raw_sql("rollback").execute(connection).await?;
    Ok(())
}

pub(super) async fn ping(connection: &mut PgConnection) -> Result<(), StoreError> {
    // A standby answers too, and so does a server whose disk is nearly full, but neither takes writes.
    let is_read_only: bool = query_scalar("select current_setting('transaction_read_only')::bool")
        .fetch_one(connection)
        .await?;
    if is_read_only {
        return Err(StoreError::Away(Failure::read_only()));
    }
    Ok(())
}

/// Without the lock of those who fold: nobody else writes under this id.
pub(super) async fn try_write(connection: &mut PgConnection, id: &str) -> Result<(), StoreError> {
    let id = id.replace('\'', "");
    let statements = format!(
        "begin isolation level read committed;
         set local lock_timeout = '500ms';
         set local statement_timeout = '2s';
         insert into events (id, type, livemode, outcome, received_at)
             values ('{id}', 'paidup.trial', false, 'ignored', current_timestamp);
         insert into payments (key, facts) values ('{id}', '{{}}');
         insert into payment_links (id, payment_key) values ('{id}', '{id}');
         insert into orders (id) values ('{id}');
         update orders set weighed = true where id = '{id}';
         insert into order_changes (order_id, version, kinds, to_status, amount_received,
                                    amount_refunded, amount_disputed, at)
             values ('{id}', 1, '', 'pending', 0, 0, 0, current_timestamp);
         rollback"
    );
    raw_sql(AssertSqlSafe(statements)).execute(connection).await?;
    Ok(())
}

pub(super) async fn migration(connection: &mut PgConnection) -> Result<i64, StoreError> {
    let is_there: bool = query_scalar("select to_regclass('_sqlx_migrations') is not null")
        .fetch_one(&mut *connection)
        .await?;
    if !is_there {
        return Ok(0);
    }
    let newest =
        query_scalar("select coalesce(max(version), 0) from _sqlx_migrations where success");
    Ok(newest.fetch_one(connection).await?)
}

/// The migrations that were applied: the version, the checksum, and whether it is whole. SQLite, where
/// whoever may write may migrate too, has no such statement.
pub(super) async fn migrations(
    connection: &mut PgConnection,
) -> Result<Vec<(i64, Vec<u8>, bool)>, StoreError> {
    let applied =
        query_as("select version, checksum, success from _sqlx_migrations order by version");
    Ok(applied.fetch_all(connection).await?)
}

pub(super) async fn clock(connection: &mut PgConnection) -> Result<i64, StoreError> {
    let now = query_scalar("select floor(extract(epoch from clock_timestamp()) * 1000)::bigint");
    Ok(now.fetch_one(connection).await?)
}

pub(super) async fn recorded_events(
    connection: &mut PgConnection,
    ids: &[&str],
) -> Result<Vec<Recorded>, StoreError> {
    Ok(query_as("select id, body from events where id = any($1)")
        .bind(ids)
        .fetch_all(connection)
        .await?)
}

pub(super) async fn find(
    connection: &mut PgConnection,
    ids: &[&str],
    needs: &Needs,
) -> Result<Found, StoreError> {
    fn texts(set: &BTreeSet<String>) -> Vec<&str> {
        set.iter().map(String::as_str).collect()
    }
    // Each part is a search of one index; one of payments with `or` would read the whole table. Orders that
    // the shop holds are passed over and named. The lock is that of an update which leaves the id as it is,
    // so rows of the shop's that refer to an order do not stand in its way.
    let rows = query(concat!(
        "with held as (
             select orders as held from orders where id = any($4)
             for no key update skip locked
         ),
         found as (
             select 'event' as what, id, body, null::text as payment_key, null::text as order_claim,
                    null::text as order_id, null::bigint as page, null::text as facts,
                    null::orders as held
             from events where id = any($1)
             union all
             select 'link', id, null, payment_key, order_claim, null, null, null, null
             from payment_links where id = any($2)
             union all
             select 'payment', key, null, null, null, order_id, page, facts, null
             from payments where key = any($3)
             union all
             select 'payment', key, null, null, null, order_id, page, facts, null
             from payments where order_id = any($4) and page = 0
             union all
             select 'payment', key, null, null, null, order_id, page, facts, null
             from payments where subscription = any($5)
             union all
             select 'page', null, null, null, null, order_id, page, summary, null
             from order_pages where order_id = any($4)
             union all
             select 'order', (held).id, null, null, null, null, null, null, held from held
             union all
             select 'locked', id, null, null, null, null, null, null, null
             from (select id from orders where id = any($4)
                   except all
                   select (held).id from held) as locked
         )
         select what, found.id, body, payment_key, order_claim, order_id, page, facts,
                facts as summary, ",
        order_columns!("(held)"),
        "
         from found",
    ))
    .bind(ids)
    .bind(texts(&needs.links))
    .bind(texts(&needs.payments))
    .bind(texts(&needs.orders))
    .bind(texts(&needs.subscriptions))
    .fetch_all(connection)
    .await?;
    let mut found = Found::default();
    let loaded = &mut found.loaded;
    for row in &rows {
        match row.try_get("what")? {
            "event" => found.recorded.push(Recorded::from_row(row)?),
            "link" => loaded.links.push(LinkRow::from_row(row)?.try_into()?),
            "payment" => loaded.payments.push(PaymentRow::from_row(row)?.try_into()?),
            "page" => loaded.pages.push(PageRow::from_row(row)?.try_into()?),
            "locked" => found.locked.push(row.try_get("id")?),
            _ => {
                let record = OrderRecord::try_from(OrderRow::from_row(row)?)?;
                loaded.orders.push((record.id, record.order));
            }
        }
    }
    Ok(found)
}

pub(super) async fn pages(
    connection: &mut PgConnection,
    pages: &BTreeSet<(String, i64)>,
) -> Result<Vec<Payment>, StoreError> {
    let rows: Vec<PaymentRow> = query_as(
        "select payments.order_id, payments.page, facts
         from unnest($1::text[], $2::bigint[]) as wanted (order_id, page)
              join payments on payments.order_id = wanted.order_id and payments.page = wanted.page",
    )
    .bind(pages.iter().map(|(order, _)| order.as_str()).collect::<Vec<_>>())
    .bind(pages.iter().map(|(_, page)| *page).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Each is inserted and taken back: only so it shows that another session has the id, and has not committed.
/// The ids and the answer go by settings of the transaction, for a block takes no arguments.
pub(super) async fn orders_being_inserted(
    connection: &mut PgConnection,
    ids: &[&str],
) -> Result<Vec<String>, StoreError> {
    let ids = serde_json::json!(ids).to_string();
    query("select set_config('paidup.orders', $1, true)")
        .bind(ids)
        .execute(&mut *connection)
        .await?;
    raw_sql(
        "set local lock_timeout = '2ms';
         do $$
         declare
             wanted text;
             taken text[] := '{}';
         begin
             for wanted in select json_array_elements_text(current_setting('paidup.orders')::json) loop
                 begin
                     insert into orders (id) values (wanted);
                     raise exception 'taken back';
                 exception
                     when lock_not_available then taken := taken || wanted;
                     when others then null;
                 end;
             end loop;
             perform set_config('paidup.orders', array_to_json(taken)::text, true);
         end $$;
         set local lock_timeout = '100ms'",
    )
    .execute(&mut *connection)
    .await?;
    let taken: String =
        query_scalar("select current_setting('paidup.orders')").fetch_one(connection).await?;
    let unreadable = |_| StoreError::Refused(Failure::new("a list of orders is no JSON"));
    serde_json::from_str(&taken).map_err(unreadable)
}

/// Those of which every role that folds may update rows, without which it may not ask.
pub(super) async fn tables_are_free(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let asked = raw_sql(
        "begin;
         lock table orders, events, payments, payment_links, order_pages, deliveries, event_minutes
             in row exclusive mode nowait;
         rollback",
    );
    match asked.execute(&mut *connection).await.map_err(StoreError::from) {
        Ok(_) => Ok(true),
        Err(StoreError::Held) => {
            rollback(connection).await?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

pub(super) async fn count_conflicts(
    connection: &mut PgConnection,
    ids: &[&str],
) -> Result<(), StoreError> {
    query("update events set conflicts = conflicts + 1 where id = any($1)")
        .bind(ids)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn update_payments(
    connection: &mut PgConnection,
    payments: &[Payment],
) -> Result<(), StoreError> {
    let statement = query(
        "update payments as old
         set order_id = new.order_id,
             page = new.page,
             subscription = new.subscription,
             facts = new.facts
         from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[])
              as new (key, order_id, page, subscription, facts)
         where old.key = new.key",
    );
    with_payments(statement, payments)?.execute(connection).await?;
    Ok(())
}

/// $1 to $5 of the statement above, and as many of what inserts.
pub(super) fn with_payments<'q>(
    query: Query<'q>,
    payments: &'q [Payment],
) -> Result<Query<'q>, StoreError> {
    let facts = payments.iter().map(|payment| facts_text(&payment.facts));
    let facts = facts.collect::<Result<Vec<_>, _>>()?;
    let subscriptions = payments.iter().map(|payment| payment.facts.subscription.as_deref());
    Ok(query
        .bind(payments.iter().map(Payment::key).collect::<Vec<_>>())
        .bind(payments.iter().map(|payment| payment.order_id.as_deref()).collect::<Vec<_>>())
        .bind(payments.iter().map(|payment| payment.page).collect::<Vec<_>>())
        .bind(subscriptions.collect::<Vec<_>>())
        .bind(facts))
}

pub(super) async fn delete_payments(
    connection: &mut PgConnection,
    keys: &[String],
) -> Result<(), StoreError> {
    query("delete from payments where key = any($1)").bind(keys).execute(connection).await?;
    Ok(())
}

pub(super) async fn update_links(
    connection: &mut PgConnection,
    links: &[(String, Link)],
) -> Result<(), StoreError> {
    let statement = query(
        "update payment_links as old
         set payment_key = new.payment_key,
             order_claim = new.order_claim
         from unnest($1::text[], $2::text[], $3::text[]) as new (id, payment_key, order_claim)
         where old.id = new.id",
    );
    with_links(statement, links)?.execute(connection).await?;
    Ok(())
}

/// $1 to $3 of the statement above, and as many of what inserts.
pub(super) fn with_links<'q>(
    query: Query<'q>,
    links: &'q [(String, Link)],
) -> Result<Query<'q>, StoreError> {
    let claims = links.iter().map(|(_, link)| claim_text(link)).collect::<Result<Vec<_>, _>>()?;
    Ok(query
        .bind(links.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>())
        .bind(links.iter().map(|(_, link)| link.payment_key.as_deref()).collect::<Vec<_>>())
        .bind(claims))
}

pub(super) async fn write_pages(
    connection: &mut PgConnection,
    pages: &[Page],
) -> Result<(), StoreError> {
    let summaries = pages.iter().map(summary_text).collect::<Result<Vec<_>, _>>()?;
    query(
        "insert into order_pages (order_id, page, summary)
         select * from unnest($1::text[], $2::bigint[], $3::text[])
         on conflict (order_id, page) do update set summary = excluded.summary",
    )
    .bind(pages.iter().map(|page| page.order_id.as_str()).collect::<Vec<_>>())
    .bind(pages.iter().map(|page| page.page).collect::<Vec<_>>())
    .bind(summaries)
    .execute(connection)
    .await?;
    Ok(())
}

/// `amount_due` is the shop's. `currency` is what the shop wrote, or that of the money that came.
pub(super) async fn update_orders(
    connection: &mut PgConnection,
    orders: &[(String, Order)],
    now: i64,
) -> Result<(), StoreError> {
    with_orders(
        query(
            "update orders as old
             set status = new.status,
                 currency = new.currency,
                 amount_received = new.amount_received,
                 amount_refunded = new.amount_refunded,
                 amount_disputed = new.amount_disputed,
                 failure_code = new.failure_code,
                 failure_message = new.failure_message,
                 dispute = new.dispute,
                 disputes = new.disputes,
                 problem = new.problem,
                 renewals = new.renewals,
                 refunds_failed = new.refunds_failed,
                 customer_email = new.customer_email,
                 email_written = new.email_written,
                 version = new.version,
                 announced = new.announced,
                 weighed = true,
                 weighed_due = new.weighed_due,
                 weighed_currency = new.weighed_currency,
                 currency_written = new.currency,
                 paid_at = to_timestamp(new.paid_at),
                 failed_at = to_timestamp(new.failed_at),
                 refunded_at = to_timestamp(new.refunded_at),
                 created_at = case
                     when new.created_at < floor(extract(epoch from old.created_at))
                     then to_timestamp(new.created_at) else old.created_at end,
                 updated_at = to_timestamp($24 / 1000.0::float8)
             from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[],
                         $6::bigint[], $7::text[], $8::text[], $9::text[], $10::text[],
                         $11::text[], $12::bigint[], $13::bigint[], $14::text[], $15::text[],
                         $16::bigint[], $17::bigint[], $18::bigint[], $19::text[],
                         $20::bigint[], $21::bigint[], $22::bigint[], $23::bigint[])
                  as new (id, status, currency, amount_received, amount_refunded,
                          amount_disputed, failure_code, failure_message, dispute, disputes,
                          problem, renewals, refunds_failed, customer_email, email_written,
                          version, announced, weighed_due, weighed_currency,
                          paid_at, failed_at, refunded_at, created_at)
             where old.id = new.id",
        ),
        orders,
    )?
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// $1 to $23 of the statement above, and as many of what inserts.
pub(super) fn with_orders<'q>(
    query: Query<'q>,
    orders: &'q [(String, Order)],
) -> Result<Query<'q>, StoreError> {
    let rows = || orders.iter().map(|(_, order)| order);
    let snapshots = || rows().map(|order| &order.snapshot);
    let due = || rows().map(|order| order.due.as_ref());
    let disputes = snapshots().map(|snapshot| disputes_text(&snapshot.disputes));
    let disputes = disputes.collect::<Result<Vec<_>, _>>()?;
    Ok(query
        .bind(orders.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>())
        .bind(snapshots().map(|one| one.status.name()).collect::<Vec<_>>())
        .bind(snapshots().map(|one| one.currency.as_deref()).collect::<Vec<_>>())
        .bind(snapshots().map(|one| one.amount_received).collect::<Vec<_>>())
        .bind(snapshots().map(|one| one.amount_refunded).collect::<Vec<_>>())
        .bind(snapshots().map(|one| one.amount_disputed).collect::<Vec<_>>())
        .bind(rows().map(|order| order.failure_code.as_deref()).collect::<Vec<_>>())
        .bind(rows().map(|order| order.failure_message.as_deref()).collect::<Vec<_>>())
        .bind(snapshots().map(|one| one.dispute.map(DisputeStatus::name)).collect::<Vec<_>>())
        .bind(disputes)
        .bind(snapshots().map(|one| one.problem.map(Problem::name)).collect::<Vec<_>>())
        .bind(snapshots().map(|one| one.renewals).collect::<Vec<_>>())
        .bind(snapshots().map(|one| one.refunds_failed).collect::<Vec<_>>())
        .bind(rows().map(|order| order.customer_email.as_deref()).collect::<Vec<_>>())
        .bind(rows().map(|order| order.email_written.as_deref()).collect::<Vec<_>>())
        .bind(rows().map(|order| order.version).collect::<Vec<_>>())
        .bind(rows().map(|order| order.announced).collect::<Vec<_>>())
        .bind(due().map(|due| due.map(|due| due.amount)).collect::<Vec<_>>())
        .bind(due().map(|due| due.map(|due| due.currency.as_str())).collect::<Vec<_>>())
        .bind(rows().map(|order| order.paid_at).collect::<Vec<_>>())
        .bind(rows().map(|order| order.failed_at).collect::<Vec<_>>())
        .bind(rows().map(|order| order.refunded_at).collect::<Vec<_>>())
        .bind(rows().map(|order| order.created_at).collect::<Vec<_>>()))
}

pub(super) async fn settle_unparked(
    connection: &mut PgConnection,
    unparked: &[Unparked],
) -> Result<(), StoreError> {
    let (mut keys, mut orders, mut settled, mut events) = (vec![], vec![], vec![], vec![]);
    for one in unparked {
        for key in &one.payment_keys {
            keys.push(key.as_str());
            orders.push(one.order_id.as_str());
            settled.push(one.is_settled);
            events.push(one.event_id.as_str());
        }
    }
    query(
        "update events as old
         set order_id = new.order_id,
             outcome = case when new.settled then 'applied' else old.outcome end,
             reason = case when new.settled then 'joined to its order by ' || new.event_id
                           else 'the order has no row yet; it waits until the shop inserts one' end
         from unnest($1::text[], $2::text[], $3::bool[], $4::text[])
              as new (payment_key, order_id, settled, event_id)
         where old.payment_key = new.payment_key and old.outcome = 'parked'
           and old.id <> new.event_id",
    )
    .bind(keys)
    .bind(orders)
    .bind(settled)
    .bind(events)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn orders_to_weigh(
    connection: &mut PgConnection,
    after: &str,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    let ids = query_scalar(
        "select id from orders
         where (not weighed
                or amount_due is distinct from weighed_due
                or currency is distinct from currency_written)
           and id > $1
         order by id
         limit $2
         for no key update skip locked",
    );
    Ok(ids.bind(after).bind(limit).fetch_all(connection).await?)
}

pub(super) async fn parked_orders(
    connection: &mut PgConnection,
    after: &str,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    let ids = query_scalar(
        "select distinct order_id from events
         where outcome = 'parked' and order_id > $1
         order by order_id
         limit $2",
    );
    Ok(ids.bind(after).bind(limit).fetch_all(connection).await?)
}

pub(super) async fn settle_held(
    connection: &mut PgConnection,
    orders: &[String],
    reason: &str,
) -> Result<(), StoreError> {
    query(
        "update events set outcome = 'applied', reason = $2
         where outcome = 'parked' and order_id = any($1)
           and exists (select from orders where orders.id = events.order_id)",
    )
    .bind(orders)
    .bind(reason)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn prune_bodies(
    connection: &mut PgConnection,
    from: i64,
    until: i64,
    limit: i64,
) -> Result<u64, StoreError> {
    let pruned = query(
        "update events set body = null
         where id in (select id from events
                      where received_at >= to_timestamp($1 / 1000.0)
                        and received_at < to_timestamp($2 / 1000.0)
                        and body is not null and outcome <> 'parked'
                      limit $3)",
    );
    let done = pruned.bind(from).bind(until).bind(limit).execute(connection).await?;
    Ok(done.rows_affected())
}

pub(super) async fn prune_events(
    connection: &mut PgConnection,
    from: i64,
    until: i64,
    limit: i64,
) -> Result<u64, StoreError> {
    let pruned = query(
        "delete from events
         where id in (select id from events
                      where received_at >= to_timestamp($1 / 1000.0)
                        and received_at < to_timestamp($2 / 1000.0)
                        and outcome <> 'parked'
                      limit $3)",
    );
    let done = pruned.bind(from).bind(until).bind(limit).execute(connection).await?;
    Ok(done.rows_affected())
}

pub(super) async fn order(
    connection: &mut PgConnection,
    id: &str,
) -> Result<Option<OrderRecord>, StoreError> {
    let row: Option<OrderRow> = query_as(concat!(
        "select orders.id, ",
        order_columns!("orders"),
        " from orders where id = $1"
    ))
    .bind(id)
    .fetch_optional(connection)
    .await?;
    row.map(TryInto::try_into).transpose()
}

pub(super) async fn order_changes(
    connection: &mut PgConnection,
    id: &str,
) -> Result<Vec<ChangeRecord>, StoreError> {
    Ok(query_as(
        "select version, kinds, from_status, to_status, dispute, disputes, problem,
                amount_received, amount_refunded, amount_disputed, currency, event_id,
                floor(extract(epoch from at) * 1000)::bigint as at
         from order_changes where order_id = $1
         order by version",
    )
    .bind(id)
    .fetch_all(connection)
    .await?)
}

pub(super) async fn order_payments(
    connection: &mut PgConnection,
    id: &str,
) -> Result<Vec<Payment>, StoreError> {
    let rows: Vec<PaymentRow> =
        query_as("select order_id, page, facts from payments where order_id = $1 order by key")
            .bind(id)
            .fetch_all(connection)
            .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

pub(super) async fn events_of(
    connection: &mut PgConnection,
    payment_keys: &[String],
    event_ids: &[String],
    order_id: &str,
) -> Result<Vec<EventRecord>, StoreError> {
    Ok(query_as(
        "select id, type, api_version, livemode,
                floor(extract(epoch from created))::bigint as created,
                payment_key, order_id, outcome, reason, conflicts::bigint as conflicts,
                floor(extract(epoch from received_at) * 1000)::bigint as received_at
         from events
         where payment_key = any($1) or id = any($2) or (order_id = $3 and outcome = 'ignored')
         order by received_at, created, id",
    )
    .bind(payment_keys)
    .bind(event_ids)
    .bind(order_id)
    .fetch_all(connection)
    .await?)
}
