//! Reads JSON as Stripe sends it over many API versions: a field may be absent, null, of another
//! type, given twice, an id or the whole object. None of that is an error here; only broken JSON is.
//!
//! What the fields mean is left to [`super::event`].

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

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
    /// Anything else: a fraction, a number beyond 64 bits, a list, an object without id.
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

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    /// Goes by the raw text, so that a number of any size and a nesting of any depth is just `Other`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?.get();
        Ok(match raw.as_bytes().first() {
            Some(b'n') => Self::Absent,
            Some(b't') => Self::Flag(true),
            Some(b'f') => Self::Flag(false),
            Some(b'"') => Self::Text(string(raw).map_err(Error::custom)?),
            Some(b'{') => match field(raw, "id").map_err(Error::custom)? {
                Some(id) if id.starts_with('"') => Self::Text(string(id).map_err(Error::custom)?),
                _ => Self::Other,
            },
            _ => raw.parse().map_or(Self::Other, Self::Whole),
        })
    }
}

fn string(raw: &str) -> Result<Cow<'_, str>, serde_json::Error> {
    serde_json::from_str::<Key<'_>>(raw).map(|key| key.0)
}

/// The raw text of one field of an object; `None` if it has no such field.
fn field<'a>(object: &'a str, name: &'static str) -> Result<Option<&'a str>, serde_json::Error> {
    struct Named<'a>(&'static str, PhantomData<&'a ()>);
    impl<'de: 'a, 'a> Visitor<'de> for Named<'a> {
        type Value = Option<&'a str>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(key) = map.next_key::<Key<'de>>()? {
                if key.0 == self.0 {
                    found = Some(map.next_value::<&'de RawValue>()?.get());
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }
    serde_json::Deserializer::from_str(object).deserialize_map(Named(name, PhantomData))
}

/// An object's key (or any string), borrowed from the body unless it holds an escape.
pub struct Key<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Name<'a> {
            type Value = Key<'a>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Key<'a>, E> {
                Ok(Key(Cow::Borrowed(name)))
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<Key<'a>, E> {
                Ok(Key(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(Name(PhantomData))
    }
}

/// The visitor methods that turn everything but an object into the default.
macro_rules! no_object_is_default {
    () => {
        fn visit_seq<A: serde::de::SeqAccess<'de>>(
            self,
            mut seq: A,
        ) -> Result<Self::Value, A::Error> {
            while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
        $crate::domain::lenient::scalar_is_default!();
    };
}
pub(crate) use no_object_is_default;

/// The visitor methods that turn every scalar into the default.
macro_rules! scalar_is_default {
    () => {
        fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
        fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
        fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
        fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
        fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
        fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
    };
}
pub(crate) use scalar_is_default;

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
            lifetime: std::marker::PhantomData<&$life ()>,
        }

        impl<'de: $life, $life> serde::Deserialize<'de> for $name<$life> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Fields<$life>(std::marker::PhantomData<&$life ()>);
                impl<'de: $life, $life> serde::de::Visitor<'de> for Fields<$life> {
                    type Value = $name<$life>;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a JSON value")
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(
                        self,
                        mut map: A,
                    ) -> Result<Self::Value, A::Error> {
                        let mut object = $name::default();
                        while let Some(key) = map.next_key::<$crate::domain::lenient::Key<'de>>()? {
                            match key.0.as_ref() {
                                $($crate::domain::lenient::field_name!($field) => object.$field = map.next_value()?,)*
                                _ => {
                                    map.next_value::<serde::de::IgnoredAny>()?;
                                }
                            }
                        }
                        Ok(object)
                    }
                    $crate::domain::lenient::no_object_is_default!();
                }
                deserializer.deserialize_any(Fields(std::marker::PhantomData))
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

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?.get();
        let array = match raw.as_bytes().first() {
            Some(b'[') => raw,
            Some(b'{') => match field(raw, "data").map_err(Error::custom)? {
                Some(data) if data.starts_with('[') => data,
                _ => return Ok(Self::default()),
            },
            _ => return Ok(Self::default()),
        };
        serde_json::from_str(array).map(Self).map_err(Error::custom)
    }
}
