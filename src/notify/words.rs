//! The words for people: templates that ship inside the program, each of which a file of the user's may
//! replace. They are read and tried once, at the start, so a mistake shows then and not in a customer's
//! mail.

use std::path::Path;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value, context};

use super::message::{Message, TEST_KIND};
use crate::domain::order::KINDS;

/// The templates of each kind, for both audiences.
macro_rules! templates {
    ($($kind:literal),* $(,)?) => {
        [
            $(
                (
                    concat!("customer/", $kind, ".txt"),
                    include_str!(concat!("templates/customer/", $kind, ".txt")),
                ),
                (
                    concat!("shop/", $kind, ".txt"),
                    include_str!(concat!("templates/shop/", $kind, ".txt")),
                ),
            )*
            ("test.txt", include_str!("templates/test.txt")),
            (LAYOUT, include_str!("templates/layout.html")),
        ]
    };
}

/// The templates, by name: an audience and a kind of change. The first line is the subject.
const TEMPLATES: [(&str, &str); 26] = templates![
    "order.processing",
    "order.authorized",
    "order.paid",
    "order.renewed",
    "order.failed",
    "order.canceled",
    "order.partially_refunded",
    "order.refunded",
    "order.refund_failed",
    "order.dispute_opened",
    "order.dispute_closed",
    "order.problem",
];
/// What makes HTML of a text, where no template of its own does.
const LAYOUT: &str = "layout.html";
/// The longest subject, so that a template cannot make a header of any length.
pub const SUBJECT_CHARS_MAX: usize = 200;

/// Whom the words are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Who pays.
    Customer,
    /// Who sells.
    Shop,
}

impl Audience {
    fn folder(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Shop => "shop",
        }
    }
}

/// Why the templates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WordsError {
    /// The folder or a file in it cannot be read.
    #[error("templates: {path} cannot be read: {kind}")]
    File {
        /// Which.
        path: String,
        /// Why.
        kind: std::io::ErrorKind,
    },
    /// A file of the user's is none that is ever asked for.
    #[error("templates: {0} is the name of no template, such as customer/order.paid.txt or .html")]
    Unknown(String),
    /// A template is wrong.
    #[error("templates: {0}")]
    Template(String),
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// One line.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// The same as HTML.
    pub html: String,
}

/// All templates, and the shop's name.
pub struct Words {
    templates: Environment<'static>,
    shop: String,
}

impl Words {
    /// Those of the program, each replaced by the one that this folder has.
    ///
    /// # Errors
    /// [`WordsError`] if one cannot be read, is wrong, or has a name that is never asked for.
    pub fn load(folder: Option<&Path>, shop: Option<&str>) -> Result<Self, WordsError> {
        let mut templates = Environment::new();
        // A name that is misspelt is told, and does not leave a hole.
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        templates.set_auto_escape_callback(|name| {
            let is_html = Path::new(name).extension().is_some_and(|end| end == "html");
            if is_html { AutoEscape::Html } else { AutoEscape::None }
        });
        let wrong = |error: minijinja::Error| WordsError::Template(told(&error));
        for (name, text) in TEMPLATES {
            templates.add_template(name, text).map_err(wrong)?;
        }
        for (name, text) in folder.map(read).transpose()?.unwrap_or_default() {
            templates.add_template_owned(name, text).map_err(wrong)?;
        }
        let words = Self { templates, shop: shop.unwrap_or("the shop").to_owned() };
        words.try_all()?;
        Ok(words)
    }

    /// Renders everything once.
    fn try_all(&self) -> Result<(), WordsError> {
        let mut message = Message::test(0);
        for kind in KINDS.into_iter().chain([TEST_KIND]) {
            message.kind = kind.to_owned();
            for audience in [Audience::Customer, Audience::Shop] {
                self.render(audience, &message).map_err(WordsError::Template)?;
            }
        }
        Ok(())
    }

    /// Says it.
    ///
    /// # Errors
    /// Which template failed, and where.
    pub fn render(&self, audience: Audience, message: &Message) -> Result<Rendered, String> {
        let shown = Value::from(Serde(message.shown(&self.shop)));
        let own = format!("{}/{}", audience.folder(), message.kind);
        let text =
            self.first(&[&format!("{own}.txt"), &format!("{}.txt", message.kind)], &shown)?;
        let text = text.ok_or_else(|| format!("there is no template {own}.txt"))?;
        let (subject, text) = text.split_once('\n').unwrap_or((&text, ""));
        let (subject, text) = (one_line(subject), text.trim().to_owned());
        let paragraphs: Vec<String> = text.split("\n\n").map(str::to_owned).collect();
        let with_text = context! { subject => subject.as_str(), paragraphs, ..shown };
        let html = self.first(&[&format!("{own}.html"), LAYOUT], &with_text)?.unwrap_or_default();
        Ok(Rendered { subject, text, html })
    }

    fn first(&self, names: &[&str], shown: &Value) -> Result<Option<String>, String> {
        for name in names {
            match self.templates.get_template(name) {
                Ok(template) => {
                    return template.render(shown).map(Some).map_err(|error| told(&error));
                }
                Err(error) if error.kind() == ErrorKind::TemplateNotFound => {}
                Err(error) => return Err(told(&error)),
            }
        }
        Ok(None)
    }
}

/// A subject is one line, whatever was put into it.
fn one_line(text: &str) -> String {
    let plain = text.chars().map(|char| if char.is_control() { ' ' } else { char });
    let plain: String = plain.collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    words.join(" ").chars().take(SUBJECT_CHARS_MAX).collect()
}

