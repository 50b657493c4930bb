//! The queue's half of the model.

use std::time::Duration;

use async_trait::async_trait;
use cuelight::clock::Timestamp;
use cuelight::engine::EngineError;
use cuelight::engine::queue::{
    ERROR_CHARS_MAX, Entry, Inspect, LANE_TURN, LEDGER_KEEP, Lease, LeaseRef, LedgerEntry, Marked,
    Push, PushKey, Pushed, Queue, QueueStats, Settled, Settlement, State, Taken,
};
use cuelight::ids::Account;
use cuelight::work::{ATTEMPTS_MAX, BATCH_MAX, Lane, WorkKey};

use super::{Entered, Item, Limits, Memory, Model, Phase};

impl Memory {
    fn find(&self, key: &WorkKey) -> Option<usize> {
        self.keys.iter().position(|item| item.key == *key)
    }

    fn is_dead(&self, key: &WorkKey) -> bool {
        self.find(key).is_some_and(|i| matches!(self.keys[i].phase, Phase::Dead { .. }))
    }

    /// Moves the item to the end of the order.
    fn move_last(&mut self, index: usize) {
        let item = self.keys.remove(index);
        self.keys.push(item);
    }

    fn remembered(&self, limits: Limits, now: Timestamp) -> Vec<&Entered> {
        let fits = |e: &&Entered| {
            e.number + limits.ledger_rows_max > self.entered && e.at > now - LEDGER_KEEP
        };
        self.ledger.iter().filter(fits).collect()
    }

    pub(super) fn mark(&mut self, pushed: PushKey, now: Timestamp) -> Marked {
        let PushKey { key, account, lane, hint } = pushed;
        let waiting = Phase::Waiting { not_before: now };
        let Some(index) = self.find(&key) else {
            let (attempts, delays, has_expired, error) = (0, 0, false, None);
            let phase = waiting;
            self.keys.push(Item {
                key,
                account,
                lane,
                hint,
                phase,
                attempts,
                delays,
                has_expired,
                error,
            });
            return Marked::Queued;
        };
        let item = &mut self.keys[index];
        item.account = account;
        match &mut item.phase {
            Phase::Waiting { not_before } => {
                *not_before = now.min(*not_before);
                item.hint.merge(hint);
                (item.attempts, item.delays) = (0, 0);
                if item.lane == Lane::Scan && lane == Lane::Event {
                    item.lane = Lane::Event;
                    self.move_last(index);
                }
                Marked::Merged
            }
            Phase::Held { dirty, .. } => {
                match dirty {
                    None => *dirty = Some((lane, hint)),
                    Some((dirty_lane, dirty_hint)) => {
                        if lane == Lane::Event {
                            *dirty_lane = Lane::Event;
                        }
                        dirty_hint.merge(hint);
                    }
                }
                Marked::Merged
            }
            Phase::Dead { .. } => {
                (item.lane, item.phase) = (lane, waiting);
                item.hint.merge(hint);
                (item.attempts, item.delays) = (0, 0);
                self.move_last(index);
                Marked::Queued
            }
        }
    }

