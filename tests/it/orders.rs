//! The fold: payments, charges and sessions. One row for each rule and each trap: events in the order
//! they come, then the order that they end in, what was told on the way, and what became of each
//! event. How a row is written is explained in `support/stories.rs`; money is in `money.rs`,
//! subscriptions are in `subscriptions.rs`, and who may name an order, and how, is in `rules.rs`.

use crate::support::fixtures::{charge, pi, session};
use crate::support::stories::{
    charge_1, check_all, delivered, failed, pi_1, refund_1, row, session_1, story, succeeded, told,
};

#[test]
fn payments_that_succeed_or_fail() {
    check_all(&[
        story("a PaymentIntent succeeds", vec![succeeded(pi_1()).at(100)]).ends(
            "paid 29900 0 usd paid@100",
            "paid",
            "a",
        ),
        story("a PaymentIntent is only created", vec![pi_1().event("payment_intent.created")])
            .ends("pending 0 0 usd", "-", "a"),
        story("an attempt fails", vec![failed(pi_1()).at(100)]).ends(
            "failed 0 0 usd code=card_declined message=Your card was declined. failed@100",
            "failed",
            "a",
        ),
        story(
            "a late failure does not undo a payment",
            vec![succeeded(pi_1()).at(100), failed(pi_1()).at(200)],
        )
        .ends("paid 29900 0 usd paid@100 failed@200", "paid", "aa"),
        story(
            "a cancellation does not undo a payment",
            vec![succeeded(pi_1()).at(100), pi_1().event("payment_intent.canceled").at(100)],
        )
        .ends("paid 29900 0 usd paid@100", "paid", "au"),
        story(
            "a failure of before comes after",
            vec![succeeded(pi_1()).at(100), failed(pi_1()).at(50), failed(pi_1()).at(60)],
        )
        .ends("paid 29900 0 usd paid@100 failed@50", "paid", "aau"),
        story(
            "the second attempt succeeds",
            vec![failed(pi_1()).at(100), succeeded(pi_1()).at(200)],
        )
        .ends("paid 29900 0 usd paid@200 failed@100", "failed paid", "aa"),
        story(
            "the earliest word on a payment is its time",
            vec![
                succeeded(pi_1()).at(200),
                charge_1().event("charge.succeeded").at(100),
                charge_1().event("charge.succeeded").at(300),
            ],
        )
        .ends("paid 29900 0 usd paid@100", "paid", "aau"),
        story(
            "the last failure is told, and the first one's time",
            vec![
                failed(pi_1()).at(100),
                pi_1()
                    .failure("expired_card", "Expired.")
                    .event("payment_intent.payment_failed")
                    .at(200),
            ],
        )
        .ends(
            "failed 0 0 usd code=expired_card message=Expired. failed@100",
            "failed",
            "aa",
        ),
        story(
            "of two payments that failed, the last one's failure is told",
            vec![
                pi("pi_2")
                    .order("O1")
                    .failure("expired_card", "Expired.")
                    .event("payment_intent.payment_failed")
                    .at(200),
                failed(pi_1()).at(100),
            ],
        )
        .ends(
            "failed 0 0 usd code=expired_card message=Expired. failed@100",
            "failed",
            "aa",
        ),
        story(
            "a failure without code does not hide one with",
            vec![
                failed(pi_1()).at(100),
                session_1().payment_status("unpaid").event("checkout.session.async_payment_failed"),
            ],
        )
        .ends(
            "failed 0 0 usd code=card_declined message=Your card was declined. failed@100",
            "failed",
            "au",
        ),
        story(
            "a payment that failed and is canceled has failed",
            vec![
                pi_1()
                    .set("cancellation_reason", "abandoned")
                    .event("payment_intent.canceled")
                    .at(100),
                failed(pi_1()).at(200),
            ],
        )
        .ends(
            "failed 0 0 usd code=card_declined message=Your card was declined. failed@200",
            "canceled failed",
            "aa",
        ),
        story(
            "a charge fails with its own code",
            vec![
                pi_1().event("payment_intent.created"),
                charge_1()
                    .failure("insufficient_funds", "Too little.")
                    .event("charge.failed")
                    .at(100),
            ],
        )
        .ends(
            "failed 0 0 usd code=insufficient_funds message=Too little. failed@100",
            "- failed",
            "aa",
        ),
        story(
            "the decline code stands in for the code",
            vec![
                pi_1()
                    .set("last_payment_error", serde_json::json!({"decline_code": "do_not_honor"}))
                    .event("payment_intent.payment_failed")
                    .at(100),
            ],
        )
        .ends("failed 0 0 usd code=do_not_honor failed@100", "failed", "a"),
        story(
            "the second of two PaymentIntents succeeds",
            vec![failed(pi_1()).at(100), succeeded(pi("pi_2").order("O1")).at(200)],
        )
        .ends("paid 29900 0 usd paid@200 failed@100", "failed paid", "aa"),
        story(
            "two PaymentIntents for one order: paid twice",
            vec![succeeded(pi_1()).at(100), succeeded(pi("pi_2").order("O1")).at(200)],
        )
        .ends("paid 59800 0 usd problem=overpaid paid@100", "paid problem", "aa"),
        story(
            "the second payment is given back",
            vec![
                succeeded(pi_1()).at(100),
                succeeded(pi("pi_2").order("O1")).at(200),
                charge("ch_2").pi("pi_2").refunded(29900).event("charge.refunded").at(300),
            ],
        )
        .ends(
            "paid 59800 29900 usd paid@100 refunded@300",
            "paid problem partially_refunded",
            "aaa",
        ),
        story(
            "the same event comes twice",
            vec![succeeded(pi_1()).at(100), succeeded(pi_1()).at(100)],
        )
        .ends("paid 29900 0 usd paid@100", "paid", "aa"),
    ]);
}

