//! Texts from outside: how long they may be, and what they must not hold.

/// The longest an order id may be, without the account before it.
pub const ORDER_ID_BYTES_MAX: usize = 500;
/// The longest a Stripe id may be (Stripe promises 255 characters).
pub const STRIPE_ID_BYTES_MAX: usize = 255;
/// A failure message is cut to this.
pub const MESSAGE_CHARS_MAX: usize = 1000;
/// A value that stands in a reason is cut to this.
pub const SHOWN_CHARS_MAX: usize = 100;
/// The longest address that is taken.
pub const EMAIL_BYTES_MAX: usize = 320;

/// Whether a text may be an order's id: 1 to [`ORDER_ID_BYTES_MAX`] bytes, not counting a connected
/// account before it (`acct_…/`), and no control characters.
#[must_use]
pub fn is_order_id(text: &str) -> bool {
    let own = match text.split_once('/') {
        Some((account, own))
            if account.starts_with("acct_") && account.len() <= STRIPE_ID_BYTES_MAX =>
        {
            own
        }
        _ => text,
    };
    (1..=ORDER_ID_BYTES_MAX).contains(&own.len()) && !text.chars().any(char::is_control)
}

/// Whether a text may be an e-mail address: at most [`EMAIL_BYTES_MAX`] bytes with an `@`, and nothing in it
/// that would end a header or begin another. Whether mail arrives there, only sending tells.
#[must_use]
pub fn is_email_address(text: &str) -> bool {
    text.len() <= EMAIL_BYTES_MAX
        && text.contains('@')
        && !text.chars().any(|char| char.is_control() || char.is_whitespace())
}

/// A text that every database can hold: no NUL, not longer than this.
#[must_use]
pub fn clean(text: &str, chars_max: usize) -> String {
    text.chars().map(|char| if char == '\0' { '\u{fffd}' } else { char }).take(chars_max).collect()
}
