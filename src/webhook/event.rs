//! What GitHub says has happened: its JSON decoded, at the edge, into a closed set of events.
//!
//! Only what routing needs is decoded, and texts are borrowed from the body where JSON allows it:
//! skipping a value is cheap, building one is the largest cost of receiving a delivery. Commits
//! are skipped. Keys we do not know are no error; what we do need and cannot read is an error
//! that names its path. Error texts hold no value of the payload.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

pub use super::wire::DecodeError;
use super::wire::{self, Text};
use crate::clock::Timestamp;
use crate::ids::{AppId, FullName, NodeId, Oid, OwnerId, RepoId};

/// Most characters kept of an action that we do not know.
const ACTION_CHARS_MAX: usize = 100;

/// A delivery, decoded.
#[derive(Debug, Clone)]
pub enum Event<'a> {
    /// `ping`: the webhook was set up.
    Pinged,
    /// `push`: a branch or a tag was created, moved or deleted.
    Pushed(Push<'a>),
    /// `repository`: something happened to a repository as a whole.
    RepositoryChanged(RepositoryChange, About<'a>),
    /// `public`: a private repository was made public.
    RepositoryPublished(About<'a>),
    /// `installation_repositories`: an App was given repositories, or lost them.
    GrantChanged(GrantChange, Grant<'a>),
    /// `installation`: an App was installed on an account, or that changed or ended.
    InstallationChanged(InstallationChange, AboutInstallation<'a>),
    /// Anything else; it leads to no work.
    Unhandled(Unhandled),
}

/// A `push`.
#[derive(Debug, Clone, Deserialize)]
pub struct Push<'a> {
    /// `refs/heads/…` or `refs/tags/…`.
    #[serde(borrow, rename = "ref")]
    pub git_ref: Cow<'a, str>,
    /// The head before; zeroes when it was created.
    #[serde(deserialize_with = "wire::oid")]
    pub before: Oid,
    /// The head after; zeroes when it was deleted.
    #[serde(deserialize_with = "wire::oid")]
    pub after: Oid,
    /// What was pushed to.
    #[serde(borrow)]
    pub repository: Repository<'a>,
    /// Who did it.
    #[serde(borrow)]
    pub sender: Option<Sender<'a>>,
}

/// The repository that an event is about.
#[derive(Debug, Clone, Deserialize)]
pub struct About<'a> {
    /// The repository, after the event.
    #[serde(borrow)]
    pub repository: Repository<'a>,
    /// Who did it.
    #[serde(borrow)]
    pub sender: Option<Sender<'a>>,
}

/// What routing needs of a `repository` object.
#[derive(Debug, Clone, Deserialize)]
pub struct Repository<'a> {
    /// Its database id.
    pub id: RepoId,
    /// Its opaque node id.
    pub node_id: Option<NodeId>,
    /// `owner/name`.
    #[serde(deserialize_with = "wire::full_name")]
    pub full_name: FullName,
    /// Its page on the web; the authority is the host.
    #[serde(borrow)]
    pub html_url: Option<Text<'a>>,
    /// The name of the default branch.
    #[serde(borrow)]
    pub default_branch: Option<Text<'a>>,
    /// The last push, to the second: an epoch in `push` payloads, RFC 3339 in all others.
    #[serde(default, deserialize_with = "wire::timestamp")]
    pub pushed_at: Option<Timestamp>,
    /// Who owns it.
    pub owner: Owner,
}

/// The owner of a repository.
#[derive(Debug, Clone, Deserialize)]
pub struct Owner {
    /// The database id of the user or organisation.
    pub id: OwnerId,
}

/// Who caused an event.
#[derive(Debug, Clone, Deserialize)]
pub struct Sender<'a> {
    /// Their page on the web; the authority is the host.
    #[serde(borrow)]
    pub html_url: Option<Text<'a>>,
}