    /// Settles a held key; the caller has checked the token.
    fn settle(&mut self, index: usize, how: &Settlement, now: Timestamp) -> Settled {
        let item = &mut self.keys[index];
        let Phase::Held { dirty, .. } = &mut item.phase else { panic!("only what is held") };
        let dirty = dirty.take();
        match (how, dirty) {
            (Settlement::Done, None) => {
                self.keys.remove(index);
                Settled::Done
            }
            (Settlement::Done, Some((lane, hint))) => {
                let account = item.account.clone();
                let key = item.key.clone();
                self.keys.remove(index);
                self.mark(PushKey { key, account, lane, hint }, now);
                Settled::Waiting
            }
            (Settlement::Release, None) => {
                item.phase = Phase::Waiting { not_before: now };
                Settled::Waiting
            }
            (how, dirty) => {
                let wait = match how {
                    Settlement::Retry { error, after } => {
                        item.attempts += 1;
                        item.error = Some(error.chars().take(ERROR_CHARS_MAX).collect());
                        (item.attempts < ATTEMPTS_MAX).then_some(*after)
                    }
                    Settlement::Dead { error } => {
                        item.attempts += 1;
                        item.error = Some(error.chars().take(ERROR_CHARS_MAX).collect());
                        None
                    }
                    Settlement::Delay { after } => {
                        item.delays += 1;
                        Some(*after)
                    }
                    Settlement::Release | Settlement::Done => Some(Duration::ZERO),
                };
                let keeps_place = matches!(how, Settlement::Release)
                    && !(item.lane == Lane::Scan && matches!(dirty, Some((Lane::Event, _))));
                item.phase = match wait {
                    Some(after) => Phase::Waiting { not_before: now + after },
                    None => Phase::Dead { since: now },
                };
                if let Some((lane, hint)) = dirty {
                    if lane == Lane::Event {
                        item.lane = Lane::Event;
                    }
                    item.hint.merge(hint);
                    (item.attempts, item.delays) = (0, 0);
                    item.phase = Phase::Waiting { not_before: now };
                }
                let dead = matches!(item.phase, Phase::Dead { .. });
                if !keeps_place {
                    self.move_last(index);
                }
                if dead { Settled::Dead } else { Settled::Waiting }
            }
        }
    }

    /// Ends every lease that ends at `until` or before: each is a failed attempt.
    pub(super) fn end_leases(&mut self, now: Timestamp, until: Timestamp) {
        let mut ended: Vec<(Timestamp, u64, WorkKey)> = Vec::new();
        for item in &self.keys {
            if let Phase::Held { token, until: end, .. } = item.phase
                && end <= until
            {
                ended.push((end, token, item.key.clone()));
            }
        }
        ended.sort_by_key(|(end, token, _)| (*end, *token));
        for (_, _, key) in ended {
            let index = self.find(&key).unwrap();
            self.keys[index].has_expired = true;
            let error = "the lease ended before the work was settled: \
                         the process died, or the work took too long";
            let failed = Settlement::Retry { error: error.into(), after: Duration::ZERO };
            self.settle(index, &failed, now);
        }
    }

    fn held_by(&self, lease: &LeaseRef) -> Option<usize> {
        self.find(&lease.key).filter(
            |i| matches!(self.keys[*i].phase, Phase::Held { token, .. } if token == lease.token),
        )
    }

    pub(super) fn is_current(&self, lease: &LeaseRef) -> bool {
        self.held_by(lease).is_some()
    }

    pub(super) fn settle_lease(
        &mut self,
        lease: &LeaseRef,
        how: &Settlement,
        now: Timestamp,
    ) -> Settled {
        self.held_by(lease).map_or(Settled::Stale, |index| self.settle(index, how, now))
    }

    /// The indices of the keys of a lane that may be taken now, in order.
    fn takeable(&self, lane: Lane, now: Timestamp) -> Vec<usize> {
        let may = |item: &Item| {
            let gated =
                self.gates.get(&item.account.to_string()).is_some_and(|(_, until, _)| *until > now);
            item.lane == lane
                && !gated
                && matches!(item.phase, Phase::Waiting { not_before } if not_before <= now)
        };
        (0..self.keys.len()).filter(|i| may(&self.keys[*i])).collect()
    }

    fn choose(&self, lane: Lane, max: usize, now: Timestamp) -> Vec<usize> {
        let takeable = self.takeable(lane, now);
        let turn = |i: &usize| self.served.get(&(lane, self.keys[*i].account.clone())).copied();
        // The first of those that were served longest ago; `None` sorts first.
        let Some(first) = takeable.iter().copied().min_by_key(|i| turn(i)) else { return vec![] };
        let shares = |item: &Item| matches!(item.key, WorkKey::Repo(_)) && !item.has_expired;
        if !shares(&self.keys[first]) {
            return vec![first];
        }
        let account = &self.keys[first].account;
        let together = |i: &usize| self.keys[*i].account == *account && shares(&self.keys[*i]);
        takeable.into_iter().filter(together).take(max).collect()
    }

