//! Whom a command asks: the running server, or cuelight itself when nobody answers.
//!
//! Either way the same routes give the same answers. Alone it holds the storage for as long as
//! the command runs, so [`Cuelight::close`] is always called.

use std::time::Duration;

use anyhow::{anyhow, bail};
use hyper::{Method, StatusCode};
use serde_json::Value;

use super::client::{Answer, AskError, Client};
use crate::app::Parts;
use crate::app::alone::{Absent, Alone};
use crate::config::Config;
use crate::engine::sqlite::OpenError;

/// Who answers.
pub enum Cuelight {
    /// The running server.
    Server(Client),
    /// This process.
    Alone(Box<Alone>),
}

impl Cuelight {
    /// The running server, each of whose answers may take `answer_time`; without one this
    /// process, which does with a missing storage as `absent` says.
    ///
    /// # Errors
    /// When somebody answers who is no cuelight, or nobody does and the storage cannot be used.
    pub async fn reach(
        config: &Config,
        answer_time: Duration,
        absent: Absent,
    ) -> anyhow::Result<Self> {
        let away = match Client::new(&config.server) {
            Ok(client) => match client.get("/livez").await {
                Ok(_) => return Ok(Self::Server(client.patient(answer_time))),
                Err(away @ AskError::Away { .. }) => away,
                Err(other) => return Err(other.into()),
            },
            Err(away) => away,
        };
        match Alone::open(config, Parts::default(), absent).await {
            Ok(alone) => Ok(Self::Alone(Box::new(alone))),
            Err(error) => {
                let is_used =
                    matches!(error.downcast_ref::<OpenError>(), Some(OpenError::InUse { .. }));
                let hint = if is_used {
                    "; to ask that one, give this command its --config or its \
                     CUELIGHT_INTERNAL_LISTEN"
                } else {
                    ""
                };
                bail!("{away}, and {error:#}{hint}")
            }
        }
    }

    /// `GET path`
    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        match self {
            Self::Server(client) => Ok(client.get(path).await?),
            Self::Alone(alone) => {
                let (status, body) = alone.ask(Method::GET, path, None).await?;
                Ok(Answer { status, body })
            }
        }
    }

    /// `POST path` with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        match self {
            Self::Server(client) => Ok(client.post(path, body).await?),
            Self::Alone(alone) => {
                let (status, body) = alone.ask(Method::POST, path, Some(body)).await?;
                Ok(Answer { status, body })
            }
        }
    }

    /// The items of a list, or what was said instead as an error.
    pub fn items<'a>(
        &self,
        answer: &'a Answer,
        expected: StatusCode,
    ) -> anyhow::Result<&'a Vec<Value>> {
        match answer.body["items"].as_array() {
            Some(items) if answer.status == expected => Ok(items),
            _ => Err(self.refused(answer)),
        }
    }

    /// An answer that is none, as an error.
    pub fn refused(&self, answer: &Answer) -> anyhow::Error {
        match self {
            Self::Server(client) => {
                anyhow!("the server at {} answered: {}", client.address(), answer.reason())
            }
            Self::Alone(_) => anyhow!("{}", answer.reason()),
        }
    }

    /// This process, if nobody else answers.
    pub fn alone(&self) -> Option<&Alone> {
        match self {
            Self::Server(_) => None,
            Self::Alone(alone) => Some(alone),
        }
    }

    /// Gives the storage back.
    pub async fn close(self) {
        if let Self::Alone(alone) = self {
            alone.close().await;
        }
    }
}
