//! One call to Redis: a script, the key that says where all others are, the time, the arguments.

use redis::{FromRedisValue, Script, ScriptInvocation};

use super::connection::Connection;
use super::scripts::Scripts;
use super::{Options, Time};
use crate::clock::SharedClock;
use crate::engine::EngineError;

/// What all verbs of the engine need.
#[derive(Debug)]
pub(super) struct Calls {
    pub connection: Connection,
    pub scripts: Scripts,
    /// `{prefix}:work`; the scripts derive the other names from it.
    pub key: String,
    pub clock: SharedClock,
    pub options: Options,
}

impl Calls {
    /// A call of `script`; further arguments may be added.
    pub fn call<'a>(&self, script: &'a Script) -> ScriptInvocation<'a> {
        let now = match self.options.time {
            Time::Server => 0,
            Time::Clock => self.clock.now().0,
        };
        let mut call = script.prepare_invoke();
        call.key(&self.key).arg(now);
        call
    }

    /// Makes the call.
    pub async fn run<T: FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, EngineError> {
        self.connection.run(call).await
    }
}

/// How a span of time is passed to a script: milliseconds, no more than Lua can count.
pub(super) fn millis(span: std::time::Duration) -> u64 {
    /// A million years.
    const MILLIS_MAX: u64 = 1 << 55;
    u64::try_from(span.as_millis()).unwrap_or(MILLIS_MAX).min(MILLIS_MAX)
}
