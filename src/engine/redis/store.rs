//! The store's verbs as calls of scripts.
//!
//! A record is stored as JSON that no script reads: its sequence numbers, which the scripts give,
//! stand apart and are filled in when it is read. An `apply` that is tried again after its answer
//! was lost finds its lease settled and is `Stale`, and what it wrote is there.

use std::collections::{BTreeMap, HashSet};

use redis::ScriptInvocation;

use super::calls::{Calls, millis};
use super::codec::{account, corrupt, from_json, repo_key, repo_name, to_json};
use super::pushes::key_arguments;
use super::queue::{settled_of, settlement_arguments};
use crate::clock::Timestamp;
use crate::engine::EngineError;
use crate::engine::record::{Claim, RepoRecord};
use crate::engine::store::{
    APPROVAL_KEEP, Applied, Apply, BRAKE_WINDOW, Cause, Change, ChangeEntry, Held, Seq, Summary,
};
use crate::engine::summary::StoredSummary;
use crate::ids::{Account, FullName, Oid};
use crate::work::{PushKey, RepoKey, WorkKey};

/// Most summaries read in one call, so that a scan of a large account does not hold up others.
const SUMMARIES_MAX: usize = 500;

/// Most records read in one call: large ones are some 100 kB, and an answer has to come in time.
const RECORDS_MAX: usize = 100;

/// A record as scripts give it: JSON, the change that wrote it, the number of each claim.
type StoredRecord = (Vec<u8>, Seq, Vec<Seq>);

impl Calls {
    /// See [`Store::apply`](crate::engine::Store::apply).
    pub async fn apply(&self, apply: &mut Apply) -> Result<Applied, EngineError> {
        let repo = match (&apply.lease.key, &apply.change) {
            (WorkKey::Repo(repo), Change::Put { record, .. }) if record.key == *repo => Some(repo),
            (WorkKey::Repo(repo), Change::Remove) => Some(repo),
            _ => None,
        };
        let mut call = self.call(&self.scripts.apply);
        // A write that this lease does not allow goes with a token that was never given.
        let token = if repo.is_some() { apply.lease.token } else { 0 };
        call.arg(apply.lease.key.to_string()).arg(token);
        settlement_arguments(&mut call, &apply.settlement);
        call.arg(repo.map(repo_name).unwrap_or_default());
        call.arg(if matches!(apply.change, Change::Put { .. }) { "put" } else { "remove" });
        call.arg(if apply.cause == Cause::Event { "event" } else { "other" });
        call.arg(self.options.change_rows_max).arg(millis(BRAKE_WINDOW));
        if let Change::Put { record, texts } = &mut apply.change {
            put_arguments(&mut call, record, texts)?;
        }
        let (done, seq, settled): (String, Option<Seq>, String) = self.run(&call).await?;
        match done.as_str() {
            "stale" => Ok(Applied::Stale),
            "held" => Ok(Applied::Held(settled_of(&settled)?)),
            "written" => Ok(Applied::Written(seq, settled_of(&settled)?)),
            other => Err(corrupt(format!("unknown outcome `{other}`"))),
        }
    }

    /// See [`Store::get`](crate::engine::Store::get).
    pub async fn get(&self, keys: &[RepoKey]) -> Result<Vec<Option<RepoRecord>>, EngineError> {
        let mut call = self.call(&self.scripts.get);
        for key in keys {
            call.arg(repo_name(key));
        }
        let stored: Vec<Option<StoredRecord>> = self.run(&call).await?;
        stored.into_iter().map(|stored| stored.map(read_record).transpose()).collect()
    }

    /// See [`Store::records`](crate::engine::Store::records).
    pub async fn records(
        &self,
        after: Option<&RepoKey>,
        limit: usize,
    ) -> Result<Vec<RepoRecord>, EngineError> {
        let mut records: Vec<RepoRecord> = Vec::new();
        let mut from = after.map(repo_name).unwrap_or_default();
        while records.len() < limit {
            let most = (limit - records.len()).min(RECORDS_MAX);
            let mut call = self.call(&self.scripts.records);
            call.arg(&from).arg(most);
            let page: Vec<StoredRecord> = self.run(&call).await?;
            let is_last = page.len() < most;
            for stored in page {
                records.push(read_record(stored)?);
            }
            match records.last() {
                Some(last) if !is_last => from = repo_name(&last.key),
                _ => break,
            }
        }
        Ok(records)
    }

