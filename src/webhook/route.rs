//! Which repositories an event says may have changed.
//!
//! A pure function of the event and of what only the rest of the program knows: which hosts are
//! configured, which branches matter, and who depends on which others. It decides nothing about the
//! catalog. What it drops, it drops because the event provably concerns nothing we read, and it
//! says why.

use std::collections::HashSet;

use super::event::{
    About, AboutInstallation, Event, Grant, GrantChange, Granted, Installation, InstallationChange,
    Push, Repository, RepositoryChange, Sender, Unhandled,
};
use super::wire::Text;
use crate::clock::Timestamp;
use crate::dependents::{DEPENDENTS_MAX, Dependent, Dependents};
use crate::ids::{Account, AppId, FullName, Host, app_account};
use crate::work::{Hint, Lane, PushHint, PushKey, Reasons, RepoKey, WorkKey};

/// What routing knows of the rest of the program.
#[derive(Debug, Clone, Default)]
pub struct Routing {
    /// The hosts of the configured integrations. Events of any other host are ignored.
    pub hosts: Vec<Host>,
    /// Branches that a provider names, of any repository.
    pub branches: HashSet<String>,
    /// Who depends on branches beyond its own.
    pub dependents: Dependents,
    /// The Apps of the configured integrations. Events about any other App's installations say
    /// nothing about what we may see.
    pub apps: HashSet<(Host, AppId)>,
}

/// What an event leads to.
#[derive(Debug, Clone)]
pub struct Routed {
    /// The keys to push; empty exactly when it is ignored.
    pub keys: Vec<PushKey>,
    /// What it says to those who depend on a repository; they are among `keys`.
    pub concern: Option<Concern>,
    /// How many dependents were left to the next scan, because there are too many.
    pub left_out: usize,
    /// Why it leads to no work, when it does not.
    pub ignored: Option<String>,
    /// The payload's `action`.
    pub action: Option<String>,
    /// The repository it names, when it is one.
    pub repository: Option<FullName>,
}

/// What of a repository has changed, as those see it who depend on its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concern {
    key: RepoKey,
    name: FullName,
    /// `None`: all of them.
    branch: Option<String>,
}

impl Concern {
    /// The keys of those who depend on it `now` and did not `before`.
    pub fn newcomers(
        &self,
        before: &Routing,
        now: &Routing,
        received_at: Timestamp,
    ) -> Vec<PushKey> {
        let of = |routing: &'_ Routing| -> Vec<Dependent> {
            let found = routing.dependents.of(&self.key, &self.name, self.branch.as_deref());
            found.into_iter().cloned().collect()
        };
        let known: HashSet<RepoKey> = of(before).into_iter().map(|it| it.key).collect();
        let new = of(now).into_iter().filter(|dependent| !known.contains(&dependent.key));
        new.take(DEPENDENTS_MAX).map(|dependent| dependent_key(&dependent, received_at)).collect()
    }
}

/// Routes one event received at `received_at`.
pub fn route(event: Event<'_>, routing: &Routing, received_at: Timestamp) -> Routed {
    match event {
        Event::Pinged => ignored(None, "ping".to_owned()),
        Event::Pushed(push) => route_push(push, routing, received_at),
        Event::RepositoryChanged(change, about) => {
            let reasons = match change {
                RepositoryChange::Created => Reasons::CREATED,
                RepositoryChange::Deleted => Reasons::DELETED,
                RepositoryChange::Archived
                | RepositoryChange::Unarchived
                | RepositoryChange::Edited
                | RepositoryChange::Privatized
                | RepositoryChange::Publicized
                | RepositoryChange::Renamed
                | RepositoryChange::Transferred => Reasons::CHANGED,
            };
            let extent = match change {
                RepositoryChange::Archived
                | RepositoryChange::Unarchived
                | RepositoryChange::Edited => Extent::Settings,
                _ => Extent::Whole,
            };
            let action = Some(change.as_str().to_owned());
            route_about(about, action, routing, Hint::new(reasons, received_at), (extent, None))
        }
        Event::RepositoryPublished(about) => {
            let hint = Hint::new(Reasons::CHANGED, received_at);
            route_about(about, None, routing, hint, (Extent::Whole, None))
        }
        Event::GrantChanged(change, grant) => route_grant(change, grant, routing, received_at),
        Event::InstallationChanged(change, about) => {
            route_installation(change, about, routing, received_at)
        }
        Event::Unhandled(unhandled) => ignore_unhandled(unhandled),
    }
}

fn route_push(push: Push<'_>, routing: &Routing, received_at: Timestamp) -> Routed {
    let Push { git_ref, before, after, repository, sender } = push;
    let irrelevant = irrelevant_ref(&git_ref, &repository, routing);
    let mut hint = Hint::new(Reasons::PUSH, received_at);
    let default = repository.default_branch.as_ref().map(Text::as_str);
    let pushed = git_ref.strip_prefix("refs/heads/");
    let other = pushed.filter(|branch| default.is_some_and(|default| default != *branch));
    let branch = other.map(str::to_owned);
    hint.pushes.push(PushHint { branch, before, after, pushed_at: repository.pushed_at });
    let extent = pushed.map_or(Extent::Settings, Extent::Branch);
    route_about(About { repository, sender }, None, routing, hint, (extent, irrelevant))
}

