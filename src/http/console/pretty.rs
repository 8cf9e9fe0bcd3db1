//! Lays out JSON to be read. Every token stays as it came, byte for byte: to read a number and write it
//! again could make another one of it.

use serde::de::IgnoredAny;

/// JSON with a line for each value; whatever else it is, as it is.
pub(super) fn pretty(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    if serde_json::from_slice::<IgnoredAny>(body).is_err() {
        return text.into_owned();
    }
    let mut out = String::with_capacity(text.len() * 2);
    let (mut depth, mut in_string, mut is_escaped) = (0, false, false);
    let mut chars = text.chars().filter(|char| !char.is_ascii_control()).peekable();
    while let Some(char) = chars.next() {
        if in_string {
            out.push(char);
            in_string = is_escaped || char != '"';
            is_escaped = char == '\\' && !is_escaped;
            continue;
        }
        match char {
            ' ' => {}
            '{' | '[' => {
                out.push(char);
                while chars.next_if_eq(&' ').is_some() {}
                if let Some(end) = chars.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth -= 1;
                new_line(&mut out, depth);
                out.push(char);
            }
            ',' => {
                out.push(char);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                in_string = char == '"';
                out.push(char);
            }
        }
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_stay_as_they_came() {
        let body = r#"{"z":1.50, "a" : [ 12345678901234567890123,"\"<{[,: \\"],
            "none":{ },"é":[
            ]}"#;
        let shown = "{\n  \"z\": 1.50,\n  \"a\": [\n    12345678901234567890123,\n    \"\\\"<{[,: \\\\\"\n  ],\n  \"none\": {},\n  \"é\": []\n}";
        assert_eq!(pretty(body.as_bytes()), shown);
        // What is laid out already stays so, and says the same.
        assert_eq!(pretty(shown.as_bytes()), shown);
    }

    #[test]
    fn what_is_no_json_is_shown_as_it_is() {
        for body in [&b"no json \xff"[..], b"{\"a\":", b"", b"{} {}"] {
            assert_eq!(pretty(body), String::from_utf8_lossy(body));
        }
    }
}
