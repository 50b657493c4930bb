//! Which repositories count, and which of their files: the providers of the configuration as pure
//! questions about what GitHub says of a repository.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use crate::config::{Filters, Provider};
use crate::ids::{AppId, FullName, Host};
use crate::repository::{FileQuery, Listed};

/// The providers, asked in the order of their ids.
#[derive(Debug, Clone)]
pub struct Membership {
    providers: Vec<Provider>,
    /// The logins, in lower case, that each App of a provider is installed on.
    installed: Arc<RwLock<Installed>>,
}

/// Logins by App.
type Installed = BTreeMap<(Host, AppId), BTreeSet<String>>;

/// A file to look for, and the provider that wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The provider's id.
    pub provider: String,
    /// Branch and path.
    pub query: FileQuery,
}

/// Whether a repository counts.
#[derive(Debug, Clone)]
pub enum Standing<'a> {
    /// It does, for these providers.
    Member(Vec<&'a Provider>),
    /// Its owner is ours, but no provider's filters let it in; why not, per provider.
    FilteredOut(String),
    /// No provider names its owner.
    Stranger,
}

impl Membership {
    /// Providers as configured.
    pub fn new(mut providers: Vec<Provider>) -> Self {
        providers.sort_by(|a, b| a.id.cmp(&b.id));
        Self { providers, installed: Arc::default() }
    }

    /// All providers.
    pub fn providers(&self) -> &[Provider] {
        &self.providers
    }

    /// The Apps of providers on a host whose installations nobody has told yet: until then no
    /// question about a repository there has an answer.
    pub fn undiscovered(&self, host: &Host) -> Vec<AppId> {
        let installed = self.installed.read().unwrap_or_else(PoisonError::into_inner);
        let apps = self.on_host(host).filter_map(|provider| provider.app).map(AppId);
        apps.filter(|app| !installed.contains_key(&(host.clone(), *app))).collect()
    }

    /// Takes in where an App is installed now.
    pub fn learn(&self, host: &Host, app: AppId, logins: &[&str]) {
        let now: BTreeSet<String> = logins.iter().map(|login| login.to_ascii_lowercase()).collect();
        let mut installed = self.installed.write().unwrap_or_else(PoisonError::into_inner);
        installed.insert((host.clone(), app), now);
    }

    /// Whether a provider names this login as its organisation, so that no App has to be asked
    /// whether the owner is ours.
    pub fn is_named(&self, host: &Host, login: &str) -> bool {
        let names = |p: &Provider| p.app.is_none() && p.organization.eq_ignore_ascii_case(login);
        self.on_host(host).any(names)
    }

    /// Whether Apps say who is ours on a host.
    pub fn discovers(&self, host: &Host) -> bool {
        self.on_host(host).any(|provider| provider.app.is_some())
    }

    /// The logins whose repositories a provider reads: its organisation's, or those that its App
    /// is installed on, as far as that is known.
    pub fn owners_of(&self, provider: &Provider) -> Vec<String> {
        let Some(app) = provider.app else { return vec![provider.organization.clone()] };
        let installed = self.installed.read().unwrap_or_else(PoisonError::into_inner);
        let of_app = |((host, id), logins): (&(Host, AppId), &BTreeSet<String>)| {
            (host.as_str() == provider.host && id.0 == app).then(|| logins.clone())
        };
        installed.iter().find_map(of_app).into_iter().flatten().collect()
    }

    /// The providers of an owner; logins are compared without regard to case, as GitHub does.
    pub fn of_owner<'a>(&'a self, host: &Host, login: &str) -> Vec<&'a Provider> {
        let installed = self.installed.read().unwrap_or_else(PoisonError::into_inner);
        let login = login.to_ascii_lowercase();
        let names = |provider: &&Provider| match provider.app {
            Some(app) => installed
                .get(&(host.clone(), AppId(app)))
                .is_some_and(|logins| logins.contains(&login)),
            None => provider.organization.eq_ignore_ascii_case(&login),
        };
        self.on_host(host).filter(names).collect()
    }

    /// The files to read when the owner is known only after the read: every provider's.
    pub fn wanted_on_host(&self, host: &Host) -> Vec<Wanted> {
        wanted(self.on_host(host))
    }

    /// Whether a repository counts.
    pub fn standing<'a>(
        &'a self,
        host: &Host,
        full_name: &FullName,
        listed: &Listed,
    ) -> Standing<'a> {
        let of_owner = self.of_owner(host, full_name.owner());
        if of_owner.is_empty() {
            return Standing::Stranger;
        }
        let mut members = Vec::new();
        let mut refusals = Vec::new();
        for provider in of_owner {
            match refusal(&provider.filters, full_name.name(), listed) {
                None => members.push(provider),
                Some(why) => refusals.push(format!("provider {}: {why}", provider.id)),
            }
        }
        if members.is_empty() {
            Standing::FilteredOut(refusals.join("; "))
        } else {
            Standing::Member(members)
        }
    }

    fn on_host<'a>(&'a self, host: &Host) -> impl Iterator<Item = &'a Provider> {
        self.providers.iter().filter(move |p| p.host == host.as_str())
    }
}

