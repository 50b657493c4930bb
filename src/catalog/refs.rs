//! Entity refs: `[kind:][namespace/]name`, how entities point at each other.
//!
//! The lower-case form of all three parts is an entity's identity; the characters of a ref are
//! not checked, a ref may point to what does not exist.

use std::fmt;

/// The namespace of what names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// A complete ref, in the case it was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EntityRef {
    /// `Component`
    pub kind: String,
    /// `default`
    pub namespace: String,
    /// `payments`
    pub name: String,
}

/// Why a text is no ref, in Backstage's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefError {
    /// Nothing at all.
    #[error("Entity reference must not be empty")]
    Empty,
    /// One of its parts is empty.
    #[error("Entity reference \"{0}\" was not on the form [<kind>:][<namespace>/]<name>")]
    Form(String),
    /// It has no kind, and where it stands no kind goes without saying.
    #[error(
        "Entity reference {} had missing or empty kind (e.g. did not start with \
         \"component:\" or similar)",
        serde_json::Value::from(.0.as_str())
    )]
    NoKind(String),
}

impl RefError {
    /// The class of error that Backstage throws for it.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Form(_) => "TypeError",
            Self::Empty | Self::NoKind(_) => "Error",
        }
    }
}

impl EntityRef {
    /// A ref from its parts; no namespace is `default`.
    pub fn new(kind: &str, namespace: Option<&str>, name: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            namespace: namespace.unwrap_or(DEFAULT_NAMESPACE).to_owned(),
            name: name.to_owned(),
        }
    }

    /// Reads a ref; what it leaves out is filled in. The first `:` ends the kind unless a `/`
    /// comes before it, the first `/` ends the namespace, and the rest is the name.
    pub fn parse(
        text: &str,
        default_kind: Option<&str>,
        default_namespace: &str,
    ) -> Result<Self, RefError> {
        if text.is_empty() {
            return Err(RefError::Empty);
        }
        let (kind, rest) = match text.split_once(':') {
            Some((kind, rest)) if !kind.contains('/') => (Some(kind), rest),
            _ => (None, text),
        };
        let (namespace, name) = match rest.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, rest),
        };
        if kind == Some("") || namespace == Some("") || name.is_empty() {
            return Err(RefError::Form(text.to_owned()));
        }
        let kind = kind.or(default_kind).ok_or_else(|| RefError::NoKind(text.to_owned()))?;
        Ok(Self::new(kind, Some(namespace.unwrap_or(default_namespace)), name))
    }
}

/// The identity: `kind:namespace/name`, all in lower case.
impl fmt::Display for EntityRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name } = self;
        write!(f, "{}:{}/{}", kind.to_lowercase(), namespace.to_lowercase(), name.to_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, alone: &str, as_owner: &str) {
        let show = |parsed: Result<EntityRef, RefError>| match parsed {
            Ok(entity_ref) => entity_ref.to_string(),
            Err(error) => format!("{}: {error}", error.class()),
        };
        let starts = |text: String, expected: &str| {
            assert!(text.starts_with(expected), "`{text}` should start with `{expected}`");
        };
        starts(show(EntityRef::parse(text, None, DEFAULT_NAMESPACE)), alone);
        starts(show(EntityRef::parse(text, Some("Group"), "Team")), as_owner);
    }

    #[test]
    fn parts_left_out_are_filled_in() {
        check("Pay", "Error: Entity reference \"Pay\" had missing or empty kind", "group:team/pay");
        check("User:Jo", "user:default/jo", "user:team/jo");
        check("ns/Jo", "Error: Entity reference \"ns/Jo\" had missing", "group:ns/jo");
        check("API:ns/Jo", "api:ns/jo", "api:ns/jo");
    }

    #[test]
    fn only_the_first_separators_separate() {
        check("k:x:y", "k:default/x:y", "k:team/x:y");
        check("k:n/x/y:z", "k:n/x/y:z", "k:n/x/y:z");
        check("n/x:y", "Error:", "group:n/x:y");
    }

    #[test]
    fn an_empty_part_is_no_ref() {
        for text in ["k:", ":x", "/x", "n/", "k:/x", "k:n/", ":", "/"] {
            let error = format!("TypeError: Entity reference \"{text}\" was not on the form");
            check(text, &error, &error);
        }
        check("", "Error: Entity reference must not be empty", "Error: Entity reference must not");
    }

    #[test]
    fn characters_are_not_checked_and_lower_case_is_unicode() {
        check(" x y ", "Error:", "group:team/ x y ");
        check("ÄK:Ö/Ñ", "äk:ö/ñ", "äk:ö/ñ");
        let quoted = EntityRef::parse("a\"b", None, "default").unwrap_err().to_string();
        assert!(quoted.starts_with(r#"Entity reference "a\"b" had"#), "{quoted}");
    }
}
