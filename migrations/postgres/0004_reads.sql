-- What operators read: lists that begin at the newest, a search, and the stream of changes. The writer
-- pays for every index, so there are as few as these need: one on events, two on orders and a small one,
-- one on changes; of deliveries, one takes another's place.
--
-- A list of what is rare must not look through what is common. So each index is led by what a list
-- filters by, which has few values; a list of several of them is merged from the newest of each.

-- Drawn while the lock of those who fold is held, which is given back only after the commit can be
-- seen: who sees one number sees all the smaller ones that there will ever be. What is there already is
-- numbered as it lies, which is as it was written.
alter table order_changes add column sequence bigint generated always as identity;
create unique index order_changes_sequence on order_changes (sequence);

-- No ids in it: the events of one transaction, 512 at most, have one time.
create index events_listed on events (outcome collate "C", type collate "C", received_at);

-- By the time at which orders were made, which does not change: an update that leaves the status as it
-- is touches no index.
create index orders_listed on orders (status collate "C", created_at, id);
create index orders_with_problem on orders (problem collate "C", status collate "C", created_at, id)
    where problem is not null;

-- Customers write their address in any case. A longer one than an address may be is the shop's own
-- affair, and not refused for this index's sake.
create index orders_customer_email on orders (lower(customer_email), created_at)
    where octet_length(customer_email) <= 320;

-- Of what waits this tells the same as deliveries_oldest did, and of what is settled too.
create index deliveries_listed on deliveries (status, destination, id);
drop index deliveries_oldest;

-- BACKFILL_EVERY: which process reads from Stripe, and until where all was read. One row.
create table backfill_rounds (
    -- The created (Unix seconds, Stripe's clock) until which all is known; null before the first round.
    watermark    bigint,
    -- Counts the rounds that were begun. Only the newest may say how far it came.
    claim        bigint      not null default 0,
    -- Until then it belongs to that round, unless it says so anew; null if none is under way.
    leased_until timestamptz,
    -- When the next one is due; null at once.
    next_at      timestamptz,
    succeeded_at timestamptz
);
insert into backfill_rounds (claim) values (0);
