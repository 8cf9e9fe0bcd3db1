//! The fold: subscriptions, their invoices and what joins those to payments. One row for each rule and
//! each trap; how a row is written is explained in `support/stories.rs`.

use crate::support::fixtures::{
    invoice, invoice_payment, old_invoice, pi, refund, session, subscription,
};
use crate::support::stories::{charge_1, check_all, delivered, pi_1, row, story, succeeded};

#[test]
fn an_invoice_that_names_two_orders_makes_both_rows() {
    // O2 is the subscription's; the next invoice may be its.
    let named = invoice("in_1").order("O1").subscription("sub_1").subscription_order("O2");
    let memory = delivered(&[named.event("invoice.paid").at(100)]);
    assert_eq!(row(&memory, "O1"), "paid 29900 0 usd paid@100");
    assert_eq!(row(&memory, "O2"), "pending 0 0 -");
}

#[test]
fn subscriptions_and_invoices() {
    let of_sub = |id: &str, created: i64| invoice(id).subscription("sub_1").created(created);
    let named = |id: &str, created: i64| of_sub(id, created).subscription_order("O1");
    let old = |id: &str, created: i64| old_invoice(id).subscription("sub_1").created(created);
    check_all(&[
        story(
            "an invoice before basil, by its subscription_details",
            vec![
                old("in_1", 10).subscription_order("O1").event("invoice.payment_succeeded").at(10),
            ],
        )
        .ends("paid 29900 0 usd paid@10", "paid", "a"),
        story(
            "an invoice from basil on, by its parent",
            vec![named("in_1", 10).event("invoice.paid").at(10)],
        )
        .ends("paid 29900 0 usd paid@10", "paid", "a"),
        story("by a line", vec![of_sub("in_1", 10).line_order("O1").event("invoice.paid").at(10)])
            .ends("paid 29900 0 usd paid@10", "paid", "a"),
        story(
            "by the invoice's own metadata, before its subscription's and its lines'",
            vec![
                of_sub("in_1", 10)
                    .order("O1")
                    .subscription_order("O2")
                    .line_order("O3")
                    .event("invoice.paid")
                    .at(10),
            ],
        )
        .ends("paid 29900 0 usd paid@10", "paid", "a"),
        story(
            "by its subscription's, before its lines'",
            vec![named("in_1", 10).line_order("O3").event("invoice.paid").at(10)],
        )
        .ends("paid 29900 0 usd paid@10", "paid", "a"),
        story(
            "a renewal fails and recovers",
            vec![
                named("in_1", 10).event("invoice.paid").at(10),
                named("in_2", 20).event("invoice.payment_failed").at(20),
                named("in_2", 20).event("invoice.paid").at(30),
            ],
        )
        .ends(
            "paid 59800 0 usd renewals=1 paid@10 failed@20",
            "paid failed renewed",
            "aaa",
        ),
        story(
            "a failed renewal shows, even where the first invoice comes after",
            vec![
                named("in_2", 20).event("invoice.payment_failed").at(20),
                named("in_1", 10).event("invoice.paid").at(30),
            ],
        )
        .ends("failed 29900 0 usd paid@30 failed@20", "failed -", "aa"),
        story(
            "the newest is the newest made, not the last told",
            vec![
                named("in_2", 20).event("invoice.paid").at(20),
                named("in_1", 10).event("invoice.payment_failed").at(30),
            ],
        )
        .ends("paid 29900 0 usd paid@20 failed@30", "paid", "aa"),
        story(
            "two of the same second: the id decides",
            vec![
                named("in_2", 10).event("invoice.paid").at(10),
                named("in_1", 10).event("invoice.payment_failed").at(10),
            ],
        )
        .ends("paid 29900 0 usd paid@10 failed@10", "paid", "aa"),
        story(
            "an old invoice's date is its age",
            vec![
                old("in_2", 0)
                    .without("created")
                    .set("date", 10)
                    .order("O1")
                    .event("invoice.paid")
                    .at(5),
                old("in_1", 0)
                    .without("created")
                    .set("date", 20)
                    .order("O1")
                    .event("invoice.payment_failed")
                    .at(4),
            ],
        )
        .ends("failed 29900 0 usd paid@5 failed@4", "paid failed", "aa"),
        story(
            "the amount paid counts, not the amount due or the total",
            vec![
                named("in_1", 10)
                    .set("amount_paid", 100)
                    .set("amount_due", 200)
                    .set("total", 300)
                    .event("invoice.paid")
                    .at(10),
            ],
        )
        .ends("paid 100 0 usd paid@10", "paid", "a"),
        story(
            "where there was no amount paid yet, the amount due",
            vec![
                named("in_1", 10)
                    .without("amount_paid")
                    .set("amount_due", 200)
                    .set("total", 300)
                    .event("invoice.paid")
                    .at(10),
            ],
        )
        .ends("paid 200 0 usd paid@10", "paid", "a"),
        story(
            "a session's word on its subscription beats the subscription's own",
            vec![
                subscription("sub_1").order("O2").event("customer.subscription.created").at(9),
                of_sub("in_1", 10).event("invoice.paid").at(10),
                session("cs_1")
                    .order("O1")
                    .subscription("sub_1")
                    .payment_status("unpaid")
                    .event("checkout.session.completed")
                    .at(11),
            ],
        )
        .ends("paid 29900 0 usd paid@10", "paid", "aaa"),
        story(
            "a renewal that is only made decides nothing",
            vec![
                named("in_1", 10).event("invoice.paid").at(10),
                named("in_2", 20).event("invoice.finalized").at(20),
            ],
        )
        .ends("paid 29900 0 usd paid@10", "paid", "au"),
        story(
            "a basil invoice's PaymentIntent is joined by its invoice payment",
            vec![
                named("in_1", 10).event("invoice.paid").at(10),
                succeeded(pi("pi_1")).at(11),
                invoice_payment("inpay_1")
                    .invoice("in_1")
                    .pi("pi_1")
                    .event("invoice_payment.paid")
                    .at(12),
                charge_1().refunded(29900).event("charge.refunded").at(13),
            ],
        )
        .ends("refunded 29900 29900 usd paid@10 refunded@13", "paid refunded", "aaua"),
        story(
            "the invoice payment comes first, the order id last",
            vec![
                invoice_payment("inpay_1")
                    .invoice("in_1")
                    .pi("pi_1")
                    .event("invoice_payment.paid")
                    .at(12),
                charge_1().refunded(29900).event("charge.refunded").at(13),
                succeeded(pi("pi_1")).at(11),
                named("in_1", 10).event("invoice.paid").at(10),
            ],
        )
        .ends("refunded 29900 29900 usd paid@10 refunded@13", "refunded", "aaaa"),
        story(
            "two keys that turn out to be one payment pay once",
            vec![
                of_sub("in_1", 10).order("O1").event("invoice.paid").at(10),
                succeeded(pi_1()).at(10),
                invoice_payment("inpay_1").invoice("in_1").pi("pi_1").event("invoice_payment.paid"),
            ],
        )
        .ends("paid 29900 0 usd paid@10", "paid - -", "aaa"),
        story(
            "the subscription's own event brings the order id",
            vec![
                of_sub("in_1", 10).event("invoice.paid").at(10),
                subscription("sub_1").order("O1").event("customer.subscription.created").at(9),
            ],
        )
        .ends("paid 29900 0 usd paid@10", "paid", "aa"),
        story(
            "the session of a subscription brings the order id of its renewals",
            vec![
                of_sub("in_2", 20).event("invoice.payment_failed").at(20),
                session("cs_1")
                    .order("O1")
                    .invoice("in_1")
                    .subscription("sub_1")
                    .event("checkout.session.completed")
                    .at(10),
            ],
        )
        .ends("failed 29900 0 usd paid@10 failed@20", "failed", "aa"),
        story(
            "an invoice before basil names its PaymentIntent and charge",
            vec![
                old("in_1", 10)
                    .pi("pi_1")
                    .charge("ch_1")
                    .subscription_order("O1")
                    .event("invoice.paid")
                    .at(10),
                refund("re_1").charge("ch_1").amount(900, "usd").event("refund.created").at(20),
            ],
        )
        .ends(
            "partially_refunded 29900 900 usd paid@10 refunded@20",
            "paid partially_refunded",
            "aa",
        ),
        story(
            "what the invoice says it received counts, not what one PaymentIntent did",
            vec![
                named("in_1", 10).event("invoice.paid").at(10),
                succeeded(pi("pi_1").amount(900, "usd")).at(10),
                invoice_payment("inpay_1").invoice("in_1").pi("pi_1").event("invoice_payment.paid"),
            ],
        )
        .ends("paid 29900 0 usd paid@10", "paid", "aau"),
    ]);
}
