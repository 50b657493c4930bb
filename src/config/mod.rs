//! Every setting, read once and checked as a whole.
//!
//! The structs here are what the rest of the program sees: defaults filled in, durations parsed,
//! secrets wrapped. How they are read (layers, substitution, errors with line and column) is the
//! business of the files beside this one.

mod apps;
mod duration;
mod error;
mod github;
mod include;
mod layers;
mod load;
mod nearest;
mod reader;
mod service;
mod storage;
mod substitute;

use std::net::SocketAddr;
use std::time::Duration;

use regex::Regex;
use secrecy::SecretString;
use url::Url;

use crate::catalog::AllowedKinds;
use crate::catalog::rules::{KindRule, LocationRule};

pub use error::{ConfigError, ConfigErrors, Origin, Source, SourceKind};
pub use load::{LoadArgs, Loaded};
pub use storage::{Endpoint, Login, RedisSettings, Servers, Storage, Tls};

/// The defaults, compiled in: every key with its default and the reason for it.
pub const DEFAULTS: &str = include_str!("../../config/cuelight.yaml");

/// How often a scan runs unless told otherwise: it is a safety net under the webhooks, and a scan
/// of an unchanged organisation costs a call a hundred repositories.
pub const FREQUENCY: Duration = Duration::from_secs(20 * 60);

/// How often GitHub is asked for what changed last, unless told otherwise: what a lost webhook
/// would have told is seen within a minute, for 60 of an hour's 5,000 points.
pub const HEARTBEAT: Duration = Duration::from_secs(60);

/// How long a scan may take unless told otherwise; Backstage's own default.
pub const TIMEOUT: Duration = Duration::from_secs(3600);

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
    /// What is logged, and how.
    pub log: Log,
}

/// `log.*`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// `log.level`: `error`, `warn`, `info`, `debug` or `trace`.
    pub level: &'static str,
    /// `log.format`
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
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
    /// `server.internal.cors.origins`: whose pages may read the answers, as browsers write them.
    pub internal_origins: Vec<String>,
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
    /// The same, and whoever presents a token of a plugin or a user of this Backstage.
    Backstage {
        /// The address of its backend.
        url: Url,
        /// Tokens of our own; there may be none.
        tokens: Vec<SecretString>,
    },
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

/// One entry of `integrations.github`.
#[derive(Debug, Clone)]
pub struct Integration {
    /// `host`, lower case.
    pub host: String,
    /// `apiBaseUrl`, without a trailing slash.
    pub api_base_url: String,
    /// `token`: for accounts that no App is installed on.
    pub token: Option<SecretString>,
    /// `apps`
    pub apps: Vec<GitHubApp>,
}

/// One entry of `integrations.github[].apps`.
#[derive(Debug, Clone)]
pub struct GitHubApp {
    /// `appId`
    pub id: u64,
    /// `privateKey`: RSA, in PEM.
    pub private_key: SecretString,
    /// `webhookSecret`: stands among `webhooks.secrets` too.
    pub webhook_secret: Option<SecretString>,
    /// `allowedInstallationOwners`: logins; `None` allows all.
    pub allowed_owners: Option<Vec<String>>,
}

/// One entry of `catalog.providers.github`.
#[derive(Debug, Clone)]
pub struct Provider {
    /// Its id, `default` for the short form and for `--org`.
    pub id: String,
    /// `host`
    pub host: String,
    /// `organization`: the login of an organisation or a user; empty when `app` is set.
    pub organization: String,
    /// `app`: the id of the App whose installations name the owners, in place of a login.
    pub app: Option<u64>,
    /// `catalogPath`: literal paths from the repository's root, without a leading slash.
    pub catalog_paths: Vec<String>,
    /// `filters`
    pub filters: Filters,
    /// `schedule`
    pub schedule: Schedule,
    /// `heartbeat.frequency`: how often, between scans, GitHub is asked for what changed last.
    pub heartbeat: Frequency,
}

/// `filters`: which of the owner's repositories count, and on which branch.
#[derive(Debug, Clone)]
pub struct Filters {
    /// `branch`: read instead of the default branch.
    pub branch: Option<String>,
    /// `repository`: what the repository's name must match, as a whole.
    pub repository: Option<Regex>,
    /// `topic.include`: at least one of these, lower case; empty asks for none.
    pub topics_include: Vec<String>,
    /// `topic.exclude`: none of these, lower case; wins over `topic.include`.
    pub topics_exclude: Vec<String>,
    /// `visibility`: one of these, lower case; empty allows all.
    pub visibility: Vec<&'static str>,
    /// `allowForks`
    pub allow_forks: bool,
    /// `allowArchived`
    pub allow_archived: bool,
}

/// Backstage's defaults: everything but archived repositories.
impl Default for Filters {
    fn default() -> Self {
        Self {
            branch: None,
            repository: None,
            topics_include: Vec::new(),
            topics_exclude: Vec::new(),
            visibility: Vec::new(),
            allow_forks: true,
            allow_archived: false,
        }
    }
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

impl Default for Schedule {
    fn default() -> Self {
        Self {
            frequency: Frequency::Every(FREQUENCY),
            initial_delay: Duration::ZERO,
            timeout: TIMEOUT,
        }
    }
}

impl Schedule {
    /// The heartbeat's frequency when nothing is said of it: whoever lets no scan run by itself
    /// wants no calls that nobody asked for.
    pub fn default_heartbeat(&self) -> Frequency {
        match self.frequency {
            Frequency::Manual => Frequency::Manual,
            Frequency::Every(_) | Frequency::Cron(_) => Frequency::Every(HEARTBEAT),
        }
    }
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

impl Rules {
    /// The rules as the catalog knows them.
    pub fn allowed_kinds(&self) -> AllowedKinds {
        let Some(rules) = &self.rules else { return AllowedKinds::default() };
        let kind = |kind: &AllowedKind| (kind.kind.clone(), kind.spec_type.clone());
        let rule = |rule: &Rule| KindRule {
            kinds: rule.allow.iter().map(kind).collect(),
            locations: rule.locations.clone(),
        };
        AllowedKinds::new(rules.iter().map(rule).collect())
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `allow`
    pub allow: Vec<AllowedKind>,
    /// `locations`: where it holds; everywhere when nothing is said.
    pub locations: Option<Vec<LocationRule>>,
}

/// One allowance of a rule; compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedKind {
    /// The kind.
    pub kind: String,
    /// `spec.type`, when the allowance is for that type only.
    pub spec_type: Option<String>,
}
