//! The fold: money that goes back, money that is disputed, and what is due. One row for each rule and
//! each trap; how a row is written is explained in `support/stories.rs`.

use crate::support::fixtures::{EventBody, charge, dispute, pi, refund};
use crate::support::stories::{
    charge_1, check_all, delivered, dispute_1, failed, pi_1, refund_1, row, story, succeeded, told,
};

#[test]
fn refunds() {
    let refunded = |part: i64| charge_1().refunded(part).event("charge.refunded");
    check_all(&[
        story(
            "a refund comes before its payment",
            vec![
                charge_1().order("O1").refunded(29900).event("charge.refunded").at(200),
                succeeded(pi_1()).at(100),
            ],
        )
        .ends("refunded 29900 29900 usd paid@100 refunded@200", "refunded", "aa"),
        story(
            "a part, then all",
            vec![succeeded(pi_1()).at(100), refunded(9900).at(200), refunded(29900).at(300)],
        )
        .ends(
            "refunded 29900 29900 usd paid@100 refunded@200",
            "paid partially_refunded refunded",
            "aaa",
        ),
        story(
            "all, then the part of before",
            vec![succeeded(pi_1()).at(100), refunded(29900).at(300), refunded(9900).at(200)],
        )
        .ends("refunded 29900 29900 usd paid@100 refunded@200", "paid refunded", "aaa"),
        story(
            "each part is told",
            vec![succeeded(pi_1()).at(100), refunded(100).at(200), refunded(200).at(300)],
        )
        .ends(
            "partially_refunded 29900 200 usd paid@100 refunded@200",
            "paid partially_refunded partially_refunded",
            "aaa",
        ),
        story(
            "a failed refund makes it paid again",
            vec![
                succeeded(pi_1()).at(100),
                refund_1().event("refund.created").at(200),
                refund_1().status("failed").event("refund.failed").at(300),
            ],
        )
        .ends(
            "paid 29900 0 usd refunds_failed=1 paid@100",
            "paid refunded refund_failed",
            "aaa",
        ),
        story(
            "a refund that failed is not revived by its past",
            vec![
                succeeded(pi_1()).at(100),
                refund_1().status("failed").event("refund.failed").at(300),
                refund_1().status("pending").event("refund.created").at(200),
                refund_1().event("charge.refund.updated").at(250),
            ],
        )
        .ends("paid 29900 0 usd refunds_failed=1 paid@100", "paid refund_failed", "aauu"),
        story(
            "a failed refund is taken off what the charge said",
            vec![
                succeeded(pi_1()).at(100),
                refunded(29900).at(200),
                refund_1().amount(20000, "usd").status("failed").event("refund.failed").at(300),
            ],
        )
        .ends(
            "partially_refunded 29900 9900 usd refunds_failed=1 paid@100 refunded@200",
            "paid refunded refund_failed",
            "aaa",
        ),
        story(
            "a canceled refund is a failed one",
            vec![
                succeeded(pi_1()).at(100),
                refund_1().status("canceled").event("refund.updated").at(300),
            ],
        )
        .ends("paid 29900 0 usd refunds_failed=1 paid@100", "paid refund_failed", "aa"),
        story(
            "a pending refund is under way, and counts",
            vec![
                succeeded(pi_1()).at(100),
                refund_1().amount(900, "usd").status("pending").event("refund.created").at(200),
            ],
        )
        .ends(
            "partially_refunded 29900 900 usd paid@100 refunded@200",
            "paid partially_refunded",
            "aa",
        ),
        story(
            "a refund without metadata, known by its charge alone",
            vec![
                pi_1().charge("ch_1").event("payment_intent.succeeded").at(100),
                refund("re_1").charge("ch_1").event("refund.created").at(200),
            ],
        )
        .ends("refunded 29900 29900 usd paid@100 refunded@200", "paid refunded", "aa"),
        story(
            "two refunds add up; the charge says it as a sum",
            vec![
                succeeded(pi_1()).at(100),
                refund_1().amount(100, "usd").event("refund.created").at(200),
                refund("re_2").pi("pi_1").amount(200, "usd").event("refund.created").at(300),
                refunded(300).at(300),
            ],
        )
        .ends(
            "partially_refunded 29900 300 usd paid@100 refunded@200",
            "paid partially_refunded partially_refunded",
            "aaau",
        ),
        story(
            "the type says that it failed, though the status is of before",
            vec![
                succeeded(pi_1()).at(100),
                refund_1().status("pending").event("refund.failed").at(200),
            ],
        )
        .ends("paid 29900 0 usd refunds_failed=1 paid@100", "paid refund_failed", "aa"),
        story(
            "a part of a refund without amounts failed",
            vec![
                succeeded(pi_1()).at(100),
                charge_1().without_amounts().event("charge.refunded").at(200),
                refund_1().amount(20000, "usd").status("failed").event("refund.failed").at(300),
            ],
        )
        .ends(
            "partially_refunded 29900 9900 usd refunds_failed=1 paid@100 refunded@200",
            "paid refunded refund_failed",
            "aaa",
        ),
        story(
            "a refund without amounts failed",
            vec![
                succeeded(pi_1()).at(100),
                charge_1().refunded(29900).event("charge.refunded").at(200),
                refund_1().without_amounts().status("failed").event("refund.failed").at(300),
            ],
        )
        .ends(
            "paid 29900 0 usd refunds_failed=1 paid@100",
            "paid refunded refund_failed",
            "aaa",
        ),
        story("more than all is all", vec![succeeded(pi_1()).at(100), refunded(99999).at(200)])
            .ends("refunded 29900 29900 usd paid@100 refunded@200", "paid refunded", "aa"),
        story(
            "a refund implies that the charge was paid",
            vec![charge("ch_1").order("O1").refunded(100).event("charge.refunded").at(200)],
        )
        .ends(
            "partially_refunded 29900 100 usd paid@200 refunded@200",
            "partially_refunded",
            "a",
        ),
        story(
            "a refund alone pays nothing",
            vec![refund_1().order("O1").event("refund.created").at(200)],
        )
        .ends("none", "", "p"),
        story(
            "one of two payments refunded: the order stays paid",
            vec![
                succeeded(pi_1()).at(100),
                succeeded(pi("pi_2").order("O1")).at(100),
                refunded(500).at(200),
            ],
        )
        .ends(
            "paid 59800 500 usd problem=overpaid paid@100 refunded@200",
            "paid problem partially_refunded",
            "aaa",
        ),
        story(
            "one wholly, one in part",
            vec![
                succeeded(pi_1()).at(100),
                succeeded(pi("pi_2").order("O1")).at(100),
                refunded(29900).at(200),
                charge("ch_2").pi("pi_2").refunded(1).event("charge.refunded").at(300),
            ],
        )
        .ends(
            "partially_refunded 59800 29901 usd paid@100 refunded@200",
            "paid problem partially_refunded partially_refunded",
            "aaaa",
        ),
        story(
            "the refunds that an old charge lists",
            vec![
                charge("ch_1")
                    .order("O1")
                    .refunded(500)
                    .set(
                        "refunds",
                        serde_json::json!({"object": "list", "data": [
                            {"id": "re_1", "amount": 500, "status": "succeeded"},
                            {"id": "re_2", "amount": 700, "status": "failed"},
                        ]}),
                    )
                    .event("charge.refunded")
                    .at(200),
                // Had the list not been read, these 500 would be taken for others than re_1's.
                refund("re_3").charge("ch_1").amount(100, "usd").event("refund.created").at(300),
            ],
        )
        .ends(
            "partially_refunded 29900 600 usd refunds_failed=1 paid@200 refunded@200",
            "partially_refunded+refund_failed partially_refunded",
            "aa",
        ),
    ]);
}