#[test]
fn charges_and_reservations() {
    check_all(&[
        story(
            "a charge alone, with its own metadata",
            vec![charge("ch_1").order("O1").event("charge.succeeded").at(100)],
        )
        .ends("paid 29900 0 usd paid@100", "paid", "a"),
        story(
            "a charge that is not captured pays nothing",
            vec![charge("ch_1").order("O1").uncaptured().event("charge.succeeded")],
        )
        .ends("authorized 0 0 usd", "authorized", "a"),
        story(
            "it is captured in part",
            vec![
                charge("ch_1").order("O1").uncaptured().event("charge.succeeded"),
                charge("ch_1")
                    .order("O1")
                    .set("amount_captured", 500)
                    .event("charge.captured")
                    .at(100),
            ],
        )
        .ends("paid 500 0 usd paid@100", "authorized paid", "aa"),
        story(
            "a reservation given back is a cancellation, not a refund",
            vec![
                charge("ch_1")
                    .order("O1")
                    .uncaptured()
                    .refunded(29900)
                    .event("charge.refunded")
                    .at(100),
            ],
        )
        .ends("canceled 0 0 usd code=canceled", "canceled", "a"),
        story(
            "a reservation expires",
            vec![charge("ch_1").order("O1").uncaptured().event("charge.expired").at(100)],
        )
        .ends("canceled 0 0 usd code=expired", "canceled", "a"),
        story(
            "a PaymentIntent knows its amount better than its charge",
            vec![
                charge_1().amount(500, "usd").event("charge.succeeded").at(100),
                succeeded(pi_1()).at(100),
            ],
        )
        .ends("paid 29900 0 usd paid@100", "paid", "aa"),
        story(
            "a charge that only says pending or updated",
            vec![
                charge("ch_1").order("O1").event("charge.pending"),
                charge("ch_1").order("O1").event("charge.updated"),
            ],
        )
        .ends("paid 29900 0 usd paid@1000", "processing paid", "aa"),
    ]);
}