    /// See [`Store::changes`](crate::engine::Store::changes).
    pub async fn changes(
        &self,
        after: Seq,
        limit: usize,
    ) -> Result<Option<Vec<ChangeEntry>>, EngineError> {
        let mut changes: Vec<ChangeEntry> = Vec::new();
        let mut from = after;
        loop {
            let most = (limit - changes.len()).min(RECORDS_MAX);
            let Some(page) = self.changes_page(from, most).await? else { return Ok(None) };
            let is_last = page.len() < most;
            changes.extend(page);
            match changes.last() {
                Some(last) if !is_last && changes.len() < limit => from = last.seq,
                _ => return Ok(Some(changes)),
            }
        }
    }

    async fn changes_page(
        &self,
        after: Seq,
        limit: usize,
    ) -> Result<Option<Vec<ChangeEntry>>, EngineError> {
        type Stored = (Seq, String, Option<StoredRecord>);
        let mut call = self.call(&self.scripts.changes);
        call.arg(after).arg(limit);
        let Some(stored) = self.run::<Option<Vec<Stored>>>(&call).await? else { return Ok(None) };
        let entry = |(seq, repo, record): Stored| {
            let record = record.map(read_record).transpose()?;
            Ok(ChangeEntry { seq, key: repo_key(&repo)?, record })
        };
        stored.into_iter().map(entry).collect::<Result<_, _>>().map(Some)
    }

    /// See [`Store::last_seq`](crate::engine::Store::last_seq).
    pub async fn last_seq(&self) -> Result<Seq, EngineError> {
        self.run(&self.call(&self.scripts.last_seq)).await
    }

    /// See [`Store::texts`](crate::engine::Store::texts).
    pub async fn texts(&self, key: &RepoKey) -> Result<BTreeMap<Oid, String>, EngineError> {
        let mut call = self.call(&self.scripts.texts);
        call.arg(repo_name(key));
        let stored: Vec<(String, String)> = self.run(&call).await?;
        let text = |(oid, text): (String, String)| Ok((Oid::parse(&oid).map_err(corrupt)?, text));
        stored.into_iter().map(text).collect()
    }

    /// See [`Store::summaries`](crate::engine::Store::summaries). One that is written or removed
    /// while the pages are read is as it is when its page is.
    pub async fn summaries(&self, owner: &Account) -> Result<Vec<Summary>, EngineError> {
        let mut call = self.call(&self.scripts.owned);
        call.arg(owner.to_string());
        let (mut owned, approved): (Vec<(String, u8)>, HashSet<String>) = self.run(&call).await?;
        owned.sort();
        let mut summaries = Vec::with_capacity(owned.len());
        for page in owned.chunks(SUMMARIES_MAX) {
            let mut call = self.call(&self.scripts.summaries);
            for (repo, _) in page {
                call.arg(repo);
            }
            let stored: Vec<Option<Vec<u8>>> = self.run(&call).await?;
            for ((repo, holds), stored) in page.iter().zip(stored) {
                let Some(stored) = stored else { continue };
                let stored: StoredSummary = from_json(&stored, || format!("summary of {repo}"))?;
                let (key, is_approved) = (repo_key(repo)?, approved.contains(repo));
                summaries.push(stored.into_summary(key, *holds == 1, is_approved));
            }
        }
        Ok(summaries)
    }

    /// See [`Store::held`](crate::engine::Store::held).
    pub async fn held(&self) -> Result<Vec<Held>, EngineError> {
        let stored: Vec<(String, String)> = self.run(&self.call(&self.scripts.stopped)).await?;
        let mut held = Vec::with_capacity(stored.len());
        for (repo, entry) in stored {
            let (number, entry) = read_held(&repo, &entry)?;
            held.push((entry.since, number, entry));
        }
        held.sort_by_key(|(since, number, _)| (*since, *number));
        Ok(held.into_iter().map(|(.., entry)| entry).collect())
    }

