//! The GitHub port against the fake: what is read, and what it costs.

mod apps;
mod failures;
mod gather;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cuelight::clock::{Clock, SharedClock, Timestamp};
use cuelight::github::{
    Content, FILE_BYTES_MAX, GitHub, GitHubError, HostSettings, Owner, RepoRead, Repository, Seen,
    SetupError, Timeouts,
};
use cuelight::ids::{Account, Host, NodeId, OwnerId, RepoId};
use cuelight::repository::FileQuery;
use cuelight::telemetry::{Metrics, Outcome};
use cuelight::work::RepoKey;
use fake_github::{CallKind, Calls, FakeGitHub, Fault, NewRepository, Push, World};
use prometheus_client::registry::Registry;

/// A token whose text must show up nowhere.
const CANARY: &str = "ghp_canaryCanaryCanary0123456789";

const FILE: &str = "catalog-info.yaml";

const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// A clock that stands still.
#[derive(Debug)]
struct Still;

#[async_trait]
impl Clock for Still {
    fn now(&self) -> Timestamp {
        NOW
    }

    async fn sleep(&self, _: Duration) {
        std::future::pending().await
    }
}

struct Stage {
    fake: FakeGitHub,
    world: World,
    github: GitHub,
    metrics: Metrics,
    owner: Owner,
}

impl Stage {
    async fn new() -> Self {
        Self::with(Timeouts::default(), FakeGitHub::url).await
    }

    async fn with(timeouts: Timeouts, base: impl Fn(&FakeGitHub) -> String) -> Self {
        let fake = FakeGitHub::start().await;
        let world = fake.state();
        let id = world.create_organization("Acme").id;
        world.create_organization("other");
        world.add_token(CANARY, &["acme"]);
        let metrics = Metrics::new(&mut Registry::default());
        let clock: SharedClock = Arc::new(Still);
        let hosts = vec![host_settings(&base(&fake), Some(CANARY))];
        let github = GitHub::with_timeouts(hosts, clock, metrics.clone(), timeouts)
            .expect("the fake's address can be used");
        let account = Account { host: Host::github_com(), owner: OwnerId(id) };
        let owner = Owner { account, login: "acme".to_owned() };
        Self { fake, world, github, metrics, owner }
    }

    /// Creates repositories `r0`, `r1`, … with a catalog file each, and how to read them.
    fn repositories(&self, count: usize) -> Vec<RepoRead> {
        let names = (0..count).map(|at| format!("r{at}"));
        names
            .map(|name| {
                let new = NewRepository::named(&name).file(FILE, format!("name: {name}\n"));
                self.world.create_repository("acme", new);
                self.known(&format!("acme/{name}"))
            })
            .collect()
    }

    fn known(&self, full_name: &str) -> RepoRead {
        let found = self.world.repository(full_name);
        let key = RepoKey { host: Host::github_com(), id: RepoId(found.id) };
        RepoRead { key, node_id: Some(NodeId(found.node_id)) }
    }

    async fn read(&self, reads: &[RepoRead]) -> Vec<Result<Seen, GitHubError>> {
        self.github.read(&self.owner.account, reads, &files()).await
    }

    async fn read_one(&self, full_name: &str, files: &[FileQuery]) -> Repository {
        let reads = [self.known(full_name)];
        let mut seen = self.github.read(&self.owner.account, &reads, files).await;
        found(seen.remove(0))
    }

    fn counted(&self, outcome: &'static str) -> u64 {
        self.metrics.github_calls.get_or_create(&Outcome { outcome }).get()
    }
}

fn host_settings(base: &str, token: Option<&str>) -> HostSettings {
    let token = token.map(|token| token.to_owned().into());
    let apps = Vec::new();
    HostSettings { host: Host::github_com(), api_base_url: base.to_owned(), token, apps }
}

fn file(path: &str) -> FileQuery {
    FileQuery { branch: None, path: path.to_owned() }
}

fn files() -> Vec<FileQuery> {
    vec![file(FILE)]
}

fn found(seen: Result<Seen, GitHubError>) -> Repository {
    match seen {
        Ok(Seen::Found(repository)) => *repository,
        other => panic!("expected a repository, got {other:?}"),
    }
}

fn text(repository: &Repository, at: usize) -> Option<String> {
    let file = repository.files[at].as_ref()?;
    match &file.content {
        Content::Text(text) => Some(text.to_string()),
        other => Some(format!("{other:?}")),
    }
}

/// `found`, `gone`, or the kind of error: what a batch came to, as one word each.
fn word(seen: &Result<Seen, GitHubError>) -> &'static str {
    match seen {
        Ok(Seen::Found(_)) => "found",
        Ok(Seen::Gone) => "gone",
        Err(GitHubError::Limited { .. }) => "limited",
        Err(GitHubError::Transient(_) | GitHubError::TooMuch(_) | GitHubError::Away(_)) => {
            "transient"
        }
        Err(GitHubError::Unauthorized(_)) => "unauthorized",
        Err(GitHubError::Refused(_)) => "refused",
        Err(GitHubError::NoSuchOwner(_)) => "no such owner",
    }
}

