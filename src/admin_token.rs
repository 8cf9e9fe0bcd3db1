//! The random admin token of a run for which none is set, and who gets to see it: a person at a
//! terminal, or the owner of a file. Where there is no terminal, the output is a service's log.

use std::io::{self, IsTerminal as _, Write as _};

use tracing::{info, warn};

use crate::config::{ADMIN_TOKEN_PATH, Config};
use crate::files::write_private;
use crate::http::token::AdminToken;
use crate::random;

const TOKEN_BYTES: usize = 32;

/// The text of a token that was made for this run.
pub struct Generated(String);

impl Generated {
    /// Gives the configuration a random token, if it has none.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn fill(config: &mut Config) -> io::Result<Option<Self>> {
        if config.admin_token.is_some() {
            return Ok(None);
        }
        let text = hex::encode(random::bytes::<TOKEN_BYTES>()?);
        config.admin_token = AdminToken::new(&text);
        Ok(Some(Self(text)))
    }

    /// Shows it, once the service is open: one that cannot start must not replace the file of another.
    pub fn show(&self) {
        let shown = format!("Admin token of this run, for the console and the API: {}", self.0);
        if io::stdout().is_terminal() {
            let _ = writeln!(io::stdout(), "{shown}");
        } else if io::stderr().is_terminal() {
            let _ = writeln!(io::stderr(), "{shown}");
        } else {
            self.write();
        }
    }

    fn write(&self) {
        let path = std::path::absolute(ADMIN_TOKEN_PATH);
        let path = path.unwrap_or_else(|_| ADMIN_TOKEN_PATH.into());
        let file = path.display();
        match write_private(&path, &format!("{}\n", self.0)) {
            Ok(()) => info!(
                "ADMIN_TOKEN is not set; the random token of this run, for the console and the API, is in {file}"
            ),
            Err(error) => warn!(
                "ADMIN_TOKEN is not set, and {file} cannot be written ({}): the console and the API are \
                 closed; set ADMIN_TOKEN to open them",
                error.kind()
            ),
        }
    }
}
