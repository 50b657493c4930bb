//! What GitHub's listings say of a repository, shared by those who ask and those who keep it.

use serde::{Deserialize, Serialize};

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
