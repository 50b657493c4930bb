//! How far a scan is, as a note: a scan that failed, or whose process died, goes on from there.
//!
//! Promises that what goes on is the same scan: the same files looked up and the same filters
//! ([`fingerprint`]), begun no longer ago than [`PROGRESS_AGE_MAX`], and not before a person asked
//! for a scan. Otherwise it starts afresh, and so it does after [`TRIES_MAX`] failures at the same
//! page, for then the place itself may be what GitHub no longer accepts.
//!
//! The places of pages stay right meanwhile: a repository's place in the order of creation never
//! changes and new ones come at the end. One that changed after its page was read is found by its
//! webhook, or by the next scan.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::paging::PageSize;
use crate::clock::Timestamp;
use crate::config::Provider;
use crate::engine::{EngineError, Store};
use crate::ids::{Account, RepoId};
use crate::work::RepoKey;

/// How long ago a scan that goes on may have begun: past the hour after which a limit ends, with
/// a restart; what it listed before is older with every hour.
pub const PROGRESS_AGE_MAX: Duration = Duration::from_secs(3 * 3600);

/// Failures at the same page after which a scan starts afresh. GitHub being away is none.
pub const TRIES_MAX: u32 = 3;

/// The layout of the note and the rules of comparing; another one starts afresh.
const VERSION: u32 = 1;

/// What is kept of a scan under way.
#[derive(Debug)]
pub(super) struct Progress {
    /// When it began.
    pub started_at: Timestamp,
    /// What it looks for; see [`fingerprint`].
    pub fingerprint: String,
    /// Where the next page starts.
    pub cursor: Option<String>,
    /// How large it is.
    pub page: PageSize,
    /// How often that page failed.
    pub tries: u32,
    /// Keys pushed.
    pub pushed: u64,
    /// What the pages before listed.
    pub listed: HashSet<RepoKey>,
    /// Those of it that are to leave.
    pub leaving: Vec<RepoKey>,
}

#[derive(Serialize, Deserialize)]
struct Noted {
    started_at: Timestamp,
    fingerprint: String,
    cursor: String,
    page: u32,
    tries: u32,
    pushed: u64,
    listed: String,
    leaving: String,
}

/// A new scan's.
impl Progress {
    pub(super) fn new(started_at: Timestamp, fingerprint: String) -> Self {
        Self {
            started_at,
            fingerprint,
            cursor: None,
            page: PageSize::default(),
            tries: 0,
            pushed: 0,
            listed: HashSet::new(),
            leaving: Vec::new(),
        }
    }

    fn to_text(&self) -> Option<String> {
        let noted = Noted {
            started_at: self.started_at,
            fingerprint: self.fingerprint.clone(),
            cursor: self.cursor.clone()?,
            page: self.page.get(),
            tries: self.tries,
            pushed: self.pushed,
            listed: packed(&self.listed),
            leaving: packed(&self.leaving),
        };
        serde_json::to_string(&noted).ok()
    }

    fn from_text(text: &str, account: &Account) -> Option<Self> {
        let noted: Noted = serde_json::from_str(text).ok()?;
        let keys = |packed: &str| -> Option<Vec<RepoKey>> {
            let key = |id| RepoKey { host: account.host.clone(), id: RepoId(id) };
            Some(unpacked(packed)?.into_iter().map(key).collect())
        };
        Some(Self {
            started_at: noted.started_at,
            fingerprint: noted.fingerprint,
            cursor: Some(noted.cursor),
            page: PageSize::of(noted.page),
            tries: noted.tries,
            pushed: noted.pushed,
            listed: keys(&noted.listed)?.into_iter().collect(),
            leaving: keys(&noted.leaving)?,
        })
    }
}

