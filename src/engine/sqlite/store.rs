//! The store's one command, `apply`, as the writer runs it: fence, brake, record, log, settling.

use std::collections::{BTreeMap, HashSet};

use rusqlite::{OptionalExtension, params};

use super::approval;
use super::columns::{from_json, repo_columns, seq_column, to_json};
use super::queue::{is_current, settle_one};
use super::session::Session;
use crate::engine::EngineError;
use crate::engine::record::RepoRecord;
use crate::engine::store::{Applied, Apply, BRAKE_WINDOW, Cause, Change, Seq, allowance};
use crate::engine::summary::StoredSummary;
use crate::ids::Oid;
use crate::work::{RepoKey, WorkKey};

/// See [`Store::apply`](crate::engine::Store::apply).
pub(super) fn apply(session: &mut Session<'_>, apply: &mut Apply) -> Result<Applied, EngineError> {
    let WorkKey::Repo(repo) = &apply.lease.key else { return Ok(Applied::Stale) };
    let foreign = match &apply.change {
        Change::Put { record, .. } => record.key != *repo,
        Change::Remove => false,
    };
    if foreign || !is_current(session, &apply.lease)? {
        return Ok(Applied::Stale);
    }
    let old = stored_record(session, repo)?;
    let holds = match &apply.change {
        Change::Put { record, .. } => record.holds_entities(),
        Change::Remove => false,
    };
    let loser = old.as_ref().filter(|old| old.holds_entities() && !holds);
    let is_approved = match loser {
        Some(loser) => approval::covers(session, loser)?,
        None => false,
    };
    if let Some(loser) = loser
        && apply.cause == Cause::Other
        && !is_approved
        && !may_lose(session, loser)?
    {
        hold(session, loser)?;
        return Ok(Applied::Held(settle_one(session, &apply.lease, &apply.settlement)?));
    }
    approval::forget(session, repo)?;
    if holds || is_approved || apply.cause == Cause::Event {
        let (host, id) = repo_columns(repo);
        session
            .conn
            .prepare_cached("DELETE FROM held WHERE host = ?1 AND id = ?2")?
            .execute(params![host, id])?;
    }
    let seq = match &mut apply.change {
        Change::Put { record, texts } => Some(put(session, record, texts, old.as_ref())?),
        Change::Remove if old.is_some() => Some(remove(session, repo)?),
        Change::Remove => None,
    };
    Ok(Applied::Written(seq, settle_one(session, &apply.lease, &apply.settlement)?))
}

fn stored_record(session: &Session<'_>, repo: &RepoKey) -> Result<Option<RepoRecord>, EngineError> {
    let (host, id) = repo_columns(repo);
    let body: Option<String> = session
        .conn
        .prepare_cached("SELECT body FROM repo WHERE host = ?1 AND id = ?2")?
        .query_row(params![host, id], |r| r.get(0))
        .optional()?;
    body.map(|body| from_json(&body, || format!("record of {repo}"))).transpose()
}

/// Asks the brake, and counts the removal when it lets it pass.
fn may_lose(session: &Session<'_>, loser: &RepoRecord) -> Result<bool, EngineError> {
    let (host, id) = repo_columns(&loser.key);
    let account = loser.account.to_string();
    let since = (session.now - BRAKE_WINDOW).0;
    let held = session
        .conn
        .prepare_cached("SELECT 1 FROM held WHERE host = ?1 AND id = ?2")?
        .exists(params![host, id])?;
    if held {
        return Ok(false);
    }
    session.conn.prepare_cached("DELETE FROM removal WHERE at <= ?1")?.execute([since])?;
    let count = |sql: &str| -> Result<u64, EngineError> {
        Ok(session.conn.prepare_cached(sql)?.query_row([&account], |r| r.get(0))?)
    };
    let lost = count("SELECT count(*) FROM removal WHERE account = ?1")?;
    let holding = count("SELECT count(*) FROM repo WHERE account = ?1 AND holds = 1")?;
    let lost_and_gone = count(
        "SELECT count(*) FROM removal WHERE account = ?1 AND NOT EXISTS (SELECT 1 FROM repo
         WHERE repo.host = removal.host AND repo.id = removal.id AND holds = 1
         AND repo.account = removal.account)",
    )?;
    if lost >= allowance(holding + lost_and_gone) {
        return Ok(false);
    }
    session
        .conn
        .prepare_cached(
            "INSERT OR REPLACE INTO removal (host, id, account, at) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![host, id, account, session.now.0])?;
    Ok(true)
}

