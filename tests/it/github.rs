//! The GitHub port against the fake: what a batch costs, and what each failure comes to.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cuelight::clock::{Clock, SharedClock, Timestamp};
use cuelight::github::{
    Content, FILE_BYTES_MAX, FileQuery, GitHub, GitHubError, HostSettings, Owner, RepoRead,
    Repository, Seen, SetupError, Timeouts,
};
use cuelight::ids::{Account, Host, NodeId, OwnerId, RepoId};
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
    HostSettings { host: Host::github_com(), api_base_url: base.to_owned(), token }
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
        Err(GitHubError::Transient(_)) => "transient",
        Err(GitHubError::Unauthorized(_)) => "unauthorized",
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
    assert_eq!(words(&stage.read(&reads).await), ["found", "transient"]);
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
async fn an_error_at_a_node_condemns_that_repository_alone() {
    let stage = Stage::new().await;
    let reads = stage.repositories(3);
    for (field, kind, expected) in [
        (None, "INTERNAL", "transient"),
        (Some("f0".to_owned()), "INTERNAL", "transient"),
        (Some("f0".to_owned()), "NOT_FOUND", "transient"),
        (None, "FORBIDDEN", "unauthorized"),
    ] {
        stage.world.reset_calls();
        let (repository, kind) = ("acme/r1".to_owned(), kind.to_owned());
        stage.world.fail_next(1, Calls::All, Fault::NodeError { repository, field, kind });
        assert_eq!(words(&stage.read(&reads).await), ["found", expected, "found"]);
        assert_eq!(stage.world.calls().len(), 1);
    }
}

#[tokio::test]
async fn an_untrue_answer_is_asked_again_in_halves() {
    let stage = Stage::new().await;
    let reads = stage.repositories(50);
    for fault in [
        Fault::ResourceLimits { keep: 10 },
        Fault::Status(502),
        Fault::Html(200),
        Fault::CutBody,
        Fault::Reset,
        Fault::HugeBody(cuelight::github::ANSWER_BYTES_MAX + 1),
    ] {
        stage.world.reset_calls();
        stage.world.fail_next(1, Calls::Graphql, fault.clone());
        let seen = stage.read(&reads).await;
        assert!(words(&seen).iter().all(|word| *word == "found"), "{fault:?}: {seen:?}");
        let sizes: Vec<_> = stage.world.calls().iter().map(|call| call.nodes).collect();
        assert_eq!(sizes, [50, 25, 25], "{fault:?}");
    }
    stage.world.reset_calls();
    stage.world.fail_always(Calls::Graphql, Fault::TooHeavy { nodes: 13 });
    assert!(words(&stage.read(&reads).await).iter().all(|word| *word == "found"));
    let sizes: Vec<_> = stage.world.calls().iter().map(|call| call.nodes).collect();
    assert_eq!(sizes, [50, 25, 13, 12, 25, 13, 12]);
}

#[tokio::test]
async fn an_outage_costs_one_way_down_and_no_more() {
    let stage = Stage::new().await;
    let reads = stage.repositories(50);
    stage.world.fail_always(Calls::All, Fault::Status(503));
    assert_eq!(words(&stage.read(&reads).await), ["transient"; 50]);
    let sizes: Vec<_> = stage.world.calls().iter().map(|call| call.nodes).collect();
    assert_eq!(sizes, [50, 25, 13, 7, 4, 2, 1]);
    assert_eq!(stage.counted("transient"), 7);
    stage.world.reset_calls();
    let unknown: Vec<_> =
        reads.iter().map(|read| RepoRead { node_id: None, ..read.clone() }).collect();
    assert_eq!(words(&stage.read(&unknown).await), ["transient"; 50]);
    assert_eq!(stage.world.calls().len(), 1, "look-ups stop at the first failure too");
}

