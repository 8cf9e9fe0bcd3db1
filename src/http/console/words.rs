//! Numbers, times and names as people read them. Times are UTC.

use std::borrow::Borrow;

use jiff::Timestamp;

/// `1234567` as `1,234,567`. Templates have references to numbers, and numbers.
pub(super) fn grouped(count: impl Borrow<i64>) -> String {
    let digits = count.borrow().to_string();
    let from_end = |place: usize| (digits.len() - place).is_multiple_of(3) && place > 0;
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if from_end(place) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time that something took.
pub(super) fn time(seconds: Option<f64>) -> String {
    match seconds {
        None => "–".to_owned(),
        Some(seconds) if seconds < 0.01 => format!("{:.1} ms", seconds * 1000.0),
        Some(seconds) if seconds < 1.0 => format!("{:.0} ms", seconds * 1000.0),
        Some(seconds) => format!("{seconds:.1} s"),
    }
}

/// How long ago something was, from milliseconds.
pub(super) fn age(milliseconds: i64) -> String {
    match milliseconds.max(0) / 1000 {
        seconds @ 0..60 => format!("{seconds} s ago"),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

/// A time of Stripe's, from seconds.
pub(super) fn seconds(seconds: i64) -> String {
    Timestamp::from_second(seconds).map(shown).unwrap_or_default()
}

/// A time of ours, from milliseconds.
pub(super) fn milliseconds(milliseconds: i64) -> String {
    Timestamp::from_millisecond(milliseconds).map(shown).unwrap_or_default()
}

fn shown(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// The name of a status, an outcome or a problem without the machine's underscores.
pub(super) fn spoken(name: &str) -> String {
    name.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_shown_to_be_read() {
        for (count, shown) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (9999, "9,999"), (1_234_567, "1,234,567")]
        {
            assert_eq!(grouped(count), shown);
        }
        for (seconds, shown) in
            [(None, "–"), (Some(0.0042), "4.2 ms"), (Some(0.42), "420 ms"), (Some(2.5), "2.5 s")]
        {
            assert_eq!(time(seconds), shown);
        }
        for (seconds, shown) in [
            (-5, "0 s ago"),
            (59, "59 s ago"),
            (60, "1 min ago"),
            (7200, "2 h ago"),
            (200_000, "2 days ago"),
        ] {
            assert_eq!(age(seconds * 1000), shown);
        }
    }

    #[test]
    fn times_are_told_to_the_second_in_utc() {
        assert_eq!(seconds(1_795_452_931), "2026-11-23 16:55:31 UTC");
        assert_eq!(milliseconds(1_795_452_931_999), "2026-11-23 16:55:31 UTC");
        assert_eq!(milliseconds(i64::MAX), "");
        assert_eq!(spoken("partially_refunded"), "partially refunded");
    }
}
