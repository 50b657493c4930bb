//! What people ask of the running server: scans, approvals, and why a repository is in or out.
//!
//! Promises that nothing here writes the catalog: it pushes keys, or answers. Leaves out HTTP and
//! texts for terminals.

pub mod approvals;
pub mod explain;
mod foresee;
pub mod judge;
pub mod scans;
mod standing;

use std::sync::Arc;

use self::judge::Judging;
use crate::accounts::{app_account, host_of};
use crate::config::Provider;
use crate::engine::EngineError;
use crate::github::GitHubError;
use crate::ids::{Account, AppId};
use crate::reconcile::Reconciler;
use crate::scan::{ScanResult, Scanner};
use crate::schedule::{Scheduler, StartError};

/// What answering needs; cloning shares it.
#[derive(Clone)]
pub struct Operator {
    /// Listing, comparing, and who owns what.
    pub scanner: Arc<Scanner>,
    /// Reading and comparing one repository.
    pub reconciler: Arc<Reconciler>,
    /// Pushes scan keys.
    pub scheduler: Scheduler,
    /// What all who judge entities share.
    pub judging: Arc<Judging>,
}

/// Why something asked for was not done.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// No such account.
    #[error(
        "`{0}` is no account of the configuration; write `host/owner`, `owner` or `host:owner id`"
    )]
    UnknownAccount(String),
    /// What was to be approved is not what is held.
    #[error("{}", changed_text(held))]
    Changed {
        /// The names of what is held now, sorted.
        held: Vec<String>,
    },
    /// The scan key could not be pushed.
    #[error(transparent)]
    NotStarted(#[from] StartError),
    /// GitHub gave no answer to believe.
    #[error("GitHub does not say: {0}")]
    GitHub(#[from] GitHubError),
    /// GitHub is not to be asked for this now.
    #[error("{0}")]
    NotNow(String),
    /// What was asked for made us panic.
    #[error("cuelight panicked over it: {0}")]
    Panicked(String),
    /// The storage fails.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

fn changed_text(held: &[String]) -> String {
    if held.is_empty() {
        return "nothing is held for this account".to_owned();
    }
    format!("what is held now is not what was to be approved: {}", held.join(", "))
}

impl Operator {
    /// The account for people, `github.com/acme`; `github.com/app 7` for an App's own.
    pub fn label(&self, account: &Account) -> String {
        let of_app = |provider: &Provider| {
            let (app, host) = (AppId(provider.app?), host_of(provider).ok()?);
            (app_account(&host, app) == *account).then(|| format!("{host}/app {app}"))
        };
        let app = self.scanner.membership.providers().iter().find_map(of_app);
        app.unwrap_or_else(|| self.scanner.accounts.label(account, None))
    }

    /// The same, of an account whose last scan tells how it was called then: what the login is is
    /// not known right after a start.
    fn label_of_scanned(&self, account: &Account, result: &ScanResult) -> String {
        let label = self.label(account);
        if label == account.to_string() { result.label.clone() } else { label }
    }

    /// The account that `text` names: `host:owner id`, or `host/owner` or `owner` of something
    /// held, scanned or configured.
    async fn account(&self, text: &str, known: &[Account]) -> Result<Account, OperateError> {
        if let Ok(account) = text.parse() {
            return Ok(account);
        }
        let scanned = self.scanner.board.results().await?;
        let named = |account: &&Account| is_called(&self.label(account), text);
        if let Some(account) = known.iter().find(named) {
            return Ok(account.clone());
        }
        let mut scanned = scanned.iter();
        if let Some((account, _)) =
            scanned.find(|(a, result)| is_called(&self.label_of_scanned(a, result), text))
        {
            return Ok(account.clone());
        }
        for provider in self.scanner.membership.providers() {
            let Ok(host) = host_of(provider) else { continue };
            for login in self.scanner.membership.owners_of(provider) {
                if is_called(&format!("{host}/{login}"), text) {
                    let owner = self.scanner.accounts.resolve(&host, &login).await?;
                    return Ok(owner.account);
                }
            }
        }
        Err(OperateError::UnknownAccount(text.to_owned()))
    }
}

/// Whether `text` means the account of this label: all of it, or the login alone.
fn is_called(label: &str, text: &str) -> bool {
    let login = label.split_once('/').map(|(_, login)| login);
    label.eq_ignore_ascii_case(text) || login.is_some_and(|l| l.eq_ignore_ascii_case(text))
}
