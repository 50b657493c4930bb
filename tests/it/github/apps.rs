//! Apps at the port: who signs, when a token is asked for, and what a refusal becomes.

use std::sync::Arc;
use std::time::Duration;

use cuelight::github::{
    AppSettings, GitHub, GitHubError, HostSettings, InstallationState, LIST_AGE_MAX, Owner,
    RepoRead, Seen, SetupError, Timeouts,
};
use cuelight::ids::{Account, AppId, Host, NodeId, OwnerId, RepoId};
use cuelight::telemetry::Metrics;
use cuelight::work::RepoKey;
use fake_github::{CallKind, Calls, FakeGitHub, Fault, NewRepository, Selection, World};
use futures_util::future::join_all;
use prometheus_client::registry::Registry;

use crate::support::apps::{APP, KEY, PUBLIC_KEY, WRONG_KEY};
use crate::support::clock::ManualClock;

use super::files;

struct Stage {
    _fake: FakeGitHub,
    world: World,
    clock: Arc<ManualClock>,
    github: GitHub,
}

impl Stage {
    /// The organisations `acme` and `globex`, and an App that is installed nowhere.
    async fn new() -> Self {
        Self::with(AppId(APP), KEY, None).await
    }

    async fn with(id: AppId, key: &str, token: Option<&str>) -> Self {
        let fake = FakeGitHub::start().await;
        let world = fake.state();
        world.freeze_time();
        world.set_now(1_790_000_000);
        world.create_organization("acme");
        world.create_organization("globex");
        world.register_app(APP, PUBLIC_KEY);
        let clock = ManualClock::new();
        let github = github(&fake, &clock, id, key, token).expect("the settings can be used");
        Self { _fake: fake, world, clock, github }
    }

    fn owner(&self, login: &str) -> Owner {
        let owner = OwnerId(self.world.owner(login).id);
        let account = Account { host: Host::github_com(), owner };
        Owner { account, login: login.to_owned() }
    }

    /// Lists the repositories of an owner.
    async fn list(&self, login: &str) -> Result<usize, GitHubError> {
        let page = self.github.list(&self.owner(login), None, 100, &files()).await?;
        Ok(page.repositories.len())
    }

