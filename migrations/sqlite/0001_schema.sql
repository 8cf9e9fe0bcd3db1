-- What paidup keeps: the events as Stripe sent them, the payments folded from
-- them, the orders weighed from those, and what is to be notified of each change.
-- The schema holds the constraints, the program holds the rules.

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
    -- The payment that the event was about when it came. Payments merge; follow
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
    received_at  text        not null
);

-- All events of a payment: for its history, and to settle the parked ones.
create index events_payment_key on events (payment_key) where payment_key is not null;
-- What is parked. Small, as long as orders are found.
create index events_parked on events (order_id) where outcome = 'parked';
-- Ignored events that name an order: test money, another account's. Small in most shops.
create index events_ignored on events (order_id) where outcome = 'ignored' and order_id is not null;
-- A list begins at the newest of each outcome and type. No ids in it: the events
-- of one transaction, 512 at most, have one time.
create index events_listed on events (outcome, type, received_at);

-- One row for each payment: what all its events say together. The key is the
-- PaymentIntent where there is one, else the invoice, session or charge.
create table payments (
    key          text        not null primary key,
    order_id     text,
    -- An order with many payments keeps them in pages; see order_pages.
    page         integer     not null default 0,
    subscription text,
    -- JSON, written and read by paidup alone (src/domain/payment).
    facts        text        not null
);
create index payments_order_id on payments (order_id, page) where order_id is not null;
-- A subscription's payments may come before the event that names its order.
create index payments_subscription on payments (subscription) where subscription is not null;

-- What the payments of one page of an order add up to, so that an event for an
-- order with 50,000 payments reads one page of them. The first page, 0, has no
-- row: its payments are read.
create table order_pages (
    order_id     text        not null,
    page         integer     not null check (page > 0),
    -- JSON, written and read by paidup alone (src/domain/summary.rs).
    summary      text        not null,
    primary key (order_id, page)
);

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

