//! The development secret: made once, kept beside the embedded database, found by `paidup trigger`.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

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
}

/// The secret in that file, which is made, for its owner's eyes only, if it is not there.
///
/// # Errors
/// If the file can be neither read nor made.
pub fn secret(path: &Path) -> Result<String, DevError> {
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
            Ok(fresh)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let text = fs::read_to_string(path).map_err(failed)?;
            Ok(text.trim().to_owned())
        }
        Err(error) => Err(failed(error)),
    }
}

/// The secret that `paidup dev` made earlier.
///
/// # Errors
/// [`DevError::Absent`] if it made none in this folder.
pub fn existing_secret(path: &Path) -> Result<crate::domain::signature::SigningSecret, DevError> {
    let absent = || DevError::Absent(path.display().to_string());
    let text = fs::read_to_string(path).map_err(|_| absent())?;
    crate::domain::signature::SigningSecret::new(&text).map_err(|_| absent())
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
        let made = secret(&path).expect("made");
        assert_eq!(secret(&path).expect("kept"), made);
        assert!(made.starts_with("whsec_") && made.len() == 6 + 64, "{}", made.len());
        assert_ne!(random_secret().expect("random"), made);
        let mode = fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(existing_secret(&path).expect("found").last4(), &made[made.len() - 4..]);
        fs::remove_dir_all(folder).expect("removed");
    }
}