/// The files that these providers want, each (branch, path) once: for the first that names it.
pub fn wanted<'a>(providers: impl IntoIterator<Item = &'a Provider>) -> Vec<Wanted> {
    let mut files: Vec<Wanted> = Vec::new();
    for provider in providers {
        for path in &provider.catalog_paths {
            let query = FileQuery { branch: provider.filters.branch.clone(), path: path.clone() };
            if !files.iter().any(|f| f.query == query) {
                files.push(Wanted { provider: provider.id.clone(), query });
            }
        }
    }
    files
}

/// Why a filter does not let a repository in; `None` when all do. A hit in `topic.exclude` wins
/// over `topic.include`, as in Backstage.
fn refusal(filters: &Filters, name: &str, listed: &Listed) -> Option<String> {
    if listed.archived && !filters.allow_archived {
        return Some("archived, and filters.allowArchived is false".to_owned());
    }
    if listed.fork && !filters.allow_forks {
        return Some("a fork, and filters.allowForks is false".to_owned());
    }
    if filters.repository.as_ref().is_some_and(|regex| !regex.is_match(name)) {
        return Some(format!("its name `{name}` does not match filters.repository"));
    }
    if !filters.visibility.is_empty() && !filters.visibility.contains(&listed.visibility.as_str()) {
        return Some(format!("it is {}, which filters.visibility leaves out", listed.visibility));
    }
    let has = |topic: &&String| listed.topics.iter().any(|t| t.eq_ignore_ascii_case(topic));
    if let Some(topic) = filters.topics_exclude.iter().find(has) {
        return Some(format!("it has the topic `{topic}` of filters.topic.exclude"));
    }
    if !filters.topics_include.is_empty() && !filters.topics_include.iter().any(|t| has(&t)) {
        return Some("it has no topic of filters.topic.include".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed() -> Listed {
        Listed {
            visibility: "private".to_owned(),
            archived: false,
            fork: false,
            default_branch: Some("main".to_owned()),
            topics: vec!["money".to_owned()],
        }
    }

    #[track_caller]
    fn check(filters: &Filters, listed: &Listed, expected: Option<&str>) {
        let given = refusal(filters, "pay", listed);
        match expected {
            None => assert_eq!(given, None),
            Some(word) => assert!(given.as_ref().is_some_and(|g| g.contains(word)), "{given:?}"),
        }
    }

    #[test]
    fn filters_refuse_with_the_key_that_did_it() {
        let all = Filters::default();
        check(&all, &listed(), None);
        check(&all, &Listed { archived: true, ..listed() }, Some("allowArchived"));
        let no_forks = Filters { allow_forks: false, ..Filters::default() };
        check(&no_forks, &Listed { fork: true, ..listed() }, Some("allowForks"));
        let named = regex::Regex::new("^shop-.*$").ok();
        let named = Filters { repository: named, ..Filters::default() };
        check(&named, &listed(), Some("filters.repository"));
        let public = Filters { visibility: vec!["public"], ..Filters::default() };
        check(&public, &listed(), Some("filters.visibility"));
        let topics = |include: &[&str], exclude: &[&str]| Filters {
            topics_include: include.iter().map(|t| (*t).to_owned()).collect(),
            topics_exclude: exclude.iter().map(|t| (*t).to_owned()).collect(),
            ..Filters::default()
        };
        check(&topics(&["Money"], &[]), &listed(), None);
        check(&topics(&["catalog"], &[]), &listed(), Some("topic.include"));
        check(&topics(&["money"], &["money"]), &listed(), Some("topic.exclude"));
    }
}