    /// The same where it has to be refused; the text.
    async fn refused(&self, login: &str) -> String {
        match self.list(login).await {
            Err(GitHubError::Unauthorized(why)) => why,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    /// Moves GitHub's time and ours.
    fn advance(&self, span: Duration) {
        self.clock.advance(span);
        self.advance_github(span);
    }

    fn advance_github(&self, span: Duration) {
        self.world.set_now(self.world.now() + i64::try_from(span.as_secs()).expect("short"));
    }
}

fn github(
    fake: &FakeGitHub,
    clock: &Arc<ManualClock>,
    id: AppId,
    key: &str,
    token: Option<&str>,
) -> Result<GitHub, SetupError> {
    let settings = HostSettings {
        host: Host::github_com(),
        api_base_url: fake.url(),
        token: token.map(|token| token.to_owned().into()),
        apps: vec![AppSettings { id, private_key: key.to_owned().into(), allowed_owners: None }],
    };
    let metrics = Metrics::new(&mut Registry::default());
    GitHub::with_timeouts(vec![settings], clock.clone(), metrics, Timeouts::default())
}

#[tokio::test]
async fn fifty_first_calls_at_once_ask_for_one_list_and_one_token() {
    let stage = Stage::new().await;
    let installation = stage.world.install_app(APP, "acme", Selection::All);
    stage.world.create_repository("acme", NewRepository::named("pay"));
    stage.world.set_latency(Duration::from_millis(20));
    let answers = join_all((0..50).map(|_| stage.list("acme"))).await;
    assert!(answers.iter().all(|answer| *answer == Ok(1)), "{answers:?}");
    assert_eq!(stage.world.tokens_issued(installation), 1);
    assert_eq!(stage.world.calls_of(CallKind::AccessToken), 1);
    assert_eq!(stage.world.calls_of(CallKind::App), 1);
}

#[tokio::test]
async fn fifty_calls_share_a_refusal_too() {
    let stage = Stage::new().await;
    stage.world.install_app(APP, "acme", Selection::All);
    stage.world.fail_next(1, Calls::Of(CallKind::AccessToken), Fault::Status(500));
    stage.world.set_latency(Duration::from_millis(20));
    let answers = join_all((0..50).map(|_| stage.list("acme"))).await;
    let transient = |answer: &Result<_, _>| matches!(answer, Err(GitHubError::Transient(_)));
    assert!(answers.iter().all(transient), "{answers:?}");
    assert_eq!(stage.world.calls_of(CallKind::AccessToken), 1);
    assert_eq!(stage.list("acme").await, Ok(0), "the next call asks again");
}

#[tokio::test]
async fn a_token_is_renewed_at_four_fifths_of_its_life_and_not_before() {
    let stage = Stage::new().await;
    let installation = stage.world.install_app(APP, "acme", Selection::All);
    stage.list("acme").await.expect("a list");
    stage.advance(Duration::from_secs(47 * 60));
    stage.list("acme").await.expect("a list");
    assert_eq!(stage.world.tokens_issued(installation), 1);
    stage.advance(Duration::from_secs(60));
    stage.list("acme").await.expect("a list");
    assert_eq!(stage.world.tokens_issued(installation), 2);
}

#[tokio::test]
async fn the_old_token_serves_on_while_no_new_one_is_to_be_had() {
    let stage = Stage::new().await;
    stage.world.install_app(APP, "acme", Selection::All);
    stage.list("acme").await.expect("a list");
    stage.advance(Duration::from_secs(50 * 60));
    stage.world.fail_always(Calls::Of(CallKind::AccessToken), Fault::Status(502));
    assert_eq!(stage.list("acme").await, Ok(0));
    stage.advance(Duration::from_secs(11 * 60));
    stage.list("acme").await.expect_err("the old one has ended");
    stage.world.heal();
    assert_eq!(stage.list("acme").await, Ok(0));
}

#[tokio::test]
async fn a_token_that_ends_between_two_pages_is_renewed_once() {
    let stage = Stage::new().await;
    let installation = stage.world.install_app(APP, "acme", Selection::All);
    for at in 0..3 {
        stage.world.create_repository("acme", NewRepository::named(&format!("r{at}")));
    }
    let owner = stage.owner("acme");
    let first = stage.github.list(&owner, None, 2, &files()).await.expect("a page");
    // Our clock does not know: only GitHub's 401 says so.
    stage.world.revoke_installation_tokens(installation);
    let second = stage.github.list(&owner, first.next.as_deref(), 2, &files()).await;
    assert_eq!(second.expect("a page").repositories.len(), 1);
    assert_eq!(stage.world.tokens_issued(installation), 2);
    stage.world.fail_always(Calls::Graphql, Fault::Status(401));
    stage.refused("acme").await;
    assert_eq!(stage.world.tokens_issued(installation), 3, "renewed once a call, not for ever");
}

#[tokio::test]
async fn each_account_is_asked_with_its_own_installation_or_with_the_token() {
    let stage = Stage::with(AppId(APP), KEY, Some("ghp_side")).await;
    let world = &stage.world;
    world.create_organization("initech");
    world.add_token("ghp_side", &["initech"]);
    world.install_app(APP, "acme", Selection::All);
    world.install_app(APP, "globex", Selection::All);
    for login in ["acme", "globex", "initech", "acme"] {
        world.create_repository(login, NewRepository::named(&format!("r{}", world.now())));
        world.set_now(world.now() + 1);
        stage.list(login).await.unwrap_or_else(|error| panic!("{login}: {error}"));
    }
    assert!(world.strays().is_empty());
    let with_token: Vec<_> =
        world.touched().into_iter().filter(|(token, _)| token == "ghp_side").collect();
    assert_eq!(with_token, [("ghp_side".to_owned(), "initech".to_owned())]);
}

#[tokio::test]
async fn a_wrong_key_and_a_wrong_id_are_told_without_the_key() {
    for (id, key) in [(AppId(APP), WRONG_KEY), (AppId(APP + 1), KEY)] {
        let stage = Stage::with(id, key, None).await;
        stage.world.install_app(APP, "acme", Selection::All);
        let why = stage.refused("acme").await;
        assert!(why.contains(&format!("does not accept App {id}")), "{why}");
        assert!(why.contains("`appId`") && why.contains("`privateKey`"), "{why}");
        let line = key.lines().nth(1).expect("a second line");
        assert!(!why.contains(line), "{why}");
    }
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_at_the_start_without_showing_it() {
    let fake = FakeGitHub::start().await;
    let cut: String = KEY.lines().take(5).chain(["-----END RSA PRIVATE KEY-----"]).collect();
    for key in ["canary", &cut, PUBLIC_KEY] {
        let refused = github(&fake, &ManualClock::new(), AppId(APP), key, None);
        let error = refused.expect_err("no key").to_string();
        assert_eq!(
            error,
            "the privateKey of App 4711 of github.com is not an RSA private key in PEM"
        );
    }
}

#[tokio::test]
async fn a_clock_that_is_far_off_is_named_among_the_causes() {
    let stage = Stage::new().await;
    stage.world.install_app(APP, "acme", Selection::All);
    stage.clock.advance(Duration::from_secs(120));
    stage.refused("acme").await;
    stage.advance_github(Duration::from_secs(1_000));
    let why = stage.refused("acme").await;
    assert!(why.contains("this machine's clock"), "{why}");
}

#[tokio::test]
async fn a_clock_a_minute_ahead_does_no_harm() {
    let stage = Stage::new().await;
    stage.world.install_app(APP, "acme", Selection::All);
    stage.clock.advance(Duration::from_secs(60));
    assert_eq!(stage.list("acme").await, Ok(0));
}

#[tokio::test]
async fn suspended_and_uninstalled_are_refusals_even_beside_a_token() {
    let stage = Stage::with(AppId(APP), KEY, Some("ghp_side")).await;
    let world = &stage.world;
    world.add_token("ghp_side", &["acme", "globex"]);
    let acme = world.install_app(APP, "acme", Selection::All);
    assert_eq!(stage.list("acme").await, Ok(0));
    world.suspend_installation(acme);
    assert!(stage.refused("acme").await.contains("suspended"));
    assert!(stage.refused("acme").await.contains("the installation of App 4711 on acme is susp"));
    world.unsuspend_installation(acme);
    stage.advance(LIST_AGE_MAX);
    assert_eq!(stage.list("acme").await, Ok(0));
    world.uninstall_app(acme);
    assert!(stage.refused("acme").await.contains("no longer installed on acme"));
    assert!(stage.refused("acme").await.contains("is no longer installed"));
    assert!(world.touched().iter().all(|(token, _)| token != "ghp_side"), "{:?}", world.touched());
    world.install_app(APP, "acme", Selection::All);
    stage.advance(LIST_AGE_MAX);
    assert_eq!(stage.list("acme").await, Ok(0));
}

#[tokio::test]
async fn after_an_uninstallation_that_github_confirms_the_token_serves() {
    let stage = Stage::with(AppId(APP), KEY, Some("ghp_side")).await;
    let world = &stage.world;
    world.add_token("ghp_side", &["acme"]);
    let acme = world.install_app(APP, "acme", Selection::All);
    assert_eq!(stage.list("acme").await, Ok(0));
    let account = stage.owner("acme").account;
    let confirm = || stage.github.confirm_uninstalled(&account, AppId(APP));
    assert_eq!(confirm().await, Ok(false), "it is installed");
    world.uninstall_app(acme);
    world.fail_next(1, Calls::Of(CallKind::App), Fault::Status(500));
    confirm().await.expect_err("GitHub does not say");
    assert!(stage.refused("acme").await.contains("no longer installed on acme"));
    assert_eq!(confirm().await, Ok(true));
    assert_eq!(stage.list("acme").await, Ok(0));
    assert!(world.touched().contains(&("ghp_side".to_owned(), "acme".to_owned())));
}

#[tokio::test]
async fn while_the_app_cannot_say_the_token_shows_what_is_there_and_nothing_is_gone() {
    let stage = Stage::with(AppId(APP), KEY, Some("ghp_side")).await;
    let world = &stage.world;
    world.add_token("ghp_side", &["acme"]);
    for name in ["there", "hidden"] {
        world.create_repository("acme", NewRepository::named(name));
    }
    world.hide_repository("ghp_side", "acme/hidden");
    world.fail_always(Calls::Of(CallKind::App), Fault::Status(500));
    assert_eq!(stage.list("acme").await, Ok(1));
    let read = |name: &str| {
        let id = RepoId(world.repository(name).id);
        RepoRead { key: RepoKey { host: Host::github_com(), id }, node_id: None }
    };
    let reads = [read("acme/there"), read("acme/hidden")];
    let account = stage.owner("acme").account;
    let seen = stage.github.read(&account, &reads, &files()).await;
    assert!(matches!(seen[0], Ok(Seen::Found(_))), "{seen:?}");
    assert!(matches!(seen[1], Err(GitHubError::Refused(_))), "{seen:?}");
    world.heal();
    let seen = stage.github.read(&account, &reads, &files()).await;
    assert!(matches!(seen[1], Ok(Seen::Gone)), "not the App's: the token says so");
}

#[tokio::test]
async fn fifty_reads_at_once_ask_for_the_selection_twice_at_most() {
    let stage = Stage::new().await;
    let world = &stage.world;
    let installation = world.install_app(APP, "acme", Selection::Selected);
    let new = |name: &str| NewRepository::named(name).visibility("public");
    world.create_repository("acme", new("in"));
    world.create_repository("acme", new("out"));
    world.select(installation, &["acme/in"]);
    assert_eq!(stage.list("acme").await, Ok(1));
    let read = |name: &str| {
        let found = world.repository(name);
        let node_id = Some(NodeId(found.node_id));
        RepoRead { key: RepoKey { host: Host::github_com(), id: RepoId(found.id) }, node_id }
    };
    world.reset_calls();
    let account = stage.owner("acme").account;
    let inside = [read("acme/in")];
    let wanted = files();
    let seen = stage.github.read(&account, &inside, &wanted).await;
    assert!(matches!(seen[0], Ok(Seen::Found(_))), "{seen:?}");
    assert_eq!(world.calls_of(CallKind::Selection), 0, "the listing has just said so");
    world.set_latency(Duration::from_millis(20));
    let outside = [read("acme/out")];
    let reads = (0..50).map(|_| stage.github.read(&account, &outside, &wanted));
    let gone = |seen: &Vec<Result<Seen, GitHubError>>| matches!(seen[0], Ok(Seen::Gone));
    assert!(join_all(reads).await.iter().all(gone));
    assert!(world.calls_of(CallKind::Selection) <= 2, "{}", world.calls_of(CallKind::Selection));
}

#[tokio::test]
async fn the_list_of_installations_is_read_to_its_last_page() {
    let stage = Stage::new().await;
    for at in 0..230 {
        let login = format!("org-{at}");
        stage.world.create_organization(&login);
        stage.world.install_app(APP, &login, Selection::All);
    }
    let found = stage.github.installations(&Host::github_com(), AppId(APP)).await.expect("a list");
    assert_eq!(found.len(), 230);
    assert!(found.iter().all(|it| it.state == InstallationState::All));
    assert_eq!(stage.world.calls_of(CallKind::App), 3);
}
