//! The writer: one thread that owns the only writing connection and groups commands.
//!
//! Promises: commands run one after another, in the order in which they came; a command is
//! answered only after the commit that holds its changes succeeded; when a commit fails, every
//! command in it is answered `Unavailable` and none has changed anything; a command that fails
//! does not harm the others in its group.
//!
//! A commit waits for the disk when any command in it is [`Durability::Synced`]. What is only
//! [`Durability::Replayable`] survives the death of the process at once, and a power cut from the
//! next synced commit on, for the log keeps the order of commits: losing it means to do again
//! what a key that is still in the queue asks for.
//!
//! A group runs without savepoints, for failures are rare. When a command fails, the group is
//! rolled back and runs again with a savepoint around each command. So a job must be able to run
//! twice, and keeps nothing between its runs.

use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::session::{Counters, Session, Turns};
use super::{Options, Signals};
use crate::clock::SharedClock;
use crate::engine::EngineError;

/// Most commands in one commit: beyond this the fsync is spread thin enough.
const GROUP_MAX: usize = 256;

/// Commands that may wait for the writer before callers have to wait to hand theirs over.
pub(super) const WAITING_MAX: usize = 4096;

/// What the writer is sent.
pub(super) enum Message {
    /// A command.
    Job(Box<dyn Job>),
    /// Run what was handed over before, tidy up, end.
    Close,
}

/// What a command's answer promises of a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Durability {
    /// Nothing: were it lost, the queue would have it done again.
    Replayable,
    /// That it is on the disk: somebody outside was told so.
    Synced,
}

impl Durability {
    /// The value of `PRAGMA synchronous`.
    const fn pragma(self) -> &'static str {
        match self {
            Self::Replayable => "NORMAL",
            Self::Synced => "FULL",
        }
    }
}

