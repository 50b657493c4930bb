//! Keeps talking to whichever Redis is in charge.
//!
//! # Promises
//! One connection is shared by all callers: many requests are under way on it at once. A task, the
//! keeper, owns it: it asks for a sign of life every [`BEAT`], replaces a connection that is dead,
//! silent, or to a server that is no longer the master, and while there is none tries again with
//! growing rests, at most [`REST_MAX`], for ever. So after an outage everything goes on by itself.
//! Before anybody uses a new connection the server is greeted with its history (`greet.lua`), so
//! that no change is written behind a log whose end was lost.
//!
//! Every call ends: with an answer within [`ANSWER_MAX`], or with an error. While there is no
//! connection a call waits at most [`LINK_WAIT`] for one; both together are less than a second,
//! so that who delivers a webhook is told in time. A call that ended without an answer may have
//! been carried out, or may still be: only what can safely be done twice may be tried again.
//!
//! # Leaves out
//! Trying again. Which server is in charge is the business of `discovery.rs`. Time here is the
//! machine's, not that of a handed-in clock: a network does not wait for a test.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, Script, ScriptInvocation,
    ServerErrorKind,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::discovery::{Failure, Place, connect, locate, may_move, told};
use super::scripts::Scripts;
use crate::clock::{Clock as _, SystemClock};
use crate::config::RedisSettings;
use crate::engine::EngineError;

/// How long an answer may take. Scripts take microseconds and a write to a busy disk some
/// hundred milliseconds; a server that needs longer cannot carry webhooks.
pub const ANSWER_MAX: Duration = Duration::from_millis(650);

/// How long a call waits for a connection while there is none: a server that restarts is back
/// within that, and the rest of the second is needed for the answer.
pub const LINK_WAIT: Duration = Duration::from_millis(250);

/// How often a sign of life is asked for. A dead connection is noticed by its next user at the
/// latest; this is for the time in which nobody asks anything.
pub const BEAT: Duration = Duration::from_secs(1);

/// Every so many beats it is asked whether another server is in charge now: a master that was cut
/// off from its Sentinels still answers us.
const SURVEY_BEATS: u32 = 5;

/// The first rest after a connection failed.
const REST_MIN: Duration = Duration::from_millis(25);

/// The longest rest: a server that is back is noticed within it.
pub const REST_MAX: Duration = Duration::from_millis(500);

/// How long the first connection may take: the server may be starting beside us.
const OPEN_MAX: Duration = Duration::from_secs(5);

/// Most reports of trouble that wait for the keeper; more of them say nothing new.
const REPORTS_MAX: usize = 16;

/// What a call on a closed connection is told.
const CLOSED: &str = "the connection is closed";

/// The connection; cheap to clone.
#[derive(Debug, Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: RedisSettings,
    greeting: Greeting,
    link: watch::Receiver<Link>,
    reports: mpsc::Sender<(u64, Trouble)>,
    stop: CancellationToken,
    keeper: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What there is now.
#[derive(Clone)]
enum Link {
    Up(Up),
    Down(String),
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Up(up) => write!(f, "Up({})", up.place),
            Self::Down(why) => write!(f, "Down({why})"),
        }
    }
}

#[derive(Clone)]
struct Up {
    /// Which one of all connections so far.
    number: u64,
    place: Place,
    /// Which history of writes the server has; another one after a restart or a fail-over. Empty
    /// where it does not tell.
    history: Arc<str>,
    connection: MultiplexedConnection,
}

/// How a server is greeted.
#[derive(Debug, Clone)]
struct Greeting {
    script: Arc<Script>,
    key: String,
}

impl Greeting {
    async fn give(&self, up: &mut Up, is_again: bool) -> RedisResult<u64> {
        let mut call = self.script.prepare_invoke();
        call.key(&self.key).arg(0).arg(&*up.history).arg(u8::from(is_again));
        call.invoke_async(&mut up.connection).await
    }
}