#[test]
fn disputes_stand_beside_the_status() {
    let becomes = |status: &str, kind: &str| dispute_1().status(status).event(kind);
    let opened = |status: &str| becomes(status, "charge.dispute.created").at(200);
    let closed = |status: &str| becomes(status, "charge.dispute.closed").at(300);
    let (all, none) = (" disputed=29900", "");
    for (name, events, disputed, dispute, kinds) in [
        ("open", vec![opened("needs_response")], all, "open", "dispute_opened"),
        ("under review", vec![opened("under_review")], all, "open", "dispute_opened"),
        ("a state of the future", vec![opened("brand_new")], none, "unknown", "dispute_opened"),
        ("an inquiry", vec![opened("warning_needs_response")], none, "inquiry", "dispute_opened"),
        (
            "an inquiry is closed",
            vec![opened("warning_under_review"), closed("warning_closed")],
            none,
            "won",
            "dispute_opened dispute_closed",
        ),
        (
            "won",
            vec![opened("needs_response"), closed("won")],
            none,
            "won",
            "dispute_opened dispute_closed",
        ),
        (
            "lost",
            vec![opened("needs_response"), closed("lost")],
            all,
            "lost",
            "dispute_opened dispute_closed",
        ),
        (
            "prevented",
            vec![opened("needs_response"), closed("prevented")],
            none,
            "prevented",
            "dispute_opened dispute_closed",
        ),
        (
            "refunded instead, as it was called before",
            vec![opened("needs_response"), closed("charge_refunded")],
            none,
            "won",
            "dispute_opened dispute_closed",
        ),
        (
            "lost, and its opening is delivered after",
            vec![closed("lost"), opened("needs_response")],
            all,
            "lost",
            "dispute_closed",
        ),
        (
            "lost, and the shop appeals",
            vec![closed("lost"), becomes("appeal_under_review", "charge.dispute.updated").at(400)],
            all,
            "open",
            "dispute_closed dispute_opened",
        ),
        (
            "the network reverses its decision",
            vec![closed("won").at(200), closed("lost").at(300)],
            all,
            "lost",
            "dispute_closed dispute_closed",
        ),
        (
            "of one second, what is closed counts",
            vec![closed("lost").at(200), opened("needs_response")],
            all,
            "lost",
            "dispute_closed",
        ),
        (
            "of two, the open one presses, and each is notified",
            vec![
                opened("needs_response"),
                dispute("dp_2")
                    .pi("pi_1")
                    .amount(100, "usd")
                    .status("lost")
                    .event("charge.dispute.closed"),
            ],
            " disputed=30000",
            "open",
            "dispute_opened dispute_closed",
        ),
    ] {
        let memory = delivered(&[vec![paid()], events].concat());
        let expected = format!("paid 29900 0 usd{disputed} dispute={dispute} paid@100");
        assert_eq!(row(&memory, "O1"), expected, "{name}");
        assert_eq!(told(&memory, "O1"), format!("paid {kinds}"), "{name}");
    }
}