/// What makes two scans of an account the same: which files are looked up, and which filters the
/// repositories of earlier pages were held against.
pub(super) fn fingerprint(login: &str, providers: &[&Provider]) -> String {
    let mut text = format!("{VERSION} {}", login.to_ascii_lowercase());
    for provider in providers {
        let Provider { id, catalog_paths, filters, .. } = provider;
        let _ = write!(text, "\n{id:?} {catalog_paths:?} {filters:?}");
    }
    Sha256::digest(text).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Keeps where the scan of `account` is. Without it only the pages are asked for again, so what
/// is too large for a note is not kept.
pub(super) async fn save(
    store: &dyn Store,
    account: &Account,
    progress: &Progress,
) -> Result<(), EngineError> {
    let Some(text) = progress.to_text() else { return Ok(()) };
    match store.put_note(progress_note(account), Some(text)).await {
        Err(EngineError::TooLarge(why)) => {
            tracing::debug!(account = %account, "the progress of the scan is not kept: {why}");
            Ok(())
        }
        kept => kept,
    }
}

/// What is kept of the scan of `account`, if it may go on now.
pub(super) async fn load(
    store: &dyn Store,
    account: &Account,
    fingerprint: &str,
    now: Timestamp,
) -> Result<Option<Progress>, EngineError> {
    let Some(progress) = kept(store, account).await? else { return Ok(None) };
    let asked = note(store, &asked_note(account)).await?;
    let asked = asked.and_then(|text| text.parse().ok()).map_or(Timestamp::EPOCH, Timestamp);
    let goes_on = progress.fingerprint == fingerprint
        && progress.tries < TRIES_MAX
        && progress.started_at >= asked
        && progress.started_at <= now
        && now.since(progress.started_at) <= PROGRESS_AGE_MAX;
    Ok(goes_on.then_some(progress))
}

/// Counts a failure at the page where the scan of `account` is.
pub(super) async fn stumbled(store: &dyn Store, account: &Account) -> Result<(), EngineError> {
    let Some(mut progress) = kept(store, account).await? else { return Ok(()) };
    progress.tries += 1;
    save(store, account, &progress).await
}

/// The scan of `account` is whole.
pub(super) async fn forget(store: &dyn Store, account: &Account) -> Result<(), EngineError> {
    store.put_note(progress_note(account), None).await
}

/// No scan of `account` that began before `at` goes on.
pub(super) async fn ask_afresh(
    store: &dyn Store,
    account: &Account,
    at: Timestamp,
) -> Result<(), EngineError> {
    store.put_note(asked_note(account), Some(at.0.to_string())).await
}

async fn kept(store: &dyn Store, account: &Account) -> Result<Option<Progress>, EngineError> {
    let text = note(store, &progress_note(account)).await?;
    Ok(text.and_then(|text| Progress::from_text(&text, account)))
}

/// The note of exactly this name.
pub(super) async fn note(store: &dyn Store, name: &str) -> Result<Option<String>, EngineError> {
    let notes = store.notes(name.to_owned()).await?;
    Ok(notes.into_iter().find(|(found, _)| found == name).map(|(_, text)| text))
}

fn progress_note(account: &Account) -> String {
    format!("scan-progress:{account}")
}

fn asked_note(account: &Account) -> String {
    format!("scan-asked:{account}")
}

/// Ids in hexadecimal, each as its distance from the one before: about five characters each.
fn packed<'a>(keys: impl IntoIterator<Item = &'a RepoKey>) -> String {
    let mut ids: Vec<u64> = keys.into_iter().map(|key| key.id.0).collect();
    ids.sort_unstable();
    ids.dedup();
    let (mut text, mut before) = (String::new(), 0);
    for id in ids {
        let _ = write!(text, "{:x},", id - before);
        before = id;
    }
    text
}

fn unpacked(text: &str) -> Option<Vec<u64>> {
    let mut before: u64 = 0;
    let distances = text.split_terminator(',').map(|part| u64::from_str_radix(part, 16).ok());
    distances
        .map(|distance| {
            before = before.checked_add(distance?)?;
            Some(before)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Filters;
    use crate::ids::{Host, OwnerId};

    fn account() -> Account {
        Account { host: Host::github_com(), owner: OwnerId(9) }
    }

    fn keys(ids: impl IntoIterator<Item = u64>) -> Vec<RepoKey> {
        ids.into_iter().map(|id| RepoKey { host: Host::github_com(), id: RepoId(id) }).collect()
    }

    #[test]
    fn what_is_kept_is_what_comes_back() {
        let mut progress = Progress::new(Timestamp(5), "print".to_owned());
        assert!(progress.to_text().is_none(), "before the first page there is nothing to keep");
        progress.cursor = Some("Y3Vyc29yOnYy".to_owned());
        progress.page = PageSize::of(25);
        progress.listed = keys([7, u64::MAX, 0, 1_200_000_000]).into_iter().collect();
        progress.leaving = keys([0, 7]);
        (progress.pushed, progress.tries) = (3, 2);
        let text = progress.to_text().expect("a text");
        let back = Progress::from_text(&text, &account()).expect("the same");
        assert_eq!(format!("{:?}", back.leaving), format!("{:?}", progress.leaving));
        assert_eq!((back.listed, back.page), (progress.listed, progress.page));
        assert_eq!((back.pushed, back.tries, back.started_at), (3, 2, Timestamp(5)));
        assert_eq!(back.cursor, progress.cursor);
        assert!(Progress::from_text(&text.replace(':', ";"), &account()).is_none());
        assert!(
            Progress::from_text(&text.replace(",\"leaving", ",x,\"leaving"), &account()).is_none()
        );
    }

    #[test]
    fn a_hundred_thousand_repositories_fit_into_a_note() {
        let ids = (0..100_000_u64).map(|n| 1_000_000 + n * 12_000 + n % 7);
        let text = packed(&keys(ids.clone()));
        assert!(text.len() * 3 / 2 < crate::engine::store::NOTE_BYTES_MAX, "{}", text.len());
        assert_eq!(unpacked(&text), Some(ids.collect()));
    }

    #[test]
    fn other_files_and_other_filters_are_another_scan() {
        let provider = |path: &str, filters: Filters| Provider {
            id: "default".to_owned(),
            host: "github.com".to_owned(),
            organization: "acme".to_owned(),
            app: None,
            catalog_paths: vec![path.to_owned()],
            filters,
            schedule: crate::config::Schedule {
                frequency: crate::config::Frequency::Manual,
                initial_delay: Duration::ZERO,
                timeout: Duration::from_secs(1),
            },
            heartbeat: crate::config::Frequency::Manual,
        };
        let print = |path: &str, filters: Filters| fingerprint("Acme", &[&provider(path, filters)]);
        let plain = print("a.yaml", Filters::default());
        assert_eq!(plain, print("a.yaml", Filters::default()));
        assert_ne!(plain, print("b.yaml", Filters::default()));
        let named =
            || Filters { repository: regex::Regex::new("^shop$").ok(), ..Filters::default() };
        assert_ne!(plain, print("a.yaml", named()));
        assert_eq!(print("a.yaml", named()), print("a.yaml", named()));
        assert_ne!(plain, fingerprint("acme", &[]));
    }
}
