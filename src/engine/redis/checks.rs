//! Whether a Redis can be trusted with our state, looked at before anything is kept in it.
//!
//! # Promises
//! Refused are a server that may remove keys by itself, one that is too old, and one whose layout
//! was written by a newer cuelight. What its settings can lose is said in words, as they are at
//! the time of asking. Everything is read by `INFO`, since a small user or a managed server may
//! not be asked for its configuration; only how often the append-only file is synced is not told
//! there and stays unknown without `CONFIG GET`.
//!
//! # Eviction
//! Every policy but `noeviction` is refused, also where no `maxmemory` is set and nothing can be
//! removed today: who sets a limit tomorrow would lose acknowledged work without any error.

use std::fmt;

use super::connection::Connection;
use crate::config::RedisSettings;
use crate::engine::EngineError;

/// The layout of the keys that this version reads and writes.
pub const LAYOUT: u64 = 1;

/// The oldest Redis: what scripts may do and `SET` can say is as we need it since then.
const VERSION_MIN: (u32, u32) = (6, 2);

/// Why a Redis is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It cannot be reached or does not let us in.
    #[error("cannot use {storage}: {reason}")]
    Away {
        /// The address.
        storage: String,
        /// What is wrong.
        reason: String,
    },
    /// It may remove keys by itself.
    #[error(
        "{storage} may remove keys when memory is short (maxmemory-policy {policy}), and with them \
         work that was acknowledged; set `maxmemory-policy noeviction` in redis.conf (at once: \
         `CONFIG SET maxmemory-policy noeviction`), or give cuelight a Redis of its own"
    )]
    Evicts {
        /// The address.
        storage: String,
        /// Its policy.
        policy: String,
    },
    /// It is too old.
    #[error("{storage} is Redis {found}, and 6.2 or newer is needed")]
    Version {
        /// The address.
        storage: String,
        /// Its version.
        found: String,
    },
    /// Its keys were written by a newer cuelight, or by something else.
    #[error(
        "{storage} has layout {found} under the prefix `{prefix}`, this cuelight reads layout \
         {LAYOUT}: use the version that wrote it or a newer one, or another storage.prefix"
    )]
    Layout {
        /// The address.
        storage: String,
        /// The prefix.
        prefix: String,
        /// What the layout key holds.
        found: String,
    },
}

/// Connects and checks everything.
///
/// # Errors
/// Why this Redis is not used.
pub async fn open(settings: &RedisSettings) -> Result<(Connection, Report), OpenError> {
    let away = |error: EngineError| {
        let (EngineError::Unavailable(reason)
        | EngineError::Corrupt(reason)
        | EngineError::TooLarge(reason)) = error;
        OpenError::Away { storage: settings.to_string(), reason }
    };
    let connection = Connection::open(settings).await.map_err(away)?;
    let checked = async {
        let report = Report::of(&connection).await.map_err(away)?;
        report.judge(settings)?;
        let layout = layout(&connection, &settings.prefix).await.map_err(away)?;
        if layout.parse() != Ok(LAYOUT) {
            let storage = settings.to_string();
            let prefix = settings.prefix.clone();
            return Err(OpenError::Layout { storage, prefix, found: layout });
        }
        Ok(report)
    };
    match checked.await {
        Ok(report) => {
            if let Some(warning) = report.warning() {
                tracing::warn!("{settings}: {warning}; see docs/operations.md");
            }
            Ok((connection, report))
        }
        Err(error) => {
            connection.close().await;
            Err(error)
        }
    }
}

/// What the layout key holds; it is set where there is none.
async fn layout(connection: &Connection, prefix: &str) -> Result<String, EngineError> {
    let key = format!("{{{prefix}}}:layout");
    let mut set = redis::cmd("SET");
    set.arg(&key).arg(LAYOUT).arg("NX");
    connection.command::<Option<String>>(&set).await?;
    let mut get = redis::cmd("GET");
    get.arg(&key);
    connection.command(&get).await
}

/// What a Redis is and what its settings can lose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// `Redis 7.0.15` or `Valkey 8.0.1`.
    pub server: String,
    /// When what was written is on its disk.
    pub synced: Synced,
    /// How many replicas follow it.
    pub replicas: u64,
    /// `maxmemory-policy`; `None` when it does not tell.
    pub policy: Option<String>,
    version: Option<(u32, u32)>,
}

/// When what was written is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synced {
    /// Before the answer: the append-only file with `appendfsync always`.
    Always,
    /// Every second: `appendfsync everysec`.
    EverySecond,
    /// When the system likes: `appendfsync no`.
    Whenever,
    /// There is an append-only file, and we may not see how often it is synced.
    Unknown,
    /// Only by snapshots, or never.
    Never,
}