#[test]
fn sessions() {
    let bare = || succeeded(pi("pi_1")).at(100);
    let completed = || session_1().event("checkout.session.completed").at(200);
    let unpaid =
        || session_1().payment_status("unpaid").event("checkout.session.completed").at(100);
    check_all(&[
        story("the session brings the order id after the payment", vec![bare(), completed()]).ends(
            "paid 29900 0 usd paid@100",
            "paid",
            "aa",
        ),
        story("the session comes first", vec![completed(), bare()]).ends(
            "paid 29900 0 usd paid@100",
            "paid",
            "aa",
        ),
        story("no order id yet", vec![bare()]).ends("none", "", "p"),
        story(
            "an unpaid session links, then the payment succeeds",
            vec![unpaid(), session_1().event("checkout.session.async_payment_succeeded").at(200)],
        )
        .ends("paid 29900 0 usd paid@200", "processing paid", "aa"),
        story(
            "an unpaid session links, then the payment fails",
            vec![
                unpaid(),
                session_1()
                    .payment_status("unpaid")
                    .event("checkout.session.async_payment_failed")
                    .at(200),
            ],
        )
        .ends("failed 0 0 usd failed@200", "processing failed", "aa"),
        story(
            "a session expires",
            vec![
                session("cs_1")
                    .order("O1")
                    .payment_status("unpaid")
                    .event("checkout.session.expired")
                    .at(9),
            ],
        )
        .ends("canceled 0 0 usd code=expired", "canceled", "a"),
        story(
            "nothing was to be paid",
            vec![
                session("cs_1")
                    .order("O1")
                    .amount(0, "usd")
                    .payment_status("no_payment_required")
                    .event("checkout.session.completed")
                    .at(9),
            ],
        )
        .ends("paid 0 0 usd paid@9", "paid", "a"),
        story(
            "mode setup saves a card and pays nothing",
            vec![
                session("cs_1")
                    .order("O1")
                    .set("mode", "setup")
                    .payment_status("no_payment_required")
                    .event("checkout.session.completed"),
            ],
        )
        .ends("pending 0 0 usd", "-", "a"),
        story(
            "the client reference names no order by itself",
            vec![session("cs_1").client_reference("O1").event("checkout.session.completed").at(9)],
        )
        .ends("none", "", "p"),
        story(
            "metadata beat the client reference",
            vec![
                session("cs_1")
                    .client_reference("customer 7")
                    .order("O1")
                    .event("checkout.session.completed")
                    .at(9),
            ],
        )
        .ends("paid 29900 0 usd paid@9", "paid", "a"),
        story(
            "the PaymentIntent's own metadata beat its session's",
            vec![
                session("cs_1").pi("pi_1").order("O2").event("checkout.session.completed").at(9),
                succeeded(pi_1()).at(100),
            ],
        )
        .ends("paid 29900 0 usd paid@9", "paid", "aa"),
    ]);
}

#[test]
fn an_order_that_loses_its_payment_to_another_is_told_so() {
    let memory = delivered(&[
        session("cs_1").pi("pi_1").order("O2").event("checkout.session.completed").at(9),
        succeeded(pi_1()).at(100),
    ]);
    assert_eq!(row(&memory, "O2"), "pending 0 0 -");
    assert_eq!(told(&memory, "O2"), "paid -");
}

#[test]
fn an_orders_age_is_that_of_the_first_event_that_names_it() {
    // The refund makes the payment's facts as old as 50, and leaves O2's age alone.
    let charged = charge_1().order("O2").event("charge.succeeded").at(101);
    let refunded = refund_1().event("refund.created").at(50);
    let paid = succeeded(pi_1()).at(100);
    for events in [[&charged, &refunded, &paid], [&paid, &refunded, &charged]] {
        let memory = delivered(&events.map(Clone::clone));
        let age = |id: &str| memory.order(id).map(|order| order.created_at);
        assert_eq!((age("O1"), age("O2")), (Some(100), Some(101)));
    }
}

#[test]
fn test_events_do_not_count_beside_live_ones() {
    check_all(&[
        story(
            "a test payment pays an order without live ones",
            vec![succeeded(pi_1()).test().at(100)],
        )
        .ends("none", "", "i"),
        story(
            "a test payment on a live order",
            vec![failed(pi_1()).at(100), succeeded(pi("pi_test").order("O1")).test().at(200)],
        )
        .ends(
            "failed 0 0 usd code=card_declined message=Your card was declined. failed@100",
            "failed",
            "ai",
        ),
        story(
            "a live payment takes the order over from a test one",
            vec![
                succeeded(pi("pi_test").order("O1")).test().at(100),
                pi_1().event("payment_intent.created").at(200),
            ],
        )
        .ends("pending 0 0 usd", "-", "ia"),
    ]);
}
