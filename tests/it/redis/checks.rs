//! What is looked at before anything is kept in a server.

use cuelight::config::RedisSettings;
use cuelight::engine::redis::checks::{self, OpenError, Report, Synced};

use crate::support::redis::RedisServer;

async fn refused(settings: &RedisSettings) -> OpenError {
    checks::open(settings).await.map(|_| ()).expect_err("it is refused")
}

/// Settings under the user that may do everything.
fn as_default(server: &RedisServer) -> RedisSettings {
    RedisSettings::parse(&server.url()).unwrap()
}

#[tokio::test]
async fn a_policy_that_may_remove_keys_is_refused_until_it_is_changed() {
    let server = RedisServer::with(&["--maxmemory-policy", "allkeys-lru"]);
    let error = refused(&server.settings()).await;
    assert!(matches!(&error, OpenError::Evicts { policy, .. } if policy == "allkeys-lru"));
    // Nothing was written to it.
    assert_eq!(server.command::<u64>(&["DBSIZE"]), 0);
    server.command::<()>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    let (connection, report) = checks::open(&server.settings()).await.unwrap();
    assert_eq!(report.policy.as_deref(), Some("noeviction"));
    // What is changed later is told later.
    server.command::<()>(&["CONFIG", "SET", "maxmemory-policy", "volatile-lru"]);
    let report = Report::of(&connection).await.unwrap();
    assert!(report.to_string().contains("WARNING: maxmemory-policy is volatile-lru now"));
}

#[tokio::test]
async fn a_layout_of_a_newer_version_is_refused_and_one_under_another_prefix_is_not() {
    let server = RedisServer::start();
    checks::open(&server.settings()).await.unwrap();
    checks::open(&server.settings()).await.expect("a second one finds the same layout");
    assert_eq!(server.command::<String>(&["GET", "{cuelight}:layout"]), "1");
    for found in ["2", "nonsense"] {
        server.command::<()>(&["SET", "{cuelight}:layout", found]);
        let error = refused(&server.settings()).await.to_string();
        assert!(error.contains(&format!("has layout {found} under the prefix")), "{error}");
        assert_eq!(server.command::<String>(&["GET", "{cuelight}:layout"]), found);
    }
    let mut settings = server.settings();
    settings.prefix = "test-another".to_owned();
    checks::open(&settings).await.unwrap();
}

#[tokio::test]
async fn the_persistence_in_force_is_told() {
    let always = RedisServer::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let (connection, report) = checks::open(&as_default(&always)).await.unwrap();
    assert_eq!((report.synced, report.warning()), (Synced::Always, None));
    always.command::<()>(&["CONFIG", "SET", "appendfsync", "everysec"]);
    let now = Report::of(&connection).await.unwrap();
    assert_eq!(now.synced, Synced::EverySecond);
    assert!(now.to_string().contains("can lose the last 2 s"), "{now}");

    // The documented user may not see how often it is synced.
    let (_connection, report) = checks::open(&always.settings()).await.unwrap();
    assert_eq!((report.synced, report.warning()), (Synced::Unknown, None));

    let memory = RedisServer::start();
    let (_connection, report) = checks::open(&as_default(&memory)).await.unwrap();
    assert_eq!(report.synced, Synced::Never);
    assert!(report.warning().unwrap().contains("neither an append-only file nor a replica"));
}

#[tokio::test]
async fn nobody_there_is_told_with_the_address_and_without_the_password() {
    let settings = RedisSettings::parse("redis://u:hunter2@127.0.0.1:1/2").unwrap();
    let error = refused(&settings).await.to_string();
    assert!(error.starts_with("cannot use redis://127.0.0.1:1/2: "), "{error}");
    assert!(error.contains("refused") && !error.contains("hunter2"), "{error}");
}
