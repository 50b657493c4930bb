//! Pushes to a repository that others include, told before it is known who does; and pushes that
//! nobody tells of, where a heartbeat is the only one to see them.

use std::time::Duration;

use cuelight::clock::Clock as _;
use cuelight::config::{AllowedKind, Config, Rule};
use cuelight::engine::queue::{Delivery, Push as Marks, Pushed};
use cuelight::ids::{DeliveryId, FullName};
use cuelight::view_feed::DELIVERIES_MAX;
use cuelight::worker::Outcome;
use fake_github::{NewRepository, Push};
use futures_util::future::join_all;

use super::elsewhere::two_accounts;
use super::included::location;
use crate::support::stage::{FILE, Stage, component};
use crate::support::tenants;

const THERE: &str = "https://github.com/acme/shared/blob/v2/a.yaml";

/// A push to the branch that `THERE` is on.
fn pushed(stage: &Stage, kind: &str) -> Vec<fake_github::Event> {
    stage.world().push("acme/shared", Push::to("v2").put("a.yaml", component("a", kind)))
}

/// What was included changes, and nobody tells.
fn change(stage: &Stage, kind: &str) {
    drop(pushed(stage, kind));
}

/// Works whatever is due, also what looks once more.
async fn work_all(stage: &Stage) {
    stage.work().await;
    stage.clock.advance(Duration::from_secs(5));
    stage.work().await;
}

#[tokio::test]
async fn a_push_before_it_was_known_who_includes_the_file_is_not_missed() {
    let stage = Stage::open().await;
    stage.elsewhere("acme", "a.yaml", &component("a", "service"));
    let new = NewRepository::named("pay").file(FILE, location(&[THERE]));
    stage.cue(&stage.world().create_repository("acme", new)).await;
    assert_eq!(stage.cue(&pushed(&stage, "website")).await, ["ignored"]);
    stage.work().await;
    // As if the read had not shown the push.
    change(&stage, "library");
    work_all(&stage).await;
    assert_eq!(stage.type_of("a").await.as_deref(), Some("library"));
    assert!(stage.work().await.is_empty(), "it has an end");
}

#[tokio::test]
async fn a_push_to_another_branch_of_its_own_is_not_missed_and_those_that_counted_cost_nothing() {
    let stage = Stage::open().await;
    let text = location(&["https://github.com/acme/pay/blob/next/a.yaml"]);
    let new = NewRepository::named("pay").file(FILE, text);
    stage.cue(&stage.world().create_repository("acme", new)).await;
    let push = |kind: &str| {
        stage.world().push("acme/pay", Push::to("next").put("a.yaml", component("a", kind)))
    };
    drop(push("service"));
    stage.work().await;
    assert!(stage.work().await.is_empty(), "it was created, and read for that");
    let stage = stage.restart().await;
    assert!(stage.work().await.is_empty());

    let new = NewRepository::named("cart").file("b.yaml", component("b", "service"));
    stage.cue(&stage.world().create_repository("acme", new)).await;
    let text = location(&["https://github.com/acme/cart/blob/next/b.yaml"]);
    let text = text.replace("name: parts", "name: cart");
    let push = |kind: &str| {
        stage.world().push("acme/cart", Push::to("next").put("b.yaml", component("b", kind)))
    };
    assert_eq!(stage.cue(&push("website")).await, ["ignored"]);
    stage.cue(&stage.world().put_file("acme/cart", FILE, text)).await;
    stage.work().await;
    // As if the read had not shown the push.
    drop(push("library"));
    work_all(&stage).await;
    assert_eq!(stage.type_of("b").await.as_deref(), Some("library"));
}

/// Enters a push as a receiver does that knows of nobody who includes the repository.
async fn receive(stage: &Stage, repository: &str, id: String) {
    let delivery = Delivery {
        id: DeliveryId::parse(&id).expect("an id"),
        event: "push".to_owned(),
        action: None,
        repository: Some(FullName::parse(repository).expect("a name")),
        received_at: stage.clock.now(),
        ignored: Some("the branch is neither the default nor a configured one".to_owned()),
    };
    let push = Marks { delivery: Some(delivery), keys: Vec::new() };
    let pushed = stage.app.worker.queue.push(push).await.expect("the storage works");
    assert_eq!(pushed, Pushed::Accepted(Vec::new()));
}

