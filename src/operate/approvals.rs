//! Approvals of what the brake holds: exactly a list that somebody has seen.
//!
//! Held are single repositories (by the store, on every path) and whole sets that a scan left
//! alone. Both are approved alike: the store notes each repository and pushes its key, a read
//! confirms that it is to go, and then the brake lets it pass once.

use std::collections::{BTreeMap, BTreeSet};

use super::{OperateError, Operator, is_called};
use crate::clock::Timestamp;
use crate::engine::EngineError;
use crate::health::CheckState;
use crate::ids::{Account, FullName};
use crate::work::{Hint, Lane, PushKey, Reasons, RepoKey, WorkKey};

/// Most repositories of one approval: far above any account's, and still one small transaction.
pub const APPROVED_MAX: usize = 20_000;

/// A removal that waits for a person.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// The repository.
    pub key: RepoKey,
    /// Its name.
    pub full_name: String,
    /// Its account.
    pub account: Account,
    /// Since when.
    pub since: Timestamp,
}

/// What was approved.
#[derive(Debug, Clone)]
pub struct Approved {
    /// Whose.
    pub account: Account,
    /// The repositories' names, sorted.
    pub repositories: Vec<String>,
    /// When the approval ends if no read has confirmed it.
    pub until: Timestamp,
}

impl Operator {
    /// Every removal that waits for a person, by account and name, each repository once.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn waiting(&self) -> Result<Vec<Waiting>, EngineError> {
        let mut waiting = BTreeMap::new();
        for (account, result) in self.scanner.board.results().await? {
            for (key, full_name) in result.held {
                let (account, since) = (account.clone(), result.ended_at);
                waiting.insert(key.clone(), Waiting { key, full_name, account, since });
            }
        }
        for held in self.scanner.store.held().await? {
            let crate::engine::store::Held { key, full_name, account, since } = held;
            let full_name = full_name.to_string();
            waiting.insert(key.clone(), Waiting { key, full_name, account, since });
        }
        let mut waiting: Vec<Waiting> = waiting.into_values().collect();
        waiting.sort_by(|a, b| (&a.account, &a.full_name).cmp(&(&b.account, &b.full_name)));
        Ok(waiting)
    }

    /// What waits for the account that `text` names.
    ///
    /// # Errors
    /// When there is no such account, GitHub does not say who it is, or the storage fails.
    pub async fn waiting_of(&self, text: &str) -> Result<(Account, Vec<Waiting>), OperateError> {
        let mut waiting = self.waiting().await?;
        let by_owner = |one: &&Waiting| label_of(one).is_some_and(|label| is_called(&label, text));
        let account = match waiting.iter().find(by_owner) {
            Some(one) => one.account.clone(),
            None => {
                let known: Vec<Account> = waiting.iter().map(|one| one.account.clone()).collect();
                self.account(text, &known).await?
            }
        };
        waiting.retain(|one| one.account == account);
        Ok((account, waiting))
    }

    /// Approves the removals that wait for an account: all of them, if they are exactly those of
    /// `seen` (names, in any order and case), or if nothing was said of what was seen.
    ///
    /// # Errors
    /// [`OperateError::Changed`] when nothing waits or something else does; nothing was approved.
    pub async fn approve(
        &self,
        account: &str,
        seen: Option<&[String]>,
    ) -> Result<Approved, OperateError> {
        let (account, waiting) = self.waiting_of(account).await?;
        let lower = |names: &mut dyn Iterator<Item = &String>| -> BTreeSet<String> {
            names.map(|name| name.to_ascii_lowercase()).collect()
        };
        let now = lower(&mut waiting.iter().map(|one| &one.full_name));
        let is_same = seen.is_none_or(|seen| lower(&mut seen.iter()) == now);
        let repositories: Vec<String> = waiting.iter().map(|one| one.full_name.clone()).collect();
        if waiting.is_empty() || waiting.len() > APPROVED_MAX || !is_same {
            return Err(OperateError::Changed { held: repositories });
        }
        let at = self.scanner.clock.now();
        let key = |one: Waiting| {
            let mut hint = Hint::new(Reasons::REFRESH, at);
            hint.name = FullName::parse(&one.full_name).ok();
            PushKey { key: WorkKey::Repo(one.key), account: one.account, lane: Lane::Event, hint }
        };
        let until = self.scanner.store.approve(waiting.into_iter().map(key).collect()).await?;
        self.tell_approved(&account, repositories.len()).await?;
        Ok(Approved { account, repositories, until })
    }

    /// The next scan says what has become of them.
    async fn tell_approved(&self, account: &Account, count: usize) -> Result<(), EngineError> {
        let left_alone = self.scanner.board.approved(account).await?;
        let label = self.label(account);
        tracing::info!(account = %account, "the removal of {count} repositories of {label} is approved");
        if left_alone {
            let detail = format!("the removal of {count} repositories is approved");
            self.scanner.health.set_of_account("scan", account, &label, CheckState::Ok, detail);
        }
        Ok(())
    }
}

/// The account as people write it, by the owner in a repository's name: known also right after a
/// start, before anything was asked of GitHub.
fn label_of(waiting: &Waiting) -> Option<String> {
    let (owner, _) = waiting.full_name.split_once('/')?;
    Some(format!("{}/{owner}", waiting.account.host))
}
