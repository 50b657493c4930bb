//! What a scan would do, and why, without doing it: the dry run.
//!
//! It lists and compares as a scan does and pushes nothing. Leaves out what only reading the
//! repositories would show: whether a changed file is valid, and which entities it declares.

use std::collections::BTreeSet;

use super::{Findings, Known, Listing, Progress, Scanner};
use crate::engine::EngineError;
use crate::engine::dependency::Depends;
use crate::engine::store::Summary;
use crate::github::{GitHubError, RepoRead, Repository};
use crate::ids::{Account, FullName, Oid};
use crate::membership::Standing;

/// What a scan would do.
#[derive(Debug, Clone, Default)]
pub struct Preview {
    /// How many repositories GitHub lists.
    pub listed: u64,
    /// Repositories that come into the catalog.
    pub added: Vec<Planned>,
    /// Repositories that are read again.
    pub changed: Vec<Planned>,
    /// Repositories that go.
    pub removed: Vec<Planned>,
    /// Names of those that would be left alone, because too many would lose their entities.
    pub held: Vec<String>,
}

/// A repository and why it is in a [`Preview`].
#[derive(Debug, Clone)]
pub struct Planned {
    /// `owner/name`
    pub repository: String,
    /// In words.
    pub why: String,
    /// How it is read, if a scan would have it read.
    pub read: Option<RepoRead>,
}

impl Scanner {
    /// What a scan of `account` would do now. `Ok(Err(_))` when GitHub gave no answer to believe.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn preview(
        &self,
        account: &Account,
    ) -> Result<Result<Preview, GitHubError>, EngineError> {
        let progress = Progress::new(self.clock.now(), String::new());
        let mut findings = Findings { progress, preview: Some(Preview::default()) };
        let outcome = match self.accounts.owner(account).await {
            Ok(Some(owner)) => self.list(&owner, &self.known(&owner).await?, &mut findings).await?,
            Ok(None) => Err(GitHubError::NoSuchOwner(account.to_string())),
            Err(error) => Err(error),
        };
        let total = match outcome {
            Ok(Listing::Whole(total)) => total,
            // Not said to previews.
            Ok(Listing::PutOff(until)) => {
                let detail = "what is left is kept for events".to_owned();
                return Ok(Err(GitHubError::Limited { until, detail }));
            }
            Err(error) => return Ok(Err(error)),
        };
        let held = self.push_leaving(account, total, &mut findings).await?;
        let mut preview = findings.preview.take().unwrap_or_default();
        preview.listed = findings.progress.listed.len() as u64;
        preview.held = held.into_iter().map(|(_, name)| name).collect();
        for list in [&mut preview.added, &mut preview.changed, &mut preview.removed] {
            list.sort_by(|a, b| a.repository.cmp(&b.repository));
        }
        preview.held.sort();
        Ok(Ok(preview))
    }

    /// Notes why a listed repository leaves.
    pub(super) fn note_leaving(&self, listed: &Repository, findings: &mut Findings) {
        let Some(preview) = &mut findings.preview else { return };
        let standing =
            self.membership.standing(&listed.key.host, &listed.full_name, &listed.listed);
        let why = match standing {
            Standing::FilteredOut(why) => why,
            Standing::Stranger => "no provider names its owner".to_owned(),
            Standing::Member(_) => "it has no catalog file any more".to_owned(),
        };
        preview.removed.push(planned(&listed.full_name.to_string(), why));
    }
}

impl Findings {
    /// Notes why a listed repository is read.
    pub(super) fn note_differing(&mut self, listed: &Repository, known: &Known) {
        let Some(preview) = &mut self.preview else { return };
        let read = RepoRead { key: listed.key.clone(), node_id: Some(listed.node_id.clone()) };
        let repository = listed.full_name.to_string();
        let read = |why| Planned { repository, why, read: Some(read) };
        match known.stored.get(&listed.key) {
            _ if known.held.contains(&listed.key) => {
                preview.changed.push(read("its removal is held".to_owned()));
            }
            None => preview.added.push(read("it has a catalog file".to_owned())),
            Some(stored) => preview.changed.push(read(difference(listed, stored))),
        }
    }

    /// Notes one that is stored and was not listed.
    pub(super) fn plan_vanished(&mut self, name: &FullName) {
        let Some(preview) = &mut self.preview else { return };
        let why = "GitHub does not list it any more".to_owned();
        preview.removed.push(planned(name.as_str(), why));
    }
}

fn planned(repository: &str, why: String) -> Planned {
    Planned { repository: repository.to_owned(), why, read: None }
}

/// What differs, in words; catalog files when nothing else does.
fn difference(listed: &Repository, stored: &Summary) -> String {
    let mut differs = Vec::new();
    if stored.full_name != listed.full_name {
        differs.push(format!("it was called {}", stored.full_name));
    }
    let (old, new) = (&stored.listed, &listed.listed);
    if old.visibility != new.visibility {
        differs.push(format!("its visibility was {} and is {}", old.visibility, new.visibility));
    }
    if old.archived != new.archived {
        differs.push(format!("it is {}archived", if new.archived { "" } else { "no longer " }));
    }
    if old.fork != new.fork {
        differs.push(format!("it is {}a fork", if new.fork { "" } else { "no longer " }));
    }
    if old.default_branch != new.default_branch {
        differs.push("its default branch is another".to_owned());
    }
    if old.topics != new.topics {
        differs.push("its topics differ".to_owned());
    }
    if !stored.depends.agrees(listed.head.as_ref()) {
        differs.push("its head is another, and files that it includes may differ".to_owned());
    } else if matches!(stored.depends, Depends::Elsewhere(_)) {
        differs.push("it includes files of other branches or repositories".to_owned());
    }
    let held: BTreeSet<&Oid> = stored.files.iter().map(|(.., oid)| oid).collect();
    let seen: BTreeSet<&Oid> = listed.files.iter().flatten().map(|file| &file.oid).collect();
    if held != seen || differs.is_empty() {
        differs.push("its catalog files differ".to_owned());
    }
    differs.join("; ")
}