async fn check_limited(fault: Fault, calls: Calls, wait: Duration) {
    let stage = Stage::new().await;
    let mut reads = stage.repositories(3);
    reads[2].node_id = None;
    stage.world.fail_always(calls, fault.clone());
    let seen = stage.read(&reads).await;
    for seen in &seen {
        match seen {
            Err(GitHubError::Limited { until, .. }) => assert_eq!(*until, NOW + wait, "{fault:?}"),
            other => panic!("{fault:?}: {other:?}"),
        }
    }
    assert_eq!(stage.counted("limited"), 1, "{fault:?}: a limit ends everything at once");
}

#[tokio::test]
async fn limits_say_until_when() {
    let reset = Some(NOW.0 / 1_000 + 90);
    let limited = |status, retry_after, reset| Fault::Limited { status, retry_after, reset };
    let seconds = Duration::from_secs;
    for calls in [Calls::Graphql, Calls::Rest] {
        check_limited(limited(403, Some(7), None), calls, seconds(7)).await;
        check_limited(limited(429, Some(7), None), calls, seconds(7)).await;
        check_limited(limited(403, None, reset), calls, seconds(90)).await;
        check_limited(limited(403, None, None), calls, seconds(60)).await;
        check_limited(limited(429, None, None), calls, seconds(60)).await;
    }
    let reset = NOW.0 / 1_000 + 90;
    check_limited(Fault::GraphqlLimited { reset }, Calls::Graphql, seconds(90)).await;
}

#[tokio::test]
async fn spent_points_are_a_limit() {
    let stage = Stage::new().await;
    let reads = stage.repositories(1);
    stage.world.limit_points(CANARY, 1);
    assert_eq!(words(&stage.read(&reads).await), ["found"]);
    assert_eq!(words(&stage.read(&reads).await), ["limited"]);
}

#[tokio::test]
async fn refused_credentials_end_the_batch_and_say_what_to_do() {
    let stage = Stage::new().await;
    let mut reads = stage.repositories(3);
    reads[0].node_id = None;
    stage.world.revoke_token(CANARY);
    let seen = stage.read(&reads).await;
    assert_eq!(words(&seen), ["unauthorized"; 3]);
    assert_eq!(stage.world.calls().len(), 1);
    let told = format!("{:?}", seen[0]);
    assert!(told.contains("make a new one"), "{told}");
    assert_eq!(stage.counted("unauthorized"), 1);
}

#[tokio::test]
async fn a_repository_that_is_blocked_does_not_block_its_neighbours() {
    let stage = Stage::new().await;
    let mut reads = stage.repositories(3);
    reads[0].node_id = None;
    reads[1].node_id = None;
    stage.world.fail_next(1, Calls::Rest, Fault::Status(403));
    assert_eq!(words(&stage.read(&reads).await), ["unauthorized", "found", "found"]);
    stage.world.fail_next(1, Calls::Rest, Fault::Status(451));
    assert_eq!(words(&stage.read(&reads).await), ["transient", "found", "found"]);
}

