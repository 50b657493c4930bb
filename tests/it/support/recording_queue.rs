//! A queue that remembers what was pushed, and that breaks or blocks on command.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cuelight::clock::Timestamp;
use cuelight::engine::queue::{LeaseRef, Marked, Push, Pushed, Settled, Settlement, Taken};
use cuelight::engine::{EngineError, Queue};
use cuelight::ids::{Account, DeliveryId};
use cuelight::work::WorkKey;
use tokio::sync::watch;

/// How pushes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They succeed.
    Working,
    /// They fail.
    Broken,
    /// They wait until the mode changes.
    Blocked,
}

/// Only `push` does anything.
pub struct RecordingQueue {
    mode: watch::Sender<Mode>,
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    asked: usize,
    pushes: Vec<Push>,
    deliveries: HashSet<DeliveryId>,
    keys: HashSet<WorkKey>,
}

impl RecordingQueue {
    pub fn new() -> Self {
        Self {
            mode: watch::Sender::new(Mode::Working),
            state: Mutex::default(),
            arrived: Condvar::new(),
        }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// What was pushed and kept, in order.
    pub fn pushes(&self) -> Vec<Push> {
        self.state.lock().unwrap().pushes.clone()
    }

    /// Waits until `count` pushes were asked for, kept or not.
    pub fn wait_until_asked(&self, count: usize) {
        let state = self.state.lock().unwrap();
        let limit = Duration::from_secs(20);
        let (_state, waited) =
            self.arrived.wait_timeout_while(state, limit, |state| state.asked < count).unwrap();
        assert!(!waited.timed_out(), "fewer than {count} pushes were asked for");
    }

    fn keep(&self, push: Push) -> Pushed {
        let mut state = self.state.lock().unwrap();
        let is_new = push.delivery.as_ref().is_none_or(|d| state.deliveries.insert(d.id.clone()));
        if !is_new {
            return Pushed::Duplicate;
        }
        let marks = push.keys.iter().map(|pushed| {
            if state.keys.insert(pushed.key.clone()) { Marked::Queued } else { Marked::Merged }
        });
        let marks = marks.collect();
        state.pushes.push(push);
        Pushed::Accepted(marks)
    }
}

#[async_trait]
impl Queue for RecordingQueue {
    async fn push(&self, push: Push) -> Result<Pushed, EngineError> {
        self.state.lock().unwrap().asked += 1;
        self.arrived.notify_all();
        let mut mode = self.mode.subscribe();
        let settled = mode.wait_for(|mode| *mode != Mode::Blocked).await.map(|mode| *mode);
        match settled {
            Ok(Mode::Working) => Ok(self.keep(push)),
            _ => Err(EngineError::Unavailable("disk /secret/path is full".to_owned())),
        }
    }

    async fn take(&self, _: usize, _: Duration) -> Result<Taken, EngineError> {
        Ok(Taken { leases: Vec::new(), next_due: None })
    }

    async fn extend(
        &self,
        leases: Vec<LeaseRef>,
        _: Duration,
    ) -> Result<Vec<LeaseRef>, EngineError> {
        Ok(leases)
    }

    async fn settle(
        &self,
        leases: Vec<(LeaseRef, Settlement)>,
    ) -> Result<Vec<Settled>, EngineError> {
        Ok(vec![Settled::Stale; leases.len()])
    }

    async fn gate(&self, _: Account, _: Timestamp, _: String) -> Result<(), EngineError> {
        Ok(())
    }

    async fn wait(&self, _: Duration) {}
}
