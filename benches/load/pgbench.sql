-- Peer (a): what one event costs Postgres when it is a transaction of its own.
-- The same rows as paidup writes for a payment_intent.succeeded that nobody has
-- seen before, and no service in the way. The body is sent by pgbench with each
-- transaction, as a service would: run with --define=body="$(paidup-load print)".
-- Ids go up with the time, as Stripe's do and paidup-load's: 32 clients have made some 5,000 when each of them
-- has made 150. Run with --define=made=0 and --define=random_ids=0; with 1 they are random from the first digit on.
\set made :made + 1
\if :random_ids
\set stem random(1000000, 9000000) * 1000000000000
\else
\set stem (1000000 + :made / 150) * 1000000000000
\endif
\set event :stem + random(0, 999999999999)
\set payment :stem + random(0, 999999999999)
\set order random(1000000000000000000, 9000000000000000000)
\set amount random(500, 90000)
begin;
insert into events (id, type, api_version, livemode, created, object_id, payment_key, order_id, outcome, body, received_at)
    values ('evt_3Pdu' || :event::text, 'payment_intent.succeeded', '2026-08-26.dahlia', true, now(),
            'pi_3Pdu1' || :payment::text, 'pi_3Pdu1' || :payment::text, 'ORDER-' || :order::text, 'applied', :body::bytea, now())
    on conflict (id) do nothing;
-- A blank behind the colons in this JSON: pgbench takes :true for a variable.
insert into payments (key, order_id, facts)
    values ('pi_3Pdu1' || :payment::text, 'ORDER-' || :order::text,
            '{"ids":[{"kind":"payment_intent","id":"pi_3Pdu1' || :payment::text || '"},{"kind":"charge","id":"ch_3Pdu1' || :payment::text
            || '"}],"claim":{"authority":"payment_intent","at": 1790000000,"order_id":"ORDER-' || :order::text
            || '"},"livemode": true,"first_at": 1790000000,"paid_at": 1790000000,"intents":{"pi_3Pdu1' || :payment::text
            || '":{"paid":{"amount":' || :amount::text || ',"currency":"eur"}}},"charges":{"ch_3Pdu1' || :payment::text
            || '":{"intent":"pi_3Pdu1' || :payment::text
            || '"}},"email":{"source": 2,"address":"customer.abc123@example.com"},"currency":"eur"}')
    on conflict (key) do update set order_id = coalesce(excluded.order_id, payments.order_id), facts = excluded.facts;
insert into payment_links (id, payment_key)
    values ('ch_3Pdu1' || :payment::text, 'pi_3Pdu1' || :payment::text)
    on conflict (id) do update set payment_key = excluded.payment_key;
insert into orders (id, status, currency, amount_received, amount_refunded, amount_disputed, customer_email, email_written,
                    version, announced, weighed, currency_written, paid_at, created_at)
    values ('ORDER-' || :order::text, 'paid', 'eur', :amount::bigint, 0, 0, 'customer.abc123@example.com',
            'customer.abc123@example.com', 1, :amount::bigint, true, 'eur', now(), now())
    on conflict (id) do update set status = excluded.status, amount_received = excluded.amount_received,
        version = orders.version + 1, updated_at = now();
insert into order_changes (order_id, version, kinds, to_status, amount_received, amount_refunded, amount_disputed,
                           currency, event_id, at)
    values ('ORDER-' || :order::text, 1, 'order.paid', 'paid', :amount::bigint, 0, 0, 'eur', 'evt_3Pdu' || :event::text, now());
commit;
