-- :orders orders that were paid a while ago, with ids like those of the load, earlier ones: for each one
-- event whose body was pruned, one payment, one link and one change. Keys and indexes are taken off before
-- and made anew after: to grow them row by row, at random places, takes many times as long.
set synchronous_commit = off;
set maintenance_work_mem = '1GB';
set client_min_messages = warning;

create temporary table filled as
select oid from pg_class
where oid in ('events'::regclass, 'payments'::regclass, 'payment_links'::regclass, 'orders'::regclass,
              'order_changes'::regclass);
-- Foreign keys, those that lead here too, lean on the keys: off first, on last.
create temporary table constraints as
select format('alter table %s drop constraint %I', conrelid::regclass, conname) as off,
       format('alter table %s add constraint %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) as on_again,
       (contype = 'f')::int as rank
from pg_constraint
where contype in ('p', 'u', 'f')
  and (conrelid in (select oid from filled) or confrelid in (select oid from filled));
create temporary table indexes as
select format('drop index %s', indexrelid::regclass) as off, pg_get_indexdef(indexrelid) as on_again
from pg_index
where indrelid in (select oid from filled)
  and not exists (select from pg_constraint where conindid = indexrelid);
select off from constraints order by rank desc \gexec
select off from indexes \gexec

create function pg_temp.base62(number bigint) returns text language sql immutable as $$
    select string_agg(substr('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz',
                             (number / (62 ^ place)::bigint % 62)::int + 1, 1), '' order by place desc)
    from generate_series(0, 4) as place
$$;
create temporary table paid as
select n, pg_temp.base62(410000000 + n * 31536000 / :orders) || 'LoadTest0t0' || substr(md5('paid' || n), 1, 7) as id,
       'ORDER-' || substr(md5('order' || n), 1, 16) as order_id,
       now() - (:orders::bigint - n) * (interval '365 days' / :orders) as at
from generate_series(0, :orders::bigint - 1) as n;

insert into events (id, type, api_version, livemode, created, object_id, payment_key, order_id, outcome, reason, received_at)
select 'evt_3' || id, 'payment_intent.succeeded', '2026-08-26.dahlia', true, at, 'pi_3' || id, 'pi_3' || id,
       order_id, 'applied', 'order paid', at
from paid;
insert into payments (key, order_id, facts)
select 'pi_3' || id, order_id, '{}' from paid;
insert into payment_links (id, payment_key)
select 'ch_3' || id, 'pi_3' || id from paid;
-- Weighed, or each of them would be weighed anew when a service starts.
insert into orders (id, status, currency, amount_received, customer_email, email_written, version, announced, weighed,
                    currency_written, paid_at, created_at, updated_at)
select order_id, 'paid', 'usd', 29900, 'customer.' || n || '@example.com', 'customer.' || n || '@example.com', 1, 29900,
       true, 'usd', at, at, at from paid;
insert into order_changes (order_id, version, kinds, to_status, amount_received, amount_refunded, amount_disputed,
                           currency, event_id, at)
select order_id, 1, 'order.paid', 'paid', 29900, 0, 0, 'usd', 'evt_3' || id, at from paid;

drop table paid;
select on_again from constraints order by rank \gexec
select on_again from indexes \gexec
vacuum (analyze) events, orders, payments, payment_links, order_changes;
