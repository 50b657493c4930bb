//! Files by path, of many repositories at once, and the paths of a commit.

use cuelight::github::{
    BY_REST_MAX, CommitRead, CommitSeen, Content, FILE_BYTES_MAX, GitHubError, OBJECTS_MAX, Paths,
    RepoAt, Revision,
};
use cuelight::ids::{FullName, Oid};
use fake_github::{CallKind, Calls, Fault, NewRepository, Push};

use super::{FILE, Stage};

fn name(text: &str) -> FullName {
    FullName::parse(text).expect("a name")
}

fn paths(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

fn by_name(repository: &str, branch: &str, wanted: &[&str]) -> CommitRead {
    CommitRead {
        repository: RepoAt::Name(name(repository)),
        revision: Revision::Branch(branch.to_owned()),
        paths: paths(wanted),
    }
}

impl Stage {
    fn at_head(&self, repository: &str, wanted: &[&str]) -> CommitRead {
        let node_id = self.known(repository).node_id.expect("a known repository");
        CommitRead {
            repository: RepoAt::Id { node_id, full_name: name(repository) },
            revision: Revision::Commit(self.head(repository)),
            paths: paths(wanted),
        }
    }

    fn head(&self, repository: &str) -> Oid {
        Oid::parse(&self.world.head(repository, "main")).expect("an object id")
    }

    async fn gather(&self, reads: &[CommitRead]) -> Vec<String> {
        let seen = self.github.read_files(&self.owner.account, reads).await;
        seen.iter().map(word).collect()
    }
}

/// What a read came to, in a line.
fn word(seen: &Result<CommitSeen, GitHubError>) -> String {
    match seen {
        Ok(CommitSeen::NoRepository) => "no repository".to_owned(),
        Ok(CommitSeen::NoCommit) => "no commit".to_owned(),
        Ok(CommitSeen::Found { files, .. }) => {
            let texts = files.iter().map(|file| match file.as_ref().map(|file| &file.content) {
                None => "-".to_owned(),
                Some(Content::Text(text)) if text.len() > 20 => format!("{} bytes", text.len()),
                Some(Content::Text(text)) => text.trim_end().to_owned(),
                Some(Content::TooLarge { bytes }) => format!("too large: {bytes}"),
                Some(Content::NotRead) => "not read".to_owned(),
            });
            texts.collect::<Vec<_>>().join(" | ")
        }
        Err(GitHubError::Limited { .. }) => "limited".to_owned(),
        Err(GitHubError::Refused(_)) => "refused".to_owned(),
        Err(GitHubError::Unauthorized(_)) => "unauthorized".to_owned(),
        Err(error) if error.is_transient() => "transient".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn files_of_many_repositories_are_one_call_and_one_point() {
    let stage = Stage::new().await;
    stage.repositories(3);
    stage.world.push("acme/r1", Push::to("next").put("docs/api.yaml", "two"));
    let reads = [
        stage.at_head("acme/r0", &[FILE, "none"]),
        by_name("acme/R1", "next", &["docs/api.yaml", FILE, "docs"]),
        by_name("acme/r2", "none", &[FILE]),
        by_name("acme/none", "main", &[FILE]),
        by_name("acme/r2", "main", &[]),
    ];
    let expected = ["name: r0 | -", "two | name: r1 | -", "no commit", "no repository", ""];
    assert_eq!(stage.gather(&reads).await, expected);
    let calls = stage.world.calls();
    assert_eq!((calls.len(), calls[0].kind, calls[0].points), (1, CallKind::Files, 1));
    assert_eq!(stage.counted("ok"), 1);
    assert_eq!(stage.metrics.github_points.get(), 1);
}

#[tokio::test]
async fn a_commit_is_read_as_it_was_when_the_branch_has_moved_on() {
    let stage = Stage::new().await;
    stage.repositories(1);
    let read = stage.at_head("acme/r0", &[FILE]);
    stage.world.put_file("acme/r0", FILE, "name: later\n");
    assert_eq!(stage.gather(&[read]).await, ["name: r0"]);
    let mut unknown = stage.at_head("acme/r0", &[FILE]);
    unknown.revision = Revision::Commit(Oid::parse(&"ab".repeat(20)).expect("an object id"));
    assert_eq!(stage.gather(&[unknown]).await, ["no commit"]);
}

#[tokio::test]
async fn what_graphql_cuts_or_leaves_out_is_read_by_rest_and_what_is_too_large_is_not() {
    let stage = Stage::new().await;
    stage.repositories(1);
    let too_large = "z".repeat(usize::try_from(FILE_BYTES_MAX).expect("it fits") + 1);
    let push = Push::to("main")
        .put("large", "x".repeat(600_000))
        .put("binary", [b'a', 0, 0xff])
        .put("too large", &too_large);
    stage.world.push("acme/r0", push);
    let read = stage.at_head("acme/r0", &["large", "binary", "too large"]);
    let expected = "600000 bytes | a\0\u{fffd} | too large: 1048577";
    assert_eq!(stage.gather(&[read]).await, [expected]);
    assert_eq!(stage.world.calls_of(CallKind::File), 2);
}

#[tokio::test]
async fn of_many_binary_files_only_some_are_fetched() {
    let stage = Stage::new().await;
    stage.repositories(2);
    let pictures: Vec<String> = (0..BY_REST_MAX + 5).map(|at| format!("{at}.png")).collect();
    let all = |push: Push, path: &String| push.put(path, [0, 1, 2]);
    stage.world.push("acme/r0", pictures.iter().fold(Push::to("main"), all));
    let mut many = stage.at_head("acme/r0", &[]);
    many.paths.clone_from(&pictures);
    let seen = stage.gather(&[many, stage.at_head("acme/r1", &[FILE])]).await;
    assert_eq!(seen[0].matches("not read").count(), 5);
    assert_eq!(seen[1], "name: r1");
    assert_eq!(stage.world.calls_of(CallKind::File), BY_REST_MAX);
}

#[tokio::test]
async fn a_call_that_is_too_heavy_is_halved_down_to_one_file() {
    let stage = Stage::new().await;
    stage.repositories(2);
    let wanted: Vec<String> = (0..OBJECTS_MAX).map(|at| format!("docs/{at}")).collect();
    let mut push = Push::to("main");
    for path in &wanted {
        push = push.put(path, path);
    }
    stage.world.push("acme/r0", push);
    let mut large = stage.at_head("acme/r0", &[]);
    large.paths.clone_from(&wanted);
    let reads = [large, stage.at_head("acme/r1", &[FILE])];
    let heavy = Fault::TooHeavy { nodes: 60 };
    stage.world.fail_always(Calls::Of(CallKind::Files), heavy);
    assert_eq!(stage.gather(&reads).await, [wanted.join(" | "), "name: r1".to_owned()]);
    stage.world.heal();
    stage.world.fail_always(Calls::Of(CallKind::Files), Fault::Status(502));
    stage.world.reset_calls();
    assert_eq!(stage.gather(&reads).await, ["transient", "transient"]);
    assert!(stage.world.calls().len() < 12, "{}", stage.world.calls().len());
}

#[tokio::test]
async fn an_error_at_one_repository_is_its_own_and_any_other_is_everybodys() {
    let stage = Stage::new().await;
    stage.repositories(2);
    let reads = [stage.at_head("acme/r0", &[FILE]), stage.at_head("acme/r1", &[FILE])];
    let at = |field: Option<&str>, kind: &str| Fault::NodeError {
        repository: "acme/r0".to_owned(),
        field: field.map(str::to_owned),
        kind: kind.to_owned(),
    };
    let check = async |fault: Fault, expected: [&str; 2]| {
        stage.world.fail_always(Calls::Graphql, fault);
        assert_eq!(stage.gather(&reads).await, expected);
        stage.world.heal();
    };
    check(at(None, "SERVICE_UNAVAILABLE"), ["transient", "name: r1"]).await;
    check(at(Some("f0"), "SERVICE_UNAVAILABLE"), ["transient", "name: r1"]).await;
    check(at(Some("f0"), "NOT_FOUND"), ["transient", "name: r1"]).await;
    check(at(None, "FORBIDDEN"), ["refused", "name: r1"]).await;
    check(at(None, "NOT_FOUND"), ["no repository", "name: r1"]).await;
    let no_data = Fault::NoData { kind: "SOMETHING".to_owned() };
    check(no_data, ["transient", "transient"]).await;
    check(Fault::GraphqlLimited { reset: 9_999 }, ["limited", "limited"]).await;
    check(Fault::Status(401), ["unauthorized", "unauthorized"]).await;
    check(Fault::CutBody, ["transient", "transient"]).await;
    check(Fault::Status(500), ["transient", "transient"]).await;
}

#[tokio::test]
async fn the_paths_of_a_commit_are_one_call_and_a_cut_list_is_none() {
    let stage = Stage::new().await;
    stage.repositories(1);
    stage.world.put_file("acme/r0", "docs/a/b.yaml", "x");
    let head = stage.head("acme/r0");
    stage.world.put_file("acme/r0", "later", "x");
    let account = &stage.owner.account;
    let listed =
        async |commit: &Oid| match stage.github.paths(account, &name("acme/r0"), commit).await {
            Ok(Paths::Whole(paths)) => paths.join(" "),
            Ok(Paths::TooMany) => "too many".to_owned(),
            Err(error) if error.is_transient() => "transient".to_owned(),
            Err(error) => error.to_string(),
        };
    assert_eq!(listed(&head).await, "catalog-info.yaml docs/a/b.yaml");
    assert_eq!(stage.world.calls_of(CallKind::Tree), 1);
    assert_eq!(listed(&Oid::parse(&"ab".repeat(20)).expect("an id")).await, "transient");
    stage.world.cut_trees(3);
    assert_eq!(listed(&head).await, "too many");
}

#[tokio::test]
async fn a_renamed_repository_is_found_by_its_old_name() {
    let stage = Stage::new().await;
    stage.repositories(1);
    stage.world.rename("acme/r0", "new");
    stage.world.create_repository("other", NewRepository::named("secret").file(FILE, "x"));
    let reads = [by_name("acme/r0", "main", &[FILE]), by_name("other/secret", "main", &[FILE])];
    assert_eq!(stage.gather(&reads).await, ["name: r0", "no repository"]);
    let head = stage.head("acme/new");
    let listed = stage.github.paths(&stage.owner.account, &name("acme/r0"), &head).await;
    assert_eq!(listed, Ok(Paths::Whole(vec![FILE.to_owned()])));
}

#[tokio::test]
async fn an_answer_that_is_larger_than_is_read_is_asked_for_in_parts() {
    let stage = Stage::new().await;
    stage.repositories(1);
    let wanted: Vec<String> = (0..90).map(|at| format!("docs/{at}")).collect();
    let text = |at: usize| format!("{at:03}{}", "x".repeat(400_000));
    let all = wanted.iter().enumerate();
    let push = all.fold(Push::to("main"), |push, (at, path)| push.put(path, text(at)));
    stage.world.push("acme/r0", push);
    let mut large = stage.at_head("acme/r0", &[]);
    large.paths.clone_from(&wanted);
    let seen = stage.github.read_files(&stage.owner.account, &[large]).await;
    let Some(Ok(CommitSeen::Found { files, .. })) = seen.first() else {
        panic!("{}", word(&seen[0]))
    };
    let texts: Vec<&str> = files
        .iter()
        .flatten()
        .filter_map(|file| match &file.content {
            Content::Text(text) => Some(&text[..3]),
            _ => None,
        })
        .collect();
    let expected: Vec<String> = (0..90).map(|at| format!("{at:03}")).collect();
    assert_eq!(texts, expected);
    assert_eq!(stage.world.calls_of(CallKind::Files), 3, "one in vain, and its halves");
}
