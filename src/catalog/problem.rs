//! Problems: what an owner has to mend, with the place to mend it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is wrong, as a stable name that documentation and scripts may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The document is not YAML.
    YamlSyntax,
    /// The file, or one that a Location names, is there but cannot be read.
    FileUnreadable,
    /// The document is no entity: `apiVersion`, `kind` or `metadata.name` is missing or wrong.
    Envelope,
    /// A field breaks a rule of the entity format or of its kind.
    Schema,
    /// No such kind (or not with this `apiVersion`).
    UnknownKind,
    /// The kind exists, but `catalog.rules` do not allow it here.
    KindNotAllowed,
    /// The target of a Location is no file that may be read.
    TargetInvalid,
    /// There is no such file as a Location names, or nothing fits its pattern.
    TargetMissing,
    /// A placeholder cannot be replaced by what it names.
    Placeholder,
    /// The same ref occurs twice in one file; the last one counts.
    Duplicate,
    /// Another repository claimed the ref first.
    Conflict,
}

impl Code {
    /// Every code; `docs/problems.md` has a section for each.
    pub const ALL: [Self; 11] = [
        Self::YamlSyntax,
        Self::FileUnreadable,
        Self::Envelope,
        Self::Schema,
        Self::UnknownKind,
        Self::KindNotAllowed,
        Self::TargetInvalid,
        Self::TargetMissing,
        Self::Placeholder,
        Self::Duplicate,
        Self::Conflict,
    ];

    /// The code of a stable name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }

    /// The stable name, as in JSON: `yaml-syntax`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::YamlSyntax => "yaml-syntax",
            Self::FileUnreadable => "file-unreadable",
            Self::Envelope => "envelope",
            Self::Schema => "schema",
            Self::UnknownKind => "unknown-kind",
            Self::KindNotAllowed => "kind-not-allowed",
            Self::TargetInvalid => "target-invalid",
            Self::TargetMissing => "target-missing",
            Self::Placeholder => "placeholder",
            Self::Duplicate => "duplicate",
            Self::Conflict => "conflict",
        }
    }

    /// What it stands for, in a line.
    pub const fn summary(self) -> &'static str {
        match self {
            Self::YamlSyntax => "The document is not YAML.",
            Self::FileUnreadable => "The file is missing, too large, or cannot be read.",
            Self::Envelope => "The document is no entity: apiVersion, kind or name is not there.",
            Self::Schema => "A field breaks a rule of the entity format or of its kind.",
            Self::UnknownKind => "There is no such kind, or not with this apiVersion.",
            Self::KindNotAllowed => "The rules of the catalog do not allow files to declare it.",
            Self::TargetInvalid => "A Location names what is no file that may be read.",
            Self::TargetMissing => "A Location names a file that is not there.",
            Self::Placeholder => "A value that stands in another file cannot be put in.",
            Self::Duplicate => "Two documents of one file declare the same entity.",
            Self::Conflict => "Another file declared the same entity first.",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing wrong with one catalog file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// What kind of thing.
    pub code: Code,
    /// The file, from the repository's root.
    pub path: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// The document within the file, from 1.
    pub document: u32,
    /// The entity, as far as it is known.
    pub entity_ref: Option<String>,
    /// What is wrong and, where we can tell, how to mend it.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_place_and_their_name() {
        for (index, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, index, "{code}: counts are kept by this number");
            assert_eq!(Code::parse(code.as_str()), Some(code));
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
        assert_eq!(Code::parse("Schema"), None);
    }
}
