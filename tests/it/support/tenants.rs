//! Stages by a GitHub App: settings, the App itself, and stories that are told twice, with a token
//! and with an App.

use std::time::Duration;

use cuelight::catalog::process_file;
use cuelight::config::{Config, GitHubApp};
use fake_github::{NewRepository, Selection};
use secrecy::SecretString;

use super::apps::{APP, KEY, PUBLIC_KEY};
use super::stage::{FILE, Stage, component};

/// The time of the stage's clock when it opens.
pub const OPENING_SECONDS: i64 = 1_790_000_000;

/// Discovers by the App and has no token.
pub fn by_app(config: &mut Config) {
    config.integrations[0].token = None;
    beside_token(config);
    config.providers[0].organization = String::new();
    config.providers[0].app = Some(APP);
}

/// Has the App beside the token.
pub fn beside_token(config: &mut Config) {
    config.integrations[0].apps = vec![GitHubApp {
        id: APP,
        private_key: SecretString::from(KEY),
        webhook_secret: None,
        allowed_owners: None,
    }];
}

/// A stage whose GitHub has the App, installed nowhere, and tells the time that we have.
pub async fn stage(change: impl FnOnce(&mut Config)) -> Stage {
    let stage = Stage::with(change, process_file).await;
    stage.world().set_now(OPENING_SECONDS);
    stage.world().register_app(APP, PUBLIC_KEY);
    stage
}

/// The same with the organisation `globex`, and the App installed on both.
pub async fn two_tenants(change: impl FnOnce(&mut Config)) -> (Stage, [u64; 2]) {
    let stage = stage(change).await;
    stage.world().create_organization("globex");
    let install = |login| stage.world().install_app(APP, login, Selection::All);
    let installations = [install("acme"), install("globex")];
    (stage, installations)
}

/// Tells a story twice: with the token, and with the App installed on all of `acme`.
pub async fn either_way(change: impl Fn(&mut Config), story: impl AsyncFn(Stage)) {
    story(Stage::with(&change, process_file).await).await;
    let both = |config: &mut Config| {
        by_app(config);
        change(config);
    };
    let stage = stage(both).await;
    stage.world().install_app(APP, "acme", Selection::All);
    story(stage).await;
}

/// Creates a repository with a component and tells nobody.
pub fn create(stage: &Stage, login: &str, name: &str) -> String {
    let new = NewRepository::named(name).file(FILE, component(name, "service"));
    stage.world().create_repository(login, new);
    format!("{login}/{name}")
}

/// Moves our time and GitHub's.
pub fn advance(stage: &Stage, span: Duration) {
    stage.clock.advance(span);
    let seconds = i64::try_from(span.as_secs()).expect("a short span");
    stage.world().set_now(stage.world().now() + seconds);
}
