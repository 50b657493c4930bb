//! The engine as an executable specification: both ports in memory, slow and obviously right.
//!
//! Every rule is written down once more, in another way than any engine does it: lists that are
//! searched from the start, no index, no short cut. When the model and an engine differ, one of
//! them, or the contract, is wrong.

mod queue;
mod store;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use cuelight::clock::{SharedClock, Timestamp};
use cuelight::engine::queue::Delivery;
use cuelight::engine::record::RepoRecord;
use cuelight::engine::store::{Held, Seq};
use cuelight::ids::{Account, Oid};
use cuelight::work::{Hint, Lane, RepoKey, WorkKey};
use tokio::sync::{Notify, watch};

/// The two bounds that engines let tests set.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most deliveries remembered.
    pub ledger_rows_max: u64,
    /// Most entries of the change log.
    pub change_rows_max: u64,
}

/// The model of an engine.
#[derive(Debug)]
pub struct Model {
    clock: SharedClock,
    limits: Limits,
    state: Mutex<Memory>,
    pushed: Notify,
    changed: watch::Sender<Seq>,
}

/// Everything that an engine keeps.
#[derive(Debug, Clone, Default)]
struct Memory {
    /// In the order in which they became waiting (or died).
    keys: Vec<Item>,
    tokens: u64,
    gates: BTreeMap<String, (Account, Timestamp, String)>,
    /// Oldest first, each with its number.
    ledger: Vec<Entered>,
    entered: u64,
    /// Takes that found something, and the number of the take that last served an account.
    /// A restart forgets both.
    takes: u64,
    served: BTreeMap<(Lane, Account), u64>,

    records: BTreeMap<RepoKey, RepoRecord>,
    texts: BTreeMap<RepoKey, BTreeMap<Oid, String>>,
    log: Vec<(Seq, RepoKey)>,
    seq: Seq,
    forgotten: Seq,
    /// Account, repository and time of every removal that the brake counted.
    removals: Vec<(Account, RepoKey, Timestamp)>,
    held: Vec<Held>,
    /// Repository, account and end of every approval.
    approvals: Vec<(RepoKey, Account, Timestamp)>,
    notes: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
struct Entered {
    number: u64,
    at: Timestamp,
    delivery: Delivery,
    outcome: &'static str,
}

#[derive(Debug, Clone)]
struct Item {
    key: WorkKey,
    account: Account,
    lane: Lane,
    hint: Hint,
    phase: Phase,
    attempts: u32,
    delays: u32,
    has_expired: bool,
    error: Option<String>,
}

#[derive(Debug, Clone)]
enum Phase {
    Waiting { not_before: Timestamp },
    Held { token: u64, until: Timestamp, dirty: Option<(Lane, Hint)> },
    Dead { since: Timestamp },
}

impl Model {
    /// An empty engine.
    pub fn new(clock: SharedClock, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            clock,
            limits,
            state: Mutex::default(),
            pushed: Notify::new(),
            changed: watch::Sender::new(0),
        })
    }

    /// What the next process finds after this one died, when there is only one at a time.
    pub fn reopened(&self) -> Arc<Self> {
        let mut state = self.state.lock().unwrap().clone();
        (state.takes, state.served) = (0, BTreeMap::new());
        state.end_leases(self.clock.now(), Timestamp(i64::MAX));
        self.with(state)
    }

    /// What a further process finds on storage that any number of them share.
    pub fn shared(&self) -> Arc<Self> {
        let mut state = self.state.lock().unwrap().clone();
        let now = self.clock.now();
        state.end_leases(now, now);
        self.with(state)
    }

    fn with(&self, state: Memory) -> Arc<Self> {
        let changed = watch::Sender::new(state.seq);
        Arc::new(Self {
            clock: Arc::clone(&self.clock),
            limits: self.limits,
            state: Mutex::new(state),
            pushed: Notify::new(),
            changed,
        })
    }

    /// Does one command at the present time, on a queue in which no lease has outlived it.
    fn command<T>(&self, run: impl FnOnce(&mut Memory, Timestamp) -> T) -> T {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap();
        state.end_leases(now, now);
        run(&mut state, now)
    }
}