fn words(all: &[Result<Seen, GitHubError>]) -> Vec<&'static str> {
    all.iter().map(word).collect()
}

#[tokio::test]
async fn a_repository_is_read_as_it_is() {
    let stage = Stage::new().await;
    let new = NewRepository::named("Orders")
        .file(FILE, "kind: Component\n")
        .visibility("internal")
        .topics(&["b", "a"])
        .fork();
    stage.world.create_repository("acme", new);
    stage.world.push("acme/orders", Push::to("release/1").put("docs/api.yaml", "v: 1\n"));
    let release = Some("release/1".to_owned());
    let asked = [
        file(FILE),
        file("none.yaml"),
        FileQuery { branch: release.clone(), path: "docs/api.yaml".to_owned() },
        FileQuery { branch: release, path: "docs".to_owned() },
    ];
    let seen = stage.read_one("acme/orders", &asked).await;
    let truth = stage.world.repository("acme/orders");
    assert_eq!(seen.full_name.as_str(), "Acme/Orders");
    assert_eq!(seen.node_id.0, truth.node_id);
    assert_eq!(seen.account, stage.owner.account);
    assert_eq!(seen.listed.visibility, "internal");
    assert_eq!(seen.listed.topics, ["a", "b"]);
    assert_eq!(seen.listed.default_branch.as_deref(), Some("main"));
    assert!(seen.listed.fork && !seen.listed.archived);
    assert_eq!(seen.created_at, Some(Timestamp(truth.created_at * 1_000)));
    let pushed_at = truth.content.heads.pushed_at.map(|seconds| Timestamp(seconds * 1_000));
    assert_eq!(seen.pushed_at, pushed_at);
    assert_eq!(
        seen.head.as_ref().map(|oid| oid.as_str()),
        Some(&*stage.world.head("acme/orders", "main"))
    );
    assert_eq!(text(&seen, 0).as_deref(), Some("kind: Component\n"));
    assert_eq!(text(&seen, 1), None);
    assert_eq!(text(&seen, 2).as_deref(), Some("v: 1\n"));
    assert_eq!(text(&seen, 3), None, "a folder is no file");
}

#[tokio::test]
async fn fifty_repositories_are_one_call_and_one_point() {
    let stage = Stage::new().await;
    let reads = stage.repositories(50);
    let seen = stage.read(&reads).await;
    for (at, seen) in seen.into_iter().enumerate() {
        assert_eq!(text(&found(seen), 0), Some(format!("name: r{at}\n")));
    }
    assert_eq!(stage.world.calls().len(), 1);
    assert_eq!(stage.world.points(), 1);
    assert_eq!(stage.metrics.github_points.get(), 1);
    assert_eq!(stage.counted("ok"), 1);
    let reads = [reads, vec![stage.known("acme/r0")]].concat();
    assert_eq!(stage.read(&reads).await.len(), 51);
    assert_eq!(stage.world.calls().len(), 3, "one more than fifty are two calls");
}

#[tokio::test]
async fn an_empty_repository_has_no_head_and_no_files() {
    let stage = Stage::new().await;
    stage.world.create_repository("acme", NewRepository::named("empty"));
    let seen = stage.read_one("acme/empty", &files()).await;
    assert_eq!((seen.head, seen.listed.default_branch, seen.pushed_at), (None, None, None));
    assert!(seen.files[0].is_none());
}

#[tokio::test]
async fn without_a_node_id_one_more_call_finds_the_repository() {
    let stage = Stage::new().await;
    let mut reads = stage.repositories(2);
    reads[0].node_id = None;
    reads.push(RepoRead { key: RepoKey { id: RepoId(99), ..reads[0].key.clone() }, node_id: None });
    assert_eq!(words(&stage.read(&reads).await), ["found", "found", "gone"]);
    assert_eq!(stage.world.calls_of(CallKind::Repository), 2);
    assert_eq!(stage.world.graphql_calls(), 1);
}

#[tokio::test]
async fn not_found_is_confirmed_by_rest() {
    let stage = Stage::new().await;
    let reads = stage.repositories(4);
    stage.world.delete_repository("acme/r0");
    stage.world.reissue_node_id("acme/r1");
    stage.world.transfer("acme/r2", "other");
    assert_eq!(words(&stage.read(&reads).await), ["gone", "found", "gone", "found"]);
    assert_eq!(stage.world.calls_of(CallKind::Repository), 3);
    assert_eq!(stage.world.graphql_calls(), 2);
}