/// Why a push to `git_ref` cannot change anything we read; `None` when it might.
fn irrelevant_ref(git_ref: &str, repository: &Repository<'_>, routing: &Routing) -> Option<String> {
    let Some(branch) = git_ref.strip_prefix("refs/heads/") else {
        return Some(match git_ref.strip_prefix("refs/tags/") {
            Some(_) => "a tag, not a branch".to_owned(),
            None => "not a branch".to_owned(),
        });
    };
    // Without a default branch in the payload any branch may be the one.
    let is_default = repository.default_branch.as_ref().is_none_or(|d| d.as_str() == branch);
    let matters = is_default || routing.branches.contains(branch);
    (!matters).then(|| "the branch is neither the default nor a configured one".to_owned())
}

/// What of a repository has changed, for those that depend on its files.
#[derive(Clone, Copy)]
enum Extent<'a> {
    /// The files of a branch.
    Branch(&'a str),
    /// Whether it is there, what it is called, or who may see it.
    Whole,
    /// Nothing that they would see.
    Settings,
}

/// The key of the repository, unless there is a reason why it itself is not concerned, and those of
/// its dependents.
fn route_about(
    about: About<'_>,
    action: Option<String>,
    routing: &Routing,
    mut hint: Hint,
    (extent, irrelevant): (Extent<'_>, Option<String>),
) -> Routed {
    let Repository { id, node_id, full_name, html_url, owner, .. } = about.repository;
    let repository = Some(full_name.clone());
    match configured_host(html_url.as_ref(), about.sender.as_ref(), routing) {
        Err(reason) => Routed { repository, ..ignored(action, reason) },
        Ok(host) => {
            let account = Account { host: host.clone(), owner: owner.id };
            let key = RepoKey { host, id };
            let concern = concern(&key, &full_name, extent);
            let mut dependents = dependents(&key, &full_name, extent, routing);
            let with_others = dependents.len();
            dependents.retain(|dependent| dependent.key != key);
            let is_concerned = irrelevant.is_none() || dependents.len() < with_others;
            let left_out = dependents.len().saturating_sub(DEPENDENTS_MAX);
            dependents.truncate(DEPENDENTS_MAX);
            let others = dependents.into_iter().map(|it| dependent_key(it, hint.first_seen));
            let others: Vec<PushKey> = others.collect();
            hint.node_id = node_id;
            hint.name = Some(full_name);
            let own = PushKey { key: WorkKey::Repo(key), account, lane: Lane::Event, hint };
            let keys: Vec<_> = is_concerned.then_some(own).into_iter().chain(others).collect();
            let ignored = irrelevant.filter(|_| keys.is_empty());
            Routed { keys, concern, left_out, ignored, action, repository }
        }
    }
}

/// Those that depend on a repository, maybe itself among them: on another of its branches.
fn dependents<'r>(
    key: &RepoKey,
    name: &FullName,
    extent: Extent<'_>,
    routing: &'r Routing,
) -> Vec<&'r Dependent> {
    match extent {
        Extent::Branch(branch) => routing.dependents.of(key, name, Some(branch)),
        Extent::Whole => routing.dependents.of(key, name, None),
        Extent::Settings => Vec::new(),
    }
}

fn concern(key: &RepoKey, name: &FullName, extent: Extent<'_>) -> Option<Concern> {
    let branch = match extent {
        Extent::Branch(branch) => Some(branch.to_owned()),
        Extent::Whole => None,
        Extent::Settings => return None,
    };
    Some(Concern { key: key.clone(), name: name.clone(), branch })
}

/// The key of one that depends on a repository that was pushed to. What the event tells of the
/// other repository says nothing of this one.
pub fn dependent_key(dependent: &Dependent, received_at: Timestamp) -> PushKey {
    dependent.to_push(Lane::Event, Hint::new(Reasons::PUSH.and(Reasons::INCLUDED), received_at))
}

