//! Every setting, read once and checked as a whole.
//!
//! The structs here are what the rest of the program sees: defaults filled in, durations parsed,
//! secrets wrapped. How they are read (layers, substitution, errors with line and column) is the
//! business of the files beside this one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// All settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// The two listeners.
    pub server: Server,
    /// Webhook verification.
    pub webhooks: Webhooks,
    /// Where state is kept.
    pub storage: Storage,
    /// How many workers run.
    pub workers: usize,
    /// The GitHub hosts, `github.com` always among them.
    pub integrations: Vec<Integration>,
    /// Which repositories are read, and how.
    pub providers: Vec<Provider>,
    /// Which kinds are allowed.
    pub rules: Rules,
}

/// `server.*`
#[derive(Debug, Clone)]
pub struct Server {
    /// `server.public.listen`
    pub public_listen: SocketAddr,
    /// `server.internal.listen`
    pub internal_listen: SocketAddr,
    /// `server.internal.auth`
    pub internal_auth: InternalAuth,
    /// `server.shutdownTimeout`: how long a stop may take.
    pub shutdown_timeout: Duration,
}

/// Who may use the internal listener.
#[derive(Debug, Clone)]
pub enum InternalAuth {
    /// Not configured: anybody who reaches it, and it must be a loopback address.
    Loopback,
    /// `none`: anybody who reaches it, wherever it listens.
    None,
    /// Whoever presents one of these bearer tokens.
    Tokens(Vec<SecretString>),
}

/// `webhooks.*`
#[derive(Debug, Clone)]
pub struct Webhooks {
    /// `webhooks.secrets`; none means that webhooks are off.
    pub secrets: Vec<SecretString>,
    /// `webhooks.bodyBytesMax`: larger bodies get 413.
    pub body_bytes_max: usize,
    /// `webhooks.inFlightBytesMax`: bytes of all bodies being read at once.
    pub in_flight_bytes_max: usize,
    /// `webhooks.connectionsMax`
    pub connections_max: usize,
}

/// `storage.url`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// `sqlite:PATH`
    Sqlite(PathBuf),
}

/// One entry of `integrations.github`.
#[derive(Debug, Clone)]
pub struct Integration {
    /// `host`, lower case.
    pub host: String,
    /// `apiBaseUrl`, without a trailing slash.
    pub api_base_url: String,
    /// `token`
    pub token: Option<SecretString>,
}

/// One entry of `catalog.providers.github`.
#[derive(Debug, Clone)]
pub struct Provider {
    /// Its id, `default` for the short form and for `--org`.
    pub id: String,
    /// `host`
    pub host: String,
    /// `organization`: the login of an organisation or a user.
    pub organization: String,
    /// `catalogPath`: literal paths from the repository's root, without a leading slash.
    pub catalog_paths: Vec<String>,
    /// `filters`
    pub filters: Filters,
    /// `schedule`
    pub schedule: Schedule,
}

/// `filters`: which of the owner's repositories count.
#[derive(Debug, Clone, Default)]
pub struct Filters {
    /// `allowArchived`
    pub allow_archived: bool,
}

/// `schedule`: when full scans run.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// `frequency`
    pub frequency: Frequency,
    /// `initialDelay`: the wait before the scan at start.
    pub initial_delay: Duration,
    /// `timeout`: after this long a scan is given up and counted as failed.
    pub timeout: Duration,
}

/// How often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frequency {
    /// This long after the last one ended.
    Every(Duration),
    /// A cron expression, in UTC.
    Cron(String),
    /// Only when asked, not even at start.
    Manual,
}

/// `catalog.rules`: kinds that files may declare. Empty means the built-in default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// The rules; an entity is allowed when any of them allows it.
    pub rules: Option<Vec<Rule>>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `allow`
    pub allow: Vec<AllowedKind>,
}

/// One allowance of a rule; compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedKind {
    /// The kind.
    pub kind: String,
    /// `spec.type`, when the allowance is for that type only.
    pub spec_type: Option<String>,
}
