//! Shows an amount in minor units to people, right for every currency that Stripe takes.

/// Currencies without a minor unit (docs.stripe.com/currencies, "Zero-decimal currencies"). UGX is
/// not among them: Stripe takes it in hundredths, whatever its shillings are worth.
const WHOLE: [&str; 15] = [
    "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf",
    "xof", "xpf",
];
/// Currencies with thousandths (docs.stripe.com/currencies, "Three-decimal currencies").
const THOUSANDTHS: [&str; 5] = ["bhd", "jod", "kwd", "omr", "tnd"];

/// How many decimals the minor unit of a currency (three letters, any case) stands for.
#[must_use]
pub fn decimals(currency: &str) -> usize {
    let is = |code: &&str| code.eq_ignore_ascii_case(currency);
    if WHOLE.iter().any(is) {
        0
    } else if THOUSANDTHS.iter().any(is) {
        3
    } else {
        2
    }
}

/// `29900` and `usd` as `299.00 USD`. Without a currency the number stands as it is.
#[must_use]
pub fn show(amount: i64, currency: Option<&str>) -> String {
    let Some(currency) = currency else { return amount.to_string() };
    let (decimals, sign) = (decimals(currency), if amount < 0 { "-" } else { "" });
    // One digit more than the decimals, so that there is one before the point.
    let digits = format!("{:0width$}", amount.unsigned_abs(), width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    let point = if decimals == 0 { "" } else { "." };
    format!("{sign}{whole}{point}{fraction} {}", currency.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_the_decimals_of_their_currency() {
        for (amount, currency, shown) in [
            (29900, Some("usd"), "299.00 USD"),
            (5, Some("EUR"), "0.05 EUR"),
            (0, Some("usd"), "0.00 USD"),
            (500, Some("jpy"), "500 JPY"),
            (0, Some("krw"), "0 KRW"),
            (1234, Some("kwd"), "1.234 KWD"),
            (500, Some("ugx"), "5.00 UGX"),
            (-150, Some("usd"), "-1.50 USD"),
            (i64::MIN, Some("usd"), "-92233720368547758.08 USD"),
            (29900, None, "29900"),
        ] {
            assert_eq!(show(amount, currency), shown);
        }
    }
}
