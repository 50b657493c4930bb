//! Pushes that come at the same time go to the server in one call.
//!
//! What a call costs the server is mostly the same for one push and for sixty-four: its script is
//! set up, the time is asked for, what came due is looked for. So a task, the gatherer, keeps at
//! most [`CALLS_MAX`] calls under way; pushes that come meanwhile wait for the next one. A push
//! that comes alone is sent at once.
//!
//! # Promises
//! Pushes of one call are carried out one after another, each as if it had come alone; the script
//! makes them one change of state, so that all are stored or none. A push that is not answered in
//! time was perhaps carried out, as every call. One whose caller has gone before it was sent is
//! not.
//!
//! # Leaves out
//! Spreading the blame: when the script runs into a stored key that it cannot read, each push of
//! the call is tried again alone, and only those fail that have to.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::calls::{Calls, millis};
use super::codec::{corrupt, pack_hint};
use super::connection::{ANSWER_MAX, LINK_WAIT};
use crate::engine::EngineError;
use crate::engine::queue::{LEDGER_KEEP, Marked, PUSH_KEYS_MAX, Push, Pushed};
use crate::work::PushKey;

/// Most calls under way: while the server carries one out, the next is on its way.
const CALLS_MAX: usize = 2;

/// Most pushes of one call. With the usual one key each the server is busy for half a millisecond.
const CALL_PUSHES_MAX: usize = 64;

/// Most pushes that wait; more callers than the receiver has connections are slowed down here.
const WAITING_MAX: usize = 4096;

/// How long a push may take in all: as long as a call that has to wait for a connection.
const PUSH_MAX: Duration = LINK_WAIT.saturating_add(ANSWER_MAX);

/// One push as the script takes it.
struct Packed {
    /// Delivery id, its text, whether it is ignored, the number of keys, then four for each key.
    args: Vec<Vec<u8>>,
    keys: usize,
}

impl Packed {
    fn of(push: &Push) -> Result<Self, EngineError> {
        let mut args = Vec::with_capacity(4 + 4 * push.keys.len());
        match &push.delivery {
            Some(delivery) => {
                args.push(delivery.id.as_str().into());
                args.push(super::ledger::text(delivery)?.into());
                args.push(if delivery.ignored.is_some() { b"1".into() } else { b"0".into() });
            }
            None => args.extend([Vec::new(), Vec::new(), b"0".into()]),
        }
        args.push(push.keys.len().to_string().into());
        args.extend(push.keys.iter().flat_map(key_arguments));
        Ok(Self { args, keys: push.keys.len() })
    }

    fn answer(&self, marks: &str) -> Result<Pushed, EngineError> {
        if marks == "duplicate" {
            return Ok(Pushed::Duplicate);
        }
        if marks.len() != self.keys {
            return Err(corrupt(format!("{} marks for {} keys", marks.len(), self.keys)));
        }
        let mark = |mark| if mark == '1' { Marked::Queued } else { Marked::Merged };
        Ok(Pushed::Accepted(marks.chars().map(mark).collect()))
    }
}

/// The four arguments by which scripts mark a key.
pub(super) fn key_arguments(key: &PushKey) -> [Vec<u8>; 4] {
    let lane = (key.lane as u8).to_string();
    [key.key.to_string().into(), key.account.to_string().into(), lane.into(), pack_hint(&key.hint)]
}

/// A push and who waits for what becomes of it.
struct Waiting {
    push: Packed,
    told: oneshot::Sender<Result<Pushed, EngineError>>,
}

/// Where pushes are handed in.
#[derive(Debug)]
pub(super) struct Pushes {
    inbox: Mutex<Option<mpsc::Sender<Waiting>>>,
    gatherer: Mutex<Option<JoinHandle<()>>>,
}

