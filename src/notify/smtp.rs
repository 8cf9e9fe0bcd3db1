//! One conversation with a mail server, step by step, and what a refusal means at each step.
//!
//! lettre speaks SMTP. Its transport does not say at which step a server refused, and that decides whether a
//! refusal is about one address or about all mail: so the steps are taken here, with lettre's own commands.
//!
//! Each mail has a connection of its own. One that was kept could be left by an attempt that ran out of
//! time in the middle of an exchange, and the next mail would read the last one's answer.

use std::error::Error as _;
use std::time::Duration;

use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::{Address, Message as Mail};
use tokio::time::timeout;

use super::Outcome;
use super::settings::{Smtp, Tls};

/// How long the connection may take to open; the attempt as a whole is bounded by the worker.
pub const SMTP_CONNECT_SECONDS_MAX: u64 = 10;
/// How long the goodbye may take. The mail is on its way by then, or it is not.
pub const SMTP_QUIT_MILLISECONDS_MAX: u64 = 500;
/// The answers of a mail server that may mean this mailbox and no other (RFC 5321, section 4.2.3).
const MAILBOX_CODES: [u16; 3] = [550, 551, 553];
/// The service is not available, whatever was asked.
const CLOSING_CODE: u16 = 421;

/// Where a conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Connection,
    Login,
    Sender,
    Recipient,
    Content,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Connection => "the connection",
            Self::Login => "the login",
            Self::Sender => "the sender's address",
            Self::Recipient => "a recipient's address",
            Self::Content => "the mail",
        }
    }
}

/// Why a mail was not taken.
enum Failure {
    Smtp(Step, Error),
    /// The server takes no address with characters outside ASCII before the `@`.
    NoUtf8(Step),
}

/// A mail server, and how to speak to it.
pub struct Server {
    host: String,
    port: u16,
    tls: Tls,
    parameters: Option<TlsParameters>,
    login: Option<Credentials>,
    hello: ClientId,
}

impl Server {
    /// Connects nothing yet. `None` if the settings cannot be used.
    #[must_use]
    pub fn new(smtp: &Smtp, hello_domain: String) -> Option<Self> {
        let parameters = match smtp.tls {
            Tls::None => None,
            Tls::Starttls | Tls::Tls => Some(TlsParameters::new(smtp.host.clone()).ok()?),
        };
        let login = smtp.login.as_ref();
        let login = login
            .map(|(user, password)| Credentials::new(user.clone(), password.reveal().to_owned()));
        let (host, hello) = (smtp.host.clone(), ClientId::Domain(hello_domain));
        Some(Self { host, port: smtp.port, tls: smtp.tls, parameters, login, hello })
    }

    /// Hands over one mail.
    pub async fn send(&self, mail: &Mail) -> Outcome {
        let mut connection = match self.connected().await {
            Ok(connection) => connection,
            Err(error) => return judged(&Failure::Smtp(Step::Connection, error)),
        };
        let handed_over = self.hand_over(&mut connection, mail).await;
        // It takes the mail back from nobody: a slow goodbye must not make the attempt look failed.
        let quit = Duration::from_millis(SMTP_QUIT_MILLISECONDS_MAX);
        let _ = timeout(quit, connection.abort()).await;
        handed_over.map_or_else(|failure| judged(&failure), |()| Outcome::Sent)
    }

    async fn connected(&self) -> Result<AsyncSmtpConnection, Error> {
        let address = (self.host.as_str(), self.port);
        let within = Some(Duration::from_secs(SMTP_CONNECT_SECONDS_MAX));
        let wrapped = self.parameters.clone().filter(|_| self.tls == Tls::Tls);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(address, within, &self.hello, wrapped, None)
                .await?;
        if let (Tls::Starttls, Some(parameters)) = (self.tls, self.parameters.clone()) {
            connection.starttls(parameters, &self.hello).await?;
        }
        Ok(connection)
    }

