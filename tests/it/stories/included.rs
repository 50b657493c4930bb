//! What catalog files lead to: the files that Locations include, wherever they are.

use cuelight::catalog::process_file;
use cuelight::config::{Config, Rule};
use cuelight::reconcile::ROUNDS_MAX;
use cuelight::worker::Outcome;
use fake_github::{CallKind, Calls, Fault, NewRepository, Push};

use super::elsewhere::two_accounts;
use crate::support::stage::{FILE, Stage, component};

/// The text of a Location.
pub fn location(targets: &[&str]) -> String {
    let items: String = targets.iter().map(|target| format!("    - {target}\n")).collect();
    format!(
        "apiVersion: backstage.io/v1alpha1\nkind: Location\nmetadata:\n  name: parts\n\
         spec:\n  targets:\n{items}"
    )
}

impl Stage {
    /// Creates `acme/pay` with a Location of these targets and with these files, works it off, and
    /// forgets the calls.
    pub(super) async fn including(&self, targets: &[&str], files: &[(&str, String)]) {
        let mut new = NewRepository::named("pay").file(FILE, location(targets));
        for (path, text) in files {
            new = new.file(path, text);
        }
        self.cue(&self.world().create_repository("acme", new)).await;
        self.work().await;
        self.world().reset_calls();
    }

    /// Creates a repository that no webhook tells of, without a catalog file.
    pub(super) fn elsewhere(&self, owner: &str, path: &str, text: &str) {
        let new = NewRepository::named("shared").file(path, text);
        self.world().create_repository(owner, new);
    }

    pub(super) async fn push(&self, repository: &str, push: Push) -> Vec<Outcome> {
        self.cue(&self.world().push(repository, push)).await;
        self.work().await
    }

    /// How often GitHub was asked, by kind.
    pub(super) fn asked(&self) -> [usize; 4] {
        let kinds = [CallKind::Nodes, CallKind::Files, CallKind::Tree];
        let [nodes, files, trees] = kinds.map(|kind| self.world().calls_of(kind));
        [nodes, files, trees, self.world().calls().len() - nodes - files - trees]
    }

    pub(super) async fn codes(&self) -> Vec<String> {
        self.problems().await.into_iter().map(|(code, _)| code).collect()
    }

    pub(super) async fn is_stale(&self, name: &str) -> bool {
        let entity = self.entity("component", name).await.expect("it is in the catalog");
        entity.get("status").is_some()
    }
}

#[tokio::test]
async fn a_location_brings_in_the_files_that_it_names_with_one_more_call() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    let both =
        format!("{}---\n{}", component("pay", "service"), location(&["./a.yaml", "b/c.yaml"]));
    let push = Push::to("main")
        .put(FILE, both)
        .put("a.yaml", component("a", "service"))
        .put("b/c.yaml", component("c", "library"));
    stage.push(&pay, push).await;
    assert!(stage.has("pay").await && stage.has("a").await);
    assert_eq!(stage.type_of("c").await.as_deref(), Some("library"));
    assert_eq!(stage.asked(), [1, 1, 0, 0]);
    let entity = stage.entity("component", "c").await.expect("the included component");
    let annotations = &entity["metadata"]["annotations"];
    let url = "url:https://github.com/acme/pay/tree/main/b/c.yaml";
    assert_eq!(annotations["backstage.io/managed-by-location"], url);
    assert!(stage.problems().await.is_empty());
}

#[tokio::test]
async fn a_push_that_changes_only_an_included_file_refreshes_what_it_declares() {
    let stage = Stage::open().await;
    stage.including(&["docs/a.yaml"], &[("docs/a.yaml", component("a", "service"))]).await;
    stage.push("acme/pay", Push::to("main").put("docs/a.yaml", component("a", "website"))).await;
    assert_eq!(stage.type_of("a").await.as_deref(), Some("website"));
    assert_eq!(stage.asked(), [1, 1, 0, 0]);
}

