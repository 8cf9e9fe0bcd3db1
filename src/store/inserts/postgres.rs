//! In Postgres' words: one statement. See [`super`].

use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::{Arguments as _, query_with};

use super::NewRows;
use crate::domain::order::{Problem, Status};
use crate::domain::payment::dispute::DisputeStatus;
use crate::domain::rows::Change;
use crate::store::postgres::{ORDERS_KEY, Query, with_links, with_orders, with_payments};
use crate::store::records::disputes_text;
use crate::store::{NewDelivery, NewEvent, StoreError};

/// The statement takes so many.
const ARGUMENTS: usize = 60;
/// About what an event's five rows take in them, but for its body.
const EVENT_ARGUMENT_BYTES: usize = 1536;

/// Foreign keys are checked at the end of a statement, so the tables may come in any order. Each list is
/// unnested where its column is made, side by side with the others, which are of one length: `from
/// unnest(…)` of several lists would copy every value to a temporary place first, bodies too.
///
/// The time is divided as a float, which has microseconds to spare: a numeric would take ten times as long,
/// for each row anew.
///
/// The database numbers changes, in the order in which they are given. Only whoever holds the lock of
/// `begin` comes here, and the server gives that back after the commit can be seen by all: whoever sees a
/// number sees every smaller one.
pub(super) async fn insert(
    connection: &mut PgConnection,
    rows: &NewRows<'_>,
    now: i64,
) -> Result<(), StoreError> {
    let mut arguments = PgArguments::default();
    // Bodies are most of it. Room for them at once saves moving them each time that they need more.
    let body_bytes: usize = rows.events.iter().map(|new| new.event.body().len()).sum();
    arguments.reserve(ARGUMENTS, body_bytes + rows.events.len() * EVENT_ARGUMENT_BYTES);
    let statement = query_with(
        "with new_events as (
             insert into events
                 (id, type, api_version, account, livemode, created, object_id,
                  payment_key, order_id, outcome, reason, body, received_at)
             select unnest($1::text[]), unnest($2::text[]), unnest($3::text[]), unnest($4::text[]),
                    unnest($5::bool[]), to_timestamp(unnest($6::bigint[])), unnest($7::text[]),
                    unnest($8::text[]), unnest($9::text[]), unnest($10::text[]),
                    unnest($11::text[]), unnest($12::bytea[]), to_timestamp($60 / 1000.0::float8)
         ),
         new_payments as (
             insert into payments (key, order_id, page, subscription, facts)
             select unnest($13::text[]), unnest($14::text[]), unnest($15::bigint[]),
                    unnest($16::text[]), unnest($17::text[])
         ),
         new_links as (
             insert into payment_links (id, payment_key, order_claim)
             select unnest($18::text[]), unnest($19::text[]), unnest($20::text[])
         ),
         new_orders as (
             insert into orders
                 (id, status, currency, amount_received, amount_refunded, amount_disputed,
                  failure_code, failure_message, dispute, disputes, problem, renewals,
                  refunds_failed, customer_email, email_written, version, announced, weighed_due,
                  weighed_currency, paid_at, failed_at, refunded_at, created_at,
                  currency_written, weighed, updated_at)
             select unnest($21::text[]), unnest($22::text[]), unnest($23::text[]),
                    unnest($24::bigint[]), unnest($25::bigint[]), unnest($26::bigint[]),
                    unnest($27::text[]), unnest($28::text[]), unnest($29::text[]),
                    unnest($30::text[]), unnest($31::text[]), unnest($32::bigint[]),
                    unnest($33::bigint[]), unnest($34::text[]), unnest($35::text[]),
                    unnest($36::bigint[]), unnest($37::bigint[]), unnest($38::bigint[]),
                    unnest($39::text[]), to_timestamp(unnest($40::bigint[])),
                    to_timestamp(unnest($41::bigint[])), to_timestamp(unnest($42::bigint[])),
                    to_timestamp(unnest($43::bigint[])),
                    unnest($23::text[]), true, to_timestamp($60 / 1000.0::float8)
         ),
         new_changes as (
             insert into order_changes
                 (order_id, version, kinds, from_status, to_status, dispute, disputes, problem,
                  amount_received, amount_refunded, amount_disputed, currency, event_id, at)
             select unnest($44::text[]), unnest($45::bigint[]), unnest($46::text[]),
                    unnest($47::text[]), unnest($48::text[]), unnest($49::text[]),
                    unnest($50::text[]), unnest($51::text[]), unnest($52::bigint[]),
                    unnest($53::bigint[]), unnest($54::bigint[]), unnest($55::text[]),
                    unnest($56::text[]),
                    to_timestamp($60 / 1000.0::float8)
         )
         insert into deliveries (order_id, version, destination, next_attempt_at, created_at)
         select unnest($57::text[]), unnest($58::bigint[]), unnest($59::text[]),
                to_timestamp($60 / 1000.0::float8), to_timestamp($60 / 1000.0::float8)",
        arguments,
    );
    let statement = with_events(statement, rows.events);
    let statement = with_payments(statement, rows.payments)?;
    let statement = with_links(statement, rows.links)?;
    let statement = with_orders(statement, rows.orders)?;
    let statement = with_changes(statement, rows.changes)?;
    let statement = with_deliveries(statement, rows.deliveries);
    match statement.bind(now).execute(connection).await {
        // It had no row when it was looked for: the shop has inserted it since.
        Err(sqlx::Error::Database(error)) if error.constraint() == Some(ORDERS_KEY) => {
            Err(StoreError::Conflict)
        }
        result => Ok(result.map(drop)?),
    }
}

