//! From the text of one catalog file to entities and problems.

use crate::catalog::{Entity, ProcessedFile};

/// Where a catalog file lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// `github.com`
    pub host: String,
    /// `owner/name`
    pub full_name: String,
    /// The branch it was read from.
    pub branch: String,
    /// From the repository's root, without a leading slash.
    pub path: String,
}

/// Which kinds are allowed: `(kind, spec.type)` in lower case, any type where `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedKinds(pub Vec<(String, Option<String>)>);

/// Processes a file. `previous` are the entities of the last good run over this file; of those
/// that no good document claims now, the ones that must not vanish come back marked as stale.
pub fn process_file(
    source: &Source,
    text: &str,
    allowed: &AllowedKinds,
    previous: &[Entity],
) -> ProcessedFile {
    let _ = (source, text, allowed, previous);
    ProcessedFile::default()
}
