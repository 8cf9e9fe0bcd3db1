//! The file `notify.toml`. Read once; every mistake is told, with its place; what is secret is named by an
//! environment variable or a file, and never repeated.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use lettre::message::Mailbox;
use reqwest::Url;
use serde::Deserialize;

use super::guard::check_url;
use super::settings::{
    CONCURRENCY_MAX, Channel, Chat, Destination, Email, Hidden, LINK_ORDER, NAME_BYTES_MAX,
    PEOPLE_CONCURRENCY_DEFAULT, Push, Settings, Smtp, Target, Tls, WEBHOOK_CONCURRENCY_DEFAULT,
    Webhook,
};
use super::webhook::WebhookSecret;
use crate::domain::order::KINDS;

const NTFY_URL_DEFAULT: &str = "https://ntfy.sh";
/// Stands for the customer's own address in `to`.
const CUSTOMER: &str = "customer";

/// Looks up an environment variable.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    shop: Option<String>,
    templates: Option<PathBuf>,
    smtp: Option<RawSmtp>,
    #[serde(default)]
    webhook: Vec<RawWebhook>,
    #[serde(default)]
    email: Vec<RawEmail>,
    #[serde(default)]
    push: Vec<RawPush>,
    #[serde(default)]
    chat: Vec<RawChat>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSmtp {
    host: String,
    port: Option<u16>,
    tls: Option<Tls>,
    username: Option<String>,
    password_env: Option<String>,
    password_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWebhook {
    name: String,
    wants: Option<Vec<String>>,
    concurrency: Option<usize>,
    url: Option<String>,
    url_env: Option<String>,
    url_file: Option<PathBuf>,
    secret_env: Option<String>,
    secret_file: Option<PathBuf>,
    #[serde(default)]
    allow_private: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEmail {
    name: String,
    wants: Option<Vec<String>>,
    concurrency: Option<usize>,
    to: Vec<String>,
    from: String,
    reply_to: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPush {
    name: String,
    wants: Option<Vec<String>>,
    concurrency: Option<usize>,
    url: Option<String>,
    topic: Option<String>,
    topic_env: Option<String>,
    topic_file: Option<PathBuf>,
    token_env: Option<String>,
    token_file: Option<PathBuf>,
    priority: Option<u8>,
    link: Option<String>,
    #[serde(default)]
    allow_private: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawChat {
    name: String,
    wants: Option<Vec<String>>,
    concurrency: Option<usize>,
    url_env: Option<String>,
    url_file: Option<PathBuf>,
    link: Option<String>,
    #[serde(default)]
    allow_private: bool,
}

/// Reads the file.
///
/// # Errors
/// Every mistake in it, as a sentence.
pub fn read(path: &Path, lookup: Lookup<'_>) -> Result<Settings, Vec<String>> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| vec![format!("{} cannot be read: {}", path.display(), error.kind())])?;
    parse(&text, path.parent().unwrap_or(Path::new(".")), lookup)
}

/// Reads the file's text; paths in it are relative to this folder.
///
/// # Errors
/// As for [`read`].
pub fn parse(text: &str, folder: &Path, lookup: Lookup<'_>) -> Result<Settings, Vec<String>> {
    let raw: RawFile = toml::from_str(text).map_err(|error| vec![syntax(text, &error)])?;
    let mut reader = Reader { folder, lookup, smtp: None, errors: Vec::new() };
    if let Some(smtp) = raw.smtp {
        reader.smtp = reader.smtp_of(smtp);
        if reader.smtp.is_none() && reader.errors.is_empty() {
            reader.errors.push("[smtp] cannot be used".to_owned());
        }
    }
    let has_smtp = reader.smtp.is_some() || !reader.errors.is_empty();
    if !raw.email.is_empty() && !has_smtp {
        reader
            .errors
            .push("there is an [[email]] and no [smtp] that says which server sends it".to_owned());
    }
    let mut destinations: Vec<Destination> = Vec::new();
    destinations.extend(raw.webhook.into_iter().filter_map(|raw| reader.webhook(raw)));
    destinations.extend(raw.email.into_iter().filter_map(|raw| reader.email(raw)));
    destinations.extend(raw.push.into_iter().filter_map(|raw| reader.push(raw)));
    destinations.extend(raw.chat.into_iter().filter_map(|raw| reader.chat(raw)));
    let mut names = HashSet::new();
    for one in &destinations {
        if !names.insert(one.name.as_str()) {
            reader.errors.push(format!("{:?} is the name of two destinations", one.name));
        }
    }
    if !reader.errors.is_empty() {
        return Err(reader.errors);
    }
    let templates = raw.templates.map(|templates| folder.join(templates));
    Ok(Settings { destinations, templates, shop: raw.shop })
}

/// Where the file is wrong, without the line itself: somebody may have written a secret there.
fn syntax(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map(|span| text.get(..span.start).unwrap_or_default());
    let line = line.map_or(0, |before| before.matches('\n').count() + 1);
    let message = error.message();
    let is_harmless = ["unknown field", "missing field", "unknown variant", "duplicate"];
    let message = if is_harmless.iter().any(|begin| message.starts_with(begin)) {
        message
    } else {
        "this is no TOML, or a value of the wrong type"
    };
    let hint = if message.contains("`secret`") || message.contains("`password`") {
        ". What is secret does not stand here: name a variable (…_env) or a file (…_file)"
    } else {
        ""
    };
    format!("line {line}: {message}{hint}")
}

struct Reader<'a> {
    folder: &'a Path,
    lookup: Lookup<'a>,
    smtp: Option<Smtp>,
    errors: Vec<String>,
}

impl Reader<'_> {
    fn error<T>(&mut self, told: String) -> Option<T> {
        self.errors.push(told);
        None
    }

    fn webhook(&mut self, raw: RawWebhook) -> Option<Destination> {
        let name = raw.name;
        let wants = self.wants(&name, raw.wants);
        let url = match raw.url {
            Some(url) if raw.url_env.is_none() && raw.url_file.is_none() => Some(Hidden(url)),
            Some(_) => self.error(format!("{name}: give url, url_env or url_file, and only one")),
            None => self.required(&name, "url", raw.url_env, raw.url_file),
        };
        let url = url.and_then(|url| self.target(&name, url.reveal(), raw.allow_private));
        let secrets = self.required(&name, "secret", raw.secret_env, raw.secret_file);
        let secrets = secrets.and_then(|secrets| self.webhook_secrets(&name, &secrets));
        let concurrency = self.concurrency(&name, raw.concurrency, WEBHOOK_CONCURRENCY_DEFAULT);
        let channel = Channel::Webhook(Webhook { url: url?, secrets: secrets? });
        Some(Destination { name, wants: wants?, concurrency: concurrency?, channel })
    }

    fn webhook_secrets(&mut self, name: &str, text: &Hidden) -> Option<Vec<WebhookSecret>> {
        let parts = text.reveal().split(|char: char| char == ',' || char.is_whitespace());
        let secrets: Option<Vec<_>> =
            parts.filter(|part| !part.is_empty()).map(WebhookSecret::new).collect();
        match secrets {
            Some(secrets) if !secrets.is_empty() => Some(secrets),
            _ => self.error(format!(
                "{name}: the secret is not whsec_ with base64 of 24 to 64 bytes after it; make one with: \
                 echo whsec_$(openssl rand -base64 32)"
            )),
        }
    }

    fn email(&mut self, raw: RawEmail) -> Option<Destination> {
        let name = raw.name;
        let wants = self.wants(&name, raw.wants);
        let from = self.mailbox(&name, "from", &raw.from);
        let reply_to = raw.reply_to.map(|text| self.mailbox(&name, "reply_to", &text));
        let to_customer = raw.to.iter().any(|to| to == CUSTOMER);
        let others = raw.to.iter().filter(|to| *to != CUSTOMER);
        let others: Vec<_> = others.map(|to| self.mailbox(&name, "to", to)).collect();
        if raw.to.is_empty() {
            self.errors.push(format!("{name}: to is empty; it holds \"customer\" or addresses"));
        }
        let concurrency = self.concurrency(&name, raw.concurrency, PEOPLE_CONCURRENCY_DEFAULT);
        let email = Email {
            smtp: self.smtp.clone()?,
            from: from?,
            reply_to: match reply_to {
                None => None,
                Some(address) => Some(address?),
            },
            to_customer,
            to: others.into_iter().collect::<Option<_>>()?,
        };
        let channel = Channel::Email(Box::new(email));
        Some(Destination { name, wants: wants?, concurrency: concurrency?, channel })
    }

    fn push(&mut self, raw: RawPush) -> Option<Destination> {
        let name = raw.name;
        let wants = self.wants(&name, raw.wants);
        let server = raw.url.as_deref().unwrap_or(NTFY_URL_DEFAULT);
        let server = self.target(&name, server, raw.allow_private);
        let topic = match raw.topic {
            Some(topic) if raw.topic_env.is_none() && raw.topic_file.is_none() => {
                Some(Hidden(topic))
            }
            Some(_) => {
                self.error(format!("{name}: give topic, topic_env or topic_file, and only one"))
            }
            None => self.required(&name, "topic", raw.topic_env, raw.topic_file),
        };
        let token = if raw.token_env.is_some() || raw.token_file.is_some() {
            Some(self.required(&name, "token", raw.token_env, raw.token_file))
        } else {
            None
        };
        let priority = raw.priority.unwrap_or(3);
        if !(1..=5).contains(&priority) {
            self.errors.push(format!("{name}: priority is a number from 1 to 5"));
        }
        let link = self.link(&name, raw.link);
        let concurrency = self.concurrency(&name, raw.concurrency, PEOPLE_CONCURRENCY_DEFAULT);
        let push = Push {
            server: server?,
            topic: topic?,
            token: match token {
                None => None,
                Some(token) => Some(token?),
            },
            priority,
            link: link?,
        };
        let channel = Channel::Push(push);
        Some(Destination { name, wants: wants?, concurrency: concurrency?, channel })
    }

    fn chat(&mut self, raw: RawChat) -> Option<Destination> {
        let name = raw.name;
        let wants = self.wants(&name, raw.wants);
        let url = self.required(&name, "url", raw.url_env, raw.url_file);
        let url = url.and_then(|url| self.target(&name, url.reveal(), raw.allow_private));
        let link = self.link(&name, raw.link);
        let concurrency = self.concurrency(&name, raw.concurrency, PEOPLE_CONCURRENCY_DEFAULT);
        let channel = Channel::Chat(Chat { url: url?, link: link? });
        Some(Destination { name, wants: wants?, concurrency: concurrency?, channel })
    }

    fn smtp_of(&mut self, raw: RawSmtp) -> Option<Smtp> {
        let tls = raw.tls.unwrap_or(Tls::Starttls);
        let port = raw.port.unwrap_or(match tls {
            Tls::Starttls => 587,
            Tls::Tls => 465,
            Tls::None => 25,
        });
        let has_password = raw.password_env.is_some() || raw.password_file.is_some();
        let login = match raw.username {
            None if has_password => {
                return self.error("[smtp] has a password and no username".to_owned());
            }
            None => None,
            Some(_) if tls == Tls::None => {
                let told =
                    "[smtp] would send its password in the clear; set tls to starttls or tls";
                return self.error(told.to_owned());
            }
            Some(user) => {
                let password =
                    self.required("[smtp]", "password", raw.password_env, raw.password_file)?;
                Some((user, password))
            }
        };
        Some(Smtp { host: raw.host, port, tls, login })
    }

    fn wants(&mut self, name: &str, wants: Option<Vec<String>>) -> Option<Vec<&'static str>> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_plain) {
            return self.error(format!(
                "{name:?} is no name for a destination: letters, digits, - and _, at most {NAME_BYTES_MAX}"
            ));
        }
        let Some(wants) = wants else { return Some(KINDS.to_vec()) };
        let mut kinds = Vec::new();
        for wanted in &wants {
            match KINDS.into_iter().find(|kind| kind == wanted) {
                Some(kind) => kinds.push(kind),
                None => {
                    return self.error(format!(
                        "{name}: {wanted:?} is no kind of change; there are {}",
                        KINDS.join(", ")
                    ));
                }
            }
        }
        if kinds.is_empty() {
            return self
                .error(format!("{name}: wants is empty; leave it out to want every change"));
        }
        Some(kinds)
    }

    fn concurrency(&mut self, name: &str, set: Option<usize>, default: usize) -> Option<usize> {
        match set.unwrap_or(default) {
            concurrency if (1..=CONCURRENCY_MAX).contains(&concurrency) => Some(concurrency),
            _ => self.error(format!("{name}: concurrency is a number from 1 to {CONCURRENCY_MAX}")),
        }
    }

    fn target(&mut self, name: &str, text: &str, allow_private: bool) -> Option<Target> {
        let Ok(url) = Url::parse(text) else {
            return self.error(format!("{name}: its URL is none; write https://…"));
        };
        match check_url(&url, allow_private) {
            Ok(()) => Some(Target { url, allow_private }),
            Err(forbidden) => self.error(format!("{name}: {forbidden}")),
        }
    }

    fn link(&mut self, name: &str, link: Option<String>) -> Option<Option<String>> {
        let Some(link) = link else { return Some(None) };
        let is_web = Url::parse(&link.replace(LINK_ORDER, "1"))
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if is_web {
            Some(Some(link))
        } else {
            self.error(format!(
                "{name}: link is no address such as https://shop.example/orders/{LINK_ORDER}"
            ))
        }
    }

    fn mailbox(&mut self, name: &str, key: &str, text: &str) -> Option<Mailbox> {
        let parsed: Result<Mailbox, _> = text.parse();
        match parsed {
            Ok(mailbox) => Some(mailbox),
            Err(_) => self.error(format!("{name}: {key} holds what is no e-mail address")),
        }
    }

    /// The text that one of the two ways gives.
    fn required(
        &mut self,
        name: &str,
        key: &str,
        env: Option<String>,
        file: Option<PathBuf>,
    ) -> Option<Hidden> {
        let (text, place) = match (env, file) {
            (Some(variable), None) => {
                ((self.lookup)(&variable), format!("the variable {variable}"))
            }
            (None, Some(path)) => {
                let path = self.folder.join(path);
                (std::fs::read_to_string(&path).ok(), format!("the file {}", path.display()))
            }
            _ => return self.error(format!("{name}: give {key}_env or {key}_file, and only one")),
        };
        match text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()) {
            Some(text) => Some(Hidden(text)),
            None => self.error(format!(
                "{name}: {place}, which is to hold the {key}, is empty or not there"
            )),
        }
    }
}
