//! Reading JSON: fast when it is right, exact about where it is wrong.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use crate::clock::Timestamp;
use crate::ids::{FullName, InvalidId, Oid};

/// A body that is not what GitHub documents, or not JSON at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct DecodeError {
    /// Where, from the root: `repository.owner.id`; `payload` when it is the body as a whole.
    pub path: String,
    /// What was expected there and, where known, at which line and column.
    pub problem: String,
}

/// A text borrowed from the body unless it holds an escape. Unlike a bare `Cow` it is borrowed
/// inside an `Option` too.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Text<'_> {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads `json` as a `T`. Paths are only kept track of in a second reading, after a failure.
pub(super) fn read<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(json).map_err(|error| {
        let deserializer = &mut serde_json::Deserializer::from_slice(json);
        match serde_path_to_error::deserialize::<_, T>(deserializer) {
            Ok(_) => describe(None, &error),
            Err(traced) => describe(Some(traced.path().to_string()), traced.inner()),
        }
    })
}

fn describe(path: Option<String>, error: &serde_json::Error) -> DecodeError {
    // Where JSON ends too early, the last part of the path is a question mark.
    let parent = path
        .map(|path| path.trim_end_matches('?').trim_end_matches('.').to_owned())
        .filter(|path| !path.is_empty());
    let text = error.to_string();
    let missing = text.strip_prefix("missing field `").and_then(|rest| rest.split_once('`'));
    if let Some((field, _)) = missing {
        let path = parent.map_or_else(|| field.to_owned(), |parent| format!("{parent}.{field}"));
        return DecodeError { path, problem: "is missing".to_owned() };
    }
    // "invalid type: string "…", expected u64 at line 1 column 2" shows a value: cut it out.
    let problem = match text.rfind(", expected ") {
        Some(at) => text[at + 2..].to_owned(),
        None => text,
    };
    DecodeError { path: parent.unwrap_or_else(|| "payload".to_owned()), problem }
}

/// A Git object id.
pub(super) fn oid<'de, D: Deserializer<'de>>(from: D) -> Result<Oid, D::Error> {
    from.deserialize_str(Checked(Oid::parse, "a Git object id"))
}

/// `owner/name`.
pub(super) fn full_name<'de, D: Deserializer<'de>>(from: D) -> Result<FullName, D::Error> {
    from.deserialize_str(Checked(FullName::parse, "a repository's full name"))
}

/// Seconds since the epoch, an RFC 3339 text, or null.
pub(super) fn timestamp<'de, D>(from: D) -> Result<Option<Timestamp>, D::Error>
where
    D: Deserializer<'de>,
{
    from.deserialize_any(TimestampVisitor)
}

/// A text that `parse` accepts, read without building a `String` in between.
struct Checked<T>(fn(&str) -> Result<T, InvalidId>, &'static str);

impl<T> Visitor<'_> for Checked<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(|_| E::invalid_value(de::Unexpected::Other("a text"), &self))
    }
}

struct TimestampVisitor;

impl Visitor<'_> for TimestampVisitor {
    type Value = Option<Timestamp>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("seconds since the epoch or an RFC 3339 time")
    }

    fn visit_i64<E: de::Error>(self, secs: i64) -> Result<Self::Value, E> {
        Ok(Some(Timestamp(secs.saturating_mul(1000))))
    }

    fn visit_u64<E: de::Error>(self, secs: u64) -> Result<Self::Value, E> {
        self.visit_i64(i64::try_from(secs).unwrap_or(i64::MAX))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let parsed = Timestamp::parse_rfc3339(text);
        parsed.map(Some).ok_or_else(|| E::invalid_value(de::Unexpected::Other("a text"), &self))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}