/// Where a template is wrong, without the values that it was given.
fn told(error: &minijinja::Error) -> String {
    let name = error.name().unwrap_or("a template");
    let line = error.line().map(|line| format!(" line {line}")).unwrap_or_default();
    format!("{name}{line}: {}", error.kind())
}

/// The user's templates, by name.
fn read(folder: &Path) -> Result<Vec<(String, String)>, WordsError> {
    let mut found = Vec::new();
    for part in ["", "customer", "shop"] {
        let inside = folder.join(part);
        if !part.is_empty() && !inside.exists() {
            continue;
        }
        let failed = |path: &Path, error: std::io::Error| WordsError::File {
            path: path.display().to_string(),
            kind: error.kind(),
        };
        for entry in std::fs::read_dir(&inside).map_err(|error| failed(&inside, error))? {
            let path = entry.map_err(|error| failed(&inside, error))?.path();
            let is_template = path.extension().is_some_and(|end| end == "txt" || end == "html");
            if !is_template || !path.is_file() {
                continue;
            }
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            let name = if part.is_empty() { file.into_owned() } else { format!("{part}/{file}") };
            if !is_asked_for(&name) {
                return Err(WordsError::Unknown(path.display().to_string()));
            }
            let text = std::fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
            found.push((name, text));
        }
    }
    Ok(found)
}

fn is_asked_for(name: &str) -> bool {
    let as_text = name.strip_suffix(".html").map(|stem| format!("{stem}.txt"));
    let as_text = as_text.as_deref().unwrap_or(name);
    TEMPLATES.iter().any(|(known, _)| *known == name || *known == as_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: &str) -> Message {
        let mut message = Message::test(0);
        message.kind = kind.to_owned();
        message
    }

    #[test]
    fn every_kind_has_words_for_both_audiences() {
        let words = Words::load(None, Some("Teapots & Co")).expect("words");
        for kind in KINDS {
            for audience in [Audience::Customer, Audience::Shop] {
                let said = words.render(audience, &message(kind)).expect(kind);
                assert!(said.subject.contains("TEST"), "{kind}: {}", said.subject);
                assert!(!said.text.is_empty() && !said.subject.contains('\n'), "{said:?}");
                assert!(said.html.contains("<p>"), "{}", said.html);
            }
        }
        let paid = words.render(Audience::Customer, &message("order.paid")).expect("words");
        assert!(paid.text.contains("299.00 USD") && paid.text.contains("Teapots & Co"), "{paid:?}");
        assert!(paid.html.contains("Teapots &amp; Co"), "{}", paid.html);
    }

    #[test]
    fn words_say_what_happened_and_no_more() {
        let words = Words::load(None, None).expect("words");
        let said = |kind: &str, change: &dyn Fn(&mut Message)| {
            let mut message = message(kind);
            change(&mut message);
            let said = words.render(Audience::Shop, &message).expect("words");
            format!("{}\n{}", said.subject, said.text)
        };
        let nothing = said("order.paid", &|message| message.telling.amount_received = 0);
        assert!(nothing.contains("nothing to pay") && !nothing.contains("0.00"), "{nothing}");
        let failed = said("order.refund_failed", &|_| {});
        assert!(!failed.contains("received") && failed.contains("a refund failed"), "{failed}");
        let disputed = said("order.dispute_opened", &|message| {
            message.telling.dispute = Some("open".to_owned());
            let dispute = r#"{"dp_1":{"at":1,"status":"open","amount":900,"currency":"eur","reason":"product_not_received","due_by":1000000}}"#;
            message.telling.disputes = Some(dispute.to_owned());
        });
        for part in ["9.00 EUR", "product not received", "1970-01-12T13:46:40Z"] {
            assert!(disputed.contains(part), "{part}: {disputed}");
        }
        let wrong = said("order.problem", &|message| {
            message.telling.problem = Some("wrong_currency".to_owned());
            message.telling.currency = Some("jpy".to_owned());
            message.telling.amount_received = 5000;
            message.telling.amount_due = Some(29_900);
            message.telling.due_currency = Some("eur".to_owned());
        });
        assert!(wrong.contains("5000 JPY") && wrong.contains("299.00 EUR"), "{wrong}");
    }

    #[test]
    fn amounts_are_right_for_their_currency() {
        let words = Words::load(None, None).expect("words");
        for (currency, amount, shown) in
            [("jpy", 500, "500 JPY"), ("kwd", 1234, "1.234 KWD"), ("eur", 5, "0.05 EUR")]
        {
            let mut paid = message("order.paid");
            paid.telling.currency = Some(currency.to_owned());
            paid.telling.amount_received = amount;
            let said = words.render(Audience::Customer, &paid).expect("words");
            assert!(said.text.contains(shown), "{shown}: {}", said.text);
        }
    }

    #[test]
    fn what_comes_from_outside_makes_no_header_and_no_html() {
        let words = Words::load(None, None).expect("words");
        let mut paid = message("order.failed");
        paid.telling.order_id = "O1\r\nBcc: a@b.example <b>".to_owned();
        paid.telling.failure_message = Some("<script>alert(1)</script>".to_owned());
        let said = words.render(Audience::Shop, &paid).expect("words");
        assert!(!said.subject.contains(['\r', '\n']), "{}", said.subject);
        assert!(!said.html.contains("<script>") && !said.html.contains("<b>"), "{}", said.html);
    }
}
