//! How a repository stands to the configuration: by its record, or as GitHub shows it now.

use super::{OperateError, Operator};
use crate::accounts::host_of;
use crate::config::{Filters, Provider};
use crate::engine::record::RepoRecord;
use crate::github::{Repository, Seen};
use crate::ids::{Account, AppId, FullName, Host};
use crate::membership::{Standing, wanted};
use crate::repository::FileQuery;

/// How a repository stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It is in the catalog.
    In,
    /// It counts, and has no catalog file.
    NoFile,
    /// It counts and has a file, and was not read yet.
    NotSeenYet,
    /// No provider's filters let it in.
    FilteredOut,
    /// No provider names its owner.
    Stranger,
    /// GitHub does not show it to us.
    NotShown,
    /// GitHub had to be asked and gave no answer to believe.
    Unknown,
}

impl Place {
    /// The word in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::NoFile => "no-catalog-file",
            Self::NotSeenYet => "not-seen-yet",
            Self::FilteredOut => "filtered-out",
            Self::Stranger => "stranger",
            Self::NotShown => "not-shown",
            Self::Unknown => "unknown",
        }
    }
}

/// What is told of a repository's standing.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) place: Place,
    /// Why, in words.
    pub(super) why: String,
    /// The providers that let it in.
    pub(super) providers: Vec<String>,
    /// Which filters it passes, or which one leaves it out.
    pub(super) filter: Option<String>,
}

impl Told {
    pub(super) fn new(place: Place, why: String) -> Self {
        Self { place, why, providers: Vec::new(), filter: None }
    }

    fn member(place: Place, why: String, providers: &[&Provider]) -> Self {
        let ids = providers.iter().map(|provider| provider.id.clone()).collect();
        let passed: Vec<String> = providers.iter().copied().map(passed).collect();
        Self { place, why, providers: ids, filter: Some(passed.join("; ")) }
    }

    fn filtered_out(why: String) -> Self {
        Self { filter: Some(why.clone()), ..Self::new(Place::FilteredOut, why) }
    }
}

impl Operator {
    /// How a repository with this record stands.
    pub(super) fn of_record(&self, record: &RepoRecord) -> Told {
        let standing =
            self.scanner.membership.standing(&record.key.host, &record.full_name, &record.listed);
        match standing {
            Standing::Member(providers) if record.files.is_empty() => {
                Told::member(Place::NoFile, no_file(&providers), &providers)
            }
            Standing::Member(providers) => {
                let paths: Vec<&str> = record.files.iter().map(|f| f.path.as_str()).collect();
                let why = match record.holds_entities() {
                    true => format!("it has {}", paths.join(", ")),
                    false => format!("it has {}, which gave no entity", paths.join(", ")),
                };
                Told::member(Place::In, why, &providers)
            }
            Standing::FilteredOut(why) => Told::filtered_out(why),
            Standing::Stranger => self.stranger(&record.full_name),
        }
    }

    /// How a repository without a record stands, and whose it is, as far as that is known.
    pub(super) async fn of_github(
        &self,
        name: &FullName,
    ) -> Result<(Option<Account>, Told), OperateError> {
        let membership = &self.scanner.membership;
        let named = |p: &&Provider| {
            membership.owners_of(p).iter().any(|login| login.eq_ignore_ascii_case(name.owner()))
        };
        let Some(provider) = membership.providers().iter().find(named) else {
            return Ok((None, self.stranger(name)));
        };
        let Ok(host) = host_of(provider) else { return Ok((None, self.stranger(name))) };
        let owner = match self.scanner.accounts.resolve(&host, name.owner()).await {
            Ok(owner) => owner,
            Err(error) => return Ok((None, unknown(&host, &error))),
        };
        let account = owner.account;
        let told = match self.read(&account, name, &host).await {
            Ok(told) => told,
            Err(error) => unknown(&host, &error),
        };
        Ok((Some(account), told))
    }

