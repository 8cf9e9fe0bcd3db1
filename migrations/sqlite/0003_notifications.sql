-- What sending needs: who may settle a delivery, what to do with one that there is nobody to tell
-- of, and searches that stay short however much waits.

-- SQLite cannot change a check, so the table is made anew, with what it holds.
create table deliveries_new (
    -- Never used again after it was pruned: receivers know deliveries by it.
    id              integer     primary key autoincrement,
    order_id        text        not null,
    version         integer     not null,
    destination     text        not null,
    -- 'skipped' is told to nobody, for a reason: no address, or a later change was told already.
    status          text        not null default 'waiting'
                    check (status in ('waiting', 'sent', 'skipped', 'dead')),
    attempts        integer     not null default 0,
    next_attempt_at text        not null,
    last_error      text,
    created_at      text        not null,
    settled_at      text,
    -- Counts the times that a delivery was claimed. Whoever claims it remembers the number, and only
    -- the newest claim may settle: a process that slept through its lease finds the number gone.
    claim           integer     not null default 0,
    -- When the running attempt began; null if none is running. Its lease ends at next_attempt_at,
    -- where the delivery is due again by itself, whatever became of the process.
    claimed_at      text,
    -- One telling for each change and destination.
    unique (order_id, version, destination),
    foreign key (order_id, version) references order_changes (order_id, version) on delete cascade
);
insert into deliveries_new (id, order_id, version, destination, status, attempts, next_attempt_at,
                            last_error, created_at, settled_at)
select id, order_id, version, destination, status, attempts, next_attempt_at,
       last_error, created_at, settled_at
from deliveries;
drop table deliveries;
alter table deliveries_new rename to deliveries;

-- Led by the destination, so that a destination that rests, with all that waits for it, is not
-- searched through for the sake of the others.
create index deliveries_due on deliveries (destination, next_attempt_at, id) where status = 'waiting';
-- Since when a destination has been waiting.
create index deliveries_oldest on deliveries (destination, id) where status = 'waiting';
-- What is settled: the dead, to be looked at, and the old, to be pruned.
create index deliveries_settled on deliveries (status, settled_at) where status <> 'waiting';

-- Destinations that nothing is sent to until an operator says so, though it waits for them:
-- they answered that they are gone.
create table disabled_destinations (
    name        text        not null primary key,
    reason      text        not null,
    disabled_at text        not null
);
