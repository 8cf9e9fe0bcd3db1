//! Random bytes of the system's.

use std::fs::File;
use std::io::{self, Read as _};

/// Random bytes that nobody can guess.
///
/// # Errors
/// If the system gives none.
pub fn bytes<const BYTES: usize>() -> io::Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