    fn take(&mut self, max: usize, lease: Duration, now: Timestamp) -> Taken {
        let mut lanes = [Lane::Event, Lane::Scan];
        if (self.takes + 1).is_multiple_of(LANE_TURN) {
            lanes.reverse();
        }
        let max = max.min(BATCH_MAX);
        let mut chosen = Vec::new();
        if max > 0 {
            chosen = self.choose(lanes[0], max, now);
            if chosen.is_empty() {
                chosen = self.choose(lanes[1], max, now);
            }
        }
        let mut leases = Vec::new();
        if !chosen.is_empty() {
            self.takes += 1;
        }
        for index in chosen {
            self.tokens += 1;
            let item = &mut self.keys[index];
            let until = now + lease;
            item.phase = Phase::Held { token: self.tokens, until, dirty: None };
            self.served.insert((item.lane, item.account.clone()), self.takes);
            leases.push(Lease {
                key: item.key.clone(),
                token: self.tokens,
                account: item.account.clone(),
                lane: item.lane,
                hint: item.hint.clone(),
                attempt: item.attempts + 1,
                delays: item.delays,
                expires_at: until,
            });
        }
        let more = lanes.iter().any(|lane| !self.takeable(*lane, now).is_empty());
        Taken { leases, next_due: if more { Some(now) } else { self.next_due(now) } }
    }

    fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let keys = self.keys.iter().filter_map(|item| match item.phase {
            Phase::Waiting { not_before } => Some(not_before),
            Phase::Held { until, .. } => Some(until),
            Phase::Dead { .. } => None,
        });
        let gates = self.gates.values().map(|(_, until, _)| *until);
        keys.chain(gates).filter(|at| *at > now).min()
    }
}

#[async_trait]
impl Queue for Model {
    async fn push(&self, push: Push) -> Result<Pushed, EngineError> {
        let limits = self.limits;
        let any = !push.keys.is_empty();
        let pushed = self.command(|memory, now| {
            if let Some(delivery) = &push.delivery {
                let seen = memory.remembered(limits, now);
                let seen = seen.iter().any(|e| e.delivery.id == delivery.id);
                if seen && !push.keys.iter().any(|k| memory.is_dead(&k.key)) {
                    return Pushed::Duplicate;
                }
            }
            let marks: Vec<Marked> =
                push.keys.into_iter().map(|key| memory.mark(key, now)).collect();
            if let Some(delivery) = push.delivery {
                let outcome = if delivery.ignored.is_some() || marks.is_empty() {
                    "ignored"
                } else if marks.contains(&Marked::Queued) {
                    "queued"
                } else {
                    "merged"
                };
                memory.entered += 1;
                memory.ledger.retain(|e| e.delivery.id != delivery.id);
                let number = memory.entered;
                memory.ledger.push(Entered { number, at: now, delivery, outcome });
            }
            Pushed::Accepted(marks)
        });
        if any {
            self.pushed.notify_one();
        }
        Ok(pushed)
    }

    async fn take(&self, max: usize, lease: Duration) -> Result<Taken, EngineError> {
        let taken = self.command(|memory, now| memory.take(max, lease, now));
        if taken.next_due.is_some_and(|due| due <= self.clock.now()) {
            self.pushed.notify_one();
        }
        Ok(taken)
    }

    async fn extend(
        &self,
        leases: Vec<LeaseRef>,
        lease: Duration,
    ) -> Result<Vec<LeaseRef>, EngineError> {
        Ok(self.command(|memory, now| {
            let mut lost = Vec::new();
            for named in leases {
                match memory.held_by(&named).map(|i| &mut memory.keys[i].phase) {
                    Some(Phase::Held { until, .. }) => *until = now + lease,
                    _ => lost.push(named),
                }
            }
            lost
        }))
    }

    async fn settle(
        &self,
        leases: Vec<(LeaseRef, Settlement)>,
    ) -> Result<Vec<Settled>, EngineError> {
        let settled: Vec<Settled> = self.command(|memory, now| {
            leases.iter().map(|(lease, how)| memory.settle_lease(lease, how, now)).collect()
        });
        settled.iter().filter(|s| **s == Settled::Waiting).for_each(|_| self.pushed.notify_one());
        Ok(settled)
    }

