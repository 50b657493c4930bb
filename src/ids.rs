//! Checked names for the things GitHub and we identify: hosts, accounts, repositories, deliveries.
//!
//! Every type here is a value: equal text means the same thing, so all of them may be keys of a
//! map or of the queue. Numeric ids are GitHub's database ids, which survive a rename and a
//! transfer; names do not and are therefore never part of an identity.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest host name with a port that is accepted: 253 (DNS, RFC 1035) and `:65535`.
pub const HOST_BYTES_MAX: usize = 259;

/// Longest `X-GitHub-Delivery` that is accepted; GitHub sends a UUID of 36 characters.
pub const DELIVERY_ID_BYTES_MAX: usize = 100;

/// A text that is not the id or name it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not {expected}")]
pub struct InvalidId {
    /// The text as it was given, cut to 100 characters.
    pub given: String,
    /// What would have been accepted, for people.
    pub expected: &'static str,
}

impl InvalidId {
    fn new(given: &str, expected: &'static str) -> Self {
        Self { given: given.chars().take(100).collect(), expected }
    }
}

/// The authority of a GitHub web address (`github.com`, `ghe.acme.com:8443`), in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Host(Arc<str>);

impl Host {
    /// Checks and lower-cases a host name with an optional port.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let fits = !text.is_empty()
            && text.len() <= HOST_BYTES_MAX
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]_".contains(&b));
        if !fits {
            return Err(InvalidId::new(text, "a host name with an optional port"));
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// `github.com`, the host of every integration that names none.
    pub fn github_com() -> Self {
        Self("github.com".into())
    }

    /// The host in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Host {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        Self::parse(&text)
    }
}

impl From<Host> for String {
    fn from(host: Host) -> Self {
        host.0.as_ref().to_owned()
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! database_id {
    ($(#[$doc:meta])* $name:ident, $expected:literal) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.parse().map(Self).map_err(|_| InvalidId::new(text, $expected))
            }
        }
    };
}

database_id! {
    /// A repository's database id (`repository.id` in webhooks, `databaseId` in GraphQL).
    RepoId, "a repository id"
}
database_id! {
    /// The database id of a user or an organisation.
    OwnerId, "an owner id"
}
database_id! {
    /// A GitHub App's id.
    AppId, "an App id"
}

/// Who owns repositories on one host: the unit of credentials, rate limits and fairness.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Account {
    /// The host the owner lives on.
    pub host: Host,
    /// The owner's database id there.
    pub owner: OwnerId,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.owner)
    }
}

impl FromStr for Account {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let wrong = || InvalidId::new(text, "an account (`host:owner id`)");
        let (host, owner) = text.rsplit_once(':').ok_or_else(wrong)?;
        Ok(Self {
            host: Host::parse(host).map_err(|_| wrong())?,
            owner: owner.parse().map_err(|_| wrong())?,
        })
    }
}

/// The number from which on an owner's id is no owner's but an App's own account: far above
/// GitHub's ids, below the largest integer of SQLite.
const APP_ACCOUNTS: u64 = 1 << 62;

/// The account under which an App's own key waits, so that its trouble is its own.
pub fn app_account(host: &Host, app: AppId) -> Account {
    Account { host: host.clone(), owner: OwnerId(APP_ACCOUNTS | app.0) }
}

/// A repository's `owner/name`, in the case GitHub shows it. A name, not an identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FullName(Arc<str>);

impl FullName {
    /// Checks `owner/name`: two non-empty parts of GitHub's characters.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let part = |s: &str| {
            (1..=100).contains(&s.len())
                && s != "."
                && s != ".."
                && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        };
        match text.split_once('/') {
            Some((owner, name)) if part(owner) && part(name) => Ok(Self(text.into())),
            _ => Err(InvalidId::new(text, "a repository (`owner/name`)")),
        }
    }

    /// The part before the slash.
    pub fn owner(&self) -> &str {
        self.0.split_once('/').map_or("", |(owner, _)| owner)
    }

    /// The part after the slash.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }

    /// `owner/name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for FullName {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        Self::parse(&text)
    }
}

impl From<FullName> for String {
    fn from(name: FullName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for FullName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// GitHub's opaque global node id; it may change while the database id stays.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub String);

/// A Git object id: 40 (SHA-1) or 64 (SHA-256) hexadecimal digits, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Oid(Arc<str>);

impl Oid {
    /// Checks the length and the digits.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let fits = matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit());
        if !fits {
            return Err(InvalidId::new(text, "a Git object id"));
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// Whether this is the all-zero id, by which GitHub says "no commit" (branch created, deleted).
    pub fn is_zero(&self) -> bool {
        self.0.bytes().all(|b| b == b'0')
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Oid {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        Self::parse(&text)
    }
}

impl From<Oid> for String {
    fn from(oid: Oid) -> Self {
        oid.0.as_ref().to_owned()
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The value of `X-GitHub-Delivery`; a redelivery carries the same one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeliveryId(Arc<str>);

impl DeliveryId {
    /// Checks length and characters; any printable ASCII without spaces will do.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let fits = (1..=DELIVERY_ID_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_graphic());
        if !fits {
            return Err(InvalidId::new(text, "a delivery id"));
        }
        Ok(Self(text.into()))
    }

    /// The id as GitHub sent it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for DeliveryId {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        Self::parse(&text)
    }
}

impl From<DeliveryId> for String {
    fn from(id: DeliveryId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
