//! One App on one host: where it is installed, and so whose repositories its tokens may read.
//!
//! The list of installations is asked for once for all who wait, and asked again when it is old
//! and does not have what is looked for. An installation is matched by its account's database id.
//! A suspended installation is an error and never a reason to try other credentials: those might
//! see less, and what they do not see would look gone. So is one that has vanished while we ran,
//! until GitHub has [confirmed](App::confirm_uninstalled) by its id that it is no more.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;

use super::auth::{InstallationId, Signer, Tokens};
use super::flight::Flights;
use super::transport::{ANSWER_BYTES_MAX, JSON, Transport};
use super::{AppSettings, GitHubError, Installation, InstallationState, Owner, SetupError};
use crate::clock::Timestamp;
use crate::ids::{Account, AppId, OwnerId};

/// How old a list may be that does not have an account, or has it in a state that may change: one
/// call a minute at most for accounts that other credentials serve.
pub const LIST_AGE_MAX: Duration = Duration::from_secs(60);

/// GitHub's largest page.
const PAGE: usize = 100;

/// Most pages of a list: 10,000 installations; a list that goes on is not believed.
const PAGES_MAX: usize = 100;

/// The list at one time.
pub(super) struct Listing {
    asked_at: Timestamp,
    by_owner: BTreeMap<OwnerId, Installed>,
}

/// An installation that the configuration allows.
#[derive(Clone)]
pub(super) struct Installed {
    pub(super) id: InstallationId,
    pub(super) shown: Installation,
}

type Listed = Result<Arc<Listing>, GitHubError>;

#[derive(Default)]
struct Directory {
    listing: Option<Arc<Listing>>,
    /// A list that was asked for before the last doubt is not kept.
    doubts: u64,
    /// The last installation of every account that was in a list since the start.
    once: BTreeMap<OwnerId, InstallationId>,
    /// Accounts of which GitHub has confirmed that the App was uninstalled.
    uninstalled: BTreeSet<OwnerId>,
}

/// Why an App gives no credentials.
pub(super) enum NotFound {
    /// It could not be asked whether it is installed there.
    Silent(GitHubError),
    /// It is or was installed there and must not be used.
    Barred(GitHubError),
}

/// Whose installation is looked for.
#[derive(Clone, Copy)]
pub(super) enum Whose<'a> {
    Owner(OwnerId),
    Login(&'a str),
}

/// An App with what is known of it.
pub(super) struct App {
    pub(super) id: AppId,
    pub(super) tokens: Tokens,
    lister: Arc<Lister>,
    directory: Arc<Mutex<Directory>>,
    flights: Flights<Listed>,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("id", &self.id).finish_non_exhaustive()
    }
}

impl App {
    pub(super) fn new(
        settings: AppSettings,
        transport: &Arc<Transport>,
    ) -> Result<Self, SetupError> {
        let signer = Arc::new(Signer::new(&transport.host, &settings)?);
        let allowed = settings.allowed_owners.map(|owners| {
            owners.into_iter().map(|owner| owner.to_ascii_lowercase()).collect::<BTreeSet<_>>()
        });
        Ok(Self {
            id: settings.id,
            tokens: Tokens::new(transport.clone(), signer.clone()),
            lister: Arc::new(Lister { transport: transport.clone(), signer, allowed }),
            directory: Arc::default(),
            flights: Flights::default(),
        })
    }

    /// The account's installation, if it has one that may be used.
    ///
    /// # Errors
    /// When GitHub does not say, or when there is one that must not be used.
    pub(super) async fn find(&self, whose: Whose<'_>) -> Result<Option<Installed>, NotFound> {
        let mut listing = self.known_or_asked().await.map_err(NotFound::Silent)?;
        let usable = listing.get(whose).is_some_and(|found| found.shown.state.is_usable());
        if !usable && self.lister.transport.clock.now() >= listing.asked_at + LIST_AGE_MAX {
            // What is known serves on while GitHub cannot say more.
            listing = self.asked(When::NowOrUnderWay).await.unwrap_or(listing);
        }
        match listing.get(whose) {
            Some(found) => match found.shown.why_not(self.id) {
                Some(why) => Err(NotFound::Barred(GitHubError::Unauthorized(why))),
                None => Ok(Some(found.clone())),
            },
            None => match whose {
                Whose::Owner(owner) if self.has_vanished(owner) => {
                    Err(NotFound::Barred(GitHubError::Unauthorized(format!(
                        "App {} is no longer installed on account {owner}; nothing of it is \
                         removed before GitHub confirms that",
                        self.id
                    ))))
                }
                _ => Ok(None),
            },
        }
    }

    /// The installations as GitHub lists them now.
    pub(super) async fn list(&self) -> Result<Vec<Installation>, GitHubError> {
        let listing = self.asked(When::FromNow).await?;
        Ok(listing.by_owner.values().map(|found| found.shown.clone()).collect())
    }

    /// Whether the App is no longer installed on an account where it was since the start: the
    /// installation is 404 under the App's JWT. From then on the account is none of the App's.
    pub(super) async fn confirm_uninstalled(&self, owner: OwnerId) -> Result<bool, GitHubError> {
        let Some(id) = self.lock().once.get(&owner).copied() else { return Ok(false) };
        let lister = &self.lister;
        let is_there = lister.transport.counted(lister.is_there(id).await)?;
        if !is_there {
            self.lock().uninstalled.insert(owner);
        }
        Ok(!is_there)
    }

    /// Whether there is an installation of this number, installed on whomever.
    pub(super) async fn is_there(&self, installation: u64) -> Result<bool, GitHubError> {
        let lister = &self.lister;
        lister.transport.counted(lister.is_there(InstallationId(installation)).await)
    }

