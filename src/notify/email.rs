//! Mail, by SMTP. Every header is made of typed values, which can hold no line break, so nothing that
//! came from outside can add a header or a recipient. Domains go out in punycode, which every server takes. How a
//! mail server is spoken to, and what its answers mean, is [`super::smtp`].

use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message as Mail};

use super::Outcome;
use super::message::Message;
use super::settings::Email;
use super::smtp::Server;
use super::words::{Audience, Rendered, Words};

/// A way to a mail server.
pub struct Mailer {
    server: Server,
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
        let from = in_ascii(&email.from)?;
        let server = Server::new(&email.smtp, from.email.domain().to_owned())?;
        Some(Self { server })
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
        self.server.send(&mail).await
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
        Some(address) => {
            let mailbox = address.ok().map(|address| Mailbox::new(None, address));
            mailbox.as_ref().and_then(in_ascii).map(Some).ok_or_else(|| {
                Outcome::Skipped("mail cannot reach the order's e-mail address".to_owned())
            })
        }
    }
}

/// The mailbox with its domain in ASCII, as punycode. What stands before the `@` has no such form.
fn in_ascii(mailbox: &Mailbox) -> Option<Mailbox> {
    let address = &mailbox.email;
    if address.domain().is_ascii() {
        return Some(mailbox.clone());
    }
    let domain = idna::domain_to_ascii(address.domain()).ok()?;
    let address = Address::new(address.user(), domain).ok()?;
    Some(Mailbox::new(mailbox.name.clone(), address))
}

fn mail(
    email: &Email,
    customer: Option<Mailbox>,
    said: &Rendered,
    message: &Message,
) -> Option<Mail> {
    let from = in_ascii(&email.from)?;
    let domain = from.email.domain();
    let mut builder = Mail::builder()
        .message_id(Some(format!("<{}@{domain}>", message.id)))
        .from(from.clone())
        .subject(said.subject.clone())
        .header(AutoSubmitted);
    if let Some(reply_to) = &email.reply_to {
        builder = builder.reply_to(in_ascii(reply_to)?);
    }
    let is_to_customer = customer.is_some();
    if let Some(customer) = customer {
        builder = builder.to(customer);
    }
    for other in &email.to {
        let other = in_ascii(other)?;
        // The customer need not know who else reads it.
        builder = if is_to_customer { builder.bcc(other) } else { builder.to(other) };
    }
    if !is_to_customer && email.to.is_empty() {
        // A test of a destination that only tells customers: to the sender.
        builder = builder.to(from);
    }
    let text = SinglePart::builder().header(ContentType::TEXT_PLAIN).body(said.text.clone());
    let html = SinglePart::builder().header(ContentType::TEXT_HTML).body(said.html.clone());
    builder.multipart(MultiPart::alternative().singlepart(text).singlepart(html)).ok()
}
