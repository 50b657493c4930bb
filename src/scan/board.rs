//! How the last scan of each account ended: a note an account, so that it outlives a restart and
//! every replica sees it.
//!
//! Promises that what is read is what was written last, by whichever replica: nothing is cached.
//! Whoever waits is woken at once by a scan of this process, and looks every [`LOOK_AGAIN`] for
//! one of another.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::progress;
use crate::clock::{SharedClock, Timestamp};
use crate::engine::store::NOTE_BYTES_MAX;
use crate::engine::{EngineError, Store};
use crate::ids::{Account, RepoId};
use crate::work::RepoKey;

/// How often whoever waits for a scan looks whether another replica has ended it.
pub const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What all names of these notes begin with.
const PREFIX: &str = "scan-result:";

/// Most bytes of held names in a note; the rest of it is small. What does not fit is held all the
/// same, and told when what is told has been approved.
const HELD_BYTES_MAX: usize = NOTE_BYTES_MAX / 10 * 9;

/// Longest error that is kept, in characters.
const ERROR_CHARS_MAX: usize = 1_000;

/// The result of the last scan of each account.
pub struct ScanBoard {
    store: Arc<dyn Store>,
    clock: SharedClock,
    ended: Notify,
}

/// How a scan ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanResult {
    /// The account for people, `github.com/acme`, as it was called then.
    pub label: String,
    /// When it began; of one that went on after a failure or a restart, when its first page was
    /// asked for.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Repositories listed.
    pub listed: u64,
    /// Keys pushed.
    pub pushed: u64,
    /// Repositories whose entities would go, with their names, left alone because they are too
    /// many.
    pub held: Vec<(RepoKey, String)>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Noted {
    label: String,
    started_at: Timestamp,
    ended_at: Timestamp,
    listed: u64,
    pushed: u64,
    held: Vec<(u64, String)>,
    error: Option<String>,
}

impl ScanBoard {
    /// A board on these notes.
    pub fn new(store: Arc<dyn Store>, clock: SharedClock) -> Self {
        Self { store, clock, ended: Notify::new() }
    }

    /// The last result of each account.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn results(&self) -> Result<BTreeMap<Account, ScanResult>, EngineError> {
        let notes = self.store.notes(PREFIX.to_owned()).await?;
        let read = |(name, text): (String, String)| {
            let account: Account = name.strip_prefix(PREFIX)?.parse().ok()?;
            let result = from_text(&text, &account)?;
            Some((account, result))
        };
        Ok(notes.into_iter().filter_map(read).collect())
    }

    /// The last result of an account.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn result(&self, account: &Account) -> Result<Option<ScanResult>, EngineError> {
        let text = progress::note(&*self.store, &note_of(account)).await?;
        Ok(text.and_then(|text| from_text(&text, account)))
    }

    /// Notes that a schedule has pushed the scan key of an account.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn pushed(&self, account: &Account) -> Result<(), EngineError> {
        let now = self.clock.now().0.to_string();
        self.store.put_note(pushed_note(account), Some(now)).await
    }

    /// When the schedule of some replica last pushed the scan key of an account.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn pushed_at(&self, account: &Account) -> Result<Option<Timestamp>, EngineError> {
        let text = progress::note(&*self.store, &pushed_note(account)).await?;
        Ok(text.and_then(|text| text.parse().ok()).map(Timestamp))
    }

    /// Returns the result once a scan of `account` has ended well at or after `from`, whoever ran
    /// it.
    pub async fn wait(&self, account: &Account, from: Timestamp) -> ScanResult {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            match self.result(account).await {
                Ok(Some(result)) if result.error.is_none() && result.ended_at >= from => {
                    return result;
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "whether a scan has ended is not known"),
            }
            tokio::select! {
                () = ended => {}
                () = self.clock.sleep(LOOK_AGAIN) => {}
            }
        }
    }

    /// Notes that the removal of what the last scan of `account` left alone is approved. Returns
    /// whether there was anything.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn approved(&self, account: &Account) -> Result<bool, EngineError> {
        match self.result(account).await? {
            Some(mut result) if !result.held.is_empty() => {
                result.held.clear();
                self.post(account, result).await?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Tells how a scan of `account` ended.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn post(&self, account: &Account, result: ScanResult) -> Result<(), EngineError> {
        self.store.put_note(note_of(account), Some(to_text(result)?)).await?;
        self.ended.notify_waiters();
        Ok(())
    }
}

fn pushed_note(account: &Account) -> String {
    format!("scan-pushed:{account}")
}

fn note_of(account: &Account) -> String {
    format!("{PREFIX}{account}")
}

fn to_text(result: ScanResult) -> Result<String, EngineError> {
    // A number, its separators, and a name that JSON need not escape.
    let bytes_of = |name: &str| name.len() + 26;
    let mut bytes = 0;
    let fits = |(_, name): &(RepoKey, String)| {
        bytes += bytes_of(name);
        bytes <= HELD_BYTES_MAX
    };
    let held = result.held.into_iter().take_while(fits).map(|(key, name)| (key.id.0, name));
    let noted = Noted {
        label: result.label,
        started_at: result.started_at,
        ended_at: result.ended_at,
        listed: result.listed,
        pushed: result.pushed,
        held: held.collect(),
        error: result.error.map(|error| error.chars().take(ERROR_CHARS_MAX).collect()),
    };
    serde_json::to_string(&noted).map_err(|error| EngineError::TooLarge(error.to_string()))
}

fn from_text(text: &str, account: &Account) -> Option<ScanResult> {
    let noted: Noted = serde_json::from_str(text).ok()?;
    let key = |id| RepoKey { host: account.host.clone(), id: RepoId(id) };
    Some(ScanResult {
        label: noted.label,
        started_at: noted.started_at,
        ended_at: noted.ended_at,
        listed: noted.listed,
        pushed: noted.pushed,
        held: noted.held.into_iter().map(|(id, name)| (key(id), name)).collect(),
        error: noted.error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Host, OwnerId};

    #[test]
    fn a_result_comes_back_as_it_was_and_fits_into_a_note_however_much_is_held() {
        let account = Account { host: Host::github_com(), owner: OwnerId(9) };
        let held = |count: u64| -> Vec<(RepoKey, String)> {
            let key = |id| RepoKey { host: Host::github_com(), id: RepoId(id) };
            (0..count).map(|id| (key(id), format!("acme/{}{id}", "x".repeat(100)))).collect()
        };
        let result = |count| ScanResult {
            label: "github.com/acme".to_owned(),
            started_at: Timestamp(1),
            ended_at: Timestamp(2),
            listed: 3,
            pushed: 4,
            held: held(count),
            error: Some("no \"answer\"".to_owned()),
        };
        let text = to_text(result(50)).expect("a text");
        assert_eq!(from_text(&text, &account), Some(result(50)));
        let text = to_text(result(50_000)).expect("a text");
        assert!(text.len() <= NOTE_BYTES_MAX, "{}", text.len());
        let kept = from_text(&text, &account).expect("the same").held;
        assert_eq!(kept, held(kept.len() as u64));
        assert!(kept.len() > 5_000);
    }
}