#[tokio::test]
async fn a_repository_that_only_rest_shows_is_an_error_and_not_gone() {
    let stage = Stage::new().await;
    let reads = stage.repositories(2);
    let kind = "NOT_FOUND".to_owned();
    let fault = Fault::NodeError { repository: "acme/r1".to_owned(), field: None, kind };
    stage.world.fail_always(Calls::Graphql, fault);
    let seen = stage.read(&reads).await;
    assert_eq!(words(&seen), ["found", "transient"]);
    assert!(format!("{:?}", seen[1]).contains("by REST, but not by GraphQL"), "{seen:?}");
    assert_eq!(stage.world.graphql_calls(), 2);
}

#[tokio::test]
async fn a_node_id_of_another_repository_reads_the_right_one() {
    let stage = Stage::new().await;
    let mut reads = stage.repositories(2);
    reads[0].node_id = reads[1].node_id.clone();
    let seen = stage.read(&reads[..1]).await.remove(0);
    assert_eq!(found(seen).full_name.as_str(), "Acme/r0");
}

#[tokio::test]
async fn text_that_graphql_cuts_or_calls_binary_is_read_by_rest() {
    let stage = Stage::new().await;
    stage.repositories(1);
    let long = "x".repeat(600_000);
    let huge = vec![b'y'; usize::try_from(FILE_BYTES_MAX).expect("a small number") + 1];
    let push = Push::to("main").put("long", &long).put("binary", b"a\0\xffb").put("huge", &huge);
    stage.world.push("acme/r0", push);
    stage.world.reset_calls();
    let asked = [file("long"), file("binary"), file("huge"), file(FILE)];
    let seen = stage.read_one("acme/r0", &asked).await;
    assert_eq!(text(&seen, 0).map(|text| text.len()), Some(long.len()));
    assert_eq!(text(&seen, 1).as_deref(), Some("a\0\u{fffd}b"));
    assert_eq!(text(&seen, 2).as_deref(), Some("TooLarge { bytes: 1048577 }"));
    assert_eq!(stage.world.calls_of(CallKind::File), 2, "what is too large is not fetched");
    stage.world.fail_next(1, Calls::Rest, Fault::HugeBody(huge.len()));
    let seen = stage.read_one("acme/r0", &asked[..1]).await;
    assert_eq!(text(&seen, 0).as_deref(), Some("TooLarge { bytes: 1048577 }"));
}

#[tokio::test]
async fn owners_are_found_by_login_in_any_case() {
    let stage = Stage::new().await;
    let owner = stage.github.owner(&Host::github_com(), "ACME").await.expect("it exists");
    assert_eq!((owner.login.as_str(), &owner.account), ("Acme", &stage.owner.account));
    let nobody = stage.github.owner(&Host::github_com(), "nobody").await;
    assert_eq!(nobody.unwrap_err(), GitHubError::NoSuchOwner("nobody".to_owned()));
    for (kind, expected) in [("NOT_FOUND", "no such owner"), ("INTERNAL", "transient")] {
        stage.world.fail_next(1, Calls::Graphql, Fault::NoData { kind: kind.to_owned() });
        let error = stage.github.owner(&Host::github_com(), "acme").await.unwrap_err();
        assert_eq!(word(&Err(error)), expected);
    }
    let elsewhere = Host::parse("ghe.acme.com").expect("a host");
    let error = stage.github.owner(&elsewhere, "acme").await.unwrap_err();
    assert!(matches!(&error, GitHubError::Unauthorized(text) if text.contains("ghe.acme.com")));
}

#[tokio::test]
async fn a_list_is_in_order_of_creation_with_oids_and_without_others_repositories() {
    let stage = Stage::new().await;
    let reads = stage.repositories(5);
    stage.world.create_repository("other", NewRepository::named("theirs"));
    stage.world.add_collaborator("other/theirs", "acme");
    stage.world.add_token(CANARY, &["acme", "other"]);
    stage.world.put_file("acme/r0", FILE, "pushed last\n");
    let (mut seen, mut after, mut pages) = (Vec::new(), None::<String>, 0);
    loop {
        let page = stage.github.list(&stage.owner, after.as_deref(), 2, &files()).await;
        let page = page.expect("the fake lists");
        assert_eq!(page.total, 5);
        pages += 1;
        seen.extend(page.repositories);
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(pages, 3);
    let keys: Vec<_> = seen.iter().map(|repository| &repository.key).collect();
    assert_eq!(keys, reads.iter().map(|read| &read.key).collect::<Vec<_>>());
    let file = seen[0].files[0].as_ref().expect("it has the file");
    assert_eq!(file.oid.as_str(), fake_github::blob_oid(b"pushed last\n"));
    assert!(matches!(file.content, Content::NotRead));
}

#[tokio::test]
async fn enterprise_paths_and_our_name_are_right() {
    let stage = Stage::with(Timeouts::default(), FakeGitHub::ghes_url).await;
    let mut reads = stage.repositories(1);
    reads[0].node_id = None;
    assert_eq!(words(&stage.read(&reads).await), ["found"]);
    let calls = stage.world.calls();
    assert_eq!(calls.len(), 2);
    for call in calls {
        assert_eq!(call.user_agent, concat!("cuelight/", env!("CARGO_PKG_VERSION")));
    }
}
