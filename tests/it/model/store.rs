//! The store's half of the model.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use cuelight::clock::Timestamp;
use cuelight::engine::dependency::Depends;
use cuelight::engine::record::RepoRecord;
use cuelight::engine::store::{
    APPROVAL_KEEP, Applied, Apply, BRAKE_WINDOW, Cause, Change, ChangeEntry, Held, Seq, Summary,
    allowance, check_note,
};
use cuelight::engine::{EngineError, Store};
use cuelight::ids::{Account, Oid};
use cuelight::work::{PushKey, RepoKey, WorkKey};

use super::{Memory, Model};

impl Memory {
    fn brake_stops(&self, loser: &RepoRecord, now: Timestamp) -> bool {
        if self.held.iter().any(|held| held.key == loser.key) {
            return true;
        }
        let lost: BTreeSet<&RepoKey> = self
            .removals
            .iter()
            .filter(|(account, _, at)| *account == loser.account && *at > now - BRAKE_WINDOW)
            .map(|(_, key, _)| key)
            .collect();
        let held_at_start: BTreeSet<&RepoKey> = self
            .records
            .values()
            .filter(|record| record.account == loser.account && record.holds_entities())
            .map(|record| &record.key)
            .chain(lost.iter().copied())
            .collect();
        lost.len() as u64 + 1 > allowance(held_at_start.len() as u64)
    }

    fn apply(&mut self, apply: Apply, limit: u64, now: Timestamp) -> Applied {
        let Apply { lease, change, settlement, cause } = apply;
        let WorkKey::Repo(repo) = lease.key.clone() else { return Applied::Stale };
        if !self.is_current(&lease) {
            return Applied::Stale;
        }
        let old = self.records.get(&repo).cloned();
        let holds = match &change {
            Change::Put { record, .. } if record.key != repo => return Applied::Stale,
            Change::Put { record, .. } => record.holds_entities(),
            Change::Remove => false,
        };
        let loser = old.clone().filter(|old| old.holds_entities() && !holds);
        let approved = loser.as_ref().is_some_and(|loser| self.is_approved(loser, now));
        if let Some(loser) = loser
            && cause == Cause::Other
            && !approved
        {
            if self.brake_stops(&loser, now) {
                if self.held.iter().all(|held| held.key != repo) {
                    let RepoRecord { full_name, account, .. } = loser;
                    self.held.push(Held { key: repo, full_name, account, since: now });
                }
                return Applied::Held(self.settle_lease(&lease, &settlement, now));
            }
            // Of one repository only the newest removal counts.
            self.removals.retain(|(_, key, _)| *key != repo);
            self.removals.push((loser.account, repo.clone(), now));
        }
        self.approvals.retain(|(key, ..)| *key != repo);
        if cause == Cause::Event || holds || approved {
            self.held.retain(|held| held.key != repo);
        }
        let written = match change {
            Change::Remove if old.is_none() => None,
            Change::Remove => {
                self.records.remove(&repo);
                self.texts.remove(&repo);
                Some(self.log(&repo, limit))
            }
            Change::Put { mut record, texts } => {
                let seq = self.log(&repo, limit);
                record.assign_seq(old.as_ref(), seq);
                let stored = self.texts.entry(repo.clone()).or_default();
                stored.extend(texts);
                let of_files = |oid: &Oid| record.files.iter().any(|file| file.oid == *oid);
                let of_others =
                    |oid: &Oid| record.dependencies.iter().any(|d| d.oid() == Some(oid));
                stored.retain(|oid, _| of_files(oid) || of_others(oid));
                self.records.insert(repo, *record);
                Some(seq)
            }
        };
        Applied::Written(written, self.settle_lease(&lease, &settlement, now))
    }

    fn is_approved(&self, record: &RepoRecord, now: Timestamp) -> bool {
        let mut given = self.approvals.iter();
        given.any(|(key, owner, end)| *key == record.key && *owner == record.account && now < *end)
    }

    fn approve(&mut self, keys: Vec<PushKey>, now: Timestamp) -> Timestamp {
        let end = now + APPROVAL_KEEP;
        for pushed in keys {
            if let WorkKey::Repo(repo) = &pushed.key {
                self.approvals.retain(|(key, ..)| key != repo);
                self.approvals.push((repo.clone(), pushed.account.clone(), end));
            }
            self.mark(pushed, now);
        }
        end
    }

