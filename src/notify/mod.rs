//! Tells those who wait: claims what the outbox holds, sends it, settles it.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`settings`], [`file`] | whom to tell, and the file `notify.toml` that says so |
//! | [`worker`] | claim → send → settle, for as long as the service runs |
//! | [`circuit`] | rests a destination that fails |
//! | [`message`], [`words`] | what is told, to systems and to people |
//! | [`webhook`], [`email`] and [`smtp`], [`push`], [`chat`] | the channels |
//! | [`client`], [`guard`] | the HTTP client, and where it may not call |
//!
//! Each change is told at least once: a process that dies after it sent and before it settled leaves the
//! delivery to be sent again, under the same id. Which changes there are to tell is decided with the
//! change ([`crate::store::transaction`]); when to try again by [`crate::domain::retry`].

pub mod chat;
pub mod circuit;
pub mod client;
pub mod email;
pub mod file;
pub mod guard;
mod lane;
pub mod message;
pub mod push;
pub mod settings;
pub mod smtp;
pub mod webhook;
pub mod words;
pub mod worker;

use std::error::Error;
use std::sync::Arc;

use client::{Client, ClientError};
use message::Message;
use settings::{Channel, Settings};
use words::{Words, WordsError};

/// What came of an attempt. The texts hold no URL, no secret and no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was taken.
    Sent,
    /// There is nobody to tell, and will not be.
    Skipped(String),
    /// The order has no address yet; a later event may bring it.
    NoAddress,
    /// It was not taken; another time it may be.
    Failed {
        /// Why.
        why: String,
        /// How long the receiver asks to be left alone.
        asked_seconds: Option<u32>,
        /// Whether others that are sent there would fare no better.
        is_its_fault: bool,
    },
    /// It will never be taken.
    Refused(String),
    /// The destination wants nothing any more.
    Gone(String),
}

impl Outcome {
    /// The destination did not take it.
    #[must_use]
    pub fn failed(why: impl Into<String>) -> Self {
        Self::Failed { why: why.into(), asked_seconds: None, is_its_fault: true }
    }
}

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// No HTTP client.
    #[error("{0}")]
    Client(#[from] ClientError),
    /// The templates cannot be used.
    #[error("{0}")]
    Words(#[from] WordsError),
    /// The mail server's settings cannot be used.
    #[error("{0}: the mail server's settings cannot be used")]
    Smtp(String),
}

/// One destination, ready to be told.
pub struct Sender {
    /// What the file says of it.
    pub destination: settings::Destination,
    line: Line,
    words: Arc<Words>,
}

enum Line {
    Http(Client),
    Smtp(Box<email::Mailer>),
}

impl Sender {
    /// Everything that sends. Nothing is connected yet.
    ///
    /// # Errors
    /// [`NotifyError`] if a template or the machine's certificate authorities cannot be used.
    pub fn all(settings: &Settings, lookup: &guard::Lookup) -> Result<Vec<Self>, NotifyError> {
        let words = Words::load(settings.templates.as_deref(), settings.shop.as_deref())?;
        let words = Arc::new(words);
        let (mut public, mut private) = (None, None);
        let mut client = |allow_private: bool| {
            let kept = if allow_private { &mut private } else { &mut public };
            match kept {
                Some(client) => Ok(Client::clone(client)),
                None => {
                    let client = Client::new(allow_private, lookup.clone())?;
                    Ok::<_, NotifyError>(kept.insert(client).clone())
                }
            }
        };
        let mut senders = Vec::new();
        for destination in &settings.destinations {
            let line = match &destination.channel {
                Channel::Webhook(webhook) => Line::Http(client(webhook.url.allow_private)?),
                Channel::Push(push) => Line::Http(client(push.server.allow_private)?),
                Channel::Chat(chat) => Line::Http(client(chat.url.allow_private)?),
                Channel::Email(email) => {
                    let mailer = email::Mailer::new(email);
                    let name = || destination.name.clone();
                    Line::Smtp(Box::new(mailer.ok_or_else(|| NotifyError::Smtp(name()))?))
                }
            };
            let (destination, words) = (destination.clone(), Arc::clone(&words));
            senders.push(Self { destination, line, words });
        }
        Ok(senders)
    }

    /// Whether people read it, to whom news that is old says something wrong.
    #[must_use]
    pub fn is_for_people(&self) -> bool {
        !matches!(self.destination.channel, Channel::Webhook(_))
    }

    /// Makes one attempt, which the caller bounds in time. `now` is in milliseconds.
    pub async fn send(&self, message: &Message, now: i64) -> Outcome {
        match (&self.destination.channel, &self.line) {
            (Channel::Webhook(to), Line::Http(client)) => {
                webhook::send(client, to, message, now).await
            }
            (Channel::Push(to), Line::Http(client)) => {
                push::send(client, to, &self.words, message).await
            }
            (Channel::Chat(to), Line::Http(client)) => {
                chat::send(client, to, &self.words, message).await
            }
            (Channel::Email(to), Line::Smtp(mailer)) => mailer.send(to, &self.words, message).await,
            // `all` pairs them.
            _ => Outcome::failed("paidup has no line for this channel, which is a bug of its"),
        }
    }
}

/// TLS by *ring*, for all of this process; the second time it is there already.
fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// What TLS did not like, if that is why this failed.
fn tls_failure(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(this) = cause {
        if let Some(tls) = this.downcast_ref::<rustls::Error>() {
            return Some(tls.to_string());
        }
        // What an I/O error wraps is not its source; the source is that of what it wraps.
        let wrapped = this.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => this.source(),
        };
    }
    None
}