/// A command with its way back.
pub(super) trait Job: Send {
    /// What its answer promises.
    fn durability(&self) -> Durability;
    /// Does the work inside the open transaction.
    fn run(&mut self, session: &mut Session<'_>) -> Result<(), EngineError>;
    /// Answers the caller: the output of the last run, or why there is none.
    fn answer(self: Box<Self>, outcome: Result<(), EngineError>);
}

/// A [`Job`] made of a closure.
struct Task<F, O> {
    durability: Durability,
    run: F,
    output: Option<O>,
    reply: oneshot::Sender<Result<O, EngineError>>,
}

impl<F, O> Job for Task<F, O>
where
    F: FnMut(&mut Session<'_>) -> Result<O, EngineError> + Send,
    O: Send,
{
    fn durability(&self) -> Durability {
        self.durability
    }

    fn run(&mut self, session: &mut Session<'_>) -> Result<(), EngineError> {
        self.output = Some((self.run)(session)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), EngineError>) {
        let Self { output, reply, .. } = *self;
        // A caller that no longer waits has nothing to be told; the command stands.
        let _ = reply.send(outcome.and_then(|()| output.ok_or_else(closed)));
    }
}

/// Hands a command to the writer and waits until it is committed as durably as asked.
pub(super) async fn submit<F, O>(
    writer: &mpsc::Sender<Message>,
    durability: Durability,
    run: F,
) -> Result<O, EngineError>
where
    F: FnMut(&mut Session<'_>) -> Result<O, EngineError> + Send + 'static,
    O: Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    let task = Task { durability, run, output: None, reply };
    writer.send(Message::Job(Box::new(task))).await.map_err(|_| closed())?;
    answer.await.map_err(|_| closed())?
}

/// What everyone is told after the end.
pub(super) fn closed() -> EngineError {
    EngineError::Unavailable("the database is closed".to_owned())
}

/// The writer's own state.
pub(super) struct Writer {
    pub conn: Connection,
    pub clock: SharedClock,
    pub options: Options,
    pub signals: std::sync::Arc<Signals>,
    pub counters: Counters,
    pub turns: Turns,
    /// The setting in force on `conn`.
    pub durability: Durability,
}

impl Writer {
    /// Works until it is told to close or everyone who could send is gone.
    pub fn work(mut self, mut inbox: mpsc::Receiver<Message>) {
        let mut group: Vec<Box<dyn Job>> = Vec::with_capacity(GROUP_MAX);
        while let Some(first) = inbox.blocking_recv() {
            // Where callers share our core, those that are about to send get to it first: groups
            // become twice as large. Where they do not, this returns at once.
            std::thread::yield_now();
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Job(job) => group.push(job),
                    Message::Close => inbox.close(),
                }
                next = if group.len() < GROUP_MAX { inbox.try_recv().ok() } else { None };
            }
            if !group.is_empty() {
                self.commit_group(&mut group);
            }
        }
        self.conn.flush_prepared_statement_cache();
        // Not a matter of durability: the next start would read the log instead.
        if let Err(error) = self.conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
            tracing::warn!(%error, "the write-ahead log was not folded into the database");
        }
    }

    /// Runs the commands in one transaction and answers them.
    fn commit_group(&mut self, group: &mut Vec<Box<dyn Job>>) {
        let counters = self.counters;
        let mut outcomes = Vec::with_capacity(group.len());
        let mut done = self.transact(group, Isolation::None, &mut outcomes);
        if matches!(done, Err(Failed::Command)) {
            self.counters = counters;
            done = self.transact(group, Isolation::Savepoints, &mut outcomes);
        }
        match done {
            Ok(tell) => {
                // First, so that whoever has an answer finds its consequences told.
                self.signals.tell(tell);
                for (job, outcome) in group.drain(..).zip(outcomes) {
                    job.answer(outcome);
                }
            }
            Err(failed) => {
                self.counters = counters;
                let error = failed.into_error();
                tracing::error!(%error, commands = group.len(), "commit failed");
                for job in group.drain(..) {
                    job.answer(Err(error.clone()));
                }
            }
        }
    }

    fn transact(
        &mut self,
        group: &mut [Box<dyn Job>],
        isolation: Isolation,
        outcomes: &mut Vec<Result<(), EngineError>>,
    ) -> Result<Tell, Failed> {
        outcomes.clear();
        let wanted = group.iter().map(|job| job.durability()).max();
        self.promise(wanted.unwrap_or(Durability::Synced)).map_err(Failed::sql)?;
        let now = self.clock.now();
        let counters = self.counters;
        let tx = self
            .conn
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(Failed::sql)?;
        let mut session = Session {
            conn: &tx,
            now,
            counters: &mut self.counters,
            turns: &mut self.turns,
            options: &self.options,
            wakes: 0,
        };
        session.begin().map_err(Failed::Group)?;
        for job in group {
            let outcome = match isolation {
                Isolation::None => job.run(&mut session),
                Isolation::Savepoints => isolated(&mut session, job.as_mut()),
            };
            if outcome.is_err() && isolation == Isolation::None {
                return Err(Failed::Command);
            }
            outcomes.push(outcome);
            if tx.is_autocommit() {
                // SQLite gave up the whole transaction, as it does when the disk is full.
                let lost = "the transaction was rolled back: is the disk full?".to_owned();
                return Err(Failed::Group(EngineError::Unavailable(lost)));
            }
        }
        let tell = Tell {
            wakes: session.wakes,
            due: session.next_due().map_err(Failed::Group)?,
            change: session.counters.change,
        };
        session.counters.save(&tx, &counters).map_err(Failed::Group)?;
        tx.commit().map_err(Failed::sql)?;
        Ok(tell)
    }
}

impl Writer {
    /// Makes the next commit as durable as `wanted`.
    fn promise(&mut self, wanted: Durability) -> rusqlite::Result<()> {
        if self.durability != wanted {
            self.conn.pragma_update(None, "synchronous", wanted.pragma())?;
            self.durability = wanted;
        }
        Ok(())
    }
}