#[test]
fn a_dispute_comes_with_its_amount_reason_and_date() {
    let opened = dispute_1()
        .amount(900, "usd")
        .set("evidence_details", serde_json::json!({"due_by": 1_000_000}))
        .event("charge.dispute.created");
    let memory = delivered(&[paid(), opened]);
    let snapshot = &memory.order("O1").expect("an order").snapshot;
    let dispute = &snapshot.disputes["dp_1"];
    assert_eq!((dispute.amount, dispute.due_by), (Some(900), Some(1_000_000)));
    assert_eq!(dispute.reason.as_deref(), Some("fraudulent"));
    assert_eq!((snapshot.net(), snapshot.kept()), (29_900, 29_000));
}

fn paid() -> EventBody {
    succeeded(pi_1()).at(100)
}

#[test]
fn what_is_due_must_be_received() {
    let paid = |amount: i64, currency: &str| succeeded(pi_1().amount(amount, currency)).at(100);
    let second = |amount: i64, currency: &str| {
        succeeded(pi("pi_2").order("O1").amount(amount, currency)).at(200)
    };
    let due = [
        story("exactly", vec![paid(29900, "usd")]).ends("paid 29900 0 usd paid@100", "paid", "a"),
        story("one less", vec![paid(29899, "usd")]).ends(
            "pending 29899 0 usd problem=underpaid paid@100",
            "problem",
            "a",
        ),
        story("one more", vec![paid(29901, "usd")]).ends(
            "paid 29901 0 usd problem=overpaid paid@100",
            "paid+problem",
            "a",
        ),
        story("another currency", vec![paid(29900, "jpy")]).ends(
            "pending 29900 0 jpy problem=wrong_currency paid@100",
            "problem",
            "a",
        ),
        story("two instalments", vec![paid(20000, "usd"), second(9900, "usd")]).ends(
            "paid 29900 0 usd paid@100",
            "problem paid",
            "aa",
        ),
        story("paid twice", vec![paid(29900, "usd"), second(29900, "usd")]).ends(
            "paid 59800 0 usd problem=overpaid paid@100",
            "paid problem",
            "aa",
        ),
        story(
            "paid, and something more in another currency",
            vec![paid(29900, "usd"), second(100, "eur")],
        )
        .ends("paid 29900 0 usd problem=overpaid paid@100", "paid problem", "aa"),
        story(
            "too little, and something more in another currency",
            vec![paid(100, "usd"), second(29900, "eur")],
        )
        .ends("pending 100 0 usd problem=wrong_currency paid@100", "problem problem", "aa"),
        story("an amount in capitals", vec![paid(29900, "USD")]).ends(
            "paid 29900 0 usd paid@100",
            "paid",
            "a",
        ),
        story(
            "what was too much is given back",
            vec![paid(30000, "usd"), refund_1().amount(100, "usd").event("refund.created").at(200)],
        )
        .ends(
            "paid 30000 100 usd paid@100 refunded@200",
            "paid+problem partially_refunded",
            "aa",
        ),
        story(
            "refunded after it was paid in full: no underpayment",
            vec![paid(29900, "usd"), refund_1().event("refund.created").at(200)],
        )
        .ends("refunded 29900 29900 usd paid@100 refunded@200", "paid refunded", "aa"),
        story(
            "a body without amounts is a full payment",
            vec![succeeded(pi_1().without_amounts()).at(100)],
        )
        .ends("paid 29900 0 usd paid@100", "paid", "a"),
        story(
            "and a refund without amounts a full refund",
            vec![
                succeeded(pi_1()).at(100),
                charge_1().without_amounts().event("charge.refunded").at(200),
            ],
        )
        .ends("refunded 29900 29900 usd paid@100 refunded@200", "paid refunded", "aa"),
        story("a failure of an order with an amount due", vec![failed(pi_1()).at(100)]).ends(
            "failed 0 0 usd code=card_declined message=Your card was declined. failed@100",
            "failed",
            "a",
        ),
    ]
    .map(|story| story.due(29900, "usd"));
    check_all(&due);
    story(
        "without an amount due, a body without amounts is paid all the same",
        vec![succeeded(pi_1().without_amounts()).at(100)],
    )
    .ends("paid 0 0 - paid@100", "paid", "a")
    .check();
    story(
        "nothing was due, and something came in another currency",
        vec![succeeded(pi_1().amount(500, "eur")).at(100)],
    )
    .due(0, "usd")
    .ends("pending 500 0 eur problem=wrong_currency paid@100", "problem", "a")
    .check();
    story(
        "without an amount due, the currency is that of the first payment",
        vec![
            succeeded(pi("pi_2").order("O1").amount(500, "eur")).at(200),
            succeeded(pi_1()).at(100),
        ],
    )
    .ends("paid 29900 0 usd paid@100", "paid -", "aa")
    .check();
    story("nothing was due, and nothing came", vec![succeeded(pi_1().amount(0, "usd")).at(100)])
        .due(0, "usd")
        .ends("paid 0 0 usd paid@100", "paid", "a")
        .check();
}