/// The text of an API whose definition is the text of a file.
fn api_of(path: &str) -> String {
    format!(
        "apiVersion: backstage.io/v1alpha1\nkind: API\nmetadata:\n  name: pay\nspec:\n  \
         type: openapi\n  lifecycle: production\n  owner: team-a\n  definition:\n    \
         $text: {path}\n"
    )
}

#[tokio::test]
async fn a_push_that_changes_only_an_openapi_file_refreshes_the_api_that_it_defines() {
    let stage = Stage::open().await;
    let definition = async || {
        let api = stage.entity("api", "pay").await.expect("the API");
        (api["spec"]["definition"].as_str().map(str::to_owned), api.get("status").is_some())
    };
    let first = |text: &str| (Some(text.to_owned()), false);
    let new = NewRepository::named("pay")
        .file(FILE, api_of("./docs/openapi.yaml"))
        .file("docs/openapi.yaml", "openapi: 3.1.0\n");
    stage.cue(&stage.world().create_repository("acme", new)).await;
    stage.work().await;
    assert_eq!(definition().await, first("openapi: 3.1.0\n"));
    stage.world().reset_calls();
    stage.push("acme/pay", Push::to("main").put("docs/openapi.yaml", "openapi: 3.2.0\n")).await;
    assert_eq!(definition().await, first("openapi: 3.2.0\n"));
    assert_eq!(stage.asked(), [1, 1, 0, 0]);
    stage.push("acme/pay", Push::to("main").delete("docs/openapi.yaml")).await;
    assert_eq!(definition().await, (Some("openapi: 3.2.0\n".to_owned()), true));
    assert_eq!(stage.codes().await, ["placeholder"]);
}

#[tokio::test]
async fn what_was_needed_before_is_read_in_the_first_round() {
    let stage = Stage::open().await;
    let files = [
        ("a.yaml", location(&["b.yaml"]).replace("name: parts", "name: more")),
        ("b.yaml", component("b", "service")),
    ];
    stage.including(&["a.yaml"], &files).await;
    stage.push("acme/pay", Push::to("main").put("b.yaml", component("b", "website"))).await;
    assert_eq!(stage.type_of("b").await.as_deref(), Some("website"));
    assert_eq!(stage.asked(), [1, 1, 0, 0], "though it takes two rounds to find out");
}

#[tokio::test]
async fn a_new_file_that_fits_a_pattern_comes_in() {
    let stage = Stage::open().await;
    stage.including(&["docs/*.yaml"], &[("docs/a.yaml", component("a", "service"))]).await;
    assert!(stage.has("a").await);
    stage.push("acme/pay", Push::to("main").put("docs/b.yaml", component("b", "service"))).await;
    assert!(stage.has("a").await && stage.has("b").await);
    let [nodes, files, trees, others] = stage.asked();
    assert!(nodes == 1 && files <= 2 && trees == 1 && others == 0, "{:?}", stage.asked());
    stage.push("acme/pay", Push::to("main").delete("docs/a.yaml")).await;
    assert!(!stage.has("a").await && stage.has("b").await);
}

#[tokio::test]
async fn while_the_head_stays_nothing_that_is_included_is_read_again() {
    let stage = Stage::open().await;
    let files = [("docs/a.yaml", component("a", "service")), ("b.yaml", component("b", "service"))];
    stage.including(&["docs/*.yaml", "b.yaml", "none.yaml"], &files).await;
    stage.cue(&stage.world().set_topics("acme/pay", &["money"])).await;
    stage.work().await;
    assert_eq!(stage.asked(), [1, 0, 0, 0]);
    assert!(stage.has("a").await && stage.has("b").await);
    assert!(!stage.is_stale("a").await);
    assert_eq!(stage.codes().await, ["target-missing"]);
}

#[tokio::test]
async fn an_included_file_that_is_deleted_takes_its_entities_along() {
    let stage = Stage::open().await;
    let files = [("a.yaml", component("a", "service")), ("b.yaml", component("b", "service"))];
    stage.including(&["a.yaml", "b.yaml"], &files).await;
    stage.push("acme/pay", Push::to("main").delete("a.yaml")).await;
    assert!(!stage.has("a").await && stage.has("b").await);
    assert_eq!(stage.problems().await, [("target-missing".to_owned(), 7)]);
}