#[tokio::test]
async fn a_push_while_the_catalog_is_loaded_is_not_missed() {
    let stage = Stage::open().await;
    stage.elsewhere("acme", "a.yaml", &component("a", "service"));
    drop(pushed(&stage, "service"));
    stage.including(&[THERE], &[]).await;
    stage.clock.advance(Duration::from_secs(60));
    // Nothing was pushed since it was read: a start asks nobody.
    let stage = stage.restart().await;
    assert!(stage.work().await.is_empty());
    change(&stage, "website");
    receive(&stage, "Acme/shared", "while-loading".to_owned()).await;
    let stage = stage.restart().await;
    assert_eq!(stage.work().await, [Outcome::Delayed]);
    assert_eq!(stage.type_of("a").await.as_deref(), Some("website"));
    stage.clock.advance(Duration::from_secs(60));
    stage.work().await;
    let stage = stage.restart().await;
    assert!(stage.work().await.is_empty(), "it was read since");
}

#[tokio::test]
async fn after_more_deliveries_than_are_looked_through_all_who_include_are_read() {
    let stage = Stage::open().await;
    stage.elsewhere("acme", "a.yaml", &component("a", "service"));
    drop(pushed(&stage, "service"));
    stage.including(&[THERE], &[]).await;
    stage.clock.advance(Duration::from_secs(60));
    change(&stage, "website");
    receive(&stage, "acme/shared", "long-ago".to_owned()).await;
    let later = (0..DELIVERIES_MAX).map(|at| receive(&stage, "acme/other", format!("other-{at}")));
    join_all(later).await;
    let stage = stage.restart().await;
    assert_eq!(stage.work().await, [Outcome::Done], "as a scan would");
    assert_eq!(stage.type_of("a").await.as_deref(), Some("website"));
}

#[tokio::test]
async fn a_heartbeat_sees_a_push_to_a_repository_that_another_accounts_files_include() {
    let stage = including_elsewhere("main/a.yaml").await;
    assert!(beat(&stage).await.is_empty());
    tenants::advance(&stage, Duration::from_secs(10));
    stage.world().put_file("globex/shared", "a.yaml", component("a", "website"));
    assert_eq!(beat(&stage).await, [Outcome::Done]);
    assert_eq!(stage.type_of("a").await.as_deref(), Some("website"));
    assert!(beat(&stage).await.is_empty(), "once");

    tenants::advance(&stage, Duration::from_secs(10));
    let push = Push::to("main").put("a.yaml", component("a", "library"));
    stage.cue(&stage.world().push("globex/shared", push)).await;
    stage.work().await;
    tenants::advance(&stage, Duration::from_secs(3));
    stage.work().await;
    assert!(beat(&stage).await.is_empty(), "a webhook has told of it");
    assert_eq!(stage.type_of("a").await.as_deref(), Some("library"));
}

/// A stage on which time is the test's, with `globex/shared` and its branches `main`, `v2` and
/// `feature`, of which `acme/pay` includes this file.
async fn including_elsewhere(file: &str) -> Stage {
    let stage = two_accounts().await;
    stage.world().set_now(tenants::OPENING_SECONDS);
    stage.world().freeze_time();
    stage.elsewhere("globex", "a.yaml", &component("a", "service"));
    for branch in ["v2", "feature"] {
        stage.world().create_branch("globex/shared", branch, "main");
    }
    stage.including(&[&format!("https://github.com/globex/shared/blob/{file}")], &[]).await;
    stage
}

/// A push to a branch of it that no webhook tells of, and a heartbeat a minute later.
async fn beat_after(stage: &Stage, branch: &str, kind: &str) -> Vec<Outcome> {
    tenants::advance(stage, Duration::from_secs(10));
    let push = Push::to(branch).put("a.yaml", component("a", kind));
    drop(stage.world().push("globex/shared", push));
    beat(stage).await
}

/// A heartbeat of `globex` a minute later, and the work that comes of it.
async fn beat(stage: &Stage) -> Vec<Outcome> {
    tenants::advance(stage, Duration::from_secs(60));
    stage.world().reset_calls();
    stage.app.heartbeat.beat(&stage.config.providers[1]).await;
    stage.work().await
}