/// What a caller has noticed.
#[derive(Debug, Clone)]
enum Trouble {
    /// No answer came; the server may be slow or dead.
    Silent,
    /// The connection can never be used again, or is to the wrong server.
    Broken(String),
}

impl Connection {
    /// Connects; tries for `OPEN_MAX` unless the settings are at fault.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] with the reason, which names the server and no secret.
    pub async fn open(settings: &RedisSettings) -> Result<Self, EngineError> {
        let deadline = SystemClock.now() + OPEN_MAX;
        let mut rest = REST_MIN;
        let up = loop {
            match Up::reach(settings, 1).await {
                Ok(up) => break up,
                Err(Failure::Away(_)) if SystemClock.now() < deadline => {
                    SystemClock.sleep(rest).await;
                    rest = longer(rest);
                }
                Err(failure) => return Err(EngineError::Unavailable(failure.text().to_owned())),
            }
        };
        let (sender, link) = watch::channel(Link::Up(up.clone()));
        let (reports, inbox) = mpsc::channel(REPORTS_MAX);
        let stop = CancellationToken::new();
        let key = format!("{{{}}}:work", settings.prefix);
        let greeting = Greeting { script: Arc::new(Scripts::new().greet), key };
        let keeper =
            Keeper { settings: settings.clone(), greeting: greeting.clone(), link: sender, inbox };
        let keeper = tokio::spawn(keeper.run(up, stop.clone()));
        let keeper = Mutex::new(Some(keeper));
        let settings = settings.clone();
        let shared = Shared { settings, greeting, link, reports, stop, keeper };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Greets the server of the first connection, as the keeper does those of all others.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn greet(&self) -> Result<(), EngineError> {
        let mut up = self.up().await?;
        let answer = timeout(ANSWER_MAX, self.shared.greeting.give(&mut up, false)).await;
        self.judge(&up, answer.ok()).map(|_| ())
    }

    /// Runs a script by its hash; one that the server does not know is sent first.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] when no answer came in time or the server is not able to
    /// carry it out now; the script may have run. [`EngineError::Corrupt`] when it ran into
    /// something that it cannot read, or the answer is not a `T`.
    pub async fn run<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, EngineError> {
        let mut up = self.up().await?;
        let answer = timeout(ANSWER_MAX, script.invoke_async(&mut up.connection)).await;
        self.judge(&up, answer.ok())
    }

    /// Gives one command that does not block.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn command<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<T, EngineError> {
        let mut up = self.up().await?;
        let answer = timeout(ANSWER_MAX, cmd.query_async(&mut up.connection)).await;
        self.judge(&up, answer.ok())
    }

    /// Gives many commands at once and reads all answers.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn pipeline<T: FromRedisValue>(&self, pipe: &Pipeline) -> Result<T, EngineError> {
        let mut up = self.up().await?;
        let answer = timeout(ANSWER_MAX, pipe.query_async(&mut up.connection)).await;
        self.judge(&up, answer.ok())
    }

    /// A connection of the caller's own, to the same server, for commands that block.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`].
    pub async fn blocking(&self) -> Result<Blocking, EngineError> {
        let up = self.up().await?;
        match connect(&self.shared.settings, &up.place).await {
            Ok(connection) => Ok(Blocking { owner: self.clone(), up: Up { connection, ..up } }),
            Err(failure) => {
                self.report(&up, Trouble::Silent);
                Err(EngineError::Unavailable(failure.text().to_owned()))
            }
        }
    }

    /// Ends the keeper. Calls after it are answered [`EngineError::Unavailable`].
    pub async fn close(&self) {
        self.shared.stop.cancel();
        let keeper = self.shared.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(keeper) = keeper
            && keeper.await.is_err()
        {
            tracing::error!("the keeper of the connection to redis panicked");
        }
    }

    async fn up(&self) -> Result<Up, EngineError> {
        let mut link = self.shared.link.clone();
        // Whether it came or not, what there is then decides.
        let _ = timeout(LINK_WAIT, link.wait_for(|link| matches!(link, Link::Up(_)))).await;
        match &*link.borrow() {
            Link::Up(up) => Ok(up.clone()),
            Link::Down(why) => Err(EngineError::Unavailable(why.clone())),
        }
    }

    /// Tells the keeper what an answer says about the connection, and the caller what it says
    /// about the call. `None` is no answer.
    fn judge<T>(&self, up: &Up, answer: Option<RedisResult<T>>) -> Result<T, EngineError> {
        match answer {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => {
                if let Some(trouble) = trouble(&error) {
                    self.report(up, trouble);
                }
                Err(in_words(&up.place, &error))
            }
            None => {
                self.report(up, Trouble::Silent);
                Err(EngineError::Unavailable(silent(&up.place)))
            }
        }
    }

    fn report(&self, up: &Up, trouble: Trouble) {
        // A full inbox holds enough reports, and after a close there is nobody to read them.
        let _ = self.shared.reports.try_send((up.number, trouble));
    }
}

