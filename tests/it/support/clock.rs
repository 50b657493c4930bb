//! A clock that only the test moves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cuelight::clock::{Clock, Timestamp};
use tokio::sync::oneshot;

/// Stands still until [`ManualClock::advance`]; who sleeps is woken when its time has come.
#[derive(Debug)]
pub struct ManualClock(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    now: Timestamp,
    sleepers: BTreeMap<(Timestamp, u64), oneshot::Sender<()>>,
    slept: u64,
}

impl ManualClock {
    /// Starts at a fixed time in 2026.
    pub fn new() -> Arc<Self> {
        let inner =
            Inner { now: Timestamp(1_790_000_000_000), sleepers: BTreeMap::new(), slept: 0 };
        Arc::new(Self(Mutex::new(inner)))
    }

    /// Moves the time on and wakes everyone whose time has come, in order.
    pub fn advance(&self, span: Duration) {
        let mut inner = self.0.lock().unwrap();
        inner.now = inner.now + span;
        let after = Timestamp(inner.now.0 + 1);
        let later = inner.sleepers.split_off(&(after, 0));
        for (_, sleeper) in std::mem::replace(&mut inner.sleepers, later) {
            let _ = sleeper.send(());
        }
    }

    /// How many sleeps have begun so far: what a test waits for before it moves the time.
    pub fn slept(&self) -> u64 {
        self.0.lock().unwrap().slept
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.0.lock().unwrap().now
    }

    async fn sleep(&self, span: Duration) {
        let woken = {
            let mut inner = self.0.lock().unwrap();
            inner.slept += 1;
            if span.is_zero() {
                return;
            }
            let (sender, woken) = oneshot::channel();
            let at = (inner.now + span, inner.slept);
            inner.sleepers.insert(at, sender);
            woken
        };
        let _ = woken.await;
    }
}