-- The answer. The shop may insert a row, before or after the first event, and
-- may change amount_due and currency whenever it likes: the order is then
-- weighed anew within seconds. Amounts are in the currency's minor unit.
create table orders (
    -- An order of a connected account is acct_…/id; what follows is the shop's.
    id              text        not null primary key
                    check (length(cast(id as blob)) between 1 and 756),
    status          text        not null default 'pending'
                    check (status in ('pending', 'processing', 'authorized', 'paid',
                                      'partially_refunded', 'refunded', 'failed', 'canceled')),
    amount_due      integer     check (amount_due >= 0),
    currency        text        check (currency = lower(currency)),
    amount_received integer     not null default 0 check (amount_received >= 0),
    amount_refunded integer     not null default 0 check (amount_refunded >= 0),
    -- Withdrawn by disputes that are open or lost. What the shop has is
    -- amount_received - amount_refunded - amount_disputed.
    amount_disputed integer     not null default 0 check (amount_disputed >= 0),
    failure_code    text,
    failure_message text,
    -- The most pressing one; all of them stand in disputes, as JSON.
    dispute         text        check (dispute in ('inquiry', 'open', 'won', 'lost', 'prevented', 'unknown')),
    disputes        text,
    problem         text        check (problem in ('underpaid', 'wrong_currency', 'overpaid')),
    -- Paid renewals of its subscription, and refunds that failed.
    renewals        integer     not null default 0,
    refunds_failed  integer     not null default 0,
    customer_email  text,
    -- The address that paidup wrote there. Another one there is the shop's, and stays.
    email_written   text,
    version         integer     not null default 0,
    -- The earliest time, by Stripe's clock, at which an event said so.
    paid_at         text,
    failed_at       text,
    refunded_at     text,
    created_at      text        not null default (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    updated_at      text        not null default (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    -- What was received when the order was last announced as paid; null: never.
    announced       integer,
    -- What the shop had said when paidup last weighed the order, and the currency
    -- that paidup wrote then: it is not the one due if all money came in another.
    weighed         integer     not null default 0,
    weighed_due     integer,
    weighed_currency text,
    currency_written text,
    -- An amount without its currency is not an amount.
    check (amount_due is null or currency is not null)
);

-- Orders that the shop wrote since they were last weighed. Mostly empty.
create index orders_to_weigh on orders (id)
    where not weighed
       or amount_due is not weighed_due
       or currency is not currency_written;

-- A list begins at the newest order of each status. By the time at which orders
-- were made, which does not change: an update that leaves the status as it is
-- touches no index.
create index orders_listed on orders (status, created_at, id);
create index orders_with_problem on orders (problem, status, created_at, id)
    where problem is not null;

-- Customers write their address in any case.
create index orders_customer_email on orders (lower(customer_email), created_at)
    where length(cast(customer_email as blob)) <= 320;

-- The history of an order: one row for each change that was committed, with the
-- state it led to. Version 1 is the first change.
create table order_changes (
    order_id        text        not null references orders (id) on delete cascade,
    version         integer     not null,
    -- The kinds of notification, e.g. 'order.paid order.problem'; empty for a new, pending order.
    kinds           text        not null,
    from_status     text,
    to_status       text        not null,
    dispute         text,
    disputes        text,
    problem         text,
    amount_received integer     not null,
    amount_refunded integer     not null,
    amount_disputed integer     not null default 0,
    currency        text,
    -- The event that brought the change; null if it was the shop's own change.
    event_id        text,
    at              text        not null,
    -- Not the rowid, which a vacuum may change, and which is used again when the newest rows are
    -- deleted. There is one writer at a time: a reader who sees one number sees all smaller ones.
    sequence        integer     not null,
    primary key (order_id, version)
);
create unique index order_changes_sequence on order_changes (sequence);
-- The number of the last change that was ever made. One row.
create table last_change (
    sequence integer not null
);
insert into last_change (sequence) values (0);

-- The outbox: who is to be notified of which change. Written in the transaction
-- that changes the order, so a change that was rolled back is never sent, and one
-- that was committed is never forgotten.
create table deliveries (
    -- Never used again after it was pruned: receivers know deliveries by it.
    id              integer     primary key autoincrement,
    order_id        text        not null,
    version         integer     not null,
    destination     text        not null,
    -- 'skipped' is sent to nobody, for a reason: no address, or a later change was sent already.
    status          text        not null default 'waiting'
                    check (status in ('waiting', 'sent', 'skipped', 'dead')),
    attempts        integer     not null default 0,
    next_attempt_at text        not null,
    last_error      text,
    created_at      text        not null,
    settled_at      text,
    -- Counts the times that the delivery was leased. The worker remembers the number, and only
    -- the newest lease may settle: a process that slept through its lease finds the number gone.
    claim           integer     not null default 0,
    -- When the running attempt began; null if none is running. Its lease ends at next_attempt_at,
    -- where the delivery is due again by itself, whatever became of the process.
    claimed_at      text,
    -- One notification for each change and destination.
    unique (order_id, version, destination),
    foreign key (order_id, version) references order_changes (order_id, version) on delete cascade
);
-- Led by the destination, so that one whose circuit is open, with all that waits for it, is not
-- searched through for the sake of the others.
create index deliveries_due on deliveries (destination, next_attempt_at, id) where status = 'waiting';
-- What is settled: the dead, to be looked at, and the old, to be pruned.
create index deliveries_settled on deliveries (status, settled_at) where status <> 'waiting';
-- Since when a destination has been waiting, and lists.
create index deliveries_listed on deliveries (status, destination, id);

-- Destinations that nothing is sent to until an operator enables them, though it waits for them:
-- they answered that they are gone.
create table disabled_destinations (
    name        text        not null primary key,
    reason      text        not null,
    disabled_at text        not null
);

-- BACKFILL_EVERY: which process reads from Stripe, and until where all was read. One row.
create table backfill_rounds (
    id           integer     not null primary key default 1 check (id = 1),
    -- The created (Unix seconds, Stripe's clock) until which all is known; null before the first round.
    watermark    integer,
    -- Counts the rounds that were begun. Only the newest may say how far it came.
    claim        integer     not null default 0,
    -- Until then it belongs to that round, unless it is extended; null if none is under way.
    leased_until text,
    -- When the next one is due; null at once.
    next_at      text,
    succeeded_at text
);
insert into backfill_rounds (claim) values (0);

-- Events by the minute in which they were recorded (minutes since 1970) and their outcome. The
-- transaction that records a batch adds it up here: one row for each outcome, however large it is.
-- One transaction folds at a time, so nobody waits for these rows.
create table event_minutes (
    minute   integer not null,
    outcome  text   not null check (outcome in ('applied', 'unchanged', 'parked', 'ignored', 'duplicate')),
    events   integer not null,
    -- When the newest of them was recorded, in milliseconds since 1970.
    last_at  integer not null,
    primary key (minute, outcome)
);

-- By which signing secret events were last proven, so that an old one can be removed. Of a secret
-- only the last four characters are kept.
create table signing_secret_uses (
    last4   text   not null primary key,
    -- In milliseconds since 1970.
    used_at integer not null
);

-- Who is logged in. What the browser holds is not kept; this is its SHA-256, keyed with the token that
-- was given for it, so that a copy of this table opens nothing, and another token ends every session.
create table console_sessions (
    cookie_hash blob    not null primary key,
    -- In seconds since 1970.
    expires_at  integer not null
);