#[tokio::test]
async fn pushes_to_branches_that_nobody_includes_cost_no_reads_and_hide_no_other() {
    let stage = including_elsewhere("main/a.yaml").await;
    assert!(beat(&stage).await.is_empty());
    for kind in ["x", "y", "z"] {
        assert!(beat_after(&stage, "feature", kind).await.is_empty());
        assert_eq!(stage.world().calls().len(), 1, "the heartbeat");
    }
    let stage = stage.restart().await;
    assert!(beat_after(&stage, "feature", "u").await.is_empty(), "it is in the storage");
    drop(stage.world().put_file("globex/shared", "a.yaml", component("a", "website")));
    assert_eq!(beat_after(&stage, "feature", "v").await, [Outcome::Done]);
    assert_eq!(stage.type_of("a").await.as_deref(), Some("website"));
    assert!(beat_after(&stage, "feature", "w").await.is_empty());

    // Who includes the branch that was the default one is not forgotten.
    drop(stage.world().set_default_branch("globex/shared", "v2"));
    assert_eq!(beat_after(&stage, "main", "library").await, [Outcome::Done]);
    assert_eq!(stage.type_of("a").await.as_deref(), Some("library"));
}

#[tokio::test]
async fn who_was_only_made_afresh_after_a_push_is_read() {
    let stage = including_elsewhere("main/a.yaml").await;
    assert!(beat(&stage).await.is_empty());
    tenants::advance(&stage, Duration::from_secs(10));
    drop(stage.world().put_file("globex/shared", "a.yaml", component("a", "website")));
    tenants::advance(&stage, Duration::from_secs(10));
    let only_shown = |config: &mut Config| {
        let kind = |kind: &str| AllowedKind { kind: kind.to_owned(), spec_type: None };
        let allow = vec![kind("Component"), kind("Location")];
        config.rules.rules = Some(vec![Rule { allow, locations: None }]);
    };
    let stage = stage.restart_with(only_shown).await;
    stage.work().await;
    assert_eq!(stage.type_of("a").await.as_deref(), Some("service"), "nothing was read");
    assert_eq!(beat(&stage).await, [Outcome::Done]);
    assert_eq!(stage.type_of("a").await.as_deref(), Some("website"));
}

#[tokio::test]
async fn a_repository_that_no_heartbeat_saw_included_counts_as_changed_once() {
    let stage = including_elsewhere("main/a.yaml").await;
    let text = location(&["https://github.com/globex/late/blob/main/b.yaml"]);
    let text = text.replace("name: parts", "name: late");
    let new = NewRepository::named("late").file("b.yaml", component("b", "service"));
    stage.world().create_repository("globex", new);
    stage.world().create_branch("globex/late", "feature", "main");
    beat(&stage).await;
    let new = NewRepository::named("cart").file(FILE, text);
    stage.cue(&stage.world().create_repository("acme", new)).await;
    stage.work().await;
    let push = |branch: &str, kind: &str| {
        tenants::advance(&stage, Duration::from_secs(10));
        let push = Push::to(branch).put("b.yaml", component("b", kind));
        drop(stage.world().push("globex/late", push));
    };
    push("main", "website");
    assert_eq!(beat(&stage).await, [Outcome::Done]);
    assert_eq!(stage.type_of("b").await.as_deref(), Some("website"));
    push("feature", "library");
    assert!(beat(&stage).await.is_empty());
}

#[tokio::test]
async fn who_includes_a_branch_whose_head_is_not_known_is_read_for_a_push_once_an_hour() {
    let stage = including_elsewhere("v2/a.yaml").await;
    assert!(beat(&stage).await.is_empty());
    assert_eq!(beat_after(&stage, "main", "x").await, [Outcome::Done]);
    for kind in ["library", "website"] {
        assert!(beat_after(&stage, "v2", kind).await.is_empty(), "it was read in that hour");
    }
    tenants::advance(&stage, Duration::from_secs(3600));
    assert_eq!(beat(&stage).await, [Outcome::Done], "and is read after it");
    assert_eq!(stage.type_of("a").await.as_deref(), Some("website"));
    assert!(beat_after(&stage, "feature", "z").await.is_empty());
    tenants::advance(&stage, Duration::from_secs(7200));
    assert_eq!(beat(&stage).await, [Outcome::Done]);
    tenants::advance(&stage, Duration::from_secs(7200));
    assert!(beat(&stage).await.is_empty(), "nothing was pushed since");
}

crate::support::on_redis::again_on_redis!(
    a_push_before_it_was_known_who_includes_the_file_is_not_missed,
    a_push_while_the_catalog_is_loaded_is_not_missed,
);
