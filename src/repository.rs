//! What is asked and told of a repository, shared by those who ask and those who keep it.

use serde::{Deserialize, Serialize};

/// Largest catalog file that is read. Real ones are a few kB; a larger one is a mistake or an
/// attack on the parser.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Fields of a repository that a listing shows and filters look at; compared as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// `public`, `private` or `internal`.
    pub visibility: String,
    /// Whether it is archived.
    pub archived: bool,
    /// Whether it is a fork.
    pub fork: bool,
    /// The default branch; `None` while it is empty.
    pub default_branch: Option<String>,
    /// Its topics, sorted.
    pub topics: Vec<String>,
}

/// A file to read in every repository of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileQuery {
    /// The branch; `None` for each repository's default branch.
    pub branch: Option<String>,
    /// The path from the root, without a leading slash.
    pub path: String,
}