/// $1 to $12.
fn with_events<'q>(query: Query<'q>, events: &'q [NewEvent<'_>]) -> Query<'q> {
    let heads = || events.iter().map(|new| new.event.head());
    let outcomes = || events.iter().map(|new| new.outcome);
    query
        .bind(heads().map(|head| head.id.as_str()).collect::<Vec<_>>())
        .bind(heads().map(|head| head.kind.as_str()).collect::<Vec<_>>())
        .bind(heads().map(|head| head.api_version.as_deref()).collect::<Vec<_>>())
        .bind(heads().map(|head| head.account.as_deref()).collect::<Vec<_>>())
        .bind(heads().map(|head| head.livemode).collect::<Vec<_>>())
        .bind(heads().map(|head| head.created).collect::<Vec<_>>())
        .bind(heads().map(|head| head.object_id.as_deref()).collect::<Vec<_>>())
        .bind(outcomes().map(|outcome| outcome.payment_key.as_deref()).collect::<Vec<_>>())
        .bind(outcomes().map(|outcome| outcome.order_id.as_deref()).collect::<Vec<_>>())
        .bind(outcomes().map(|one| one.outcome.name()).collect::<Vec<_>>())
        .bind(outcomes().map(|outcome| outcome.reason.as_str()).collect::<Vec<_>>())
        .bind(events.iter().map(|new| new.event.body().as_ref()).collect::<Vec<&[u8]>>())
}

/// $44 to $56.
fn with_changes<'q>(query: Query<'q>, changes: &'q [Change]) -> Result<Query<'q>, StoreError> {
    let to = || changes.iter().map(|change| &change.to);
    let disputes = to().map(|snapshot| disputes_text(&snapshot.disputes));
    let disputes = disputes.collect::<Result<Vec<_>, _>>()?;
    Ok(query
        .bind(changes.iter().map(|change| change.order_id.as_str()).collect::<Vec<_>>())
        .bind(changes.iter().map(|change| change.version).collect::<Vec<_>>())
        .bind(changes.iter().map(|change| change.kinds.join(" ")).collect::<Vec<_>>())
        .bind(changes.iter().map(|change| change.from.map(Status::name)).collect::<Vec<_>>())
        .bind(to().map(|one| one.status.name()).collect::<Vec<_>>())
        .bind(to().map(|one| one.dispute.map(DisputeStatus::name)).collect::<Vec<_>>())
        .bind(disputes)
        .bind(to().map(|one| one.problem.map(Problem::name)).collect::<Vec<_>>())
        .bind(to().map(|one| one.amount_received).collect::<Vec<_>>())
        .bind(to().map(|one| one.amount_refunded).collect::<Vec<_>>())
        .bind(to().map(|one| one.amount_disputed).collect::<Vec<_>>())
        .bind(to().map(|one| one.currency.as_deref()).collect::<Vec<_>>())
        .bind(changes.iter().map(|change| change.event_id.as_deref()).collect::<Vec<_>>()))
}

/// $57 to $59.
fn with_deliveries<'q>(query: Query<'q>, deliveries: &'q [NewDelivery]) -> Query<'q> {
    query
        .bind(deliveries.iter().map(|new| new.order_id.as_str()).collect::<Vec<_>>())
        .bind(deliveries.iter().map(|new| new.version).collect::<Vec<_>>())
        .bind(deliveries.iter().map(|new| new.destination.as_str()).collect::<Vec<_>>())
}
