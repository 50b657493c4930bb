//! One App on one host: where it is installed, and so whose repositories its tokens may read.
//!
//! The list of installations is asked for once for all who wait, and asked again when it is old
//! and does not have what is looked for. An installation is matched by its account's database id.
//! Suspended installations, installations on selected repositories and such as have vanished
//! while we ran are errors and never a reason to try other credentials: those might see less, and
//! what they do not see would look gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use serde::Deserialize;

use super::auth::{InstallationId, Signer, Tokens};
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
    flight: Option<Shared<BoxFuture<'static, Listed>>>,
    /// Accounts that were in a list since the start.
    once: BTreeSet<OwnerId>,
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
    directory: Mutex<Directory>,
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
            directory: Mutex::default(),
        })
    }

    /// The account's installation, if it has one that may be used.
    ///
    /// # Errors
    /// When GitHub does not say, or when there is one that must not be used.
    pub(super) async fn find(&self, whose: Whose<'_>) -> Result<Option<Installed>, GitHubError> {
        let mut listing = self.known_or_asked().await?;
        let usable = listing.get(whose).is_some_and(|found| found.shown.state.is_usable());
        if !usable && self.lister.transport.clock.now() >= listing.asked_at + LIST_AGE_MAX {
            // What is known serves on while GitHub cannot say more.
            listing = self.asked().await.unwrap_or(listing);
        }
        match listing.get(whose) {
            Some(found) => match found.shown.why_not(self.id) {
                Some(why) => Err(GitHubError::Unauthorized(why)),
                None => Ok(Some(found.clone())),
            },
            None => match whose {
                Whose::Owner(owner) if self.lock().once.contains(&owner) => {
                    Err(GitHubError::Unauthorized(format!(
                        "App {} is no longer installed on account {owner}, or no longer allowed \
                         there; nothing of it is removed, install it again",
                        self.id
                    )))
                }
                _ => Ok(None),
            },
        }
    }

    /// The installations as GitHub lists them now.
    pub(super) async fn list(&self) -> Result<Vec<Installation>, GitHubError> {
        let listing = self.asked().await?;
        Ok(listing.by_owner.values().map(|found| found.shown.clone()).collect())
    }

    /// Makes the next [`find`](Self::find) ask again: what the list says was refused.
    pub(super) fn doubt(&self) {
        self.lock().listing = None;
    }

    async fn known_or_asked(&self) -> Listed {
        let known = self.lock().listing.clone();
        match known {
            Some(listing) => Ok(listing),
            None => self.asked().await,
        }
    }

    async fn asked(&self) -> Listed {
        let flight = {
            let mut directory = self.lock();
            let begin = || {
                let lister = self.lister.clone();
                async move { lister.transport.counted(lister.list().await) }.boxed().shared()
            };
            directory.flight.get_or_insert_with(begin).clone()
        };
        let listed = flight.clone().await;
        let mut directory = self.lock();
        if directory.flight.as_ref().is_some_and(|present| present.ptr_eq(&flight)) {
            directory.flight = None;
            if let Ok(listing) = &listed {
                directory.once.extend(listing.by_owner.keys().copied());
                directory.listing = Some(listing.clone());
                let ids: BTreeSet<_> = listing.by_owner.values().map(|found| found.id).collect();
                self.tokens.keep(|id| ids.contains(&id));
            }
        }
        listed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Directory> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
            (None, "all") => InstallationState::Usable,
            (None, _) => InstallationState::Selected,
        };
        let host = self.transport.host.clone();
        let owner = Owner { account: Account { host, owner: OwnerId(account.id) }, login };
        Some(Installed { id: InstallationId(wire.id), shown: Installation { owner, state } })
    }
}
