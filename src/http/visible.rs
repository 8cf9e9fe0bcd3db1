//! Makes characters visible that change how the text around them is shown.
//!
//! An order's id may hold any character that is not a control character of Unicode. The bidirectional ones
//! are formats, not controls: with them `ORDER\u202e54321` is shown as another order's id.

use std::fmt::Write as _;

/// How much of a text from outside a log line shows.
pub const EXCERPT_CHARS_MAX: usize = 100;

/// Whether a character changes the direction of the text around it.
#[must_use]
pub fn is_bidirectional(char: char) -> bool {
    matches!(
        char,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// A text that came from outside, for a terminal: no control characters, and bidirectional ones escaped.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            _ if char.is_control() => out.push(char::REPLACEMENT_CHARACTER),
            _ if is_bidirectional(char) => escape(&mut out, char),
            _ => out.push(char),
        }
    }
    out
}

/// The beginning of a text that came from outside, for a log line.
#[must_use]
pub fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", printable(&text[..end])),
        None => printable(text),
    }
}

/// A page of HTML with bidirectional characters escaped in what it shows. In its tags they stay what they
/// are, as references: an attribute holds the text that a form sends back.
#[must_use]
pub fn page(html: String) -> String {
    if !html.contains(is_bidirectional) {
        return html;
    }
    let (mut out, mut in_tag) = (String::with_capacity(html.len()), false);
    for char in html.chars() {
        match char {
            _ if !is_bidirectional(char) => {
                in_tag = char == '<' || in_tag && char != '>';
                out.push(char);
            }
            _ if in_tag => {
                let _ = write!(out, "&#x{:x};", u32::from(char));
            }
            _ => escape(&mut out, char),
        }
    }
    out
}

/// As JSON escapes it.
fn escape(out: &mut String, char: char) {
    let _ = write!(out, "\\u{:04x}", u32::from(char));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_no_control_and_no_bidirectional_characters() {
        for (text, shown) in [
            ("ORDER12345", "ORDER12345"),
            ("čeština ✓ עברית", "čeština ✓ עברית"),
            ("a\u{1b}[31m\r\n\u{9b}b", "a\u{fffd}[31m\u{fffd}\u{fffd}\u{fffd}b"),
            ("ORDER\u{202e}54321", "ORDER\\u202e54321"),
            (
                "\u{61c}\u{200e}\u{200f}\u{202a}\u{2066}\u{2069}",
                "\\u061c\\u200e\\u200f\\u202a\\u2066\\u2069",
            ),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn a_log_line_shows_the_beginning() {
        let long = "é".repeat(EXCERPT_CHARS_MAX);
        assert_eq!(excerpt(&long), long);
        assert_eq!(excerpt(&format!("{long}x")), format!("{long}…"));
        assert_eq!(excerpt("/a\u{202e}\n"), "/a\\u202e\u{fffd}");
    }

    #[test]
    fn a_page_shows_them_and_a_form_sends_them_back() {
        let html = "<h1 id=\"a\u{202e}b\">x\u{202e}y</h1><p>\u{2066}</p>".to_owned();
        assert_eq!(page(html), "<h1 id=\"a&#x202e;b\">x\\u202ey</h1><p>\\u2066</p>");
        assert_eq!(page("<p>עברית</p>".to_owned()), "<p>עברית</p>");
    }
}