    async fn gate(
        &self,
        account: Account,
        until: Timestamp,
        reason: String,
    ) -> Result<(), EngineError> {
        self.command(|memory, now| {
            memory.gates.retain(|_, (_, until, _)| *until > now);
            let gate = memory
                .gates
                .entry(account.to_string())
                .or_insert_with(|| (account, until, reason.clone()));
            if until > gate.1 {
                (gate.1, gate.2) = (until, reason);
            }
        });
        Ok(())
    }

    async fn wait(&self, timeout: Duration) {
        let now = self.clock.now();
        let due = self.state.lock().unwrap().next_due(now).unwrap_or(now + timeout);
        tokio::select! {
            biased;
            () = self.pushed.notified() => {}
            () = self.clock.sleep(due.since(now).min(timeout)) => {}
        }
    }
}

#[async_trait]
impl Inspect for Model {
    async fn probe(&self) -> Result<(), EngineError> {
        Ok(())
    }

    async fn stats(&self) -> Result<QueueStats, EngineError> {
        let now = self.clock.now();
        let memory = self.state.lock().unwrap();
        let waiting = |lane: Lane| {
            let fits = move |item: &&Item| {
                item.lane == lane && matches!(item.phase, Phase::Waiting { .. })
            };
            memory.keys.iter().filter(fits)
        };
        let count = |fits: fn(&Phase) -> bool| {
            memory.keys.iter().filter(|item| fits(&item.phase)).count() as u64
        };
        let gates = memory.gates.values().filter(|(_, until, _)| *until > now).cloned();
        Ok(QueueStats {
            waiting_event: waiting(Lane::Event).count() as u64,
            waiting_scan: waiting(Lane::Scan).count() as u64,
            held: count(|phase| matches!(phase, Phase::Held { .. })),
            dead: count(|phase| matches!(phase, Phase::Dead { .. })),
            oldest_event: waiting(Lane::Event).map(|item| item.hint.first_seen).min(),
            gates: gates.collect(),
            durability: "a model: nothing survives the process".into(),
        })
    }

    async fn list(&self, state: State, limit: usize) -> Result<(Vec<Entry>, u64), EngineError> {
        let memory = self.state.lock().unwrap();
        let mut found: Vec<(u64, Entry)> = Vec::new();
        for (place, item) in memory.keys.iter().enumerate() {
            let (is, at, order) = match item.phase {
                Phase::Waiting { not_before } => (State::Waiting, not_before, place as u64),
                Phase::Held { until, token, .. } => (State::Held, until, token),
                Phase::Dead { since } => (State::Dead, since, place as u64),
            };
            if is == state {
                let entry = Entry {
                    key: item.key.clone(),
                    state,
                    lane: item.lane,
                    account: item.account.clone(),
                    hint: item.hint.clone(),
                    attempts: item.attempts,
                    at,
                    error: item.error.clone(),
                };
                found.push((order, entry));
            }
        }
        found.sort_by_key(|(order, _)| *order);
        let total = found.len() as u64;
        Ok((found.into_iter().map(|(_, entry)| entry).take(limit).collect(), total))
    }

    async fn retry(&self, key: WorkKey) -> Result<bool, EngineError> {
        let revived = self.command(|memory, now| {
            if !memory.is_dead(&key) {
                return false;
            }
            let index = memory.find(&key).unwrap();
            let item = &mut memory.keys[index];
            item.phase = Phase::Waiting { not_before: now };
            (item.attempts, item.delays) = (0, 0);
            memory.move_last(index);
            true
        });
        if revived {
            self.pushed.notify_one();
        }
        Ok(revived)
    }

    async fn drop(&self, key: WorkKey) -> Result<bool, EngineError> {
        Ok(self.command(|memory, _| {
            let dead = memory.is_dead(&key);
            memory.keys.retain(|item| !(dead && item.key == key));
            dead
        }))
    }

    async fn deliveries(&self, limit: usize) -> Result<(Vec<LedgerEntry>, u64), EngineError> {
        let now = self.clock.now();
        let memory = self.state.lock().unwrap();
        let remembered = memory.remembered(self.limits, now);
        let entry = |e: &&Entered| LedgerEntry { delivery: e.delivery.clone(), outcome: e.outcome };
        let entries = remembered.iter().rev().take(limit).map(entry).collect();
        Ok((entries, remembered.len() as u64))
    }
}
