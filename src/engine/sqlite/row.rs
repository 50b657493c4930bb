//! A key's row in the queue and what may happen to it: pure, so that it reads like the contract.
//!
//! Every rule about budgets, lanes, places and merged hints stands here. Which rows exist, and
//! the short cuts for the common cases, stand in `queue.rs`.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::engine::queue::{ERROR_CHARS_MAX, PushKey, Settled, Settlement};
use crate::work::{ATTEMPTS_MAX, Hint, Lane};

/// What is told of a key whose lease ended by itself.
const EXPIRED: &str = "the lease ended before the work was settled: \
                       the process died, or the work took too long";

/// Where a row stands, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowState {
    /// Waiting and due.
    Ready = 0,
    /// Waiting for a time.
    Delayed = 1,
    /// Leased.
    Held = 2,
    /// Given up on.
    Dead = 3,
}

/// Whether a key may share a take with others, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    /// A repository: many are taken at once.
    Shared = 0,
    /// A key of another kind.
    Kind = 1,
    /// A repository whose lease has expired before.
    Expired = 2,
}

/// A row of `work` but its key.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub state: RowState,
    pub lane: Lane,
    pub account: String,
    pub place: i64,
    pub company: Company,
    pub due: Timestamp,
    pub token: i64,
    pub attempts: u32,
    pub delays: u32,
    pub hint: Hint,
    pub dirty: Option<(Lane, Hint)>,
    pub error: Option<String>,
}

/// Gives the next place at the end of the order in which keys became waiting.
pub(super) trait Places {
    /// A place behind every other.
    fn next_place(&mut self) -> i64;
}

impl Row {
    /// Takes in a push; true when the key was dead and waits now.
    pub fn push(&mut self, pushed: &PushKey, now: Timestamp, places: &mut impl Places) -> bool {
        self.account = pushed.account.to_string();
        let was_dead = self.state == RowState::Dead;
        match self.state {
            RowState::Held => match &mut self.dirty {
                Some((lane, hint)) => {
                    *lane = better(*lane, pushed.lane);
                    hint.merge(pushed.hint.clone());
                }
                none => *none = Some((pushed.lane, pushed.hint.clone())),
            },
            RowState::Dead => {
                self.lane = pushed.lane;
                self.hint.merge(pushed.hint.clone());
                self.revive(now, places);
            }
            RowState::Ready | RowState::Delayed => {
                if better(self.lane, pushed.lane) != self.lane {
                    self.lane = pushed.lane;
                    self.place = places.next_place();
                }
                self.hint.merge(pushed.hint.clone());
                self.fresh_budget();
                self.due = self.due.min(now);
                self.state = RowState::Ready;
            }
        }
        was_dead
    }

    /// Makes a dead key wait with a fresh budget.
    pub fn revive(&mut self, now: Timestamp, places: &mut impl Places) {
        self.fresh_budget();
        self.wait(Duration::ZERO, now, places);
    }

    /// Ends the current lease; [`Settled::Done`] means that the row is to be deleted.
    pub fn settle(
        &mut self,
        how: &Settlement,
        now: Timestamp,
        places: &mut impl Places,
    ) -> Settled {
        match how {
            Settlement::Done => {
                let Some((lane, hint)) = self.dirty.take() else { return Settled::Done };
                (self.lane, self.hint, self.error) = (lane, hint, None);
                if self.company == Company::Expired {
                    self.company = Company::Shared;
                }
                self.revive(now, places);
                Settled::Waiting
            }
            Settlement::Retry { error, after } => {
                self.fail(error);
                let again = (self.attempts < ATTEMPTS_MAX).then_some(*after);
                self.wait_or_die(again, now, places)
            }
            Settlement::Dead { error } => {
                self.fail(error);
                self.wait_or_die(None, now, places)
            }
            Settlement::Delay { after } => {
                self.delays = self.delays.saturating_add(1);
                if !self.take_in_dirty(now, places) {
                    self.wait(*after, now, places);
                }
                Settled::Waiting
            }
            Settlement::Release => {
                let (lane, place) = (self.lane, self.place);
                self.take_in_dirty(now, places);
                if self.lane == lane {
                    self.place = place;
                }
                (self.state, self.due, self.token) = (RowState::Ready, now, 0);
                Settled::Waiting
            }
        }
    }

    /// Ends a lease that nobody settled: a failed attempt.
    pub fn expire(&mut self, now: Timestamp, places: &mut impl Places) {
        self.fail(EXPIRED);
        if self.company == Company::Shared {
            self.company = Company::Expired;
        }
        let again = (self.attempts < ATTEMPTS_MAX).then_some(Duration::ZERO);
        self.wait_or_die(again, now, places);
    }

    fn fail(&mut self, error: &str) {
        self.attempts = self.attempts.saturating_add(1);
        self.error = Some(error.chars().take(ERROR_CHARS_MAX).collect());
    }

    fn wait_or_die(
        &mut self,
        again: Option<Duration>,
        now: Timestamp,
        places: &mut impl Places,
    ) -> Settled {
        if self.take_in_dirty(now, places) {
            return Settled::Waiting;
        }
        if let Some(after) = again {
            self.wait(after, now, places);
            return Settled::Waiting;
        }
        (self.state, self.due, self.token) = (RowState::Dead, now, 0);
        self.place = places.next_place();
        Settled::Dead
    }

    /// A push during the run counts as one just after it: due at once with a fresh budget.
    fn take_in_dirty(&mut self, now: Timestamp, places: &mut impl Places) -> bool {
        let Some((lane, hint)) = self.dirty.take() else { return false };
        self.lane = better(self.lane, lane);
        self.hint.merge(hint);
        self.revive(now, places);
        true
    }

    fn fresh_budget(&mut self) {
        (self.attempts, self.delays) = (0, 0);
    }

    fn wait(&mut self, after: Duration, now: Timestamp, places: &mut impl Places) {
        self.due = now + after;
        self.state = if self.due > now { RowState::Delayed } else { RowState::Ready };
        self.token = 0;
        self.place = places.next_place();
    }
}

fn better(one: Lane, other: Lane) -> Lane {
    one.min(other)
}
