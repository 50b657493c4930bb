//! GitHub as reconcile and scan see it: a few questions, and errors sorted by what to do next.
//!
//! [`GitHub`] is the port. Callers never see HTTP, GraphQL or JSON; they get repositories as they
//! are now, or an error that says whether to wait, to try again, or to tell a person. It keeps no
//! state of repositories, retries nothing by itself and waits for no limit: that is the caller's
//! to decide. How a batch is read and halved is told in `batch.rs`, the rest in the files' heads.

mod apps;
mod auth;
mod batch;
mod budget;
mod client;
mod find;
mod flight;
mod gather;
mod latest;
mod limits;
mod selected;
mod session;
mod transport;
mod tree;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::clock::Timestamp;
use crate::ids::{Account, AppId, FullName, Host, NodeId, Oid};
pub use crate::repository::FILE_BYTES_MAX;
use crate::repository::Listed;
use crate::work::RepoKey;

pub use apps::LIST_AGE_MAX;
pub use auth::{JWT_AHEAD, JWT_BACK, RENEW_PERCENT};
pub use budget::{Budget, RESERVE_PERCENT};
pub use client::GitHub;
pub use gather::{BY_REST_MAX, CommitRead, CommitSeen, OBJECTS_MAX, RepoAt, Revision};
pub use latest::{Edge, LATEST_MAX, Latest};
pub use limits::{LIMIT_WAIT, LIMIT_WAIT_MAX, LIMIT_WAIT_MIN};
pub use transport::{ANSWER_BYTES_MAX, install_crypto_provider};
pub use tree::Paths;

/// How to reach one GitHub host.
#[derive(Debug, Clone)]
pub struct HostSettings {
    /// The host, as in web addresses.
    pub host: Host,
    /// The REST API's base; plain http for loopback addresses only.
    pub api_base_url: String,
    /// The token for accounts that no App below is installed on.
    pub token: Option<SecretString>,
    /// The Apps, asked in this order; an account without App and token is an error that says so.
    pub apps: Vec<AppSettings>,
}

/// A GitHub App on one host.
#[derive(Debug, Clone)]
pub struct AppSettings {
    /// The App.
    pub id: AppId,
    /// Its RSA key in PEM.
    pub private_key: SecretString,
    /// The logins whose installations are used; `None` allows all.
    pub allowed_owners: Option<Vec<String>>,
}

/// Where an App is installed.
#[derive(Debug, Clone)]
pub struct Installation {
    /// Its number: another one each time that the App is installed.
    pub id: u64,
    /// Whose repositories it may see.
    pub owner: Owner,
    /// Whether it may be used.
    pub state: InstallationState,
}

/// How much an installation sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstallationState {
    /// All repositories of the account.
    All,
    /// Those that were selected for it.
    Selected,
    /// Nothing now: its owner or GitHub has suspended it.
    Suspended,
}

impl InstallationState {
    /// Whether tokens are asked for.
    pub const fn is_usable(self) -> bool {
        !matches!(self, Self::Suspended)
    }
}

impl Installation {
    /// Why it is not used, for people; `None` when it is.
    pub fn why_not(&self, app: AppId) -> Option<String> {
        let login = &self.owner.login;
        (self.state == InstallationState::Suspended).then(|| {
            format!(
                "the installation of App {app} on {login} is suspended; nothing of it is read or \
                 removed until it is not"
            )
        })
    }
}

/// How long GitHub may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect by TCP.
    pub connect: Duration,
    /// From the start of a call to the last byte of its answer, connecting included.
    pub answer: Duration,
}

impl Default for Timeouts {
    /// GitHub ends a query after 10 s by itself; the rest is for the way of a 32 MiB answer over
    /// a slow line. Connecting takes milliseconds or fails.
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), answer: Duration::from_secs(40) }
    }
}

/// Settings that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// `apiBaseUrl` cannot be used.
    #[error("apiBaseUrl of {host} cannot be used: {reason}")]
    ApiBaseUrl {
        /// Whose.
        host: Host,
        /// Why.
        reason: String,
    },
    /// The token has characters that no HTTP header may hold.
    #[error("the token of {host} has characters that no token has (a line break?)")]
    Token {
        /// Whose.
        host: Host,
    },
    /// An App's key is no key.
    #[error("the privateKey of App {app} of {host} is not an RSA private key in PEM")]
    PrivateKey {
        /// Where.
        host: Host,
        /// Whose.
        app: AppId,
    },
    /// TLS cannot be set up, mostly because the system has no certificates.
    #[error("TLS to {host} cannot be set up: {reason}; are CA certificates installed?")]
    Tls {
        /// Whose.
        host: Host,
        /// Why.
        reason: String,
    },
}

