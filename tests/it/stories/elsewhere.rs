//! Files of other repositories, accounts and branches that Locations include, and who hears of a
//! push to them.

use cuelight::catalog::process_file;
use cuelight::config::{Config, Provider};
use cuelight::worker::Outcome;
use fake_github::{CallKind, Calls, Fault, NewRepository, Push};

use super::included::location;
use crate::support::stage::{FILE, Stage, TOKEN, component};

/// A second provider, for `globex`, which the token sees too.
fn beside_globex(config: &mut Config) {
    let acme = config.providers[0].clone();
    let globex = Provider { id: "globex".into(), organization: "globex".into(), ..acme };
    config.providers.push(globex);
}

/// A stage with both organisations.
pub async fn two_accounts() -> Stage {
    let stage = Stage::with(beside_globex, process_file).await;
    stage.world().create_organization("globex");
    stage.world().add_token(TOKEN, &["acme", "globex"]);
    stage
}

#[tokio::test]
async fn files_of_another_repository_are_included_with_its_own_accounts_credentials() {
    let stage = two_accounts().await;
    stage.elsewhere("globex", "parts/a.yaml", &component("a", "service"));
    stage.elsewhere("acme", "b.yaml", &component("b", "service"));
    let targets = [
        "https://github.com/Globex/shared/blob/main/parts/a.yaml",
        "https://github.com/acme/shared/blob/main/b.yaml",
    ];
    stage.including(&targets, &[]).await;
    assert!(stage.has("a").await && stage.has("b").await);
    let entity = stage.entity("component", "a").await.expect("the included component");
    let location = &entity["metadata"]["annotations"]["backstage.io/managed-by-location"];
    let url = "url:https://github.com/Globex/shared/tree/main/parts/a.yaml";
    assert_eq!(*location, url);
}

#[tokio::test]
async fn an_owner_that_no_provider_names_is_not_asked_for_and_the_problem_says_what_to_do() {
    let stage = two_accounts().await;
    let files = [("b.yaml", component("b", "service"))];
    let stranger = "https://github.com/initech/shared/blob/main/a.yaml";
    let other_host = "https://ghe.acme.com/acme/shared/blob/main/a.yaml";
    stage.including(&[stranger, other_host, "b.yaml"], &files).await;
    assert!(stage.has("b").await);
    let (_, list) = stage.get("/api/cuelight/v1/problems").await;
    for (item, owner) in [(0, "initech on github.com"), (1, "acme on ghe.acme.com")] {
        assert_eq!(list["items"][item]["code"], "file-unreadable");
        let message = list["items"][item]["message"].as_str().expect("a message");
        assert!(message.contains(owner) && message.contains("catalog.providers"), "{message}");
    }
}

#[tokio::test]
async fn a_problem_in_a_file_of_another_repository_leads_to_its_line_there() {
    let stage = two_accounts().await;
    let wrong = component("a", "service").replace("kind: Component", "kind: Komponent");
    stage.elsewhere("globex", "of us/a.yaml", &wrong);
    stage.including(&["https://github.com/globex/shared/blob/main/of%20us/a.yaml"], &[]).await;
    let (_, list) = stage.get("/api/cuelight/v1/problems").await;
    let url = list["items"][0]["url"].as_str().expect("an address");
    let line = url.strip_prefix("https://github.com/globex/shared/blob/main/of%20us/a.yaml#L");
    assert!(line.is_some_and(|line| line.parse::<u32>().is_ok()), "{url}");
}

#[tokio::test]
async fn a_repository_that_is_not_shown_any_more_keeps_what_it_declared() {
    let stage = two_accounts().await;
    stage.elsewhere("globex", "a.yaml", &component("a", "service"));
    stage.including(&["https://github.com/globex/shared/blob/main/a.yaml"], &[]).await;
    stage.world().hide_repository(TOKEN, "globex/shared");
    stage.push("acme/pay", Push::to("main").put("README.md", "x")).await;
    assert!(stage.is_stale("a").await);
    assert_eq!(stage.codes().await, ["file-unreadable"]);
    stage.world().show_repository(TOKEN, "globex/shared");
    stage.scan().await;
    assert!(!stage.is_stale("a").await);
    stage.world().push("globex/shared", Push::to("main").delete("a.yaml"));
    stage.scan().await;
    assert!(!stage.has("a").await);
    assert_eq!(stage.codes().await, ["target-missing"]);
}

#[tokio::test]
async fn a_push_to_an_included_repository_refreshes_whoever_includes_it() {
    for owner in ["acme", "globex"] {
        let stage = two_accounts().await;
        stage.elsewhere(owner, "a.yaml", &component("a", "service"));
        let shared = format!("{owner}/shared");
        stage.world().create_branch(&shared, "v2/next", "main");
        let there = format!("https://github.com/{owner}/Shared/blob");
        let targets = [format!("{there}/main/a.yaml"), format!("{there}/v2%2Fnext/b.yaml")];
        stage.including(&[&targets[0], &targets[1]], &[]).await;
        assert!(stage.has("a").await);
        stage.push(&shared, Push::to("main").put("a.yaml", component("a", "website"))).await;
        assert_eq!(stage.type_of("a").await.as_deref(), Some("website"));
        let push = Push::to("v2/next").put("b.yaml", component("b", "website"));
        stage.push(&shared, push).await;
        assert!(stage.has("b").await, "a branch that is not the default");
        assert!(stage.problems().await.is_empty());
        let push = Push::to("v3").put("b.yaml", component("b", "library"));
        assert_eq!(stage.cue(&stage.world().push(&shared, push)).await, ["ignored"]);
    }
}