    async fn hand_over(
        &self,
        connection: &mut AsyncSmtpConnection,
        mail: &Mail,
    ) -> Result<(), Failure> {
        let at = |step| move |error| Failure::Smtp(step, error);
        if let Some(login) = &self.login {
            connection.auth(DEFAULT_MECHANISMS, login).await.map_err(at(Step::Login))?;
        }
        let (envelope, content) = (mail.envelope(), mail.formatted());
        let is_ascii = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
        let mut parameters = Vec::new();
        let recipients_are_ascii = envelope.to().iter().all(is_ascii);
        if !recipients_are_ascii || !envelope.from().is_none_or(is_ascii) {
            if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                let step = if recipients_are_ascii { Step::Sender } else { Step::Recipient };
                return Err(Failure::NoUtf8(step));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        if !content.is_ascii() {
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        let from = MailFrom::new(envelope.from().cloned(), parameters);
        connection.command(from).await.map_err(at(Step::Sender))?;
        for recipient in envelope.to() {
            let to = Rcpt::new(recipient.clone(), Vec::new());
            connection.command(to).await.map_err(at(Step::Recipient))?;
        }
        connection.command(Data).await.map_err(at(Step::Content))?;
        connection.message(&content).await.map_err(at(Step::Content))?;
        Ok(())
    }
}

/// What went wrong, by the server's codes and not by its words, which may hold an address.
fn judged(failure: &Failure) -> Outcome {
    let (step, error) = match failure {
        Failure::Smtp(step, error) => (*step, error),
        Failure::NoUtf8(Step::Sender) => {
            return Outcome::failed(
                "the sender's address has characters outside ASCII, and the mail server does not take them \
                 (no SMTPUTF8)",
            );
        }
        Failure::NoUtf8(_) => {
            return Outcome::Refused(
                "a recipient's address has characters outside ASCII, and the mail server does not take them \
                 (no SMTPUTF8)"
                    .to_owned(),
            );
        }
    };
    if let Some(code) = error.status() {
        let words = error.source().map(ToString::to_string).unwrap_or_default();
        return answered(step, u16::from(code), &words);
    }
    if let Some(tls) = super::tls_failure(error) {
        return Outcome::failed(format!("TLS with the mail server failed: {tls}"));
    }
    Outcome::failed(if error.is_timeout() {
        "the mail server took too long"
    } else if error.is_tls() {
        "TLS with the mail server failed"
    } else if error.is_client() {
        "the mail server offers no way that paidup may use: no STARTTLS, or no way to log in"
    } else {
        "the mail server cannot be reached"
    })
}

/// What a refusal means. It is final only where the server says that this mailbox is not there (5.1.x, of RFC
/// 3463) in answer to the recipient. A full mailbox, a blocked client and a sender that is refused may all be
/// other tomorrow. A refused recipient says nothing about others, unless it is the client that is refused.
fn answered(step: Step, code: u16, words: &str) -> Outcome {
    let enhanced = enhanced(words).filter(|[class, ..]| *class == code / 100);
    let shown = enhanced.map(|[class, subject, detail]| format!(" {class}.{subject}.{detail}"));
    let why =
        format!("the mail server answered {code}{} to {}", shown.unwrap_or_default(), step.name());
    let subject = enhanced.map(|[_, subject, _]| subject);
    if step == Step::Recipient && MAILBOX_CODES.contains(&code) && subject == Some(1) {
        return Outcome::Refused(why);
    }
    let is_about_one = step == Step::Recipient && code != CLOSING_CODE && subject != Some(7);
    Outcome::Failed { why, asked_seconds: None, is_its_fault: !is_about_one }
}

/// The enhanced status code at the beginning of an answer's words (RFC 2034): class, subject, detail.
fn enhanced(words: &str) -> Option<[u16; 3]> {
    let first = words.split_whitespace().next()?;
    let mut parts = first.split('.').map(|part| part.parse().ok());
    let code = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_mailbox_that_is_not_there_is_final() {
        use Step::{Connection, Content, Login, Recipient, Sender};
        // Step, code, words; whether it is final, or else whether others would fare no better.
        for (step, code, words, expected) in [
            (Recipient, 550, "5.1.1 <a@b.example> unknown", None),
            (Recipient, 553, "5.1.3 bad address", None),
            (Recipient, 550, "5.1.10 null MX\nmore", None),
            (Recipient, 550, "no such mailbox", Some(false)),
            (Recipient, 550, "4.1.1 another class", Some(false)),
            (Recipient, 550, "5.2.2 mailbox full", Some(false)),
            (Recipient, 552, "5.2.2 mailbox full", Some(false)),
            (Recipient, 452, "4.2.2 mailbox full", Some(false)),
            (Recipient, 450, "4.2.0 greylisted", Some(false)),
            (Recipient, 550, "5.7.1 client blocked", Some(true)),
            (Recipient, 421, "4.3.2 closing", Some(true)),
            (Sender, 550, "5.1.8 sender refused", Some(true)),
            (Sender, 553, "5.7.1 not yours", Some(true)),
            (Connection, 550, "5.7.1 blocked", Some(true)),
            (Connection, 554, "no", Some(true)),
            (Login, 535, "5.7.8 wrong", Some(true)),
            (Content, 550, "5.1.1 late", Some(true)),
            (Content, 552, "5.3.4 too large", Some(true)),
        ] {
            let found = match answered(step, code, words) {
                Outcome::Refused(why) => {
                    assert!(why.ends_with("to a recipient's address"), "{why}");
                    None
                }
                Outcome::Failed { is_its_fault, why, .. } => {
                    assert!(!why.contains('@'), "{why}");
                    Some(is_its_fault)
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(found, expected, "{step:?} {code} {words}");
        }
    }

    #[test]
    fn an_enhanced_code_is_three_numbers_at_the_beginning() {
        for (words, expected) in [
            ("5.1.1 no", Some([5, 1, 1])),
            ("4.2.10", Some([4, 2, 10])),
            ("5.1 no", None),
            ("5.1.1.1 no", None),
            ("see 5.1.1", None),
            ("192.0.2.1 is blocked", None),
            ("", None),
        ] {
            assert_eq!(enhanced(words), expected, "{words}");
        }
    }
}
