-- What paidup knows: the events as Stripe sent them, the payments folded from
-- them, and the orders folded from those. The schema holds the constraints, the
-- program holds the rules; there are no triggers.

-- Every authentic event, once. The id is what makes a second delivery harmless,
-- so ids outlive the bodies, which are pruned first (the body becomes null).
create table events (
    id           text        not null primary key,
    type         text        not null,
    api_version  text,
    account      text,
    livemode     integer     not null check (livemode in (0, 1)),
    -- Stripe's own time, in whole seconds; null if the body had none.
    created      text,
    object_id    text,
    -- The payment that the event spoke of when it came. Payments merge; follow
    -- payment_links from here.
    payment_key  text,
    order_id     text,
    outcome      text        not null check (outcome in ('applied', 'unchanged', 'parked', 'ignored')),
    -- A sentence that says why: why it was ignored, what it waits for.
    reason       text,
    -- How often another content came under the same id; the first one counts.
    conflicts    integer     not null default 0,
    -- The bytes as they came. Not jsonb: that refuses \u0000 and keeps no bytes.
    body         blob,
    received_at  text    not null
);

-- All events of a payment: to tell its story, and to settle the parked ones.
create index events_payment_key on events (payment_key) where payment_key is not null;
-- What waits. Small, as long as orders are found.
create index events_parked on events (order_id) where outcome = 'parked';

-- One row a payment: what all its events say together. The key is the
-- PaymentIntent where there is one, else the invoice, session or charge.
create table payments (
    key          text        not null primary key,
    order_id     text,
    subscription text,
    -- JSON, written and read by paidup alone (src/domain/payment.rs).
    facts        text        not null
);
create index payments_order_id on payments (order_id) where order_id is not null;
-- A subscription's payments may come before the event that names its order.
create index payments_subscription on payments (subscription) where subscription is not null;

-- Which payment a charge, session or invoice belongs to, and which order a
-- subscription belongs to. No foreign keys: a link may be learned before the
-- payment, and a payment may merge into another.
create table payment_links (
    id           text        not null primary key,
    payment_key  text,
    -- JSON: the order that this subscription names, and by which authority.
    order_claim  text,
    check (payment_key is not null or order_claim is not null)
);

-- The answer. A shop may insert a row first (id, amount_due, currency) and may
-- read it whenever it likes. Amounts are in the currency's minor unit.
create table orders (
    id              text        not null primary key
                    check (length(cast(id as blob)) between 1 and 500),
    status          text        not null default 'pending'
                    check (status in ('pending', 'paid', 'partially_refunded', 'refunded', 'failed')),
    amount_due      integer     check (amount_due >= 0),
    currency        text        check (currency = lower(currency)),
    amount_received integer     not null default 0 check (amount_received >= 0),
    amount_refunded integer     not null default 0 check (amount_refunded >= 0),
    failure_code    text,
    failure_message text,
    dispute         text        check (dispute in ('inquiry', 'open', 'won', 'lost')),
    problem         text        check (problem in ('underpaid', 'wrong_currency', 'overpaid')),
    customer_email  text,
    -- The address that paidup wrote there. Another one there is the shop's, and stays.
    email_written   text,
    version         integer     not null default 0,
    -- The earliest time, by Stripe's clock, at which an event said so.
    paid_at         text,
    failed_at       text,
    refunded_at     text,
    created_at      text    not null default (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    updated_at      text    not null default (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    -- An amount without its currency is not an amount.
    check (amount_due is null or currency is not null)
);

-- The story of an order: one row for each change that was committed, with the
-- state it led to. Version 1 is the first change.
create table order_changes (
    order_id        text        not null references orders (id) on delete cascade,
    version         integer     not null,
    -- What there is to tell, e.g. 'order.paid order.problem'; empty for a new, pending order.
    kinds           text        not null,
    from_status     text,
    to_status       text        not null,
    dispute         text,
    problem         text,
    amount_received integer     not null,
    amount_refunded integer     not null,
    currency        text,
    -- The event that brought the change; null where none did (the shop's own row was taken up).
    event_id        text,
    at              text    not null,
    primary key (order_id, version)
);