/// The actions of `repository`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepositoryChange {
    /// `created`
    Created,
    /// `deleted`
    Deleted,
    /// `archived`
    Archived,
    /// `unarchived`
    Unarchived,
    /// `edited`: default branch, description, home page or topics.
    Edited,
    /// `privatized`
    Privatized,
    /// `publicized`
    Publicized,
    /// `renamed`
    Renamed,
    /// `transferred`; only the new owner hears of it.
    Transferred,
}

impl RepositoryChange {
    const ALL: [Self; 9] = [
        Self::Created,
        Self::Deleted,
        Self::Archived,
        Self::Unarchived,
        Self::Edited,
        Self::Privatized,
        Self::Publicized,
        Self::Renamed,
        Self::Transferred,
    ];

    /// The action as GitHub writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Deleted => "deleted",
            Self::Archived => "archived",
            Self::Unarchived => "unarchived",
            Self::Edited => "edited",
            Self::Privatized => "privatized",
            Self::Publicized => "publicized",
            Self::Renamed => "renamed",
            Self::Transferred => "transferred",
        }
    }

    fn parse(action: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|change| change.as_str() == action)
    }
}

/// The actions of `installation_repositories`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantChange {
    /// `added`
    Added,
    /// `removed`
    Removed,
}

impl GrantChange {
    /// The action as GitHub writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
        }
    }

    fn parse(action: &str) -> Option<Self> {
        [Self::Added, Self::Removed].into_iter().find(|change| change.as_str() == action)
    }
}

/// The actions of `installation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstallationChange {
    /// `created`
    Created,
    /// `deleted`
    Deleted,
    /// `suspend`
    Suspended,
    /// `unsuspend`
    Unsuspended,
    /// `new_permissions_accepted`
    PermissionsAccepted,
}

impl InstallationChange {
    const ALL: [Self; 5] = [
        Self::Created,
        Self::Deleted,
        Self::Suspended,
        Self::Unsuspended,
        Self::PermissionsAccepted,
    ];

    /// The action as GitHub writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Deleted => "deleted",
            Self::Suspended => "suspend",
            Self::Unsuspended => "unsuspend",
            Self::PermissionsAccepted => "new_permissions_accepted",
        }
    }

    fn parse(action: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|change| change.as_str() == action)
    }
}

/// What an `installation` event is about. The repositories it lists are not read: the account is
/// listed anyway.
#[derive(Debug, Clone, Deserialize)]
pub struct AboutInstallation<'a> {
    /// Which.
    #[serde(borrow)]
    pub installation: Installation<'a>,
    /// Who did it.
    #[serde(borrow)]
    pub sender: Option<Sender<'a>>,
}

/// Which repositories an App may see now, or no longer.
#[derive(Debug, Clone, Deserialize)]
pub struct Grant<'a> {
    /// Whose.
    #[serde(borrow)]
    pub installation: Installation<'a>,
    /// Those added.
    #[serde(default)]
    pub repositories_added: Vec<Granted>,
    /// Those removed.
    #[serde(default)]
    pub repositories_removed: Vec<Granted>,
    /// Who did it.
    #[serde(borrow)]
    pub sender: Option<Sender<'a>>,
}

/// An installation of an App.
#[derive(Debug, Clone, Deserialize)]
pub struct Installation<'a> {
    /// Whose installation.
    pub app_id: Option<AppId>,
    /// The user or organisation it is installed on.
    #[serde(borrow)]
    pub account: InstallationAccount<'a>,
}

/// The owner an App is installed on.
#[derive(Debug, Clone, Deserialize)]
pub struct InstallationAccount<'a> {
    /// Its database id.
    pub id: OwnerId,
    /// Its page on the web; the authority is the host.
    #[serde(borrow)]
    pub html_url: Option<Text<'a>>,
}

/// A repository as `installation_repositories` lists it: without an owner.
#[derive(Debug, Clone, Deserialize)]
pub struct Granted {
    /// Its database id.
    pub id: RepoId,
    /// Its opaque node id.
    pub node_id: Option<NodeId>,
    /// `owner/name`.
    #[serde(deserialize_with = "wire::full_name")]
    pub full_name: FullName,
}