impl Pushes {
    /// Starts the gatherer; it ends when this is dropped.
    pub fn start(calls: Arc<Calls>) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let gatherer = tokio::spawn(gather(calls, receiver));
        Self { inbox: Mutex::new(Some(sender)), gatherer: Mutex::new(Some(gatherer)) }
    }

    /// See [`Queue::push`](crate::engine::Queue::push).
    pub async fn push(&self, push: &Push) -> Result<Pushed, EngineError> {
        let closed = || EngineError::Unavailable("the connection is closed".to_owned());
        let push = Packed::of(push)?;
        let inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let inbox = inbox.ok_or_else(closed)?;
        let handed_in = async {
            let (told, answer) = oneshot::channel();
            inbox.send(Waiting { push, told }).await.map_err(|_| closed())?;
            drop(inbox);
            answer.await.map_err(|_| closed())?
        };
        timeout(PUSH_MAX, handed_in).await.unwrap_or_else(|_| {
            let limit = PUSH_MAX.as_millis();
            Err(EngineError::Unavailable(format!("redis did not take the push within {limit} ms")))
        })
    }

    /// Sends what was handed in, and ends.
    pub async fn close(&self) {
        drop(self.inbox.lock().unwrap_or_else(PoisonError::into_inner).take());
        let gatherer = self.gatherer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(gatherer) = gatherer
            && gatherer.await.is_err()
        {
            tracing::error!("the gatherer of pushes to redis panicked");
        }
    }
}

/// Sends what comes until nobody can hand in any more.
async fn gather(calls: Arc<Calls>, mut inbox: mpsc::Receiver<Waiting>) {
    let mut under_way = FuturesUnordered::new();
    let mut is_open = true;
    while is_open || !under_way.is_empty() {
        let mut batch = Vec::new();
        tokio::select! {
            count = inbox.recv_many(&mut batch, CALL_PUSHES_MAX),
                if is_open && under_way.len() < CALLS_MAX => {
                is_open = count > 0;
                batch.retain(|waiting| !waiting.told.is_closed());
                if !batch.is_empty() {
                    under_way.push(deliver(&calls, batch));
                }
            }
            Some(()) = under_way.next(), if !under_way.is_empty() => {}
        }
    }
}

/// Sends a batch, in more than one call when it has more keys than one push may have.
async fn deliver(calls: &Calls, batch: Vec<Waiting>) {
    let mut call: Vec<Waiting> = Vec::with_capacity(batch.len());
    let mut keys = 0;
    for waiting in batch {
        if !call.is_empty() && keys + waiting.push.keys > PUSH_KEYS_MAX {
            carry_out(calls, std::mem::take(&mut call)).await;
            keys = 0;
        }
        keys += waiting.push.keys;
        call.push(waiting);
    }
    carry_out(calls, call).await;
}

async fn carry_out(calls: &Calls, batch: Vec<Waiting>) {
    let is_one = batch.len() == 1;
    match calls.push(batch.iter().map(|waiting| &waiting.push)).await {
        Err(EngineError::Corrupt(_)) if !is_one => {
            for waiting in batch {
                let alone = calls.push(std::iter::once(&waiting.push)).await;
                waiting.tell(alone.and_then(|mut answers| answers.pop().unwrap_or_else(none)));
            }
        }
        Err(error) => batch.into_iter().for_each(|waiting| waiting.tell(Err(error.clone()))),
        Ok(answers) => {
            let answers = answers.into_iter().chain(std::iter::repeat_with(none));
            batch.into_iter().zip(answers).for_each(|(waiting, answer)| waiting.tell(answer));
        }
    }
}

fn none() -> Result<Pushed, EngineError> {
    Err(corrupt("no answer for a push".to_owned()))
}

impl Waiting {
    fn tell(self, answer: Result<Pushed, EngineError>) {
        // Who has gone meanwhile is not told.
        let _ = self.told.send(answer);
    }
}

impl Calls {
    /// Carries out these pushes and says what became of each.
    async fn push<'a>(
        &self,
        pushes: impl Iterator<Item = &'a Packed> + Clone,
    ) -> Result<Vec<Result<Pushed, EngineError>>, EngineError> {
        let mut call = self.call(&self.scripts.push);
        call.arg(self.options.ledger_rows_max).arg(millis(LEDGER_KEEP));
        for arg in pushes.clone().flat_map(|push| &push.args) {
            call.arg(arg.as_slice());
        }
        let marks: Vec<String> = self.run(&call).await?;
        Ok(pushes.zip(marks).map(|(push, marks)| push.answer(&marks)).collect())
    }
}
