//! A transport with one account's credentials: the token, or an App's installation.
//!
//! An installation's token that GitHub refuses with 401 is renewed and the call made once more;
//! whatever GitHub says then stands.

use std::sync::Arc;

use hyper::header::HeaderValue;

use super::GitHubError;
use super::apps::{App, Installed};
use super::auth::Token;
use super::transport::{Answer, Broken, Transport};

/// What a call is made with.
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
pub(super) struct Session {
    pub(super) transport: Arc<Transport>,
    credential: Credential,
}

impl Session {
    pub(super) fn new(transport: &Arc<Transport>, credential: Credential) -> Self {
        Self { transport: transport.clone(), credential }
    }

    /// Posts a GraphQL body; the answer has status 200.
    pub(super) async fn graphql(&self, body: String) -> Result<Answer, GitHubError> {
        let transport = &self.transport;
        let answer =
            self.posted(body).await.map_err(|broken| broken.into_error(&transport.host))?;
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
        let with = self.authorization().await?;
        let at = &self.transport;
        let answer = at.get(with.header(), segments, None, accept, bytes_max).await?;
        match self.renewed(with, &answer).await? {
            Some(with) => at.get(with.header(), segments, None, accept, bytes_max).await,
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