/// An event, or an action of a known event, that we do nothing about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unhandled {
    /// `X-GitHub-Event`.
    pub event: String,
    /// Whether the event is one of ours and only its action is not.
    pub known_event: bool,
    /// The action, if it has one.
    pub action: Option<String>,
    /// The repository, if it names one.
    pub repository: Option<FullName>,
}

/// The JSON inside a body: the body itself, or the field `payload` of a form.
pub fn payload<'a>(
    content_type: Option<&[u8]>,
    body: &'a [u8],
) -> Result<Cow<'a, [u8]>, DecodeError> {
    const FORM: &[u8] = b"application/x-www-form-urlencoded";
    let is_form = content_type
        .and_then(|value| value.split(|byte| *byte == b';').next())
        .is_some_and(|essence| essence.trim_ascii().eq_ignore_ascii_case(FORM));
    if !is_form {
        return Ok(Cow::Borrowed(body));
    }
    let mut fields = url::form_urlencoded::parse(body);
    let field = fields.find(|(name, _)| name == "payload").map(|(_, value)| value);
    match field {
        Some(Cow::Borrowed(text)) => Ok(Cow::Borrowed(text.as_bytes())),
        Some(Cow::Owned(text)) => Ok(Cow::Owned(text.into_bytes())),
        None => Err(DecodeError {
            path: "payload".to_owned(),
            problem: "the form has no such field".to_owned(),
        }),
    }
}

/// Decodes the JSON of a delivery whose `X-GitHub-Event` is `event`.
pub fn decode<'a>(event: &str, json: &'a [u8]) -> Result<Event<'a>, DecodeError> {
    match event {
        "ping" => wire::read::<IgnoredAny>(json).map(|_| Event::Pinged),
        "push" => wire::read(json).map(Event::Pushed),
        "public" => wire::read(json).map(Event::RepositoryPublished),
        "repository" => with_action(event, json, RepositoryChange::parse, Event::RepositoryChanged),
        "installation_repositories" => {
            with_action(event, json, GrantChange::parse, Event::GrantChanged)
        }
        "installation" => {
            with_action(event, json, InstallationChange::parse, Event::InstallationChanged)
        }
        _ => unhandled(event, false, json),
    }
}

/// Decodes an event of which only some actions are known; any other action may have any shape.
fn with_action<'a, A, T: Deserialize<'a>>(
    event: &str,
    json: &'a [u8],
    parse: impl Fn(&str) -> Option<A>,
    make: impl Fn(A, T) -> Event<'a>,
) -> Result<Event<'a>, DecodeError> {
    let action = wire::read::<WithAction<'_>>(json)?.action;
    match parse(&action) {
        Some(action) => wire::read(json).map(|told| make(action, told)),
        None => unhandled(event, true, json),
    }
}

#[derive(Deserialize)]
struct WithAction<'a> {
    #[serde(borrow)]
    action: Cow<'a, str>,
}

/// Keeps of an event what the ledger shows. Whatever it looks like, it must be JSON.
fn unhandled<'a>(event: &str, known: bool, json: &'a [u8]) -> Result<Event<'a>, DecodeError> {
    #[derive(Deserialize, Default)]
    struct Shown<'a> {
        #[serde(borrow)]
        action: Option<Text<'a>>,
        #[serde(borrow)]
        repository: Option<ShownRepository<'a>>,
    }
    #[derive(Deserialize)]
    struct ShownRepository<'a> {
        #[serde(borrow)]
        full_name: Option<Text<'a>>,
    }
    let shown = match serde_json::from_slice::<Shown<'_>>(json) {
        Ok(shown) => shown,
        Err(_) => wire::read::<IgnoredAny>(json).map(|_| Shown::default())?,
    };
    let full_name = shown.repository.and_then(|repository| repository.full_name);
    Ok(Event::Unhandled(Unhandled {
        event: event.to_owned(),
        known_event: known,
        action: shown.action.map(|action| action.as_str().chars().take(ACTION_CHARS_MAX).collect()),
        repository: full_name.and_then(|name| FullName::parse(name.as_str()).ok()),
    }))
}