fn route_grant(
    change: GrantChange,
    grant: Grant<'_>,
    routing: &Routing,
    received_at: Timestamp,
) -> Routed {
    let action = Some(change.as_str().to_owned());
    let installation = grant.installation;
    let account = match account_of(&installation, grant.sender.as_ref(), routing) {
        Ok(account) => account,
        Err(reason) => return ignored(action, reason),
    };
    let app = configured_app(&installation, &account.host, routing);
    let grant_of_ours = app.map_or(Reasons::default(), |_| Reasons::GRANT);
    let key = |granted: Granted, reasons: Reasons| PushKey {
        key: WorkKey::Repo(RepoKey { host: account.host.clone(), id: granted.id }),
        account: account.clone(),
        lane: Lane::Event,
        hint: Hint {
            node_id: granted.node_id,
            name: Some(granted.full_name),
            ..Hint::new(reasons.and(grant_of_ours), received_at)
        },
    };
    let added = grant.repositories_added.into_iter().map(|g| key(g, Reasons::CREATED));
    let removed = grant.repositories_removed.into_iter().map(|g| key(g, Reasons::DELETED));
    let mut keys: Vec<PushKey> = added.chain(removed).collect();
    // The selection may have switched between all and some, which the list of installations says.
    keys.extend(app.map(|app| installations_key(&account.host, app, Reasons::GRANT, received_at)));
    if keys.is_empty() {
        return ignored(action, "names no repository".to_owned());
    }
    Routed { keys, concern: None, left_out: 0, ignored: None, action, repository: None }
}

/// The App's list is asked for again, and the account is scanned; a suspended one cannot be.
fn route_installation(
    change: InstallationChange,
    about: AboutInstallation<'_>,
    routing: &Routing,
    received_at: Timestamp,
) -> Routed {
    let action = Some(change.as_str().to_owned());
    let installation = about.installation;
    let account = match account_of(&installation, about.sender.as_ref(), routing) {
        Ok(account) => account,
        Err(reason) => return ignored(action, reason),
    };
    let Some(app) = configured_app(&installation, &account.host, routing) else {
        let which = installation.app_id.map_or_else(String::new, |app| format!(" {app}"));
        return ignored(action, format!("App{which} is not configured on {}", account.host));
    };
    let reasons = match change {
        InstallationChange::Deleted => Reasons::GRANT.and(Reasons::UNINSTALLED),
        InstallationChange::Created
        | InstallationChange::Suspended
        | InstallationChange::Unsuspended
        | InstallationChange::PermissionsAccepted => Reasons::GRANT,
    };
    let mut keys = vec![installations_key(&account.host, app, reasons, received_at)];
    if change != InstallationChange::Suspended {
        let hint = Hint::new(reasons, received_at);
        let key = WorkKey::Scan(account.clone());
        keys.push(PushKey { key, account, lane: Lane::Event, hint });
    }
    Routed { keys, concern: None, left_out: 0, ignored: None, action, repository: None }
}

fn installations_key(host: &Host, app: AppId, reasons: Reasons, received_at: Timestamp) -> PushKey {
    PushKey {
        key: WorkKey::Installations { host: host.clone(), app },
        account: app_account(host, app),
        lane: Lane::Event,
        hint: Hint::new(reasons, received_at),
    }
}

/// Whose repositories an installation sees.
fn account_of(
    installation: &Installation<'_>,
    sender: Option<&Sender<'_>>,
    routing: &Routing,
) -> Result<Account, String> {
    let owner = &installation.account;
    let host = configured_host(owner.html_url.as_ref(), sender, routing)?;
    Ok(Account { host, owner: owner.id })
}

fn configured_app(
    installation: &Installation<'_>,
    host: &Host,
    routing: &Routing,
) -> Option<AppId> {
    installation.app_id.filter(|app| routing.apps.contains(&(host.clone(), *app)))
}

fn ignored(action: Option<String>, reason: String) -> Routed {
    Routed {
        keys: vec![],
        concern: None,
        left_out: 0,
        ignored: Some(reason),
        action,
        repository: None,
    }
}

/// The configured host an event comes from, or why it is ignored. A page of the repository or
/// the installation says more than one of the sender.
fn configured_host(
    page: Option<&Text<'_>>,
    sender: Option<&Sender<'_>>,
    routing: &Routing,
) -> Result<Host, String> {
    let page = page.or_else(|| sender.and_then(|sender| sender.html_url.as_ref()));
    let authority = page.and_then(|page| authority(page.as_str()));
    let Some(authority) = authority else {
        return Err("the payload does not say which host it comes from".to_owned());
    };
    let host = routing.hosts.iter().find(|h| h.as_str().eq_ignore_ascii_case(authority));
    host.cloned().ok_or_else(|| match Host::parse(authority) {
        Ok(host) => format!("host {host} is not configured"),
        Err(_) => "the payload does not say which host it comes from".to_owned(),
    })
}

/// `ghe.acme.com:8443` of `https://ghe.acme.com:8443/octo/shop`.
fn authority(page: &str) -> Option<&str> {
    let (_, rest) = page.split_once("://")?;
    rest.split(['/', '?', '#']).next().filter(|authority| !authority.is_empty())
}

fn ignore_unhandled(unhandled: Unhandled) -> Routed {
    let Unhandled { event, known_event, action, repository } = unhandled;
    let reason = match &action {
        Some(action) if known_event => format!("action {action} of event {event} is not handled"),
        _ => format!("event {event} is not handled"),
    };
    Routed { keys: vec![], concern: None, left_out: 0, ignored: Some(reason), action, repository }
}
