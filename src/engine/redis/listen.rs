//! Waiting: who sleeps is told of work and of changes that any replica made.
//!
//! # Promises
//! A wake-up lies in Redis until somebody fetches it, so a push between a look for work and the
//! sleep after it is not missed. Sleepers are told by a stream, which one task of each process
//! follows on a connection of its own; a message only says "look". One that is lost costs a delay
//! of at most [`POLL`], for sleepers look by themselves that often.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use tokio::sync::{Notify, watch};

use super::connection::{Blocking, Connection};
use crate::clock::{Clock as _, SystemClock};
use crate::engine::EngineError;
use crate::engine::store::Seq;

/// How often a sleeper looks by itself: what a lost message, or a lease of a process that died,
/// may cost on top.
pub(super) const POLL: Duration = Duration::from_secs(5);

/// How long one read of the stream lasts when nothing happens.
const READ: Duration = Duration::from_secs(2);

/// How long the task rests when the server is away. It is only for messages: calls do not wait.
const REST: Duration = Duration::from_millis(200);

/// What callers wait on.
#[derive(Debug)]
pub(super) struct Signals {
    /// Somebody should look for work.
    pub work: Notify,
    /// The last change that is known of.
    pub change: watch::Sender<Seq>,
}

impl Signals {
    /// Signals of a log that ends at `last`.
    pub fn new(last: Seq) -> Self {
        Self { work: Notify::new(), change: watch::Sender::new(last) }
    }

    /// Notes that the log has reached `seq`.
    pub fn reached(&self, seq: Seq) {
        self.change.send_if_modified(|last| {
            let is_new = seq > *last;
            *last = seq.max(*last);
            is_new
        });
    }
}

/// Follows the stream until it is dropped. `last_seq` asks for the end of the log.
pub(super) async fn follow<F, L>(
    connection: Connection,
    stream: String,
    signals: Arc<Signals>,
    last_seq: L,
) where
    L: Fn() -> F,
    F: Future<Output = Result<Seq, EngineError>>,
{
    loop {
        if let Ok(mut blocking) = connection.blocking().await {
            let error = read(&mut blocking, &stream, &signals, &last_seq).await;
            tracing::debug!(%error, "messages from redis stopped");
        }
        SystemClock.sleep(REST).await;
    }
}

/// Reads until it fails. It begins with what there is: the stream is short, what is told twice
/// does no harm, and after a fail-over its numbers may be smaller than before.
async fn read<F, L>(
    blocking: &mut Blocking,
    stream: &str,
    signals: &Signals,
    last_seq: &L,
) -> EngineError
where
    L: Fn() -> F,
    F: Future<Output = Result<Seq, EngineError>>,
{
    let mut position = "0".to_owned();
    match last_seq().await {
        Ok(seq) => signals.change.send_if_modified(|last| std::mem::replace(last, seq) != seq),
        Err(error) => return error,
    };
    loop {
        let mut next = redis::cmd("XREAD");
        let millis = u64::try_from(READ.as_millis()).unwrap_or(u64::MAX);
        next.arg("BLOCK").arg(millis).arg("STREAMS").arg(stream).arg(&position);
        let messages = match blocking.command::<Value>(&next, READ).await {
            Ok(reply) => messages(reply),
            Err(error) => return error,
        };
        if let Some((newest, _)) = messages.last() {
            position.clone_from(newest);
        }
        let mut is_work = false;
        for (_, message) in messages {
            match message {
                Message::Work => is_work = true,
                Message::Change(seq) => signals.reached(seq),
                Message::Unknown => {}
            }
        }
        if is_work {
            signals.work.notify_one();
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Message {
    Work,
    Change(Seq),
    /// Of another version.
    Unknown,
}

/// The messages of a reply with their ids: `[[stream, [[id, [field, value]], …]]]`, in RESP3 a map
/// of streams.
fn messages(reply: Value) -> Vec<(String, Message)> {
    type Entries = Vec<(String, Vec<String>)>;
    let streams: Vec<(Value, Entries)> = redis::from_redis_value(reply).unwrap_or_default();
    let message = |fields: &[String]| match fields {
        [what, _] if what == "work" => Message::Work,
        [what, seq] if what == "change" => seq.parse().map_or(Message::Unknown, Message::Change),
        _ => Message::Unknown,
    };
    let entries = streams.into_iter().flat_map(|(_, entries)| entries);
    entries.map(|(id, fields)| (id, message(&fields))).collect()
}