/// A repository to read.
#[derive(Debug, Clone)]
pub struct RepoRead {
    /// Which.
    pub key: RepoKey,
    /// Its node id if known; without it one more call finds it.
    pub node_id: Option<NodeId>,
}

/// A repository's present state.
#[derive(Debug, Clone)]
pub enum Seen {
    /// It does not exist for our credentials, as `GET /repositories/{id}` said, and GraphQL
    /// before it where a node id was known; or the App is installed on selected repositories, and
    /// it is none of them.
    Gone,
    /// It exists.
    Found(Box<Repository>),
}

/// A repository as GitHub shows it now.
#[derive(Debug, Clone)]
pub struct Repository {
    /// Identity.
    pub key: RepoKey,
    /// Node id now.
    pub node_id: NodeId,
    /// The account that owns it now.
    pub account: Account,
    /// `owner/name` now.
    pub full_name: FullName,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// When it was last pushed to, to the second.
    pub pushed_at: Option<Timestamp>,
    /// What filters look at.
    pub listed: Listed,
    /// Head of the default branch; `None` while it is empty.
    pub head: Option<Oid>,
    /// The files asked for, in the order they were asked for; `None` where there is none.
    pub files: Vec<Option<FileSeen>>,
}

/// A file that exists.
#[derive(Debug, Clone)]
pub struct FileSeen {
    /// Its blob.
    pub oid: Oid,
    /// Its content.
    pub content: Content,
}

/// The content of a file.
#[derive(Debug, Clone)]
pub enum Content {
    /// Its text; bytes that are not UTF-8 are replaced, as Backstage does.
    Text(Arc<str>),
    /// Larger than [`FILE_BYTES_MAX`]; not read.
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// Not asked for (a listing shows oids only).
    NotRead,
}

/// An owner of repositories.
#[derive(Debug, Clone)]
pub struct Owner {
    /// Identity.
    pub account: Account,
    /// The login now, in GitHub's case.
    pub login: String,
}

/// A page of an account's repositories.
#[derive(Debug, Clone)]
pub struct Page {
    /// The repositories, files with oids only.
    pub repositories: Vec<Repository>,
    /// Where the next page starts; `None` after the last one.
    pub next: Option<String>,
    /// How many repositories the owner has in all, as GitHub says.
    pub total: u64,
}

/// How long an account rests after GitHub refused its credentials: they heal only by hand, and
/// asking again at once may get an App banned.
pub const UNAUTHORIZED_REST: Duration = Duration::from_secs(60);

/// How long an account rests while GitHub is away: short beside an incident, long beside the few
/// calls that find out whether it is over.
pub const AWAY_REST: Duration = Duration::from_secs(15);

/// Why GitHub gave no answer that may be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GitHubError {
    /// A rate limit: ask nothing for this account before `until`.
    #[error("rate limit until {until}: {detail}")]
    Limited {
        /// When to ask again.
        until: Timestamp,
        /// Which limit.
        detail: String,
    },
    /// Time-outs, 5xx, cut or untrue answers: try again.
    #[error("{0}")]
    Transient(String),
    /// Too much was asked at once, as time-outs, 502, 504 and oversized answers tell: ask for less,
    /// or try again.
    #[error("{0}")]
    TooMuch(String),
    /// GitHub answers nothing at all now, not even the smallest question: wait for it.
    #[error("GitHub is away: {0}")]
    Away(String),
    /// Credentials are missing, refused or too weak; a person has to act. Try again later.
    #[error("{0}")]
    Unauthorized(String),
    /// This repository alone is refused (single sign-on, a block, a token for some only); others
    /// of its account may well be shown. Try again later.
    #[error("{0}")]
    Refused(String),
    /// The owner does not exist (or not for these credentials).
    #[error("no user or organisation `{0}`")]
    NoSuchOwner(String),
}

impl GitHubError {
    /// Until when the account is not to be asked anything, where the error says so.
    pub fn rests_until(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Limited { until, .. } => Some(*until),
            Self::Unauthorized(_) => Some(now + UNAUTHORIZED_REST),
            Self::Away(_) => Some(now + AWAY_REST),
            Self::Transient(_) | Self::TooMuch(_) | Self::Refused(_) | Self::NoSuchOwner(_) => None,
        }
    }

    /// Whether the same question may be answered another time, or in smaller parts.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Transient(_) | Self::TooMuch(_))
    }
}