/// Runs one command so that its failure undoes its own changes only.
fn isolated(session: &mut Session<'_>, job: &mut dyn Job) -> Result<(), EngineError> {
    let (counters, wakes) = (*session.counters, session.wakes);
    session.conn.execute_batch("SAVEPOINT command")?;
    let outcome = job.run(session);
    if outcome.is_err() {
        (*session.counters, session.wakes) = (counters, wakes);
        // When SQLite has already rolled back everything, this fails, and the caller sees it.
        session.conn.execute_batch("ROLLBACK TO command")?;
    }
    session.conn.execute_batch("RELEASE command")?;
    outcome
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Isolation {
    None,
    Savepoints,
}

/// Why a group was not committed.
enum Failed {
    /// One command failed: try again with savepoints.
    Command,
    /// The transaction itself failed: everyone is told.
    Group(EngineError),
}

impl Failed {
    fn sql(error: rusqlite::Error) -> Self {
        Self::Group(error.into())
    }

    fn into_error(self) -> EngineError {
        match self {
            Self::Command => EngineError::Unavailable("a command of the group failed".to_owned()),
            Self::Group(error) => error,
        }
    }
}

/// What waiting callers learn from a commit.
pub(super) struct Tell {
    /// How many waiters to wake.
    pub wakes: usize,
    /// When something comes due by itself.
    pub due: Option<crate::clock::Timestamp>,
    /// The last change.
    pub change: u64,
}

/// How long a statement waits for a lock that another program holds on the file.
pub(super) const BUSY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::{Notify, watch};

    use super::*;
    use crate::clock::SystemClock;
    use crate::engine::sqlite::schema;

    fn writer(path: &std::path::Path) -> Writer {
        let conn = schema::open_writer(path, BUSY).expect("a new file");
        let counters = Counters::load(&conn).expect("a new file");
        let signals = Signals {
            work: Notify::new(),
            due: watch::Sender::new(None),
            change: watch::Sender::new(0),
        };
        Writer {
            conn,
            clock: Arc::new(SystemClock),
            options: Options::default(),
            signals: Arc::new(signals),
            counters,
            turns: Turns::default(),
            durability: Durability::Synced,
        }
    }

    /// The level at which a group of commands of these durabilities is committed.
    fn level(writer: &mut Writer, group: &[Durability]) -> i64 {
        let mut answers = Vec::new();
        let mut jobs: Vec<Box<dyn Job>> = Vec::new();
        for durability in group {
            let (reply, answer) = oneshot::channel();
            let run = |session: &mut Session<'_>| {
                let level = session.conn.query_row("PRAGMA synchronous", [], |row| row.get(0));
                Ok::<i64, EngineError>(level.expect("a pragma"))
            };
            jobs.push(Box::new(Task { durability: *durability, run, output: None, reply }));
            answers.push(answer);
        }
        writer.commit_group(&mut jobs);
        let mut levels = answers.iter_mut().map(|a| a.try_recv().expect("answered").expect("done"));
        let first = levels.next().expect("one command at least");
        assert!(levels.all(|level| level == first));
        first
    }

    #[test]
    fn a_group_waits_for_the_disk_when_one_of_its_commands_must() {
        const NORMAL: i64 = 1;
        const FULL: i64 = 2;
        let dir = tempfile::tempdir().expect("a directory");
        let mut writer = writer(&dir.path().join("cuelight.db"));
        let (synced, replayable) = (Durability::Synced, Durability::Replayable);
        assert_eq!(level(&mut writer, &[synced]), FULL);
        assert_eq!(level(&mut writer, &[replayable, replayable]), NORMAL);
        assert_eq!(level(&mut writer, &[replayable, synced, replayable]), FULL);
        assert_eq!(level(&mut writer, &[replayable]), NORMAL);
    }
}