impl Report {
    /// Asks the server.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn of(connection: &Connection) -> Result<Self, EngineError> {
        let info: String = connection.command(&redis::cmd("INFO")).await?;
        let mut config = redis::cmd("CONFIG");
        config.arg("GET").arg("appendfsync");
        // A small user may not ask that, and then it stays unknown.
        let appendfsync = connection.command::<Vec<String>>(&config).await.unwrap_or_default();
        Ok(Self::read(&info, appendfsync.get(1).map(String::as_str)))
    }

    /// From the text of `INFO` and the value of `appendfsync`, if that is known.
    fn read(info: &str, appendfsync: Option<&str>) -> Self {
        let field = |name: &str| {
            let mut lines = info.lines().filter_map(|line| line.trim_end().split_once(':'));
            lines.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
        };
        let valkey = field("valkey_version");
        let redis = field("redis_version");
        let server = match (&valkey, &redis) {
            (Some(version), _) => format!("Valkey {version}"),
            (None, Some(version)) => format!("Redis {version}"),
            (None, None) => "a Redis of unknown version".to_owned(),
        };
        let synced = match (field("aof_enabled").as_deref(), appendfsync) {
            (Some("1"), Some("always")) => Synced::Always,
            (Some("1"), Some("everysec")) => Synced::EverySecond,
            (Some("1"), Some("no")) => Synced::Whenever,
            (Some("1"), _) => Synced::Unknown,
            _ => Synced::Never,
        };
        Self {
            server,
            synced,
            replicas: field("connected_slaves").and_then(|n| n.parse().ok()).unwrap_or(0),
            policy: field("maxmemory_policy"),
            // Valkey began at 7.2, and tells an old Redis version for old clients.
            version: valkey.is_none().then_some(redis).flatten().as_deref().and_then(major_minor),
        }
    }

    fn judge(&self, settings: &RedisSettings) -> Result<(), OpenError> {
        let storage = || settings.to_string();
        if self.version.is_some_and(|version| version < VERSION_MIN) {
            let found = self.server.clone();
            let found = found.trim_start_matches("Redis ").to_owned();
            return Err(OpenError::Version { storage: storage(), found });
        }
        if let Some(policy) = self.evicts() {
            return Err(OpenError::Evicts { storage: storage(), policy: policy.to_owned() });
        }
        Ok(())
    }

    /// The policy, if it lets the server remove keys.
    fn evicts(&self) -> Option<&str> {
        self.policy.as_deref().filter(|policy| *policy != "noeviction")
    }

    /// What a person should change, if anything.
    pub fn warning(&self) -> Option<String> {
        if let Some(policy) = self.evicts() {
            let now = "it may remove keys, and with them acknowledged work";
            return Some(format!("maxmemory-policy is {policy} now: {now}; set noeviction"));
        }
        if self.synced == Synced::Never && self.replicas == 0 {
            let lost = "a crash loses everything since the last snapshot";
            return Some(format!("neither an append-only file nor a replica: {lost}"));
        }
        None
    }
}

/// What was acknowledged, and when it could still be lost.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let synced = match self.synced {
            Synced::Always => "appendfsync always: what was acknowledged is on its disk",
            Synced::EverySecond => {
                "appendfsync everysec: a crash of it or of its machine can lose the last 2 s"
            }
            Synced::Whenever => {
                "appendfsync no: a crash of its machine can lose the last half minute"
            }
            Synced::Unknown => {
                "append-only file on, how often it is synced is not known (CONFIG GET appendfsync \
                 is not allowed)"
            }
            Synced::Never => {
                "no append-only file: a crash can lose everything since the last snapshot"
            }
        };
        write!(f, "{}, {synced}", self.server)?;
        match self.replicas {
            0 => {}
            1 => write!(f, "; 1 replica, which a failover may find some writes behind")?,
            n => write!(f, "; {n} replicas, which a failover may find some writes behind")?,
        }
        match self.warning() {
            Some(warning) => write!(f, "; WARNING: {warning}"),
            None => Ok(()),
        }
    }
}

fn major_minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "# Server\r\nredis_version:7.0.15\r\n# Memory\r\nmaxmemory:0\r\n\
                        maxmemory_policy:noeviction\r\n# Persistence\r\naof_enabled:1\r\n\
                        # Replication\r\nrole:master\r\nconnected_slaves:0\r\n";

    fn judged(info: &str) -> Result<(), String> {
        let settings = RedisSettings::parse("redis://u:hunter2@h").unwrap();
        Report::read(info, None).judge(&settings).map_err(|error| error.to_string())
    }

    #[test]
    fn a_server_that_may_remove_keys_is_refused_with_or_without_a_limit() {
        assert_eq!(judged(INFO), Ok(()));
        for policy in ["allkeys-lru", "volatile-ttl", "eviction"] {
            let error = judged(&INFO.replace("noeviction", policy)).unwrap_err();
            assert!(error.starts_with("redis://h:6379/0 may remove keys"), "{error}");
            assert!(error.contains(policy) && error.contains("CONFIG SET maxmemory-policy"));
        }
    }

    #[test]
    fn an_old_redis_is_refused_and_a_valkey_is_known_by_its_own_version() {
        let of = |version: &str| judged(&INFO.replace("7.0.15", version));
        assert_eq!(of("6.2.0"), Ok(()));
        assert_eq!(of("10.0.1"), Ok(()));
        let expected = "redis://h:6379/0 is Redis 6.0.16, and 6.2 or newer is needed";
        assert_eq!(of("6.0.16"), Err(expected.to_owned()));
        assert!(of("2.8.24").is_err());
        let valkey = INFO.replace("7.0.15", "2.8.0\r\nserver_name:valkey\r\nvalkey_version:8.1.0");
        assert_eq!(judged(&valkey), Ok(()));
        assert!(Report::read(&valkey, None).to_string().starts_with("Valkey 8.1.0, "));
    }

    #[test]
    fn what_can_be_lost_is_said_in_words() {
        let of = |info: &str, appendfsync| Report::read(info, appendfsync).to_string();
        let always = "Redis 7.0.15, appendfsync always: what was acknowledged is on its disk";
        assert_eq!(of(INFO, Some("always")), always);
        assert!(of(INFO, Some("everysec")).ends_with("can lose the last 2 s"));
        assert!(of(INFO, None).contains("is not known"));
        let off = INFO.replace("aof_enabled:1", "aof_enabled:0");
        assert!(of(&off, Some("always")).contains("WARNING: neither an append-only file nor a"));
        let followed = off.replace("connected_slaves:0", "connected_slaves:2");
        let text = of(&followed, None);
        assert!(text.contains("2 replicas") && !text.contains("WARNING"), "{text}");
    }
}