#[tokio::test]
async fn another_branch_of_the_repository_itself_may_be_included() {
    let stage = Stage::open().await;
    let there = "https://github.com/acme/pay/blob/next/a.yaml";
    stage.including(&[there], &[]).await;
    assert_eq!(stage.codes().await, ["file-unreadable"]);
    let push = || Push::to("next").put("a.yaml", component("a", "service"));
    assert_eq!(stage.cue(&stage.world().push("acme/pay", push())).await, ["queued"]);
    stage.work().await;
    assert!(stage.has("a").await && stage.problems().await.is_empty());
    stage.cue(&stage.world().delete_branch("acme/pay", "next")).await;
    stage.work().await;
    assert!(stage.is_stale("a").await, "it may have been renamed");
    let (_, list) = stage.get("/api/cuelight/v1/problems").await;
    let message = list["items"][0]["message"].as_str().expect("a message");
    assert!(message.contains("acme/pay shows no branch `next`"), "{message}");
}

#[tokio::test]
async fn whoever_includes_a_pushed_repository_looks_once_more_for_it_may_be_shown_late() {
    let stage = two_accounts().await;
    stage.elsewhere("globex", "a.yaml", &component("a", "service"));
    stage.including(&["https://github.com/globex/shared/blob/main/a.yaml"], &[]).await;
    let push = Push::to("main").put("a.yaml", component("a", "website"));
    assert!(stage.push("globex/shared", push).await.contains(&Outcome::Delayed));
    // As if only now it was shown.
    stage.world().put_file("globex/shared", "a.yaml", component("a", "library"));
    stage.clock.advance(std::time::Duration::from_secs(3));
    assert!(stage.work().await.contains(&Outcome::Done));
    assert_eq!(stage.type_of("a").await.as_deref(), Some("library"));
    assert!(stage.work().await.is_empty());
}

#[tokio::test]
async fn a_file_that_two_repositories_include_or_have_themselves_is_no_conflict() {
    let stage = two_accounts().await;
    stage.elsewhere("acme", FILE, &component("a", "service"));
    stage.cue(&stage.world().put_file("acme/shared", "README.md", "x")).await;
    stage.work().await;
    let hub = location(&[&format!("https://github.com/acme/shared/blob/main/{FILE}")]);
    for name in ["hub", "other-hub"] {
        stage.repository(name, &hub.replace("name: parts", &format!("name: {name}"))).await;
    }
    assert!(stage.has("a").await);
    assert_eq!(stage.codes().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_repository_that_is_included_may_come_be_renamed_and_go() {
    let stage = two_accounts().await;
    stage.including(&["https://github.com/globex/shared/blob/main/a.yaml"], &[]).await;
    assert_eq!(stage.codes().await, ["file-unreadable"]);
    let new = NewRepository::named("shared").file("a.yaml", component("a", "service"));
    stage.cue(&stage.world().create_repository("globex", new)).await;
    stage.work().await;
    assert!(stage.has("a").await && stage.problems().await.is_empty());
    stage.cue(&stage.world().rename("globex/shared", "common")).await;
    stage.work().await;
    assert!(stage.has("a").await, "the old name leads there");
    let push = Push::to("main").put("a.yaml", component("a", "website"));
    stage.push("globex/common", push).await;
    assert_eq!(stage.type_of("a").await.as_deref(), Some("website"));
    stage.cue(&stage.world().delete_repository("globex/common")).await;
    stage.work().await;
    assert!(stage.is_stale("a").await, "nobody says that it does not come back");
    assert_eq!(stage.codes().await, ["file-unreadable"]);
}

#[tokio::test]
async fn after_a_restart_pushes_still_reach_whoever_includes_a_file() {
    let stage = two_accounts().await;
    stage.elsewhere("globex", "a.yaml", &component("a", "service"));
    stage.including(&["https://github.com/globex/shared/blob/main/a.yaml"], &[]).await;
    let stage = stage.restart().await;
    let push = Push::to("main").put("a.yaml", component("a", "website"));
    stage.push("globex/shared", push).await;
    assert_eq!(stage.type_of("a").await.as_deref(), Some("website"));
    stage.push("acme/pay", Push::to("main").put(FILE, component("pay", "service"))).await;
    stage.world().reset_calls();
    stage.push("globex/shared", Push::to("main").put("a.yaml", component("a", "library"))).await;
    assert_eq!(stage.asked(), [1, 0, 0, 0], "nobody includes it any more");
}

#[tokio::test]
async fn another_accounts_trouble_does_not_hold_up_this_one_for_long() {
    let stage = two_accounts().await;
    stage.elsewhere("globex", "a.yaml", &component("a", "service"));
    let there = "https://github.com/globex/shared/blob/main/a.yaml";
    stage.including(&[there, "b.yaml"], &[("b.yaml", component("b", "service"))]).await;
    let broken = Fault::NodeError {
        repository: "globex/shared".to_owned(),
        field: None,
        kind: "SERVICE_UNAVAILABLE".to_owned(),
    };
    stage.world().fail_always(Calls::Of(CallKind::Files), broken);
    let push = Push::to("main").put("b.yaml", component("b", "website"));
    assert_eq!(stage.push("acme/pay", push).await, [Outcome::Retried]);
    for expected in [Outcome::Retried, Outcome::Done] {
        stage.clock.advance(std::time::Duration::from_secs(60));
        assert_eq!(stage.work().await, [expected]);
    }
    assert_eq!(stage.type_of("b").await.as_deref(), Some("website"));
    assert!(stage.is_stale("a").await);
}

crate::support::on_redis::again_on_redis!(
    a_push_to_an_included_repository_refreshes_whoever_includes_it,
);
