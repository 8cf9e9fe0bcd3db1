//! The text of `STRIPE_WEBHOOK_SECRET`, read strictly: every part of it becomes a key that can mark an
//! order paid, so a word of a comment, a placeholder or half a secret must never become one.
//!
//! No error repeats a part. It says which one is wrong, and why.

use super::ConfigError;
use super::value::{Given, Lookup, clean, given, without_mark};
use crate::domain::signature::SigningSecret;

const PREFIX: &str = "whsec_";
/// The fewest characters after `whsec_`. Stripe's Dashboard gives 32, its CLI 64.
pub const SECRET_CHARACTERS_MIN: usize = 24;
/// The fewest different characters among them. A random secret has many more.
const DIFFERENT_CHARACTERS_MIN: usize = 6;
/// How texts are cut short or left open.
const GAPS: [&str; 5] = ["...", "…", "<", ">", "*"];
/// Words of placeholders, where they stand alone between `_` and `-`. Stripe's secrets have neither sign.
const PLACEHOLDER_WORDS: [&str; 12] = [
    "change",
    "changeme",
    "development",
    "dummy",
    "example",
    "fake",
    "insert",
    "placeholder",
    "replace",
    "sample",
    "todo",
    "your",
];
/// Texts of placeholders that are too long to be in a random secret.
const PLACEHOLDER_TEXTS: [&str; 7] = [
    "changeme",
    "placeholder",
    "replaceme",
    "test_secret",
    "yoursecret",
    "yoursigning",
    "yourwebhook",
];

/// Why a part is not a signing secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Flaw {
    #[error("is empty; write one comma between two secrets (whsec_…), and none at the end")]
    Empty,
    #[error(
        "is an API key (sk_…, rk_… or pk_…). paidup needs the endpoint's signing secret, which begins \
         with whsec_"
    )]
    ApiKey,
    #[error("contains a comment; remove the # and everything after it")]
    Comment,
    #[error(
        "is a placeholder. Copy the signing secret from the endpoint's page in the Stripe Dashboard or \
         from `stripe listen`; to try paidup without Stripe, run `paidup dev`"
    )]
    Placeholder,
    #[error("contains a quotation mark; put one pair of quotes around the whole value, or none")]
    Quote,
    #[error("contains white space; separate secrets by commas")]
    WhiteSpace,
    #[error("does not begin with whsec_; copy the whole signing secret")]
    Prefix,
    #[error("contains a character that no signing secret has (A–Z a–z 0–9 + / = _ - are allowed)")]
    Character,
    #[error(
        "is too short: a signing secret has {SECRET_CHARACTERS_MIN} or more characters after whsec_"
    )]
    Short,
}

/// The secrets of `STRIPE_WEBHOOK_SECRET`, separated by commas, or of the file that
/// `STRIPE_WEBHOOK_SECRET_FILE` names; `None` if neither is set.
///
/// # Errors
/// If both are set, if the file cannot be read, or if any part is not a signing secret.
pub fn secrets(lookup: Lookup<'_>) -> Result<Option<Vec<SigningSecret>>, ConfigError> {
    let given = given(lookup, "STRIPE_WEBHOOK_SECRET", "STRIPE_WEBHOOK_SECRET_FILE")?;
    let (name, parsed) = match given {
        None => return Ok(None),
        Some(Given::Variable(name, text)) => (name, parse(&[&text])),
        Some(Given::File(name, text)) => (name, secrets_of_file(&text)),
    };
    parsed.map(Some).map_err(|told| ConfigError::new(name, told))
}

/// The secrets of a file: one per line, or separated by commas. Blank lines are skipped.
///
/// # Errors
/// What is wrong with which part, in a sentence that follows the file's name.
pub fn secrets_of_file(text: &str) -> Result<Vec<SigningSecret>, String> {
    let text = without_mark(text);
    if let Some(comment) = text.lines().position(|line| line.trim_start().starts_with('#')) {
        return Err(format!(
            "line {} is a comment; the file may hold signing secrets only",
            comment + 1
        ));
    }
    let lines: Vec<&str> = text.lines().map(clean).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        return Err("the file is empty".to_owned());
    }
    parse(&lines)
}

fn parse(lines: &[&str]) -> Result<Vec<SigningSecret>, String> {
    let parts: Vec<&str> = lines.iter().flat_map(|line| line.split(',')).map(str::trim).collect();
    let secret = |(index, part): (usize, &&str)| {
        let sound = flaw(part).map_or(Ok(()), Err);
        let made = sound.and_then(|()| SigningSecret::new(part).map_err(|_| Flaw::Empty));
        made.map_err(|flaw| format!("{} {flaw}", place(index + 1, parts.len())))
    };
    parts.iter().enumerate().map(secret).collect()
}

/// Which part, for people: "the 2nd of 3 values".
fn place(number: usize, count: usize) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    if count == 1 {
        "the value".to_owned()
    } else {
        format!("the {number}{ending} of {count} values")
    }
}

