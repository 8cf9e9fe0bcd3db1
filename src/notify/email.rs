//! Mail, by SMTP. Every header is made of typed values, which can hold no line break, so nothing that
//! came from outside can add a header or a recipient.
//!
//! Each mail has a connection of its own. One that was kept could be left by an attempt that ran out of
//! time in the middle of an exchange, and the next mail would read the last one's answer.

use std::time::Duration;

use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls as LettreTls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message as Mail, Tokio1Executor};

use super::Outcome;
use super::message::Message;
use super::settings::{Email, Tls};
use super::words::{Audience, Rendered, Words};

/// How long each step of the conversation may take; the attempt as a whole is bounded by the worker.
pub const SMTP_STEP_SECONDS_MAX: u64 = 10;
/// The answers of a mail server that mean this mailbox and no other (RFC 5321, section 4.2.3).
const MAILBOX_CODES: [u16; 3] = [550, 551, 553];

/// A way to a mail server.
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

/// Tells a receiving server that no person wrote this, so that none answers that it is on holiday.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

impl Mailer {
    /// Connects nothing yet. `None` if the settings cannot be used.
    #[must_use]
    pub fn new(email: &Email) -> Option<Self> {
        super::install_tls();
        let smtp = &email.smtp;
        let parameters = || TlsParameters::new(smtp.host.clone()).ok();
        let tls = match smtp.tls {
            Tls::Starttls => LettreTls::Required(parameters()?),
            Tls::Tls => LettreTls::Wrapper(parameters()?),
            Tls::None => LettreTls::None,
        };
        let domain = email.from.email.domain().to_owned();
        let mut builder =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(smtp.host.as_str())
                .port(smtp.port)
                .tls(tls)
                .hello_name(ClientId::Domain(domain))
                .timeout(Some(Duration::from_secs(SMTP_STEP_SECONDS_MAX)));
        if let Some((user, password)) = &smtp.login {
            let login = Credentials::new(user.clone(), password.reveal().to_owned());
            builder = builder.credentials(login);
        }
        Some(Self { transport: builder.build() })
    }

    /// Tells it.
    pub async fn send(&self, email: &Email, words: &Words, message: &Message) -> Outcome {
        let audience = if email.to_customer { Audience::Customer } else { Audience::Shop };
        let said = match words.render(audience, message) {
            Ok(said) => said,
            Err(error) => return Outcome::failed(error),
        };
        let customer = match customer(email, message) {
            Ok(customer) => customer,
            Err(outcome) => return outcome,
        };
        let Some(mail) = mail(email, customer, &said, message) else {
            return Outcome::Refused("the mail cannot be written".to_owned());
        };
        match self.transport.send(mail).await {
            Ok(_) => Outcome::Sent,
            Err(error) => judged(&error),
        }
    }
}

/// The customer's address, if the customer is to be told.
fn customer(email: &Email, message: &Message) -> Result<Option<Mailbox>, Outcome> {
    if !email.to_customer || message.kind == super::message::TEST_KIND {
        return Ok(None);
    }
    let address = message.telling.customer_email.as_deref().map(str::trim);
    match address.filter(|address| !address.is_empty()).map(str::parse) {
        // The others are told all the same.
        None if !email.to.is_empty() => Ok(None),
        None => Err(Outcome::NoAddress),
        Some(Ok(address)) => Ok(Some(Mailbox::new(None, address))),
        Some(Err(_)) => Err(Outcome::Skipped(
            "the order's e-mail address is none that mail can reach".to_owned(),
        )),
    }
}

fn mail(
    email: &Email,
    customer: Option<Mailbox>,
    said: &Rendered,
    message: &Message,
) -> Option<Mail> {
    let domain = email.from.email.domain();
    let mut builder = Mail::builder()
        .message_id(Some(format!("<{}@{domain}>", message.id)))
        .from(email.from.clone())
        .subject(said.subject.clone())
        .header(AutoSubmitted);
    if let Some(reply_to) = &email.reply_to {
        builder = builder.reply_to(reply_to.clone());
    }
    let is_to_customer = customer.is_some();
    if let Some(customer) = customer {
        builder = builder.to(customer);
    }
    for other in &email.to {
        // The customer need not know who else reads it.
        builder =
            if is_to_customer { builder.bcc(other.clone()) } else { builder.to(other.clone()) };
    }
    if !is_to_customer && email.to.is_empty() {
        // A test of a destination that only tells customers: to the sender.
        builder = builder.to(email.from.clone());
    }
    let text = SinglePart::builder().header(ContentType::TEXT_PLAIN).body(said.text.clone());
    let html = SinglePart::builder().header(ContentType::TEXT_HTML).body(said.html.clone());
    builder.multipart(MultiPart::alternative().singlepart(text).singlepart(html)).ok()
}

/// What went wrong, by the server's code and not by its words, which may hold an address.
fn judged(error: &lettre::transport::smtp::Error) -> Outcome {
    if let Some(code) = error.status() {
        let code = u16::from(code);
        let why = format!("the mail server answered {code}");
        if MAILBOX_CODES.contains(&code) {
            return Outcome::Refused(why);
        }
        return Outcome::failed(why);
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
