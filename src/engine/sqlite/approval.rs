//! Approvals: removals that a person has looked at, which the brake lets pass once.
//!
//! Promises that an approval and the keys that bring the confirming read are written together, and
//! that an approval which has ended lets nothing pass. Leaves out when one ends otherwise: see
//! `store.rs`.

use rusqlite::params;

use super::columns::repo_columns;
use super::queue::mark;
use super::session::Session;
use crate::clock::Timestamp;
use crate::engine::EngineError;
use crate::engine::record::RepoRecord;
use crate::engine::store::APPROVAL_KEEP;
use crate::work::{PushKey, RepoKey, WorkKey};

/// See [`Store::approve`](crate::engine::Store::approve).
pub(super) fn approve(
    session: &mut Session<'_>,
    keys: &[PushKey],
) -> Result<Timestamp, EngineError> {
    let until = session.now + APPROVAL_KEEP;
    let ended = "DELETE FROM approval WHERE until <= ?1";
    session.conn.prepare_cached(ended)?.execute([session.now.0])?;
    for key in keys {
        if let WorkKey::Repo(repo) = &key.key {
            let (host, id) = repo_columns(repo);
            session
                .conn
                .prepare_cached(
                    "INSERT OR REPLACE INTO approval (host, id, account, until)
                     VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![host, id, key.account.to_string(), until.0])?;
        }
        mark(session, key)?;
    }
    session.wakes += usize::from(!keys.is_empty());
    Ok(until)
}

/// Whether the loss of this record's entities is approved.
pub(super) fn covers(session: &Session<'_>, loser: &RepoRecord) -> Result<bool, EngineError> {
    let (host, id) = repo_columns(&loser.key);
    let find = "SELECT 1 FROM approval WHERE host = ?1 AND id = ?2 AND account = ?3 AND until > ?4";
    let mut find = session.conn.prepare_cached(find)?;
    Ok(find.exists(params![host, id, loser.account.to_string(), session.now.0])?)
}

/// Ends the approval of a repository that was written.
pub(super) fn forget(session: &Session<'_>, repo: &RepoKey) -> Result<(), EngineError> {
    let (host, id) = repo_columns(repo);
    let forget = "DELETE FROM approval WHERE host = ?1 AND id = ?2";
    session.conn.prepare_cached(forget)?.execute(params![host, id])?;
    Ok(())
}
