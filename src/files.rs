//! How many files this process may have open, and who can read the files that it makes.
//!
//! Each connection is an open file, and what is left after them must be enough for the database: an
//! attacker who only opens connections must not take its files. The files that it makes hold customers'
//! addresses and secrets: only their owner can read them.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};

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

/// From here on, only the owner can read the files that this process makes: the embedded database, the
/// log and the index beside it, and all others. Files that are there already keep their mode.
pub fn keep_private() {
    umask(Mode::RWXG | Mode::RWXO);
}

/// Writes a file that only its owner can read, in place of the one that is there. A reader finds the old
/// text or the new one, whole.
///
/// # Errors
/// If the folder or the file cannot be made.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let suffix = crate::random::bytes::<8>()?;
    let temporary = path.with_extension(hex::encode(suffix));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_takes_the_place_of_another() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = hex::encode(crate::random::bytes::<8>().expect("random"));
        let folder = std::env::temp_dir().join(format!("paidup_files_{folder}"));
        let path = folder.join("inner/token");
        write_private(&path, "one\n").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
        write_private(&path, "two\n").expect("written");
        assert_eq!(fs::read_to_string(&path).expect("text"), "two\n");
        let mode = fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let files = fs::read_dir(folder.join("inner")).expect("a folder").count();
        assert_eq!(files, 1);
        assert!(write_private(&path.join("below"), "three").is_err());
        fs::remove_dir_all(folder).expect("removed");
    }

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