    fn log(&mut self, repo: &RepoKey, limit: u64) -> Seq {
        self.seq += 1;
        self.log.retain(|(_, key)| key != repo);
        self.log.push((self.seq, repo.clone()));
        while self.log.len() as u64 > limit {
            self.forgotten = self.log.remove(0).0;
        }
        self.seq
    }
}

#[async_trait]
impl Store for Model {
    async fn get(&self, keys: Vec<RepoKey>) -> Result<Vec<Option<RepoRecord>>, EngineError> {
        let memory = self.state.lock().unwrap();
        Ok(keys.iter().map(|key| memory.records.get(key).cloned()).collect())
    }

    async fn texts(&self, key: RepoKey) -> Result<BTreeMap<Oid, String>, EngineError> {
        Ok(self.state.lock().unwrap().texts.get(&key).cloned().unwrap_or_default())
    }

    async fn apply(&self, apply: Apply) -> Result<Applied, EngineError> {
        let limit = self.limits.change_rows_max;
        let (applied, seq) =
            self.command(|memory, now| (memory.apply(apply, limit, now), memory.seq));
        self.pushed.notify_one();
        self.changed.send_replace(seq);
        Ok(applied)
    }

    async fn summaries(&self, account: Account) -> Result<Vec<Summary>, EngineError> {
        let now = self.clock.now();
        let memory = self.state.lock().unwrap();
        let of_account = memory.records.values().filter(|record| record.account == account);
        let summary = |record: &RepoRecord| {
            let mut files: Vec<_> = record
                .files
                .iter()
                .filter(|f| f.included.is_none())
                .map(|f| (f.provider.clone(), f.branch.clone(), f.path.clone(), f.oid.clone()))
                .collect();
            files.sort();
            Summary {
                key: record.key.clone(),
                node_id: record.node_id.clone(),
                full_name: record.full_name.clone(),
                listed: record.listed.clone(),
                files,
                depends: Depends::of(&record.dependencies, record.head.as_ref()),
                holds_entities: record.holds_entities(),
                is_approved: memory.is_approved(record, now),
            }
        };
        Ok(of_account.map(summary).collect())
    }

    async fn records(
        &self,
        after: Option<RepoKey>,
        limit: usize,
    ) -> Result<Vec<RepoRecord>, EngineError> {
        let memory = self.state.lock().unwrap();
        let later = memory.records.values().filter(|r| after.as_ref().is_none_or(|a| r.key > *a));
        Ok(later.take(limit).cloned().collect())
    }

    async fn last_seq(&self) -> Result<Seq, EngineError> {
        Ok(self.state.lock().unwrap().seq)
    }

    async fn changes(
        &self,
        after: Seq,
        limit: usize,
    ) -> Result<Option<Vec<ChangeEntry>>, EngineError> {
        let memory = self.state.lock().unwrap();
        if after < memory.forgotten || after > memory.seq {
            return Ok(None);
        }
        let later = memory.log.iter().filter(|(seq, _)| *seq > after).take(limit);
        let entry = |(seq, key): &(Seq, RepoKey)| ChangeEntry {
            seq: *seq,
            key: key.clone(),
            record: memory.records.get(key).cloned(),
        };
        Ok(Some(later.map(entry).collect()))
    }

    async fn wait_change(&self, after: Seq, timeout: Duration) {
        let mut changed = self.changed.subscribe();
        tokio::select! {
            biased;
            _ = changed.wait_for(|seq| *seq > after) => {}
            () = self.clock.sleep(timeout) => {}
        }
    }

    async fn held(&self) -> Result<Vec<Held>, EngineError> {
        Ok(self.state.lock().unwrap().held.clone())
    }

    async fn approve(&self, keys: Vec<PushKey>) -> Result<Timestamp, EngineError> {
        let end = self.command(|memory, now| memory.approve(keys, now));
        self.pushed.notify_one();
        Ok(end)
    }

    async fn put_note(&self, name: String, text: Option<String>) -> Result<(), EngineError> {
        check_note(&name, text.as_deref())?;
        let notes = &mut self.state.lock().unwrap().notes;
        notes.remove(&name);
        notes.extend(text.map(|text| (name, text)));
        Ok(())
    }

    async fn notes(&self, prefix: String) -> Result<Vec<(String, String)>, EngineError> {
        let notes = self.state.lock().unwrap().notes.clone();
        Ok(notes.into_iter().filter(|(name, _)| name.starts_with(&prefix)).collect())
    }
}