    /// No provider names the owner, as far as the Apps of providers have told whose they read.
    fn stranger(&self, name: &FullName) -> Told {
        let owner = name.owner();
        let mut why = format!("no provider of the configuration names the owner `{owner}`");
        let membership = &self.scanner.membership;
        for provider in membership.providers() {
            let (Some(app), Ok(host)) = (provider.app.map(AppId), host_of(provider)) else {
                continue;
            };
            if membership.undiscovered(&host).contains(&app) {
                let why =
                    format!("App {app} could not be asked whether it is installed on {owner}");
                return Told::new(Place::Unknown, why);
            }
            let not = "is not installed there, or `allowedInstallationOwners` leaves it out";
            why.push_str(&format!("; App {app} of provider {} {not}", provider.id));
        }
        Told::new(Place::Stranger, why)
    }

    /// How a repository stands as GitHub shows it now.
    pub(super) async fn read(
        &self,
        account: &Account,
        name: &FullName,
        host: &Host,
    ) -> Result<Told, crate::github::GitHubError> {
        let not_shown = || {
            let why = format!("{host} does not show it to the credentials of {}", name.owner());
            Told::new(Place::NotShown, why)
        };
        let Some(read) = self.scanner.github.find(account, name).await? else {
            return Ok(not_shown());
        };
        let files = self.scanner.membership.wanted_on_host(host);
        let queries: Vec<_> = files.iter().map(|file| file.query.clone()).collect();
        let seen = self.scanner.github.read(account, &[read], &queries).await;
        Ok(match seen.into_iter().next().transpose()? {
            Some(Seen::Found(repository)) => self.of_repository(&repository, &queries),
            Some(Seen::Gone) | None => not_shown(),
        })
    }

    fn of_repository(&self, found: &Repository, queries: &[FileQuery]) -> Told {
        let standing =
            self.scanner.membership.standing(&found.key.host, &found.full_name, &found.listed);
        let providers = match standing {
            Standing::Member(providers) => providers,
            Standing::FilteredOut(why) => return Told::filtered_out(why),
            Standing::Stranger => return self.stranger(&found.full_name),
        };
        let wanted = wanted(providers.iter().copied());
        let mut seen = queries.iter().zip(&found.files).filter(|(_, file)| file.is_some());
        match seen.find(|(query, _)| wanted.iter().any(|w| w.query == **query)) {
            None => Told::member(Place::NoFile, no_file(&providers), &providers),
            Some((query, _)) => {
                let why = format!("it has {} and was not read yet; `cuelight scan`", query.path);
                Told::member(Place::NotSeenYet, why, &providers)
            }
        }
    }
}

fn unknown(host: &Host, error: &crate::github::GitHubError) -> Told {
    Told::new(Place::Unknown, format!("{host} gave no answer to believe: {error}"))
}

/// The filters of a provider that a repository passed, by key.
fn passed(provider: &Provider) -> String {
    let Filters { repository, topics_include, topics_exclude, visibility, .. } = &provider.filters;
    let set = [
        ("filters.repository", repository.is_some()),
        ("filters.topic.include", !topics_include.is_empty()),
        ("filters.topic.exclude", !topics_exclude.is_empty()),
        ("filters.visibility", !visibility.is_empty()),
        ("filters.allowForks", !provider.filters.allow_forks),
        ("filters.allowArchived", !provider.filters.allow_archived),
    ];
    let set: Vec<&str> =
        set.into_iter().filter(|(_, is_set)| *is_set).map(|(key, _)| key).collect();
    let passed = if set.is_empty() { "all (none is set)".to_owned() } else { set.join(", ") };
    format!("provider {}: passes {passed}", provider.id)
}

fn no_file(providers: &[&Provider]) -> String {
    let looked = |file: crate::membership::Wanted| match file.query.branch {
        Some(branch) => format!("{} on {branch}", file.query.path),
        None => format!("{} on its default branch", file.query.path),
    };
    let looked: Vec<String> = wanted(providers.iter().copied()).into_iter().map(looked).collect();
    format!("there is no {}", looked.join(", no "))
}