#[tokio::test]
async fn an_included_file_that_is_renamed_with_its_target_keeps_its_entities() {
    let stage = Stage::open().await;
    stage.including(&["a.yaml"], &[("a.yaml", component("a", "service"))]).await;
    let push = Push::to("main")
        .put(FILE, location(&["z.yaml"]))
        .delete("a.yaml")
        .put("z.yaml", component("a", "service"));
    stage.push("acme/pay", push).await;
    let entity = stage.entity("component", "a").await.expect("it stays");
    let url = "https://github.com/acme/pay/tree/main/z.yaml";
    assert_eq!(entity["metadata"]["annotations"]["backstage.io/view-url"], url);
    assert!(stage.problems().await.is_empty());
}

#[tokio::test]
async fn a_location_that_goes_takes_along_what_it_included() {
    let stage = Stage::open().await;
    stage.including(&["a.yaml"], &[("a.yaml", component("a", "service"))]).await;
    stage.push("acme/pay", Push::to("main").put(FILE, component("pay", "service"))).await;
    assert!(stage.has("pay").await && !stage.has("a").await);
    stage.push("acme/pay", Push::to("main").put("a.yaml", component("a", "website"))).await;
    assert!(!stage.has("a").await, "nobody includes it");
    assert_eq!(stage.asked(), [2, 0, 0, 0]);
}

#[tokio::test]
async fn while_the_including_file_is_broken_what_it_included_stays() {
    let stage = Stage::open().await;
    stage.including(&["a.yaml"], &[("a.yaml", component("a", "service"))]).await;
    stage.push("acme/pay", Push::to("main").put(FILE, "kind: [Location\n")).await;
    assert!(stage.has("a").await);
    assert_eq!(stage.codes().await, ["yaml-syntax"]);
    let large = format!("{}# {}\n", location(&["a.yaml"]), "x".repeat(1024 * 1024));
    stage.push("acme/pay", Push::to("main").put(FILE, large)).await;
    assert!(stage.is_stale("a").await);
    assert_eq!(stage.codes().await, ["file-unreadable"]);
    let mended = Push::to("main").put(FILE, location(&["a.yaml"]));
    stage.push("acme/pay", mended.put("a.yaml", component("a", "website"))).await;
    assert_eq!(stage.type_of("a").await.as_deref(), Some("website"));
    assert!(!stage.is_stale("a").await && stage.problems().await.is_empty());
}

#[tokio::test]
async fn an_included_file_that_is_too_large_is_a_problem_and_what_it_declared_stays() {
    let stage = Stage::open().await;
    stage.including(&["a.yaml"], &[("a.yaml", component("a", "service"))]).await;
    let large = format!("{}# {}\n", component("a", "website"), "x".repeat(1024 * 1024));
    stage.push("acme/pay", Push::to("main").put("a.yaml", large)).await;
    assert_eq!(stage.type_of("a").await.as_deref(), Some("service"));
    assert!(stage.is_stale("a").await);
    assert_eq!(stage.codes().await, ["file-unreadable"]);
}

#[tokio::test]
async fn a_round_that_fails_changes_nothing_and_is_tried_again() {
    let stage = Stage::open().await;
    stage.including(&["a.yaml"], &[("a.yaml", component("a", "service"))]).await;
    let next = || Push::to("main").put("a.yaml", component("a", "website"));
    for fault in [Fault::Status(502), Fault::NoData { kind: "SOMETHING".into() }, Fault::CutBody] {
        stage.world().fail_next(1, Calls::Of(CallKind::Files), fault);
        assert_eq!(stage.push("acme/pay", next()).await, [Outcome::Retried]);
        assert_eq!(stage.type_of("a").await.as_deref(), Some("service"));
        assert!(!stage.is_stale("a").await && stage.problems().await.is_empty());
    }
    stage.clock.advance(std::time::Duration::from_secs(60));
    stage.work().await;
    assert_eq!(stage.type_of("a").await.as_deref(), Some("website"));
}