/// A connection for one caller and commands that block, such as `BZPOPMIN`.
///
/// A call that is dropped before its answer leaves the command waiting at the server: then the
/// connection has to be dropped too.
pub struct Blocking {
    owner: Connection,
    up: Up,
}

impl Blocking {
    /// Gives a command that the server answers after `within` at the latest.
    ///
    /// # Errors
    /// As [`Connection::run`], and when the shared connection was replaced meanwhile. After an
    /// error this connection is of no more use: ask for a new one.
    pub async fn command<T: FromRedisValue>(
        &mut self,
        cmd: &Cmd,
        within: Duration,
    ) -> Result<T, EngineError> {
        let mut link = self.owner.shared.link.clone();
        let mine = self.up.number;
        let replaced = link.wait_for(|link| match link {
            Link::Up(up) => up.number != mine,
            Link::Down(_) => true,
        });
        let asked = timeout(within + ANSWER_MAX, cmd.query_async(&mut self.up.connection));
        let answer = tokio::select! {
            answer = asked => answer,
            _ = replaced => {
                let why = format!("{}: the connection was lost", self.up.place);
                return Err(EngineError::Unavailable(why));
            }
        };
        self.owner.judge(&self.up, answer.ok())
    }
}

/// What an error says about the connection it came by; most say nothing.
fn trouble(error: &RedisError) -> Option<Trouble> {
    match error.kind() {
        ErrorKind::Io | ErrorKind::Parse => Some(Trouble::Broken(told(error))),
        ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::Moved) => {
            Some(Trouble::Broken(told(error)))
        }
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown,
        ) => Some(Trouble::Silent),
        // Redis before 7 wraps what a script ran into.
        _ if told(error).contains("READONLY") => Some(Trouble::Broken(told(error))),
        _ => None,
    }
}

fn in_words(place: &Place, error: &RedisError) -> EngineError {
    let text = format!("redis at {place}: {}", told(error));
    let is_of_data = match error.kind() {
        ErrorKind::UnexpectedReturnType => true,
        // A script says what it cannot read by a word within its error; Redis before 7 wraps what
        // it ran into.
        _ => ["WRONGTYPE", "CORRUPT "].iter().any(|word| text.contains(word)),
    };
    if is_of_data { EngineError::Corrupt(text) } else { EngineError::Unavailable(text) }
}

fn silent(place: &Place) -> String {
    format!("redis at {place} did not answer within {} ms", ANSWER_MAX.as_millis())
}

fn longer(rest: Duration) -> Duration {
    (rest * 2).min(REST_MAX)
}

