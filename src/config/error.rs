//! What is wrong with a configuration, with the place in the file that says it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::catalog::yaml::Position;

/// Where a layer of the configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// How it is named to people: a path as it was given, a variable, a flag.
    pub name: String,
    /// The folder that relative paths in it start from; none outside files.
    pub folder: PathBuf,
    /// How strict the reader is with it.
    pub kind: SourceKind,
}

/// How strict the reader is with a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// Ours: unknown keys are errors.
    Own,
    /// Backstage's file: keys that we do not know are its own business.
    Backstage,
}

/// A place in a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The layer.
    pub source: Arc<Source>,
    /// The place in its file; none for variables and flags.
    pub at: Option<Position>,
}

impl Origin {
    /// Whether the place is in a file of Backstage's.
    pub fn is_backstage(&self) -> bool {
        self.source.kind == SourceKind::Backstage
    }
}

/// `file:line:column`, or the name of the variable or flag.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source.name)?;
        match self.at {
            Some(at) => write!(f, ":{}:{}", at.line, at.column),
            None => Ok(()),
        }
    }
}

/// One thing wrong. The message names keys and what is allowed, never the value of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Where.
    pub origin: Origin,
    /// What.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.message)
    }
}

/// Everything wrong with a configuration, over all its files; never empty. Prints a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
