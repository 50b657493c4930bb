//! A transport with one account's credentials: the token, or an App's installation.
//!
//! An installation's token that GitHub refuses with 401 is renewed and the call made once more;
//! whatever GitHub says then stands. A session that is *unsure* has the token of the host while an
//! App cannot say whether the account is its own: what it shows is there, what it does not show is
//! not known to be gone.

use std::sync::Arc;

use hyper::header::HeaderValue;

use super::apps::{App, Installed};
use super::auth::Token;
use super::budget::Purse;
use super::transport::{Answer, Broken, Transport};
use super::{GitHubError, InstallationState};
use crate::ids::{AppId, OwnerId};

/// What a call is made with.
#[derive(Clone)]
pub(super) enum Credential {
    /// The configured token.
    Token(HeaderValue),
    /// An installation of an App.
    Installation {
        /// The App.
        app: Arc<App>,
        /// Where it is installed.
        installed: Installed,
    },
}

/// One account's way to its host.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) transport: Arc<Transport>,
    credential: Credential,
    unsure: Option<GitHubError>,
}

impl Session {
    pub(super) fn new(transport: &Arc<Transport>, credential: Credential) -> Self {
        Self { transport: transport.clone(), credential, unsure: None }
    }

    /// With the host's token because an App could not be asked: `why`.
    pub(super) fn unsure(transport: &Arc<Transport>, token: HeaderValue, why: GitHubError) -> Self {
        let unsure = Some(why);
        Self { transport: transport.clone(), credential: Credential::Token(token), unsure }
    }

    /// Why nothing that is not shown may be taken for gone.
    pub(super) fn doubts(&self) -> Option<GitHubError> {
        let why = self.unsure.as_ref()?;
        let what = "not shown to the token, and an App that might see it cannot be asked";
        Some(GitHubError::Refused(format!("{what}: {why}")))
    }

    /// Whose list of selected repositories says what there is; `None` when all are seen.
    pub(super) fn selected(&self) -> Option<(AppId, OwnerId)> {
        let Credential::Installation { app, installed } = &self.credential else { return None };
        let shown = &installed.shown;
        let is_selected = shown.state == InstallationState::Selected;
        is_selected.then_some((app.id, shown.owner.account.owner))
    }

    /// Remembers that calls for this account are made with this credential.
    pub(super) fn pays_for(&self, owner: OwnerId) {
        self.transport.budgets.pays(owner, self.purse());
    }

    fn purse(&self) -> Purse {
        match &self.credential {
            Credential::Token(_) => Purse::Token,
            Credential::Installation { app, installed } => {
                Purse::Installation(app.id, installed.id.0)
            }
        }
    }

    /// Posts a GraphQL body; the answer has status 200.
    pub(super) async fn graphql(&self, body: String) -> Result<Answer, GitHubError> {
        let transport = &self.transport;
        let answer =
            self.posted(body).await.map_err(|broken| broken.into_error(&transport.host))?;
        transport.budgets.note(self.purse(), &answer.headers);
        match answer.status {
            200 => Ok(answer),
            404 => Err(transport.no_graphql()),
            _ => Err(self.refusal(&answer)),
        }
    }

    /// Gets segments below the base; statuses that are no success are the caller's to judge,
    /// [`refusal`](Self::refusal) helps.
    pub(super) async fn get(
        &self,
        segments: &[&str],
        accept: &'static str,
        bytes_max: usize,
    ) -> Result<Answer, Broken> {
        self.get_with(segments, None, accept, bytes_max).await
    }

    /// The same with a query.
    pub(super) async fn get_with(
        &self,
        segments: &[&str],
        query: Option<&str>,
        accept: &'static str,
        bytes_max: usize,
    ) -> Result<Answer, Broken> {
        let with = self.authorization().await?;
        let at = &self.transport;
        let answer = at.get(with.header(), segments, query, accept, bytes_max).await?;
        match self.renewed(with, &answer).await? {
            Some(with) => at.get(with.header(), segments, query, accept, bytes_max).await,
            None => Ok(answer),
        }
    }

    async fn posted(&self, body: String) -> Result<Answer, Broken> {
        let with = self.authorization().await?;
        let answer = self.transport.graphql(with.header(), body.clone()).await?;
        match self.renewed(with, &answer).await? {
            Some(with) => self.transport.graphql(with.header(), body).await,
            None => Ok(answer),
        }
    }

    /// What a status that is no success means.
    pub(super) fn refusal(&self, answer: &Answer) -> GitHubError {
        let plain = self.transport.refusal(answer);
        match (&self.credential, plain) {
            (Credential::Installation { app, installed }, GitHubError::Unauthorized(_)) => {
                // Suspended or uninstalled since the list was asked for.
                app.doubt();
                GitHubError::Unauthorized(format!(
                    "{} refuses the token of App {} for {} ({}): is it suspended, uninstalled, or \
                     without read access to contents and metadata?",
                    self.transport.host, app.id, installed.shown.owner.login, answer.status
                ))
            }
            (_, plain) => plain,
        }
    }

    async fn authorization(&self) -> Result<Held, Broken> {
        let (app, installed) = match &self.credential {
            Credential::Token(header) => return Ok(Held::Fixed(header.clone())),
            Credential::Installation { app, installed } => (app, installed),
        };
        let token = app.tokens.get(installed.id, &installed.shown.owner.login).await;
        token.map(Held::Renewable).map_err(|error| {
            if matches!(error, GitHubError::Unauthorized(_)) {
                app.doubt();
            }
            Broken::Error(error)
        })
    }

    /// Another token, when this one was refused and can be renewed.
    async fn renewed(&self, with: Held, answer: &Answer) -> Result<Option<Held>, Broken> {
        match (&self.credential, with) {
            (Credential::Installation { app, installed }, Held::Renewable(token))
                if answer.status == 401 =>
            {
                app.tokens.refused(installed.id, &token);
                self.authorization().await.map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// What one call is made with.
enum Held {
    Fixed(HeaderValue),
    Renewable(Arc<Token>),
}

impl Held {
    fn header(&self) -> &HeaderValue {
        match self {
            Self::Fixed(header) => header,
            Self::Renewable(token) => &token.header,
        }
    }
}