    /// See [`Store::approve`](crate::engine::Store::approve).
    pub async fn approve(&self, keys: &[PushKey]) -> Result<Timestamp, EngineError> {
        let mut repos = Vec::new();
        for key in keys {
            if let WorkKey::Repo(repo) = &key.key {
                repos.push((repo_name(repo), key.account.to_string()));
            }
        }
        let mut call = self.call(&self.scripts.approve);
        call.arg(millis(APPROVAL_KEEP)).arg(repos.len());
        for (repo, owner) in repos {
            call.arg(repo).arg(owner);
        }
        for key in keys {
            key_arguments(key).iter().for_each(|arg| {
                call.arg(arg.as_slice());
            });
        }
        Ok(Timestamp(self.run(&call).await?))
    }

    /// See [`Store::put_note`](crate::engine::Store::put_note).
    pub async fn put_note(&self, name: &str, text: Option<&str>) -> Result<(), EngineError> {
        crate::engine::store::check_note(name, text)?;
        let mut call = self.call(&self.scripts.put_note);
        call.arg(name);
        if let Some(text) = text {
            call.arg(text);
        }
        self.run(&call).await
    }

    /// See [`Store::notes`](crate::engine::Store::notes).
    pub async fn notes(&self, prefix: &str) -> Result<Vec<(String, String)>, EngineError> {
        let mut call = self.call(&self.scripts.notes);
        call.arg(prefix);
        let mut notes: Vec<(String, String)> = self.run(&call).await?;
        notes.sort();
        Ok(notes)
    }
}

fn claims(record: &mut RepoRecord) -> impl Iterator<Item = &mut Claim> {
    record.files.iter_mut().flat_map(|file| &mut file.entities)
}

fn put_arguments(
    call: &mut ScriptInvocation<'_>,
    record: &mut RepoRecord,
    texts: &BTreeMap<Oid, String>,
) -> Result<(), EngineError> {
    // The numbers are the script's; those that came along mean nothing.
    record.seq = 0;
    let mut refs = Vec::new();
    for claim in claims(record) {
        claim.claimed_seq = 0;
        refs.push(claim.entity.entity_ref.clone());
    }
    call.arg(u8::from(record.holds_entities())).arg(record.account.to_string());
    call.arg(record.full_name.as_str()).arg(to_json(record)?);
    call.arg(to_json(&StoredSummary::of(record))?);
    call.arg(refs.len());
    for entity_ref in refs {
        call.arg(entity_ref);
    }
    let oids = record.oids();
    call.arg(oids.len());
    for oid in oids {
        call.arg(oid.as_str());
    }
    for (oid, text) in texts {
        call.arg(oid.as_str()).arg(text);
    }
    Ok(())
}

fn read_record((body, seq, numbers): StoredRecord) -> Result<RepoRecord, EngineError> {
    let mut record: RepoRecord = from_json(&body, || "a record".to_owned())?;
    record.seq = seq;
    let mut numbers = numbers.into_iter();
    for claim in claims(&mut record) {
        let number = numbers.next();
        claim.claimed_seq = number.ok_or_else(|| corrupt("a record with too few claims"))?;
    }
    Ok(record)
}

/// A held removal: `since number account full-name`.
fn read_held(repo: &str, entry: &str) -> Result<(u64, Held), EngineError> {
    let wrong = || corrupt(format!("the hold of {repo} cannot be read"));
    let parts: Vec<&str> = entry.split(' ').collect();
    let [since, number, owner, name] = parts[..] else { return Err(wrong()) };
    let held = Held {
        key: repo_key(repo)?,
        full_name: FullName::parse(name).map_err(corrupt)?,
        account: account(owner)?,
        since: Timestamp(since.parse().map_err(|_| wrong())?),
    };
    Ok((number.parse().map_err(|_| wrong())?, held))
}
