//! Failure on command: a queue of faults that calls run into.
//!
//! Of the faults that match a call the first one with a number of times applies, else the first
//! of those for ever, and no other. [`Fault::Latency`], [`Fault::Stale`] and the like let the
//! call go on. A latency of every call is apart from all this: [`World::set_latency`].
//!
//! [`World::set_latency`]: crate::World::set_latency

use std::time::Duration;

use crate::calls::CallKind;

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The answer comes this much later.
    Latency(Duration),
    /// This status with a JSON message.
    Status(u16),
    /// This status (200 too) with an HTML page, as a proxy would.
    Html(u16),
    /// A rate limit: 403 or 429.
    Limited {
        /// 403 or 429.
        status: u16,
        /// `retry-after` in seconds.
        retry_after: Option<u64>,
        /// `x-ratelimit-reset` in epoch seconds, with `x-ratelimit-remaining: 0`.
        reset: Option<i64>,
    },
    /// GraphQL's own form: status 200 with an error of type RATE_LIMITED.
    GraphqlLimited {
        /// `x-ratelimit-reset` in epoch seconds, with `x-ratelimit-remaining: 0`.
        reset: i64,
    },
    /// RESOURCE_LIMITS_EXCEEDED: only the first `keep` nodes are there, the rest is `null`.
    ResourceLimits {
        /// How many nodes are whole.
        keep: usize,
    },
    /// A listing shows its first `keep` repositories and says that there are no more pages.
    ShortList {
        /// How many are shown.
        keep: usize,
        /// What `totalCount` says; the truth when `None`.
        total: Option<usize>,
    },
    /// Any call for more than this many nodes gets a 502, as when a query is too heavy.
    TooHeavy {
        /// How many nodes still work.
        nodes: usize,
    },
    /// An error at one repository of a `nodes` call.
    NodeError {
        /// `owner/name`.
        repository: String,
        /// The response key under the node, or the node itself.
        field: Option<String>,
        /// GraphQL's `type`.
        kind: String,
    },
    /// All data is `null`, with an error of this kind.
    NoData {
        /// GraphQL's `type`.
        kind: String,
    },
    /// A list by REST has half of its entries, and the count of all of them.
    HalfList,
    /// The body ends half way.
    CutBody,
    /// A body of this many bytes of blanks before its end.
    HugeBody(usize),
    /// No answer, ever.
    Hang,
    /// The connection ends without an answer.
    Reset,
    /// 302 to this address.
    Redirect(String),
    /// The repositories look as they did before their last so many pushes.
    Stale {
        /// How many pushes are not seen yet.
        pushes: usize,
    },
    /// Repositories whose last push was within so many seconds look as they did before it, as on a
    /// copy that lags.
    Lagging {
        /// How far back, by the fake's time.
        seconds: i64,
    },
    /// `pushedAt` is null.
    NoPushedAt,
}

/// Which calls a fault is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// Every call.
    All,
    /// GraphQL only.
    Graphql,
    /// REST only.
    Rest,
    /// One kind.
    Of(CallKind),
}

impl Calls {
    const fn matches(self, kind: CallKind) -> bool {
        match self {
            Self::All => true,
            Self::Graphql => kind.is_graphql(),
            Self::Rest => !kind.is_graphql(),
            Self::Of(only) => only as u8 == kind as u8,
        }
    }
}

#[derive(Debug)]
struct Planned {
    fault: Fault,
    calls: Calls,
    left: Option<u64>,
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Planned>);

impl Faults {
    /// The fault this call runs into.
    pub(crate) fn take(&mut self, kind: CallKind) -> Option<Fault> {
        let matching = |planned: &&Planned| planned.calls.matches(kind);
        let place = |wanted: fn(&Planned) -> bool| {
            self.0.iter().position(|planned| matching(&planned) && wanted(planned))
        };
        let at = place(|planned| planned.left.is_some()).or_else(|| place(|_| true))?;
        let planned = &mut self.0[at];
        let fault = planned.fault.clone();
        if let Some(left) = &mut planned.left {
            *left -= 1;
            if *left == 0 {
                self.0.remove(at);
            }
        }
        Some(fault)
    }
}

impl crate::World {
    /// The next `times` matching calls run into this fault.
    pub fn fail_next(&self, times: u64, calls: Calls, fault: Fault) {
        if times > 0 {
            self.lock().faults.0.push(Planned { fault, calls, left: Some(times) });
        }
    }

    /// All matching calls run into this fault, until [`heal`](Self::heal).
    pub fn fail_always(&self, calls: Calls, fault: Fault) {
        self.lock().faults.0.push(Planned { fault, calls, left: None });
    }

    /// Every answer comes this much later than the state it shows.
    pub fn set_latency(&self, latency: Duration) {
        self.lock().latency = latency;
    }

    /// Forgets all faults; the latency stays.
    pub fn heal(&self) {
        self.lock().faults.0.clear();
    }
}