    /// Makes the next [`find`](Self::find) ask again: what the list says was refused.
    pub(super) fn doubt(&self) {
        let mut directory = self.lock();
        directory.listing = None;
        directory.doubts += 1;
    }

    fn has_vanished(&self, owner: OwnerId) -> bool {
        let directory = self.lock();
        directory.once.contains_key(&owner) && !directory.uninstalled.contains(&owner)
    }

    async fn known_or_asked(&self) -> Listed {
        let known = self.lock().listing.clone();
        match known {
            Some(listing) => Ok(listing),
            None => self.asked(When::NowOrUnderWay).await,
        }
    }

    async fn asked(&self, when: When) -> Listed {
        let (lister, directory) = (self.lister.clone(), self.directory.clone());
        let ask = async move {
            let doubts = lock(&directory).doubts;
            let listed = lister.transport.counted(lister.list().await);
            if let Ok(listing) = &listed {
                let mut directory = lock(&directory);
                for (owner, found) in &listing.by_owner {
                    directory.once.insert(*owner, found.id);
                    directory.uninstalled.remove(owner);
                }
                if directory.doubts == doubts {
                    directory.listing = Some(listing.clone());
                }
            }
            listed
        };
        let listed = match when {
            When::NowOrUnderWay => self.flights.join(ask),
            When::FromNow => self.flights.join_next(ask),
        };
        let listed = listed.await;
        if let Ok(listing) = &listed {
            let ids: BTreeSet<_> = listing.by_owner.values().map(|found| found.id).collect();
            self.tokens.keep(|id| ids.contains(&id));
        }
        listed
    }

    fn lock(&self) -> MutexGuard<'_, Directory> {
        lock(&self.directory)
    }
}

/// How fresh a list has to be.
#[derive(Clone, Copy)]
enum When {
    NowOrUnderWay,
    FromNow,
}

fn lock(directory: &Mutex<Directory>) -> MutexGuard<'_, Directory> {
    directory.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Listing {
    fn get(&self, whose: Whose<'_>) -> Option<&Installed> {
        match whose {
            Whose::Owner(owner) => self.by_owner.get(&owner),
            Whose::Login(login) => self
                .by_owner
                .values()
                .find(|found| found.shown.owner.login.eq_ignore_ascii_case(login)),
        }
    }
}

#[derive(Deserialize)]
struct WireInstallation {
    id: u64,
    account: Option<WireAccount>,
    target_type: String,
    repository_selection: String,
    suspended_at: Option<String>,
}

/// Enterprises have a slug instead of a login and no repositories of their own.
#[derive(Deserialize)]
struct WireAccount {
    id: u64,
    login: Option<String>,
}

/// Asks for the list; apart from [`App`], which holds the question while it is asked.
struct Lister {
    transport: Arc<Transport>,
    signer: Arc<Signer>,
    allowed: Option<BTreeSet<String>>,
}

impl Lister {
    async fn list(&self) -> Listed {
        let asked_at = self.transport.clock.now();
        let mut by_owner = BTreeMap::new();
        for page in 1..=PAGES_MAX {
            let wire = self.page(page).await?;
            let is_last = wire.len() < PAGE;
            let installed = wire.into_iter().filter_map(|installation| self.decode(installation));
            by_owner.extend(installed.map(|found| (found.shown.owner.account.owner, found)));
            if is_last {
                return Ok(Arc::new(Listing { asked_at, by_owner }));
            }
        }
        let error = format!("the installations of App {} do not end", self.signer.app);
        Err(GitHubError::Transient(error))
    }

    async fn page(&self, page: usize) -> Result<Vec<WireInstallation>, GitHubError> {
        let transport = &self.transport;
        let bearer = self.signer.bearer(transport.clock.now())?;
        let query = format!("per_page={PAGE}&page={page}");
        let segments = ["app", "installations"];
        let answer = transport.get(&bearer, &segments, Some(&query), JSON, ANSWER_BYTES_MAX).await;
        let answer = answer.map_err(|broken| broken.into_error(&transport.host))?;
        if answer.status != 200 {
            return Err(self.signer.refusal(transport, &answer));
        }
        serde_json::from_slice(&answer.body).map_err(|_| {
            let what = "answered something that is no list of installations";
            GitHubError::Transient(format!("{} {what}", transport.host))
        })
    }

    /// Whether an installation exists, by its id.
    async fn is_there(&self, id: InstallationId) -> Result<bool, GitHubError> {
        let transport = &self.transport;
        let bearer = self.signer.bearer(transport.clock.now())?;
        let segments = ["app", "installations", &id.0.to_string()];
        let answer = transport.get(&bearer, &segments, None, JSON, ANSWER_BYTES_MAX).await;
        let answer = answer.map_err(|broken| broken.into_error(&transport.host))?;
        match answer.status {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(self.signer.refusal(transport, &answer)),
        }
    }

    fn decode(&self, wire: WireInstallation) -> Option<Installed> {
        let account = wire.account?;
        let login = account.login?;
        let owns = ["Organization", "User"].contains(&wire.target_type.as_str());
        let allowed =
            self.allowed.as_ref().is_none_or(|all| all.contains(&login.to_ascii_lowercase()));
        if !owns || !allowed {
            return None;
        }
        let state = match (wire.suspended_at, wire.repository_selection.as_str()) {
            (Some(_), _) => InstallationState::Suspended,
            (None, "all") => InstallationState::All,
            (None, _) => InstallationState::Selected,
        };
        let host = self.transport.host.clone();
        let owner = Owner { account: Account { host, owner: OwnerId(account.id) }, login };
        let shown = Installation { id: wire.id, owner, state };
        Some(Installed { id: InstallationId(wire.id), shown })
    }
}
