//! Lays out JSON to be read. Every token stays as it came, byte for byte: to read a number and write it
//! again could make another one of it.
//!
//! A body is what anybody with a signing secret sends, so its depth costs nothing: below
//! [`DEPTH_MAX`] levels the layout stays on one line, it ends at [`SHOWN_BYTES_MAX`], and both time and
//! memory grow with the body's length alone.

use serde::de::IgnoredAny;

/// The depth from which on nothing has a line of its own. Stripe's events have about ten levels.
pub(super) const DEPTH_MAX: usize = 32;
/// The longest layout that a page shows. The largest body that is taken has twice this.
pub(super) const SHOWN_BYTES_MAX: usize = 512 * 1024;

/// A body as a page shows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) text: String,
    /// Whether the layout goes on beyond the text.
    pub(super) is_cut: bool,
}

/// JSON with a line for each value; whatever else it is, as it is.
pub(super) fn pretty(body: &[u8]) -> Shown {
    if serde_json::from_slice::<IgnoredAny>(body).is_err() {
        let start = &body[..body.len().min(SHOWN_BYTES_MAX)];
        let mut layout = Layout::default();
        let _ = String::from_utf8_lossy(start).chars().all(|char| layout.push(char));
        let is_cut = layout.is_full || start.len() < body.len();
        return Shown { text: layout.out, is_cut };
    }
    let text = String::from_utf8_lossy(body);
    let mut layout = Layout::default();
    layout.json(&text);
    Shown { text: layout.out, is_cut: layout.is_full }
}

#[derive(Default)]
struct Layout {
    out: String,
    depth: usize,
    is_full: bool,
}

impl Layout {
    /// Lays out a text that is JSON, until it ends or the layout is full.
    fn json(&mut self, text: &str) {
        let (mut in_string, mut is_escaped) = (false, false);
        let mut chars = text.chars().filter(|char| !char.is_ascii_control()).peekable();
        while !self.is_full
            && let Some(char) = chars.next()
        {
            if in_string {
                self.push(char);
                in_string = is_escaped || char != '"';
                is_escaped = char == '\\' && !is_escaped;
                continue;
            }
            match char {
                ' ' => {}
                '{' | '[' => {
                    self.push(char);
                    while chars.next_if_eq(&' ').is_some() {}
                    if let Some(end) = chars.next_if(|next| matches!(next, '}' | ']')) {
                        self.push(end);
                    } else {
                        self.depth += 1;
                        self.new_line(self.depth);
                    }
                }
                '}' | ']' => {
                    let has_lines = self.depth <= DEPTH_MAX;
                    self.depth = self.depth.saturating_sub(1);
                    if has_lines {
                        self.new_line(self.depth);
                    }
                    self.push(char);
                }
                ',' => {
                    self.push(char);
                    self.new_line(self.depth);
                }
                ':' => {
                    self.push(char);
                    self.push(' ');
                }
                _ => {
                    in_string = char == '"';
                    self.push(char);
                }
            }
        }
    }

    /// Begins a line, unless this is too deep for one.
    fn new_line(&mut self, depth: usize) {
        if depth <= DEPTH_MAX && self.push('\n') {
            let _ = (0..2 * depth).all(|_| self.push(' '));
        }
    }

    /// Whether there was room for it.
    fn push(&mut self, char: char) -> bool {
        if self.out.len() + char.len_utf8() > SHOWN_BYTES_MAX {
            self.is_full = true;
        } else {
            self.out.push(char);
        }
        !self.is_full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: impl Into<String>) -> Shown {
        Shown { text: text.into(), is_cut: false }
    }

    #[test]
    fn tokens_stay_as_they_came() {
        let body = r#"{"z":1.50, "a" : [ 12345678901234567890123,"\"<{[,: \\"],
            "none":{ },"é":[
            ]}"#;
        let shown = "{\n  \"z\": 1.50,\n  \"a\": [\n    12345678901234567890123,\n    \"\\\"<{[,: \\\\\"\n  ],\n  \"none\": {},\n  \"é\": []\n}";
        assert_eq!(pretty(body.as_bytes()), whole(shown));
        // What is laid out already stays so, and says the same.
        assert_eq!(pretty(shown.as_bytes()), whole(shown));
    }

    #[test]
    fn what_is_no_json_is_shown_as_it_is() {
        for body in [&b"no json \xff"[..], b"{\"a\":", b"", b"{} {}"] {
            assert_eq!(pretty(body), whole(String::from_utf8_lossy(body)));
        }
    }

    #[test]
    fn a_deep_body_takes_no_more_room_than_it_has_bytes() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let depth = 100_000;
            let body = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let Shown { text, is_cut } = pretty(body.as_bytes());
            // One blank behind each colon, and the lines of the first levels.
            assert!(text.len() <= body.len() + depth + 2 * DEPTH_MAX * (2 * DEPTH_MAX + 1));
            assert!(text.lines().count() <= 2 * DEPTH_MAX + 1);
            assert_eq!(is_cut, text.len() >= SHOWN_BYTES_MAX);
            let tokens: String = text.chars().filter(|char| !char.is_whitespace()).collect();
            assert!(body.starts_with(&tokens) && (is_cut || tokens == body));
        }
    }

    #[test]
    fn a_long_layout_is_cut_between_two_characters() {
        let values =
            |value: &str, count: usize| format!("[{}1]", format!("{value},").repeat(count));
        for body in [
            values("1", SHOWN_BYTES_MAX / 4),
            values("\"é\"", SHOWN_BYTES_MAX / 4),
            "é".repeat(SHOWN_BYTES_MAX),
            "x".repeat(SHOWN_BYTES_MAX + 1),
        ] {
            let Shown { text, is_cut } = pretty(body.as_bytes());
            assert!(is_cut && (SHOWN_BYTES_MAX - 4..=SHOWN_BYTES_MAX).contains(&text.len()));
        }
        let most = "x".repeat(SHOWN_BYTES_MAX);
        assert_eq!(pretty(most.as_bytes()), whole(most.as_str()));
    }
}
