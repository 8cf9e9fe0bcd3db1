//! The text of one setting: from the environment, or from the file that its `…_FILE` twin names; and
//! the two kinds of values that several settings have. What else a text means is left to [`super`].

use std::net::SocketAddr;
use std::path::Path;

use super::ConfigError;

/// Looks up a variable. One that is empty counts as not set.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The process's environment, as a [`Lookup`].
#[must_use]
pub fn environment(name: &str) -> Option<String> {
    // A value that is not UTF-8 is still set: it must be refused, not replaced by the default.
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// A variable's text without what surrounds it; see [`clean`]. `None` if nothing is left.
#[must_use]
pub fn value(lookup: Lookup<'_>, name: &str) -> Option<String> {
    lookup(name).map(|text| clean(&text).to_owned()).filter(|text| !text.is_empty())
}

/// Drops what tools leave around a value: white space, a byte order mark, and one pair of quotes, which
/// `docker --env-file` keeps.
#[must_use]
pub fn clean(text: &str) -> &str {
    let text = without_mark(text.trim()).trim();
    let unquoted = ['"', '\''].into_iter().find_map(|quote| {
        let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
        // `"a","b"` has two pairs, and neither surrounds the whole.
        (!inner.contains(quote)).then(|| inner.trim())
    });
    unquoted.unwrap_or(text)
}

/// Drops the byte order mark that some editors put at the start of a file.
pub(super) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// What one of two variables gives.
pub(super) enum Given {
    /// The text of the variable, cleaned.
    Variable(&'static str, String),
    /// The whole text of the file that the other variable names.
    File(&'static str, String),
}

/// Reads a variable, or the file that its twin names; `None` if neither is set.
pub(super) fn given(
    lookup: Lookup<'_>,
    name: &'static str,
    file_name: &'static str,
) -> Result<Option<Given>, ConfigError> {
    match (value(lookup, name), value(lookup, file_name)) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => {
            let told = format!("set together with {file_name}; leave one of them out");
            Err(ConfigError::new(name, told))
        }
        (Some(text), None) => Ok(Some(Given::Variable(name, text))),
        // The path is not repeated: it may be the secret itself, put into the wrong variable.
        (None, Some(path)) => match std::fs::read_to_string(Path::new(&path)) {
            Ok(text) if clean(&text).is_empty() => {
                Err(ConfigError::new(file_name, "the file is empty"))
            }
            Ok(text) => Ok(Some(Given::File(file_name, text))),
            Err(error) => {
                let told = format!("the file cannot be read: {}. Give its path", error.kind());
                Err(ConfigError::new(file_name, told))
            }
        },
    }
}

/// The same for a setting that is one line; with the name of the variable that gave it.
pub(super) fn one_line(
    lookup: Lookup<'_>,
    name: &'static str,
    file_name: &'static str,
) -> Result<Option<(&'static str, String)>, ConfigError> {
    Ok(given(lookup, name, file_name)?.map(|given| match given {
        Given::Variable(name, text) => (name, text),
        Given::File(name, text) => (name, clean(&text).to_owned()),
    }))
}

/// The address that this variable gives, else the default.
///
/// # Errors
/// If it is not an IP address with a port.
pub fn address(
    lookup: Lookup<'_>,
    name: &'static str,
    default: &str,
) -> Result<SocketAddr, ConfigError> {
    let text = value(lookup, name).unwrap_or_else(|| default.to_owned());
    text.parse().map_err(|_| {
        let told =
            format!("{text:?} is not an address with a port, such as {default} or [::]:8000");
        ConfigError::new(name, told)
    })
}

/// Which of these words the variable gives; the first, if it is not set.
pub(super) fn choice<T: Copy>(
    lookup: Lookup<'_>,
    name: &'static str,
    choices: &[(&str, T)],
) -> Result<T, ConfigError> {
    let text = value(lookup, name);
    let chosen = match &text {
        None => choices.first(),
        Some(text) => choices.iter().find(|(choice, _)| choice.eq_ignore_ascii_case(text)),
    };
    chosen.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = choices.iter().map(|(choice, _)| *choice).collect();
        let told = format!("{:?} is not one of {}", text.unwrap_or_default(), known.join(", "));
        ConfigError::new(name, told)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pair_of_quotes_and_white_space_around_a_value_are_dropped() {
        for (text, expected) in [
            ("a", "a"),
            (" a b\r\n", "a b"),
            ("\u{feff}a", "a"),
            ("\u{feff} \"a\"\n", "a"),
            ("\"a\"", "a"),
            ("' a '", "a"),
            ("\"\"a\"\"", "\"\"a\"\""),
            ("'\"a\"'", "\"a\""),
            ("\"a'", "\"a'"),
            ("\"a\",\"b\"", "\"a\",\"b\""),
            ("it's", "it's"),
            ("\"", "\""),
            ("\"\"", ""),
            (" ", ""),
        ] {
            assert_eq!(clean(text), expected, "{text:?}");
        }
    }
}
