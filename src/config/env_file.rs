//! The file `.env` of the working directory. A line that cannot be read is named by its number; its
//! text may be a secret, and is not repeated.

use std::cell::Cell;
use std::io::{ErrorKind, Read};
use std::path::Path;

use super::value::without_mark;

/// Where settings are read from, beside the environment: in the working directory alone.
pub const ENV_FILE: &str = ".env";

/// Why the file gives no settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvFileError {
    /// This line, counted from 1.
    #[error(
        "{ENV_FILE}, line {0}: expected NAME=value. Put single quotes around a value that contains \
         spaces, quotes, $, \\ or #"
    )]
    Line(usize),
    /// The whole file.
    #[error("{ENV_FILE}: cannot be read: {0}")]
    File(ErrorKind),
}

/// Sets the variables of the file that the environment does not set. Without a file it does nothing.
/// Call it before the process has other threads.
///
/// # Errors
/// [`EnvFileError`]; then no variable is set.
pub fn load(path: &Path) -> Result<(), EnvFileError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(EnvFileError::File(error.kind())),
    };
    let mut text = without_mark(&text).to_owned();
    // dotenvy refuses a last line that ends with a space and no newline.
    if !text.ends_with('\n') {
        text.push('\n');
    }
    if let Some(line) = bad_line(&text) {
        return Err(EnvFileError::Line(line));
    }
    dotenvy::from_read(text.as_bytes()).map_err(|_| EnvFileError::File(ErrorKind::InvalidData))
}

/// The number of the first line that is not a setting.
fn bad_line(text: &str) -> Option<usize> {
    // The environment cannot hold it.
    if let Some(before) = text.split('\0').next().filter(|before| before.len() < text.len()) {
        return Some(before.matches('\n').count() + 1);
    }
    let read = Cell::new(0);
    for item in dotenvy::from_read_iter(ByLine { rest: text.as_bytes(), lines: &read }) {
        if let Err(dotenvy::Error::LineParse(part, _)) = item {
            // A value in quotes may span lines: it is named by the first.
            let more = part.strip_suffix('\n').unwrap_or(&part).matches('\n').count();
            return Some(read.get().saturating_sub(more).max(1));
        }
    }
    None
}

/// Gives at most a line at a time, and counts the lines: a reader that buffers is never ahead of it.
struct ByLine<'a> {
    rest: &'a [u8],
    lines: &'a Cell<usize>,
}

impl Read for ByLine<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let line =
            self.rest.iter().position(|byte| *byte == b'\n').map_or(self.rest.len(), |at| at + 1);
        let bytes = line.min(into.len());
        let (now, later) = self.rest.split_at(bytes);
        into[..bytes].copy_from_slice(now);
        self.rest = later;
        if now.ends_with(b"\n") {
            self.lines.set(self.lines.get() + 1);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_line_is_found_by_its_number() {
        for (text, expected) in [
            ("", None),
            ("A=b\n", None),
            ("# A\n\nexport A='b c' # d\nB=\"two\nlines\"\n", None),
            ("A b\n", Some(1)),
            ("A=b\nC=d e\n", Some(2)),
            ("A=b\n\n# c\nC=\"d\n\n", Some(4)),
            ("A=\"b\nc\"\nD=\"e\nf\\x\"\nG=h\n", Some(3)),
            ("A=b\nC=\0\n", Some(2)),
        ] {
            assert_eq!(bad_line(text), expected, "{text:?}");
        }
        let long = format!("A={}\n=\n", "b".repeat(100_000));
        assert_eq!(bad_line(&long), Some(2));
    }
}
