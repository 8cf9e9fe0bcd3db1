//! Peer (b): the handler one would write in Rust without batching. It verifies the signature,
//! parses the event, and does one transaction for each, with the same rows as paidup writes.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

const TOLERANCE_SECONDS: u64 = 300;

#[derive(Clone)]
struct Shop {
    pool: PgPool,
    key: Hmac<Sha256>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let setting = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let connections = setting("DATABASE_CONNECTIONS").map_or(Ok(16), |text| text.parse())?;
    let pool = PgPoolOptions::new()
        .min_connections(connections)
        .max_connections(connections)
        // What paidup's writer does without, this does without: no question before each use.
        .test_before_acquire(false)
        .connect(&setting("DATABASE_URL")?)
        .await?;
    let key = Hmac::<Sha256>::new_from_slice(setting("STRIPE_WEBHOOK_SECRET")?.as_bytes())?;
    let router = Router::new()
        .route("/webhook/stripe", post(webhook))
        .route("/readyz", get(|| async { StatusCode::OK }))
        .with_state(Shop { pool, key });
    let listener = tokio::net::TcpListener::bind(setting("LISTEN")?).await?;
    axum::serve(listener, router).await?;
    Ok(())
}

async fn webhook(State(shop): State<Shop>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = headers.get("stripe-signature").and_then(|value| value.to_str().ok());
    if !header.is_some_and(|header| verified(&shop.key, header, &body)) {
        return StatusCode::BAD_REQUEST;
    }
    let Ok(event) = serde_json::from_slice::<Event>(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    match record(&shop.pool, &event, &body).await {
        Ok(()) => StatusCode::OK,
        Err(error) => {
            eprintln!("{error}");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

fn verified(key: &Hmac<Sha256>, header: &str, body: &[u8]) -> bool {
    let item = |name: &str| header.split(',').find_map(|item| item.trim().strip_prefix(name));
    let Some((time, Ok(signature))) = item("t=").zip(item("v1=").map(hex::decode)) else {
        return false;
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut mac = key.clone();
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    time.parse::<u64>().is_ok_and(|time| time.abs_diff(now) <= TOLERANCE_SECONDS)
        && mac.verify_slice(&signature).is_ok()
}

#[derive(Deserialize)]
struct Event<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    api_version: Option<&'a str>,
    created: i64,
    livemode: bool,
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    object: Object<'a>,
}

#[derive(Deserialize)]
struct Object<'a> {
    id: &'a str,
    amount: Option<i64>,
    amount_total: Option<i64>,
    amount_refunded: Option<i64>,
    currency: Option<&'a str>,
    payment_intent: Option<&'a str>,
    latest_charge: Option<&'a str>,
    receipt_email: Option<&'a str>,
    #[serde(borrow)]
    metadata: Metadata<'a>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    order_id: Option<&'a str>,
}

/// One transaction. The statements are prepared once for each connection, as sqlx does.
async fn record(pool: &PgPool, event: &Event<'_>, body: &[u8]) -> Result<(), sqlx::Error> {
    let object = &event.data.object;
    let (payment, other) = match object.payment_intent {
        Some(payment) => (payment, Some(object.id)),
        None => (object.id, object.latest_charge),
    };
    let amount = object.amount.or(object.amount_total).unwrap_or(0);
    let refunded = object.amount_refunded.unwrap_or(0);
    let status = match event.kind {
        "charge.refunded" if refunded < amount => "partially_refunded",
        "charge.refunded" => "refunded",
        "payment_intent.created" => "pending",
        _ => "paid",
    };
    let received = if status == "pending" { 0 } else { amount };

    let mut transaction = pool.begin().await?;
    let inserted = sqlx::query(INSERT_EVENT)
        .bind(event.id)
        .bind(event.kind)
        .bind(event.api_version)
        .bind(event.livemode)
        .bind(event.created as f64)
        .bind(object.id)
        .bind(payment)
        .bind(object.metadata.order_id)
        .bind(body)
        .execute(&mut *transaction)
        .await?;
    if inserted.rows_affected() == 0 {
        return transaction.rollback().await;
    }
    sqlx::query(UPSERT_PAYMENT)
        .bind(payment)
        .bind(object.metadata.order_id)
        .bind(facts(event, object, payment, amount))
        .execute(&mut *transaction)
        .await?;
    if let Some(other) = other {
        sqlx::query(UPSERT_LINK).bind(other).bind(payment).execute(&mut *transaction).await?;
    }
    if let Some(order) = object.metadata.order_id {
        let version: i64 = sqlx::query_scalar(UPSERT_ORDER)
            .bind(order)
            .bind(status)
            .bind(object.currency)
            .bind(received)
            .bind(refunded)
            .bind(event.created as f64)
            .bind(object.receipt_email)
            .fetch_one(&mut *transaction)
            .await?;
        sqlx::query(INSERT_CHANGE)
            .bind(order)
            .bind(version)
            .bind(status)
            .bind(received)
            .bind(refunded)
            .bind(object.currency)
            .bind(event.id)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await
}

/// About as much text as paidup keeps of a payment.
fn facts(event: &Event<'_>, object: &Object<'_>, payment: &str, amount: i64) -> String {
    format!(
        r#"{{"ids":[{{"kind":"payment_intent","id":"{payment}"}},{{"kind":"charge","id":"{charge}"}}],"claim":{{"authority":"payment_intent","order_id":"{order}"}},"received":{{"source":"payment_intent","amount":{amount},"currency":"{currency}"}},"paid_at":{at},"email":"{email}"}}"#,
        charge = object.latest_charge.unwrap_or_default(),
        order = object.metadata.order_id.unwrap_or_default(),
        currency = object.currency.unwrap_or_default(),
        at = event.created,
        email = object.receipt_email.unwrap_or_default(),
    )
}

const INSERT_EVENT: &str = "
    insert into events (id, type, api_version, livemode, created, object_id, payment_key, order_id,
                        outcome, body, received_at)
    values ($1, $2, $3, $4, to_timestamp($5), $6, $7, $8, 'applied', $9, now())
    on conflict (id) do nothing";

const UPSERT_PAYMENT: &str = "
    insert into payments (key, order_id, facts) values ($1, $2, $3)
    on conflict (key) do update
        set order_id = coalesce(excluded.order_id, payments.order_id), facts = excluded.facts";

const UPSERT_LINK: &str = "
    insert into payment_links (id, payment_key) values ($1, $2)
    on conflict (id) do update set payment_key = excluded.payment_key";

const UPSERT_ORDER: &str = "
    insert into orders (id, status, currency, amount_received, amount_refunded, customer_email,
                        version, paid_at, created_at)
    values ($1, $2, $3, $4, $5, $7, 1, case when $2 <> 'pending' then to_timestamp($6) end,
            to_timestamp($6))
    on conflict (id) do update
        set status = case when excluded.status = 'pending' then orders.status else excluded.status end,
            currency = excluded.currency,
            amount_received = greatest(orders.amount_received, excluded.amount_received),
            amount_refunded = greatest(orders.amount_refunded, excluded.amount_refunded),
            version = orders.version + 1,
            paid_at = least(orders.paid_at, excluded.paid_at),
            updated_at = now()
    returning version";

const INSERT_CHANGE: &str = "
    insert into order_changes (order_id, version, kinds, to_status, amount_received, amount_refunded,
                               currency, event_id, at)
    values ($1, $2, 'order.' || $3, $3, $4, $5, $6, $7, now())";