#[tokio::test]
async fn ten_repositories_with_includes_are_two_calls() {
    let stage = Stage::open().await;
    for at in 0..10 {
        let name = format!("pay-{at}");
        let new = NewRepository::named(&name)
            .file(FILE, location(&["a.yaml", "b.yaml"]).replace("parts", &name))
            .file("a.yaml", component(&format!("a-{at}"), "service"))
            .file("b.yaml", component(&format!("b-{at}"), "service"));
        stage.cue(&stage.world().create_repository("acme", new)).await;
    }
    // A repository that was just created is looked up by its number in no case.
    stage.work().await;
    assert_eq!(stage.components().await, 20);
    assert_eq!(stage.asked(), [1, 1, 0, 0]);
    assert_eq!(stage.world().points(), 2);
}

#[tokio::test]
async fn a_chain_of_locations_ends_after_some_rounds() {
    let stage = Stage::open().await;
    let link = |at: usize| {
        let next = format!("{}.yaml", at + 1);
        location(&[&next]).replace("name: parts", &format!("name: link-{at}"))
    };
    let mut new = NewRepository::named("pay").file(FILE, link(0));
    for at in 1..=ROUNDS_MAX {
        let both = format!("{}---\n{}", link(at), component(&format!("c-{at}"), "service"));
        new = new.file(&format!("{at}.yaml"), both);
    }
    stage.cue(&stage.world().create_repository("acme", new)).await;
    stage.work().await;
    assert_eq!(stage.components().await, ROUNDS_MAX as u64);
    assert_eq!(stage.asked(), [1, ROUNDS_MAX, 0, 0]);
    assert_eq!(stage.codes().await, ["file-unreadable"]);
}

#[tokio::test]
async fn a_scan_finds_a_missed_push_to_an_included_file() {
    let stage = two_accounts().await;
    stage.elsewhere("globex", "b.yaml", &component("b", "service"));
    let there = "https://github.com/globex/shared/blob/main/b.yaml";
    stage.including(&["a.yaml"], &[("a.yaml", component("a", "service"))]).await;
    let new = NewRepository::named("shop").file(FILE, location(&[there]).replace("parts", "shop"));
    stage.cue(&stage.world().create_repository("acme", new)).await;
    stage.work().await;
    stage.repository("plain", &component("plain", "service")).await;
    stage.world().put_file("acme/pay", "a.yaml", component("a", "website"));
    stage.world().put_file("acme/plain", "README.md", "x");
    stage.world().put_file("globex/shared", "b.yaml", component("b", "website"));
    assert_eq!(stage.scan().await.len(), 3, "the scan, and the two that include something");
    assert_eq!(stage.type_of("a").await.as_deref(), Some("website"));
    assert_eq!(stage.type_of("b").await.as_deref(), Some("website"));
    assert_eq!(stage.scan().await.len(), 2, "what another repository holds no listing shows");
}

#[tokio::test]
async fn other_rules_are_applied_to_included_files_without_asking_github() {
    let stage = two_accounts().await;
    stage.elsewhere("globex", "b.yaml", &component("b", "service"));
    let there = "https://github.com/globex/shared/blob/main/b.yaml";
    let files = [
        ("a.yaml", component("a", "service").replace("Component", "API")),
        ("c.yaml", component("c", "service").replace("type: service", "type:\n    $text: c.txt")),
        ("c.txt", "website".to_owned()),
    ];
    stage.including(&["a.yaml", there, "none.yaml", "c.yaml"], &files).await;
    stage.world().reset_calls();
    let stage = stage
        .restart_with(|config| {
            let kind = |kind: &str| cuelight::config::AllowedKind {
                kind: kind.to_owned(),
                spec_type: None,
            };
            let allow = vec![kind("Component"), kind("Location")];
            let rule = Rule { allow, locations: None };
            config.rules.rules = Some(vec![rule]);
        })
        .await;
    stage.work().await;
    assert!(stage.world().calls().is_empty(), "{:?}", stage.asked());
    assert!(stage.has("b").await);
    assert_eq!(stage.type_of("c").await.as_deref(), Some("website"));
    assert!(stage.entity("api", "a").await.is_none());
    let codes = stage.codes().await;
    assert!(codes.contains(&"kind-not-allowed".to_owned()), "{codes:?}");
}

