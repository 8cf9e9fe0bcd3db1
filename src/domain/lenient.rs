//! Reads JSON as Stripe sends it over many API versions: a field may be absent, null, of another
//! type, given twice, an id or the whole object, a number of any size, half a surrogate pair. None of
//! that is an error here; only broken JSON is, and [`parse`] alone finds that out.
//!
//! What the fields mean is left to [`super::event`].

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// What can be read from the raw text of any JSON value.
pub trait Lenient<'a>: Default {
    /// Reads `raw`, which is JSON.
    fn read(raw: &'a str) -> Self;
}

/// Reads a whole body.
///
/// # Errors
/// The body is not JSON.
pub fn parse<'a, T: Lenient<'a>>(body: &'a str) -> Result<T, serde_json::Error> {
    serde_json::from_str::<&RawValue>(body).map(|raw| T::read(raw.get()))
}

/// One field, whatever it holds.
#[derive(Debug, Default, Clone, PartialEq)]
pub enum Value<'a> {
    /// Not there, or null.
    #[default]
    Absent,
    /// `true` or `false`.
    Flag(bool),
    /// A whole number within 64 bits.
    Whole(i64),
    /// A text, or the `id` of an object (a field that Stripe calls expanded).
    Text(Cow<'a, str>),
    /// Anything else: a fraction, a number beyond 64 bits, a list, an object without id, a text with
    /// half a surrogate pair.
    Other,
}

impl Value<'_> {
    /// The text, unless it is empty.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// The truth value.
    #[must_use]
    pub fn flag(&self) -> Option<bool> {
        match self {
            Self::Flag(flag) => Some(*flag),
            _ => None,
        }
    }

    /// The whole number.
    #[must_use]
    pub fn whole(&self) -> Option<i64> {
        match self {
            Self::Whole(number) => Some(*number),
            _ => None,
        }
    }
}

impl<'a> Lenient<'a> for Value<'a> {
    fn read(raw: &'a str) -> Self {
        match raw.as_bytes().first() {
            Some(b'n') => Self::Absent,
            Some(b't') => Self::Flag(true),
            Some(b'f') => Self::Flag(false),
            Some(b'"') => text(raw),
            Some(b'{') => match field(raw, "id") {
                Some(id) if id.starts_with('"') => text(id),
                _ => Self::Other,
            },
            _ => raw.parse().map_or(Self::Other, Self::Whole),
        }
    }
}

/// An object of which any field may be asked for by name: Stripe's `metadata`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Metadata<'a>(Option<&'a str>);

impl<'a> Metadata<'a> {
    /// The field of this name, the last one if there are several.
    #[must_use]
    pub fn get(&self, name: &str) -> Value<'a> {
        self.0.and_then(|object| field(object, name)).map(Value::read).unwrap_or_default()
    }
}

impl<'a> Lenient<'a> for Metadata<'a> {
    fn read(raw: &'a str) -> Self {
        Self(Some(raw).filter(|raw| raw.starts_with('{')))
    }
}

fn text(raw: &str) -> Value<'_> {
    serde_json::from_str(raw)
        .map(Cow::Borrowed)
        .or_else(|_| serde_json::from_str(raw).map(Cow::Owned))
        .map_or(Value::Other, Value::Text)
}

/// The raw text of one field of an object, the last of that name; `None` if it has no such field.
fn field<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let mut found = None;
    each_field(object, |other, value| {
        if other == name {
            found = Some(value);
        }
    });
    found
}

/// Calls `take` with the name and the raw value of each field of an object, in its order; not at all if
/// `raw` is something else. A name that is no text is none that anyone asks for, and left out.
pub fn each_field<'a>(raw: &'a str, take: impl FnMut(&str, &'a str)) {
    struct Fields<T>(T);
    impl<'de, T: FnMut(&str, &'de str)> Visitor<'de> for Fields<T> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }
        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some((name, value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                if let Ok(name) = std::str::from_utf8(&name.0) {
                    (self.0)(name, value.get());
                }
            }
            Ok(())
        }
    }
    // Of what is JSON only what is no object fails.
    let _ = serde_json::Deserializer::from_str(raw).deserialize_map(Fields(take));
}

/// A field's name, borrowed from the body unless it holds an escape. Bytes, for half a surrogate pair is
/// JSON but no text.
struct Name<'a>(Cow<'a, [u8]>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_bytes<E: Error>(self, name: &'de [u8]) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }
            fn visit_bytes<E: Error>(self, name: &[u8]) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// A field's name as JSON writes it: `stringify!(r#type)` would be `r#type`.
macro_rules! field_name {
    (r#type) => {
        "type"
    };
    ($field:ident) => {
        stringify!($field)
    };
}
pub(crate) use field_name;

/// A struct whose fields are read by name from a JSON object. Unknown fields are passed over, the
/// last of a field given twice counts, and what is no object at all reads as the default.
macro_rules! lenient_object {
    ($(#[$doc:meta])* $visibility:vis struct $name:ident<$life:lifetime> {
        $($(#[$field_doc:meta])* $field:ident: $type:ty,)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Default, Clone, PartialEq)]
        $visibility struct $name<$life> {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl<$life> $crate::domain::lenient::Lenient<$life> for $name<$life> {
            fn read(raw: &$life str) -> Self {
                use $crate::domain::lenient::{Lenient, each_field, field_name};
                let mut object = Self::default();
                each_field(raw, |name, value| match name {
                    $(field_name!($field) => object.$field = Lenient::read(value),)*
                    _ => {}
                });
                object
            }
        }
    };
}
pub(crate) use lenient_object;

/// The `data` of a Stripe list, or a bare array; empty if it is anything else.
#[derive(Debug, Clone, PartialEq)]
pub struct List<T>(pub Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'a, T: Lenient<'a>> Lenient<'a> for List<T> {
    fn read(raw: &'a str) -> Self {
        let array = if raw.starts_with('{') { field(raw, "data").unwrap_or_default() } else { raw };
        let items = serde_json::from_str::<Vec<&RawValue>>(array).unwrap_or_default();
        Self(items.into_iter().map(|item| T::read(item.get())).collect())
    }
}