fn hold(session: &Session<'_>, record: &RepoRecord) -> Result<(), EngineError> {
    let (host, id) = repo_columns(&record.key);
    session
        .conn
        .prepare_cached(
            "INSERT INTO held (host, id, full_name, account, since) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (host, id) DO NOTHING",
        )?
        .execute(params![
            host,
            id,
            record.full_name.as_str(),
            record.account.to_string(),
            session.now.0
        ])?;
    Ok(())
}

fn put(
    session: &mut Session<'_>,
    record: &mut RepoRecord,
    texts: &BTreeMap<Oid, String>,
    old: Option<&RepoRecord>,
) -> Result<Seq, EngineError> {
    let seq = log_change(session, &record.key)?;
    record.assign_seq(old, seq);
    let (host, id) = repo_columns(&record.key);
    session
        .conn
        .prepare_cached(
            "INSERT INTO repo (host, id, account, holds, summary, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (host, id) DO UPDATE SET
             account = excluded.account, holds = excluded.holds, summary = excluded.summary,
             body = excluded.body",
        )?
        .execute(params![
            host,
            id,
            record.account.to_string(),
            record.holds_entities(),
            to_json(&StoredSummary::of(record))?,
            to_json(record)?,
        ])?;
    put_texts(session, record, texts)?;
    Ok(seq)
}

fn put_texts(
    session: &Session<'_>,
    record: &RepoRecord,
    texts: &BTreeMap<Oid, String>,
) -> Result<(), EngineError> {
    let (host, id) = repo_columns(&record.key);
    let oids: HashSet<&str> = record.oids().into_iter().map(Oid::as_str).collect();
    let wanted = |oid: &str| oids.contains(oid);
    let stored: Vec<String> = session
        .conn
        .prepare_cached("SELECT oid FROM text WHERE host = ?1 AND id = ?2")?
        .query_map(params![host, id], |r| r.get(0))?
        .collect::<Result<_, _>>()?;
    for oid in stored.iter().filter(|oid| !wanted(oid)) {
        session
            .conn
            .prepare_cached("DELETE FROM text WHERE host = ?1 AND id = ?2 AND oid = ?3")?
            .execute(params![host, id, oid])?;
    }
    for (oid, body) in texts.iter().filter(|(oid, _)| wanted(oid.as_str())) {
        session
            .conn
            .prepare_cached(
                "INSERT INTO text (host, id, oid, body) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (host, id, oid) DO UPDATE SET body = excluded.body",
            )?
            .execute(params![host, id, oid.as_str(), body])?;
    }
    Ok(())
}

fn remove(session: &mut Session<'_>, repo: &RepoKey) -> Result<Seq, EngineError> {
    let (host, id) = repo_columns(repo);
    session
        .conn
        .prepare_cached("DELETE FROM repo WHERE host = ?1 AND id = ?2")?
        .execute(params![host, id])?;
    session
        .conn
        .prepare_cached("DELETE FROM text WHERE host = ?1 AND id = ?2")?
        .execute(params![host, id])?;
    log_change(session, repo)
}

/// Gives the repository the next number in the log, in place of the one it had.
fn log_change(session: &mut Session<'_>, repo: &RepoKey) -> Result<Seq, EngineError> {
    let (host, id) = repo_columns(repo);
    session.counters.change += 1;
    let seq = session.counters.change;
    let replaced = session
        .conn
        .prepare_cached("DELETE FROM change WHERE host = ?1 AND id = ?2")?
        .execute(params![host, id])?;
    session
        .conn
        .prepare_cached("INSERT INTO change (seq, host, id) VALUES (?1, ?2, ?3)")?
        .execute(params![seq_column(seq), host, id])?;
    session.counters.log_rows += u64::from(replaced == 0);
    while session.counters.log_rows > session.options.change_rows_max {
        let oldest = "DELETE FROM change WHERE seq = (SELECT min(seq) FROM change) RETURNING seq";
        session.counters.floor =
            session.conn.prepare_cached(oldest)?.query_row([], |r| r.get(0))?;
        session.counters.log_rows -= 1;
    }
    Ok(seq)
}