#[tokio::test]
async fn rules_that_let_a_location_in_read_what_it_includes_and_read_all_after_a_failure() {
    let kind =
        |kind: &str| cuelight::config::AllowedKind { kind: kind.to_owned(), spec_type: None };
    let components_only = |config: &mut Config| {
        config.rules.rules = Some(vec![Rule { allow: vec![kind("Component")], locations: None }]);
    };
    let stage = Stage::with(components_only, process_file).await;
    stage.including(&["a.yaml"], &[("a.yaml", component("a", "service"))]).await;
    assert_eq!(stage.codes().await, ["kind-not-allowed"]);
    let stage = stage.restart_with(|config| config.rules.rules = None).await;
    stage.world().fail_next(1, Calls::Of(CallKind::Files), Fault::Status(502));
    assert_eq!(stage.work().await, [Outcome::Retried]);
    let [nodes, files, ..] = stage.asked();
    assert_eq!((nodes, files), (0, 1), "the catalog file itself is not read");
    stage.clock.advance(std::time::Duration::from_secs(60));
    assert_eq!(stage.work().await, [Outcome::Done]);
    assert!(stage.has("a").await && stage.problems().await.is_empty());
    let [nodes, files, ..] = stage.asked();
    assert_eq!((nodes, files), (1, 2), "all of it is");
}

#[tokio::test]
async fn another_catalog_file_with_a_pattern_of_its_own_finds_what_fits_it_at_the_same_head() {
    let stage = Stage::open().await;
    let teams = location(&["./b/*.yaml"]).replace("name: parts", "name: teams");
    let (a, b) = (component("a", "service"), component("b", "service"));
    let files = [("a/a.yaml", a), ("teams.yaml", teams), ("b/b.yaml", b)];
    stage.including(&["./a/*.yaml"], &files).await;
    assert!(stage.has("a").await && !stage.has("b").await);
    let two = |config: &mut Config| {
        config.providers[0].catalog_paths = vec![FILE.to_owned(), "teams.yaml".to_owned()];
    };
    let stage = stage.restart_with(two).await;
    stage.scan().await;
    assert!(stage.has("a").await && stage.has("b").await);
    assert_eq!(stage.codes().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_limit_met_while_files_are_made_afresh_closes_the_gate() {
    let components_only = |config: &mut Config| {
        let allowed = cuelight::config::AllowedKind { kind: "Component".into(), spec_type: None };
        config.rules.rules = Some(vec![Rule { allow: vec![allowed], locations: None }]);
    };
    let stage = Stage::with(components_only, process_file).await;
    stage.including(&["a.yaml"], &[("a.yaml", component("a", "service"))]).await;
    let stage = stage.restart_with(|config| config.rules.rules = None).await;
    let limited = Fault::Limited { status: 429, retry_after: Some(60), reset: None };
    stage.world().fail_next(1, Calls::Of(CallKind::Files), limited);
    assert_eq!(stage.work().await, [Outcome::Gated]);
    assert!(stage.work().await.is_empty(), "nothing is due before the limit ends");
    stage.clock.advance(std::time::Duration::from_secs(61));
    assert_eq!(stage.work().await, [Outcome::Done]);
    assert!(stage.has("a").await);
}

crate::support::on_redis::again_on_redis!(
    a_location_brings_in_the_files_that_it_names_with_one_more_call,
    a_push_that_changes_only_an_included_file_refreshes_what_it_declares,
    while_the_head_stays_nothing_that_is_included_is_read_again,
    a_scan_finds_a_missed_push_to_an_included_file,
    other_rules_are_applied_to_included_files_without_asking_github,
);
