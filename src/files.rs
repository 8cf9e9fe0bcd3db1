//! How many files this process may have open. Each connection is one, and what is left after them
//! must be enough for the database: an attacker who only opens connections must not take its files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is kept for everything but connections: the database, notifications, the log.
pub const FILES_RESERVED: usize = 256;

/// Asks the system for so many open files. A shell often allows 1,024 until a program asks for more.
///
/// Returns how many it allows, at most as many as were asked for.
#[must_use]
pub fn ask_for(files: usize) -> usize {
    let wanted = u64::try_from(files).unwrap_or(u64::MAX);
    let limit = getrlimit(Resource::Nofile);
    let is_enough = |allowed: Option<u64>| allowed.is_none_or(|allowed| allowed >= wanted);
    if is_enough(limit.current) {
        return files;
    }
    let most = if is_enough(limit.maximum) { Some(wanted) } else { limit.maximum };
    let raised = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: limit.maximum });
    let allowed = if raised.is_ok() { most } else { limit.current };
    allowed.map_or(files, |allowed| usize::try_from(allowed).unwrap_or(files).min(files))
}

/// How many connections for webhooks, and how many for operators, leave enough of these files. Each
/// has at most its own limit, and neither can take the other's.
#[must_use]
pub fn shares(files: usize, webhooks_max: usize, operators_max: usize) -> (usize, usize) {
    let left = files.saturating_sub(FILES_RESERVED).max(2);
    let operators = operators_max.min(left / 4).max(1);
    (webhooks_max.min(left - operators), operators)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_database() {
        for (files, expected) in [
            (0, (1, 1)),
            (256, (1, 1)),
            (1024, (576, 192)),
            (8192, (7680, 256)),
            (8192 + 256 + 256, (8192, 256)),
            (1_000_000, (8192, 256)),
        ] {
            assert_eq!(shares(files, 8192, 256), expected, "{files}");
        }
    }

    #[test]
    fn no_more_is_allowed_than_was_asked_for() {
        let allowed = ask_for(64);
        assert_eq!(allowed, 64);
    }
}
