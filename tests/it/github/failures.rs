//! What each failure comes to: whom it condemns, how many calls it costs, what people are told.

use super::*;

#[tokio::test]
async fn an_error_at_a_node_condemns_that_repository_alone() {
    let stage = Stage::new().await;
    let reads = stage.repositories(3);
    for (field, kind, expected) in [
        (None, "INTERNAL", "transient"),
        (Some("f0".to_owned()), "INTERNAL", "transient"),
        (Some("f0".to_owned()), "NOT_FOUND", "transient"),
        (None, "FORBIDDEN", "refused"),
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
    assert_eq!(words(&stage.read(&reads).await), ["refused", "found", "found"]);
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
async fn half_a_list_is_no_list() {
    let stage = Stage::new().await;
    stage.repositories(3);
    for fault in [Fault::ResourceLimits { keep: 1 }, Fault::Status(502), Fault::CutBody] {
        stage.world.fail_next(1, Calls::Of(CallKind::List), fault.clone());
        let page = stage.github.list(&stage.owner, None, 100, &files()).await;
        assert!(page.as_ref().is_err_and(GitHubError::is_transient), "{fault:?}: {page:?}");
    }
    stage.world.rename_owner("acme", "acme-old");
    stage.world.create_organization("acme");
    stage.world.add_token(CANARY, &["acme", "acme-old"]);
    let page = stage.github.list(&stage.owner, None, 100, &files()).await;
    assert!(matches!(page, Err(GitHubError::Transient(_))), "another owner's list: {page:?}");
}

#[tokio::test]
async fn redirects_are_followed_to_the_same_host_only() {
    let stage = Stage::new().await;
    stage.repositories(1);
    let long = "x".repeat(600_000);
    stage.world.put_file("acme/r0", FILE, &long);
    let (id, oid) = (stage.world.repository("acme/r0").id, fake_github::blob_oid(long.as_bytes()));
    let moved = format!("{}/repositories/{id}/git/blobs/{oid}", stage.fake.url());
    stage.world.fail_next(1, Calls::Of(CallKind::File), Fault::Redirect(moved));
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

#[tokio::test]
async fn who_cannot_be_reached_is_told_with_the_reason() {
    let stage = Stage::new().await;
    let reads = stage.repositories(1);
    let (github, account) = (stage.github.clone(), stage.owner.account.clone());
    stage.fake.stop().await;
    let seen = format!("{:?}", github.read(&account, &reads, &files()).await);
    assert!(seen.contains("could not be reached") && seen.contains("refused"), "{seen}");
}
