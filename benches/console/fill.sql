-- A shop that has been at it for a while: :orders orders, ten events each, one change, and a notification for
-- every tenth. Events are as old ones are: their bodies were pruned. Times go back a year, evenly.
set synchronous_commit = off;
set maintenance_work_mem = '512MB';

insert into events (id, type, api_version, livemode, created, object_id, payment_key, order_id, outcome, reason, received_at)
select 'evt_' || lpad(n::text, 10, '0'), (array['payment_intent.created', 'payment_intent.succeeded', 'charge.succeeded',
       'checkout.session.completed', 'charge.updated', 'invoice.paid', 'charge.refunded', 'refund.created',
       'payment_intent.processing', 'customer.updated'])[1 + n % 10],
       '2025-09-30.clover', true, at, 'obj_' || n, 'pi_' || (n / 10), 'ORDER' || (n / 10),
       case when n % 10 = 1 then 'applied' when n % 10000 = 7 then 'parked' when n % 10 = 9 then 'ignored' else 'unchanged' end,
       'a sentence of usual length that says what it changed', at
from generate_series(0, :orders::bigint * 10 - 1) as n,
     lateral (select now() - (:orders::bigint * 10 - n) * (interval '365 days' / (:orders * 10)) as at) as t;

-- Weighed, or each of them would be weighed anew when a service starts.
insert into orders (id, status, amount_due, currency, amount_received, amount_refunded, problem, customer_email, version,
                    paid_at, created_at, updated_at, announced, weighed, weighed_due, weighed_currency, currency_written)
select 'ORDER' || n, case when n % 50 = 0 then 'failed' when n % 40 = 0 then 'refunded' when n % 30 = 0 then 'pending' else 'paid' end,
       29900, (array['usd', 'eur', 'gbp'])[1 + n % 3], case when n % 50 = 0 then 0 else 29900 end,
       case when n % 40 = 0 and n % 50 <> 0 then 29900 else 0 end, case when n % 5000 = 1 then 'overpaid' end,
       'customer' || n || '@example.com', 1, at, at, at, case when n % 50 = 0 then null else 29900 end, true, 29900,
       (array['usd', 'eur', 'gbp'])[1 + n % 3], (array['usd', 'eur', 'gbp'])[1 + n % 3]
from generate_series(0, :orders::bigint - 1) as n,
     lateral (select now() - (:orders::bigint - n) * (interval '365 days' / :orders) as at) as t;

insert into payments (key, order_id, facts)
select 'pi_' || n, 'ORDER' || n,
       '{}' from generate_series(0, :orders::bigint - 1) as n;
insert into payment_links (id, payment_key)
select kind || n, 'pi_' || n from generate_series(0, :orders::bigint - 1) as n, (values ('ch_'), ('cs_')) as t (kind);

insert into order_changes (order_id, version, kinds, from_status, to_status, amount_received, amount_refunded, amount_disputed,
                           currency, event_id, at)
select id, 1, 'order.paid', null, status, amount_received, amount_refunded, 0, currency, 'evt_1', created_at from orders order by created_at;
insert into deliveries (order_id, version, destination, status, attempts, next_attempt_at, created_at, settled_at)
select order_id, version, 'shipping', case when row_number() over () % 1000 = 0 then 'dead' else 'sent' end, 1, at, at, at
from order_changes where right(order_id, 1) = '0';

insert into event_minutes (minute, outcome, events, last_at)
select minute, outcome, 30, minute * 60000
from generate_series(floor(extract(epoch from now()))::bigint / 60 - 8 * 1440, floor(extract(epoch from now()))::bigint / 60 - 1) as minute,
     (values ('applied'), ('unchanged'), ('ignored'), ('duplicate')) as t (outcome);

vacuum (analyze) events, orders, payments, payment_links, order_changes, deliveries, event_minutes;