#[tokio::test]
async fn a_hanging_answer_is_given_up() {
    let brief = Timeouts { answer: Duration::from_millis(50), ..Timeouts::default() };
    let stage = Stage::with(brief, FakeGitHub::url).await;
    let reads = stage.repositories(1);
    stage.world.fail_always(Calls::All, Fault::Hang);
    let seen = stage.read(&reads).await;
    assert_eq!(words(&seen), ["transient"]);
    assert!(format!("{seen:?}").contains("no whole answer within 50ms"), "{seen:?}");
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
async fn half_a_list_is_no_list() {
    let stage = Stage::new().await;
    stage.repositories(3);
    for fault in [Fault::ResourceLimits { keep: 1 }, Fault::Status(502), Fault::CutBody] {
        stage.world.fail_next(1, Calls::Of(CallKind::List), fault.clone());
        let page = stage.github.list(&stage.owner, None, 100, &files()).await;
        assert!(matches!(page, Err(GitHubError::Transient(_))), "{fault:?}: {page:?}");
    }
    stage.world.rename_owner("acme", "acme-old");
    stage.world.create_organization("acme");
    stage.world.add_token(CANARY, &["acme", "acme-old"]);
    let page = stage.github.list(&stage.owner, None, 100, &files()).await;
    assert!(matches!(page, Err(GitHubError::Transient(_))), "another owner's list: {page:?}");
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

#[tokio::test]
async fn redirects_are_followed_to_the_same_host_only() {
    let stage = Stage::new().await;
    stage.repositories(1);
    let long = "x".repeat(600_000);
    stage.world.put_file("acme/r0", FILE, &long);
    // The file is read by a name that has changed after the answer that told it.
    let read = stage.read_one("acme/r0", &files()).await;
    assert_eq!(text(&read, 0).map(|text| text.len()), Some(long.len()));
    let reads = [RepoRead { node_id: None, ..stage.known("acme/r0") }];
    let same = format!("{}/repositories/{}", stage.fake.url(), reads[0].key.id);
    stage.world.fail_next(1, Calls::Rest, Fault::Redirect(same.clone()));
    assert_eq!(words(&stage.read(&reads).await), ["found"]);
    stage.world.fail_next(4, Calls::Rest, Fault::Redirect(same));
    assert_eq!(words(&stage.read(&reads).await), ["transient"], "no endless redirects");
    stage.world.heal();
    let elsewhere = FakeGitHub::start().await;
    let to = format!("{}/repositories/{}", elsewhere.url(), reads[0].key.id);
    stage.world.fail_next(1, Calls::Rest, Fault::Redirect(to));
    assert_eq!(words(&stage.read(&reads).await), ["transient"]);
    assert_eq!(elsewhere.state().calls().len(), 0, "not even asked, with or without the token");
}

#[tokio::test]
async fn the_token_shows_up_nowhere() {
    let stage = Stage::new().await;
    let reads = stage.repositories(1);
    let mut told = format!("{:?} {:?}", stage.github, host_settings("x", Some(CANARY)));
    for fault in [
        Fault::Status(401),
        Fault::Status(403),
        Fault::Status(500),
        Fault::Html(200),
        Fault::CutBody,
        Fault::Reset,
        Fault::Redirect(format!("http://{CANARY}@127.0.0.1/")),
    ] {
        stage.world.fail_next(1, Calls::All, fault);
        told += &format!("{:?}", stage.read(&reads).await);
    }
    stage.world.revoke_token(CANARY);
    told += &format!("{:?}", stage.read(&reads).await);
    let broken = GitHub::new(
        vec![host_settings("https://api.github.com", Some(&format!("{CANARY}\n")))],
        Arc::new(Still),
        stage.metrics.clone(),
    );
    assert!(matches!(&broken, Err(SetupError::Token { .. })), "{broken:?}");
    told += &format!("{broken:?} {}", broken.as_ref().unwrap_err());
    assert!(!told.contains("canary"), "{told}");
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let check = |base: &str, told: &str| {
        let metrics = Metrics::new(&mut Registry::default());
        let settings = vec![host_settings(base, Some(CANARY))];
        let error = GitHub::new(settings, Arc::new(Still), metrics).expect_err(base).to_string();
        assert!(error.contains(told), "{base}: {error}");
    };
    check("http://api.github.com", "plain http is for loopback addresses only");
    check("nonsense", "apiBaseUrl of github.com");
}

#[tokio::test]
async fn without_a_token_nothing_is_asked() {
    let stage = Stage::new().await;
    let reads = stage.repositories(2);
    let settings = vec![host_settings(&stage.fake.url(), None)];
    let github = GitHub::new(settings, Arc::new(Still), stage.metrics.clone()).expect("it builds");
    let seen = github.read(&stage.owner.account, &reads, &files()).await;
    assert_eq!(words(&seen), ["unauthorized"; 2]);
    assert!(format!("{seen:?}").contains("GITHUB_TOKEN"), "{seen:?}");
    assert_eq!(stage.world.calls().len(), 0);
}
