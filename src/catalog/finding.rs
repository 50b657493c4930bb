//! What a schema objects to in a value, as Backstage tells it: in words, or as a list in JSON.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

/// Most findings that are told in words; Backstage stops there, too.
const TOLD_MAX: usize = 99;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// From the root of what was checked.
    pub path: Vec<Step>,
    /// What is wrong.
    pub what: What,
}

/// A step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Into a member.
    Key(String),
    /// Into an item, from 0.
    Index(usize),
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// Another type was expected.
    Type { expected: String, received: &'static str },
    /// A key is not as keys have to be.
    Key,
    /// These keys are not known.
    Keys(Vec<String>),
    /// A whole number was expected.
    Fraction,
    /// At least one was expected.
    TooSmall,
    /// Another text was expected.
    Word { received: Option<Value>, expected: &'static str },
    /// One of some texts was expected.
    Choice { received: String, options: &'static [&'static str] },
    /// What each form that was possible objects to.
    Forms(Vec<Vec<Finding>>),
    /// There is more of it than is looked at.
    Immense,
}

/// The findings as a sentence.
pub(super) fn in_words(findings: &[Finding]) -> String {
    let told = findings.iter().take(TOLD_MAX).map(Finding::words);
    told.collect::<Vec<_>>().join("; ")
}

/// The findings as the text of a JSON list, two spaces a level.
pub(super) fn in_json(findings: &[Finding]) -> String {
    serde_json::to_string_pretty(findings).unwrap_or_default()
}

impl Finding {
    fn words(&self) -> String {
        if let What::Forms(forms) = &self.what {
            let mut told: Vec<String> = Vec::new();
            for form in forms {
                let words: Vec<String> = form.iter().map(Self::words).collect();
                let words = words.join("; ");
                if !told.contains(&words) {
                    told.push(words);
                }
            }
            return told.join(", or ");
        }
        let message = self.what.message();
        match self.path.as_slice() {
            [] => message,
            [Step::Index(index)] => format!("{message} at index {index}"),
            [Step::Key(key)] if key.is_empty() => format!("{message} at \"\"\"\""),
            [Step::Key(key)] => format!("{message} at \"{key}\""),
            path => format!("{message} at \"{}\"", joined(path)),
        }
    }
}

/// A path of several steps. Keys without a letter are set apart, dots in keys are not.
fn joined(path: &[Step]) -> String {
    let mut joined = String::new();
    for step in path {
        let is_first = joined.is_empty();
        match step {
            Step::Index(index) => joined.push_str(&format!("[{index}]")),
            Step::Key(key) if key.contains('"') => {
                joined.push_str(&format!("[\"{}\"]", key.replace('"', "\\\"")));
            }
            Step::Key(key)
                if !key.contains(|c: char| c == '$' || c == '_' || c.is_alphabetic()) =>
            {
                joined.push_str(&format!("[\"{key}\"]"));
            }
            Step::Key(key) => {
                joined.push_str(if is_first { "" } else { "." });
                joined.push_str(key);
            }
        }
    }
    joined
}

impl What {
    fn message(&self) -> String {
        match self {
            Self::Type { received: "undefined", .. } => "Required".to_owned(),
            Self::Type { expected, received } => {
                format!("Expected {expected}, received {received}")
            }
            Self::Key => "Invalid".to_owned(),
            Self::Keys(keys) => {
                let quoted: Vec<String> = keys.iter().map(|key| format!("'{key}'")).collect();
                format!("Unrecognized key(s) in object: {}", quoted.join(", "))
            }
            Self::Fraction => "Expected integer, received float".to_owned(),
            Self::TooSmall => "Number must be greater than or equal to 1".to_owned(),
            Self::Word { expected, .. } => {
                format!("Invalid literal value, expected \"{expected}\"")
            }
            Self::Choice { received, options } => {
                let quoted: Vec<String> =
                    options.iter().map(|option| format!("'{option}'")).collect();
                let quoted = quoted.join(" | ");
                format!("Invalid enum value. Expected {quoted}, received '{received}'")
            }
            Self::Forms(_) => "Invalid input".to_owned(),
            Self::Immense => "there is too much of it".to_owned(),
        }
    }
}

impl Serialize for Step {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Key(key) => serializer.serialize_str(key),
            Self::Index(index) => serializer.serialize_u64(*index as u64),
        }
    }
}

/// The findings of one form.
struct Form<'a>(&'a [Finding]);

impl Serialize for Form<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("issues", self.0)?;
        map.serialize_entry("name", "ZodError")?;
        map.end()
    }
}

/// In the order of members that Backstage writes.
impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let message = self.what.message();
        match &self.what {
            // Of a list of choices the type is told first.
            What::Type { expected, received } if expected.starts_with('\'') => {
                map.serialize_entry("expected", expected)?;
                map.serialize_entry("received", received)?;
                map.serialize_entry("code", "invalid_type")?;
            }
            What::Type { expected, received } => {
                map.serialize_entry("code", "invalid_type")?;
                map.serialize_entry("expected", expected)?;
                map.serialize_entry("received", received)?;
            }
            What::Key => {
                map.serialize_entry("validation", "regex")?;
                map.serialize_entry("code", "invalid_string")?;
                map.serialize_entry("message", &message)?;
                map.serialize_entry("path", &self.path)?;
                return map.end();
            }
            What::Keys(keys) => {
                map.serialize_entry("code", "unrecognized_keys")?;
                map.serialize_entry("keys", keys)?;
            }
            What::Word { received, expected } => {
                if let Some(received) = received {
                    map.serialize_entry("received", received)?;
                }
                map.serialize_entry("code", "invalid_literal")?;
                map.serialize_entry("expected", expected)?;
            }
            What::Choice { received, options } => {
                map.serialize_entry("received", received)?;
                map.serialize_entry("code", "invalid_enum_value")?;
                map.serialize_entry("options", options)?;
            }
            What::Forms(forms) => {
                map.serialize_entry("code", "invalid_union")?;
                let forms: Vec<Form<'_>> = forms.iter().map(|form| Form(form)).collect();
                map.serialize_entry("unionErrors", &forms)?;
            }
            What::Fraction | What::TooSmall | What::Immense => {
                map.serialize_entry("code", "custom")?;
            }
        }
        map.serialize_entry("path", &self.path)?;
        map.serialize_entry("message", &message)?;
        map.end()
    }
}
