//! What happens to whole repositories, in both directions, by a token and by an App alike.

use cuelight::config::Config;
use fake_github::{NewRepository, Push};

use crate::support::stage::{FILE, Stage, component};
use crate::support::tenants::{create, either_way};

fn as_it_is(_: &mut Config) {}

async fn link(stage: &Stage) -> String {
    let entity = stage.entity("component", "pay").await.expect("it is in the catalog");
    let link = entity["metadata"]["annotations"]["backstage.io/view-url"].as_str();
    link.expect("a link").to_owned()
}

/// A stage that has seen `acme/pay` and the rest of the organisation.
async fn with_pay(stage: &Stage) -> String {
    create(stage, "acme", "other");
    stage.scan().await;
    stage.repository("pay", &component("pay", "service")).await
}

#[tokio::test]
async fn a_topic_lets_a_repository_in_and_out() {
    let catalog = |config: &mut Config| {
        config.providers[0].filters.topics_include = vec!["catalog".to_owned()];
    };
    either_way(catalog, async |stage| {
        let pay = with_pay(&stage).await;
        assert!(!stage.has("pay").await);
        for (topics, is_in) in [(vec!["catalog", "money"], true), (vec!["money"], false)] {
            stage.cue(&stage.world().set_topics(&pay, &topics)).await;
            stage.work().await;
            assert_eq!(stage.has("pay").await, is_in, "{topics:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_excluded_topic_puts_a_repository_out_and_lets_it_in() {
    let hidden = |config: &mut Config| {
        config.providers[0].filters.topics_exclude = vec!["hidden".to_owned()];
    };
    either_way(hidden, async |stage| {
        let pay = with_pay(&stage).await;
        for (topics, is_in) in [(vec!["hidden"], false), (vec![], true)] {
            stage.cue(&stage.world().set_topics(&pay, &topics)).await;
            stage.work().await;
            assert_eq!(stage.has("pay").await, is_in, "{topics:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_made_public_comes_in_and_what_is_made_private_goes() {
    let public = |config: &mut Config| config.providers[0].filters.visibility = vec!["public"];
    either_way(public, async |stage| {
        let pay = with_pay(&stage).await;
        for (visibility, is_in) in [("public", true), ("private", false), ("public", true)] {
            stage.cue(&stage.world().set_visibility(&pay, visibility)).await;
            stage.work().await;
            assert_eq!(stage.has("pay").await, is_in, "{visibility}");
        }
    })
    .await;
}

#[tokio::test]
async fn another_default_branch_is_read_and_so_is_the_old_one_again() {
    either_way(as_it_is, async |stage| {
        let pay = with_pay(&stage).await;
        let world = stage.world();
        world.push(&pay, Push::to("trunk").put(FILE, component("pay", "website")));
        world.push(&pay, Push::to("bare").delete(FILE));
        for (branch, kind) in
            [("trunk", Some("website")), ("bare", None), ("main", Some("service"))]
        {
            stage.cue(&world.set_default_branch(&pay, branch)).await;
            stage.work().await;
            assert_eq!(stage.type_of("pay").await.as_deref(), kind, "{branch}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_repository_transferred_out_goes_with_the_next_scan_and_comes_back_by_its_event() {
    either_way(as_it_is, async |stage| {
        let pay = with_pay(&stage).await;
        let world = stage.world();
        world.create_organization("elsewhere");
        // Only the new owner hears of it.
        world.transfer(&pay, "elsewhere");
        stage.scan().await;
        assert!(!stage.has("pay").await);
        stage.cue(&world.transfer("elsewhere/pay", "acme")).await;
        stage.work().await;
        assert!(stage.has("pay").await);
        assert_eq!(link(&stage).await, "https://github.com/acme/pay/blob/main/catalog-info.yaml");
    })
    .await;
}

#[tokio::test]
async fn an_archived_repository_goes_and_an_unarchived_one_comes() {
    either_way(as_it_is, async |stage| {
        let pay = with_pay(&stage).await;
        stage.cue(&stage.world().archive(&pay)).await;
        stage.work().await;
        assert!(!stage.has("pay").await);
        stage.cue(&stage.world().unarchive(&pay)).await;
        stage.work().await;
        assert!(stage.has("pay").await);
    })
    .await;
}

#[tokio::test]
async fn a_renamed_repository_is_the_same_one_under_another_address() {
    either_way(as_it_is, async |stage| {
        with_pay(&stage).await;
        for (from, to) in [("pay", "payments"), ("payments", "pay")] {
            stage.cue(&stage.world().rename(&format!("acme/{from}"), to)).await;
            stage.work().await;
            let now = format!("https://github.com/acme/{to}/blob/main/catalog-info.yaml");
            assert_eq!(link(&stage).await, now);
            let (_, list) = stage.get("/api/cuelight/v1/repositories").await;
            assert_eq!(list["total"], 2, "{list}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_name_filter_follows_a_rename_both_ways() {
    let only_pay = |config: &mut Config| {
        let pattern = regex::Regex::new("^(?:pay|other)$").expect("a pattern");
        config.providers[0].filters.repository = Some(pattern);
    };
    either_way(only_pay, async |stage| {
        with_pay(&stage).await;
        stage.cue(&stage.world().rename("acme/pay", "old-pay")).await;
        stage.work().await;
        assert!(!stage.has("pay").await);
        stage.cue(&stage.world().rename("acme/old-pay", "pay")).await;
        stage.work().await;
        assert!(stage.has("pay").await);
    })
    .await;
}

#[tokio::test]
async fn a_deleted_repository_goes_and_a_new_one_of_its_name_comes() {
    either_way(as_it_is, async |stage| {
        let pay = with_pay(&stage).await;
        stage.cue(&stage.world().delete_repository(&pay)).await;
        stage.work().await;
        assert!(!stage.has("pay").await);
        let new = NewRepository::named("pay").file(FILE, component("pay", "website"));
        stage.cue(&stage.world().create_repository("acme", new)).await;
        stage.work().await;
        assert_eq!(stage.type_of("pay").await.as_deref(), Some("website"));
    })
    .await;
}
