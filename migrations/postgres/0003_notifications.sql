-- What sending needs: who may settle a delivery, what to do with one that there is nobody to tell
-- of, and searches that stay short however much waits.

-- Counts the times that a delivery was claimed. Whoever claims it remembers the number, and only the
-- newest claim may settle: a process that slept through its lease finds the number gone.
alter table deliveries add column claim bigint not null default 0;
-- When the running attempt began; null if none is running. Its lease ends at next_attempt_at, where
-- the delivery is due again by itself, whatever became of the process.
alter table deliveries add column claimed_at timestamptz;

-- 'skipped' is told to nobody, for a reason: no address, or a later change was told already.
alter table deliveries drop constraint deliveries_status_check;
alter table deliveries add constraint deliveries_status_check
    check (status in ('waiting', 'sent', 'skipped', 'dead'));

-- Led by the destination, so that a destination that rests, with all that waits for it, is not
-- searched through for the sake of the others.
drop index deliveries_waiting;
create index deliveries_due on deliveries (destination, next_attempt_at, id) where status = 'waiting';
-- Since when a destination has been waiting.
create index deliveries_oldest on deliveries (destination, id) where status = 'waiting';
-- What is settled: the dead, to be looked at, and the old, to be pruned.
create index deliveries_settled on deliveries (status, settled_at) where status <> 'waiting';

-- Destinations that nothing is sent to until an operator says so, though it waits for them:
-- they answered that they are gone.
create table disabled_destinations (
    name        text        collate "C" not null primary key,
    reason      text        not null,
    disabled_at timestamptz not null
);
