//! The development secret: made once, kept beside the embedded database, found by `paidup trigger`.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::config::signing::secrets_of_file;
use crate::domain::signature::SigningSecret;
pub use crate::random::bytes as random;

const SECRET_BYTES: usize = 32;

/// Why there is no development secret.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// The file cannot be read or made.
    #[error(
        "{path}: {kind}. Run paidup in a folder where it may write, or set STRIPE_WEBHOOK_SECRET"
    )]
    File {
        /// The file.
        path: String,
        /// Why.
        kind: ErrorKind,
    },
    /// There is none yet.
    #[error(
        "no signing secret: neither STRIPE_WEBHOOK_SECRET nor {0} is there. Start `paidup dev` in this \
         folder first"
    )]
    Absent(String),
    /// There is one, or something else in its place.
    #[error("{path}: {told}. Remove the file, and `paidup dev` makes a new one")]
    Wrong {
        /// The file.
        path: String,
        /// What is wrong with it.
        told: String,
    },
}

/// The secrets in that file; without one, a file with a random secret that only its owner can read.
///
/// # Errors
/// If the file can be neither read nor made, or holds anything else.
pub fn secrets(path: &Path) -> Result<Vec<SigningSecret>, DevError> {
    let failed = |error: std::io::Error| DevError::File {
        path: path.display().to_string(),
        kind: error.kind(),
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let fresh = random_secret().map_err(failed)?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            writeln!(file, "{fresh}").map_err(failed)?;
            parse(path, &fresh)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            parse(path, &fs::read_to_string(path).map_err(failed)?)
        }
        Err(error) => Err(failed(error)),
    }
}

/// The secret that `paidup dev` made earlier, or the first of the file.
///
/// # Errors
/// [`DevError::Absent`] without a file in this folder; [`DevError::Wrong`] if it holds anything else.
pub fn existing_secret(path: &Path) -> Result<SigningSecret, DevError> {
    let absent = || DevError::Absent(path.display().to_string());
    let text = fs::read_to_string(path).map_err(|_| absent())?;
    parse(path, &text)?.into_iter().next().ok_or_else(absent)
}

fn parse(path: &Path, text: &str) -> Result<Vec<SigningSecret>, DevError> {
    secrets_of_file(text).map_err(|told| DevError::Wrong { path: path.display().to_string(), told })
}

fn random_secret() -> std::io::Result<String> {
    Ok(format!("whsec_{}", hex::encode(random::<SECRET_BYTES>()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_kept_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = std::env::temp_dir().join(random_secret().expect("random"));
        let path = folder.join("secret");
        assert!(matches!(existing_secret(&path), Err(DevError::Absent(_))));
        let signed = |secrets: Vec<SigningSecret>| secrets[0].header(1, b"{}");
        let first = signed(secrets(&path).expect("made"));
        assert_eq!(signed(secrets(&path).expect("kept")), first);
        let made = fs::read_to_string(&path).expect("text").trim().to_owned();
        assert!(made.starts_with("whsec_") && made.len() == 6 + 64, "{}", made.len());
        assert_ne!(random_secret().expect("random"), made);
        let mode = fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(existing_secret(&path).expect("found").last4(), &made[made.len() - 4..]);
        fs::write(&path, "").expect("written");
        assert!(matches!(existing_secret(&path), Err(DevError::Wrong { .. })));
        assert!(matches!(secrets(&path), Err(DevError::Wrong { .. })));
        fs::remove_dir_all(folder).expect("removed");
    }
}
