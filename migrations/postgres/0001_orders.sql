-- What paidup knows: the events as Stripe sent them, the payments folded from
-- them, and the orders folded from those. The schema holds the constraints, the
-- program holds the rules; there are no triggers.

-- Every authentic event, once. The id is what makes a second delivery harmless,
-- so ids outlive the bodies, which are pruned first (the body becomes null).
create table events (
    id           text        collate "C" not null primary key,
    type         text        not null,
    api_version  text,
    account      text,
    livemode     boolean     not null,
    -- Stripe's own time, in whole seconds; null if the body had none.
    created      timestamptz,
    object_id    text,
    -- The payment that the event spoke of when it came. Payments merge; follow
    -- payment_links from here.
    payment_key  text        collate "C",
    order_id     text        collate "C",
    outcome      text        not null check (outcome in ('applied', 'unchanged', 'parked', 'ignored')),
    -- A sentence that says why: why it was ignored, what it waits for.
    reason       text,
    -- How often another content came under the same id; the first one counts.
    conflicts    integer     not null default 0,
    -- The bytes as they came. Not jsonb: that refuses \u0000 and keeps no bytes.
    body         bytea,
    received_at  timestamptz not null
);

-- A body is 2 to 4 KB. Kept in the row as it is, one event is one write; the
-- default would compress it and move it to a second table with a second index.
alter table events alter column body set storage external;
alter table events set (toast_tuple_target = 8160);

-- All events of a payment: to tell its story, and to settle the parked ones.
create index events_payment_key on events (payment_key) where payment_key is not null;
-- What waits. Small, as long as orders are found.
create index events_parked on events (order_id) where outcome = 'parked';
-- What is old is pruned in the order it came. A block range index costs an
-- insert almost nothing.
create index events_received_at on events using brin (received_at);

-- One row a payment: what all its events say together. The key is the
-- PaymentIntent where there is one, else the invoice, session or charge.
create table payments (
    key          text        collate "C" not null primary key,
    order_id     text        collate "C",
    subscription text        collate "C",
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
    id           text        collate "C" not null primary key,
    payment_key  text        collate "C",
    -- JSON: the order that this subscription names, and by which authority.
    order_claim  text,
    check (payment_key is not null or order_claim is not null)
);

-- The answer. A shop may insert a row first (id, amount_due, currency) and may
-- read it whenever it likes. Amounts are in the currency's minor unit.
create table orders (
    id              text        collate "C" not null primary key
                    check (octet_length(id) between 1 and 500),
    status          text        not null default 'pending'
                    check (status in ('pending', 'paid', 'partially_refunded', 'refunded', 'failed')),
    amount_due      bigint      check (amount_due >= 0),
    currency        text        check (currency = lower(currency)),
    amount_received bigint      not null default 0 check (amount_received >= 0),
    amount_refunded bigint      not null default 0 check (amount_refunded >= 0),
    failure_code    text,
    failure_message text,
    dispute         text        check (dispute in ('inquiry', 'open', 'won', 'lost')),
    problem         text        check (problem in ('underpaid', 'wrong_currency', 'overpaid')),
    customer_email  text,
    -- The address that paidup wrote there. Another one there is the shop's, and stays.
    email_written   text,
    version         bigint      not null default 0,
    -- The earliest time, by Stripe's clock, at which an event said so.
    paid_at         timestamptz,
    failed_at       timestamptz,
    refunded_at     timestamptz,
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now(),
    -- An amount without its currency is not an amount.
    check (amount_due is null or currency is not null)
);

-- The story of an order: one row for each change that was committed, with the
-- state it led to. Version 1 is the first change.
create table order_changes (
    order_id        text        collate "C" not null references orders (id) on delete cascade,
    version         bigint      not null,
    -- What there is to tell, e.g. 'order.paid order.problem'; empty for a new, pending order.
    kinds           text        not null,
    from_status     text,
    to_status       text        not null,
    dispute         text,
    problem         text,
    amount_received bigint      not null,
    amount_refunded bigint      not null,
    currency        text,
    -- The event that brought the change; null where none did (the shop's own row was taken up).
    event_id        text        collate "C",
    at              timestamptz not null,
    primary key (order_id, version)
);