/// The first thing that is wrong with a part, the most telling first.
fn flaw(part: &str) -> Option<Flaw> {
    let rest = part.strip_prefix(PREFIX);
    let is_allowed = |char: char| char.is_ascii_alphanumeric() || "+/=_-".contains(char);
    if part.is_empty() {
        Some(Flaw::Empty)
    } else if ["sk_", "rk_", "pk_"].iter().any(|begin| part.starts_with(begin)) {
        Some(Flaw::ApiKey)
    } else if part.contains('#') {
        Some(Flaw::Comment)
    } else if rest.is_some_and(|rest| GAPS.iter().any(|gap| rest.contains(gap))) {
        Some(Flaw::Placeholder)
    } else if part.contains(['"', '\'']) {
        Some(Flaw::Quote)
    } else if part.contains(char::is_whitespace) {
        Some(Flaw::WhiteSpace)
    } else {
        match rest {
            None => Some(Flaw::Prefix),
            Some(rest) if !rest.chars().all(is_allowed) => Some(Flaw::Character),
            Some(rest) if is_placeholder(rest) => Some(Flaw::Placeholder),
            Some(rest) if rest.len() < SECRET_CHARACTERS_MIN => Some(Flaw::Short),
            Some(_) => None,
        }
    }
}

fn is_placeholder(rest: &str) -> bool {
    let rest = rest.to_ascii_lowercase();
    let mut different: Vec<u8> = rest.bytes().collect();
    different.sort_unstable();
    different.dedup();
    different.len() < DIFFERENT_CHARACTERS_MIN
        || rest.split(['_', '-']).any(|word| PLACEHOLDER_WORDS.contains(&word))
        || PLACEHOLDER_TEXTS.iter().any(|text| rest.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "whsec_q7Gd2LkXw9RzTn4VbYc8HsMfJp3AeU6K";
    const TWO: &str = "whsec_aaaaBBBB0000+/=_-cDeFgHiJ";

    fn read(name: &'static str, value: &str) -> Result<Option<Vec<SigningSecret>>, ConfigError> {
        secrets(&|asked| (asked == name).then(|| value.to_owned()))
    }

    fn last4(secrets: &[SigningSecret]) -> Vec<&str> {
        secrets.iter().map(SigningSecret::last4).collect()
    }

    #[test]
    fn secrets_are_separated_by_commas_and_in_a_file_by_lines() {
        let value = format!("{ONE} , {TWO}");
        let found = read("STRIPE_WEBHOOK_SECRET", &value).expect("good").expect("set");
        assert_eq!(last4(&found), ["eU6K", "gHiJ"]);
        let found = secrets_of_file(&format!("\u{feff}'{TWO}'\r\n\n{ONE},{ONE}")).expect("good");
        assert_eq!(found.len(), 3);
        assert!(read("STRIPE_WEBHOOK_SECRET", " ").expect("good").is_none());
    }

    #[test]
    fn each_flaw_is_named() {
        for (part, expected) in [
            (ONE, None),
            (TWO, None),
            ("", Some(Flaw::Empty)),
            ("sk_live_0123456789abcdef", Some(Flaw::ApiKey)),
            ("#", Some(Flaw::Comment)),
            ("the", Some(Flaw::Prefix)),
            ("WHSEC_q7Gd2LkXw9RzTn4VbYc8HsMf", Some(Flaw::Prefix)),
            ("whsec_q7Gd2LkXw9RzTn4VbYc8HsM", Some(Flaw::Short)),
            ("whsec_q7Gd2LkXw9RzTn4VbYc8HsMf", None),
            ("whsec_q7Gd2LkXw9RzTn4VbYc8Hs.f", Some(Flaw::Character)),
            ("whsec_q7Gd2LkXw9 RzTn4VbYc8HsMf", Some(Flaw::WhiteSpace)),
            ("whsec_q7Gd2LkXw9\nRzTn4VbYc8HsMf", Some(Flaw::WhiteSpace)),
            ("\"whsec_q7Gd2LkXw9RzTn4VbYc8HsMf", Some(Flaw::Quote)),
            ("whsec_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", Some(Flaw::Placeholder)),
            ("whsec_YOUR_SECRET_q7Gd2LkXw9RzTn4V", Some(Flaw::Placeholder)),
            // `your` by chance, within a word.
            ("whsec_q7Gd2LkXyourTn4VbYc8HsMfJp3A", None),
        ] {
            assert_eq!(flaw(part), expected, "{part}");
        }
    }

    #[test]
    fn a_part_is_named_by_its_place() {
        for (number, expected) in [
            (1, "the 1st of 23 values"),
            (2, "the 2nd of 23 values"),
            (3, "the 3rd of 23 values"),
            (4, "the 4th of 23 values"),
            (11, "the 11th of 23 values"),
            (22, "the 22nd of 23 values"),
        ] {
            assert_eq!(place(number, 23), expected);
        }
        assert_eq!(place(1, 1), "the value");
    }
}
