-- The outbox: who is to be told of which change. Written in the transaction
-- that changes the order, so a change that was rolled back is never told, and
-- one that was committed is never forgotten.
create table deliveries (
    id              integer     primary key,
    order_id        text        not null,
    version         integer     not null,
    destination     text        not null,
    status          text        not null default 'waiting'
                    check (status in ('waiting', 'sent', 'dead')),
    attempts        integer     not null default 0,
    next_attempt_at text        not null,
    last_error      text,
    created_at      text        not null,
    settled_at      text,
    -- One telling for each change and destination.
    unique (order_id, version, destination),
    foreign key (order_id, version) references order_changes (order_id, version) on delete cascade
);
create index deliveries_waiting on deliveries (next_attempt_at) where status = 'waiting';
