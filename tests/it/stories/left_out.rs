//! A catalog file grows past a limit: what it led to before stays until it fits again.

use cuelight::catalog::expand::PATTERNS_MAX;
use fake_github::Push;

use super::included::location;
use crate::support::stage::{FILE, Stage, component};

/// `{a0,a1,…}*.none`, so many patterns in one, as a text in quotes.
fn patterns(count: usize) -> String {
    let all: Vec<String> = (0..count).map(|n| format!("a{n}")).collect();
    format!("\"{{{}}}*.none\"", all.join(","))
}

#[tokio::test]
async fn what_a_pattern_led_to_that_is_left_out_now_stays_until_it_fits_again_or_is_gone() {
    let stage = Stage::open().await;
    let optional = |targets: &[&str]| location(targets) + "  presence: optional\n";
    let files =
        [("parts/a.yaml", component("a", "service")), ("parts/b.yaml", component("b", "service"))];
    stage.including(&["parts/*.yaml"], &files).await;
    let half = patterns(PATTERNS_MAX / 2);
    let large = optional(&[&half, &half, "parts/*.yaml"]);
    let push = Push::to("main").put(FILE, large);
    stage.push("acme/pay", push.put("parts/a.yaml", component("a", "website"))).await;
    assert_eq!(stage.codes().await, ["target-invalid"]);
    assert_eq!(stage.type_of("a").await.as_deref(), Some("service"), "it is not read");
    // It stays also the next time, while the tree says that it is there.
    stage.push("acme/pay", Push::to("main").delete("parts/b.yaml")).await;
    assert!(stage.is_stale("a").await && !stage.has("b").await);
    assert_eq!(stage.codes().await, ["target-invalid"]);

    let small = optional(&[&half, "parts/*.yaml"]);
    stage.push("acme/pay", Push::to("main").put(FILE, small)).await;
    assert_eq!(stage.type_of("a").await.as_deref(), Some("website"));
    assert!(!stage.is_stale("a").await && stage.problems().await.is_empty());
}
