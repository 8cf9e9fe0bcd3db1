//! Who is to be told of what, and how, as types. The file that says so is read by [`super::file`].

use std::fmt;
use std::path::PathBuf;

use lettre::message::Mailbox;
use reqwest::Url;
use serde::Deserialize;

use super::webhook::WebhookSecret;
#[cfg(doc)]
use crate::domain::order::KINDS;
use crate::store::transaction;

/// The most calls to one webhook at once, unless the file says otherwise.
pub const WEBHOOK_CONCURRENCY_DEFAULT: usize = 32;
/// The same for people: mail servers and chats take little at a time.
pub const PEOPLE_CONCURRENCY_DEFAULT: usize = 4;
/// The most that may be set.
pub const CONCURRENCY_MAX: usize = 256;
/// The longest name of a destination.
pub const NAME_BYTES_MAX: usize = 64;
/// Stands for the order's id in a link.
pub const LINK_ORDER: &str = "{order}";

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub(super) String);

impl Hidden {
    /// The text.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(…)")
    }
}

/// All that the file says.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Whom to tell.
    pub destinations: Vec<Destination>,
    /// A folder of the user's with templates that go before those of the program.
    pub templates: Option<PathBuf>,
    /// The shop's name, in messages to people.
    pub shop: Option<String>,
}

/// One destination.
#[derive(Debug, Clone)]
pub struct Destination {
    /// Its name.
    pub name: String,
    /// The kinds of change that it wants, all of [`KINDS`].
    pub wants: Vec<&'static str>,
    /// The most attempts at once.
    pub concurrency: usize,
    /// How it is told.
    pub channel: Channel,
}

/// How a destination is told.
#[derive(Debug, Clone)]
pub enum Channel {
    /// Systems, by a signed call.
    Webhook(Webhook),
    /// People, by mail.
    Email(Box<Email>),
    /// A phone, by an ntfy-compatible service.
    Push(Push),
    /// A chat room, by a Slack-compatible incoming webhook.
    Chat(Chat),
}

/// A signed call.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Where to.
    pub url: Target,
    /// Each signs every call.
    pub secrets: Vec<WebhookSecret>,
}

/// A URL, which may itself be a secret, and whether it may be of a private network.
#[derive(Clone)]
pub struct Target {
    /// The URL.
    pub url: Url,
    /// Whether private addresses and http are permitted.
    pub allow_private: bool,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.url.host_str().unwrap_or_default())
    }
}

/// Mail.
#[derive(Debug, Clone)]
pub struct Email {
    /// The server.
    pub smtp: Smtp,
    /// The sender.
    pub from: Mailbox,
    /// Where answers go, if not to the sender.
    pub reply_to: Option<Mailbox>,
    /// Whether the customer is told.
    pub to_customer: bool,
    /// Who else is told.
    pub to: Vec<Mailbox>,
}

/// A mail server.
#[derive(Debug, Clone)]
pub struct Smtp {
    /// Its name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is made private.
    pub tls: Tls,
    /// User and password.
    pub login: Option<(String, Hidden)>,
}

/// How a connection to a mail server is made private.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// In the clear first, then by STARTTLS, which must succeed.
    Starttls,
    /// From the first byte.
    Tls,
    /// Not at all: a relay on this machine.
    None,
}

/// A phone.
#[derive(Debug, Clone)]
pub struct Push {
    /// The ntfy server.
    pub server: Target,
    /// Its topic; who knows it can read along.
    pub topic: Hidden,
    /// Of a user who may write there.
    pub token: Option<Hidden>,
    /// From 1 to 5.
    pub priority: u8,
    /// What a click opens, with [`LINK_ORDER`] in it.
    pub link: Option<String>,
}

/// A chat room.
#[derive(Debug, Clone)]
pub struct Chat {
    /// The incoming webhook; who knows it can write there.
    pub url: Target,
    /// Where the order is shown, with [`LINK_ORDER`] in it.
    pub link: Option<String>,
}

impl Settings {
    /// As the outbox needs it.
    #[must_use]
    pub fn rules(&self) -> Vec<transaction::Destination> {
        let wants = |kinds: &[&str]| kinds.iter().map(|kind| (*kind).to_owned()).collect();
        self.destinations
            .iter()
            .map(|one| transaction::Destination {
                name: one.name.clone(),
                wants: wants(&one.wants),
            })
            .collect()
    }
}