impl Up {
    /// Finds the server in charge, connects to it, and looks whether it is what it should be.
    async fn reach(settings: &RedisSettings, number: u64) -> Result<Self, Failure> {
        let place = locate(settings).await?;
        let connection = connect(settings, &place).await?;
        let mut up = Self { number, place, history: "".into(), connection };
        let mut info = redis::cmd("INFO");
        info.arg("replication");
        let replication: String = up.ask(&info).await?;
        if !replication.lines().any(|line| line.trim_end() == "role:master") {
            let why = format!("redis at {} is a replica and takes no writes", up.place);
            return Err(Failure::Away(why));
        }
        let history = replication.lines().find_map(|line| line.strip_prefix("master_replid:"));
        up.history = history.unwrap_or_default().trim_end().into();
        up.ask::<String>(&redis::cmd("PING")).await?;
        Ok(up)
    }

    async fn ask<T: FromRedisValue>(&mut self, cmd: &Cmd) -> Result<T, Failure> {
        match timeout(ANSWER_MAX, cmd.query_async(&mut self.connection)).await {
            Ok(answer) => {
                answer.map_err(|error| Failure::at(&format!("redis at {}", self.place), &error))
            }
            Err(_) => Err(Failure::Away(silent(&self.place))),
        }
    }
}

/// The task that owns the connection.
struct Keeper {
    settings: RedisSettings,
    greeting: Greeting,
    link: watch::Sender<Link>,
    inbox: mpsc::Receiver<(u64, Trouble)>,
}

impl Keeper {
    async fn run(mut self, up: Up, stop: CancellationToken) {
        stop.run_until_cancelled(self.keep(up)).await;
        self.link.send_replace(Link::Down(CLOSED.to_owned()));
    }

    async fn keep(&mut self, mut up: Up) {
        loop {
            let why = self.watch_over(&mut up).await;
            tracing::warn!("lost the connection to redis at {}: {why}", up.place);
            let number = up.number + 1;
            self.link.send_replace(Link::Down(format!("redis at {}: {why}", up.place)));
            drop(up);
            up = self.replace(number).await;
            tracing::info!("connected to redis at {} again", up.place);
            self.link.send_replace(Link::Up(up.clone()));
        }
    }

    /// Returns once the connection is of no more use, with the reason.
    async fn watch_over(&mut self, up: &mut Up) -> String {
        let mut beats = 0;
        loop {
            tokio::select! {
                report = self.inbox.recv() => match report {
                    Some((number, _)) if number != up.number => continue,
                    Some((_, Trouble::Broken(why))) => return why,
                    Some((_, Trouble::Silent)) => {}
                    None => return CLOSED.to_owned(),
                },
                () = SystemClock.sleep(BEAT) => beats += 1,
            }
            if let Err(failure) = up.ask::<String>(&redis::cmd("PING")).await {
                return failure.text().to_owned();
            }
            if may_move(&self.settings)
                && beats % SURVEY_BEATS == 0
                && let Ok(place) = locate(&self.settings).await
                && place != up.place
            {
                return format!("{place} is in charge now");
            }
        }
    }

    /// Tries until there is a connection again.
    async fn replace(&mut self, number: u64) -> Up {
        let mut rest = REST_MIN;
        loop {
            match self.reach(number).await {
                Ok(up) => return up,
                Err(failure) => self.link.send_replace(Link::Down(failure.text().to_owned())),
            };
            // Replicas that lost it together shall not come back together.
            SystemClock.sleep(rest.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            rest = longer(rest);
        }
    }
    /// A connection to a server that was greeted.
    async fn reach(&self, number: u64) -> Result<Up, Failure> {
        let mut up = Up::reach(&self.settings, number).await?;
        let place = format!("redis at {}", up.place);
        match timeout(ANSWER_MAX, self.greeting.give(&mut up, true)).await {
            Ok(greeted) => greeted.map(|_| up).map_err(|error| Failure::at(&place, &error)),
            Err(_) => Err(Failure::Away(silent(&up.place))),
        }
    }
}
