// Peer (c): the webhook handler most shops have. Express, the official stripe package, pg; one
// transaction for each event, with the same rows as paidup writes. LEAN=1 writes only the event
// and the order, as many shops do.
import cluster from "node:cluster";
import express from "express";
import pg from "pg";
import Stripe from "stripe";

const { DATABASE_URL, STRIPE_WEBHOOK_SECRET, LISTEN } = process.env;
const CONNECTIONS = Number(process.env.DATABASE_CONNECTIONS ?? 16);
const PROCESSES = Number(process.env.PROCESSES ?? 1);
const LEAN = process.env.LEAN === "1";

const INSERT_EVENT = `
  insert into events (id, type, api_version, livemode, created, object_id, payment_key, order_id,
                      outcome, body, received_at)
  values ($1, $2, $3, $4, to_timestamp($5), $6, $7, $8, 'applied', $9, now())
  on conflict (id) do nothing`;
const UPSERT_PAYMENT = `
  insert into payments (key, order_id, facts) values ($1, $2, $3)
  on conflict (key) do update
    set order_id = coalesce(excluded.order_id, payments.order_id), facts = excluded.facts`;
const UPSERT_LINK = `
  insert into payment_links (id, payment_key) values ($1, $2)
  on conflict (id) do update set payment_key = excluded.payment_key`;
const UPSERT_ORDER = `
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
  returning version`;
const INSERT_CHANGE = `
  insert into order_changes (order_id, version, kinds, to_status, amount_received, amount_refunded,
                             currency, event_id, at)
  values ($1, $2, 'order.' || $3::text, $3, $4, $5, $6, $7, now())`;

function statusOf(event, amount, refunded) {
  if (event.type === "charge.refunded") return refunded < amount ? "partially_refunded" : "refunded";
  return event.type === "payment_intent.created" ? "pending" : "paid";
}

// About as much text as paidup keeps of a payment.
function factsOf(event, object, payment, orderId, amount) {
  return JSON.stringify({
    ids: [
      { kind: "payment_intent", id: payment },
      { kind: "charge", id: object.latest_charge },
    ],
    claim: { authority: "payment_intent", order_id: orderId },
    received: { source: "payment_intent", amount, currency: object.currency },
    paid_at: event.created,
    email: object.receipt_email,
  });
}

async function record(pool, event, body) {
  const object = event.data.object;
  const payment = object.payment_intent ?? object.id;
  const other = object.payment_intent ? object.id : object.latest_charge;
  const orderId = object.metadata?.order_id;
  const amount = object.amount ?? object.amount_total ?? 0;
  const refunded = object.amount_refunded ?? 0;
  const status = statusOf(event, amount, refunded);
  const received = status === "pending" ? 0 : amount;

  const client = await pool.connect();
  try {
    await client.query("begin");
    const inserted = await client.query(INSERT_EVENT, [
      event.id, event.type, event.api_version, event.livemode, event.created, object.id, payment,
      orderId, body,
    ]);
    if (inserted.rowCount === 0) {
      await client.query("rollback");
      return;
    }
    if (!LEAN) {
      const facts = factsOf(event, object, payment, orderId, amount);
      await client.query(UPSERT_PAYMENT, [payment, orderId, facts]);
      if (other) await client.query(UPSERT_LINK, [other, payment]);
    }
    if (orderId) {
      const order = await client.query(UPSERT_ORDER, [
        orderId, status, object.currency, received, refunded, event.created, object.receipt_email,
      ]);
      if (!LEAN) {
        await client.query(INSERT_CHANGE, [
          orderId, order.rows[0].version, status, received, refunded, object.currency, event.id,
        ]);
      }
    }
    await client.query("commit");
  } catch (error) {
    await client.query("rollback");
    throw error;
  } finally {
    client.release();
  }
}

function serve() {
  // The API key is not used: verifying a signature needs only the endpoint's secret.
  const stripe = new Stripe("sk_test_unused");
  const pool = new pg.Pool({ connectionString: DATABASE_URL, max: CONNECTIONS });
  const app = express();
  app.get("/readyz", (_request, response) => response.sendStatus(200));
  app.post("/webhook/stripe", express.raw({ type: "application/json" }), async (request, response) => {
    let event;
    try {
      const signature = request.headers["stripe-signature"];
      event = stripe.webhooks.constructEvent(request.body, signature, STRIPE_WEBHOOK_SECRET);
    } catch {
      return response.status(400).send("Webhook Error");
    }
    try {
      await record(pool, event, request.body);
      response.json({ received: true });
    } catch (error) {
      console.error(error.message);
      response.status(503).end();
    }
  });
  const [host, port] = LISTEN.split(":");
  app.listen(Number(port), host);
}

if (cluster.isPrimary && PROCESSES > 1) {
  for (let count = 0; count < PROCESSES; count += 1) cluster.fork();
} else {
  serve();
}
