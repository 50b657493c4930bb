//! One server: logins, TLS, death, silence, and calls that block.

use std::time::{Duration, Instant};

use cuelight::config::RedisSettings;
use cuelight::engine::EngineError;
use cuelight::engine::redis::connection::Connection;
use redis::{Cmd, Script};

use crate::support::redis::RedisServer;

/// In which a call has to end while Redis is away: who delivers a webhook waits for it.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// In which everything goes on after Redis is back.
const BACK_WITHIN: Duration = Duration::from_secs(2);

const CA: &str = include_str!("../../../fixtures/redis-tls/ca.pem");

pub(super) fn ping() -> Cmd {
    redis::cmd("PING")
}

pub(super) async fn answers(connection: &Connection) -> bool {
    connection.command::<String>(&ping()).await.is_ok()
}

async fn open(url: &str) -> Result<Connection, EngineError> {
    Connection::open(&RedisSettings::parse(url).unwrap()).await
}

/// Asks until there is an answer; a call without one rests by itself.
pub(super) async fn wait_for_answer(connection: &Connection) -> Duration {
    let started = Instant::now();
    while !answers(connection).await {
        assert!(started.elapsed() < Duration::from_secs(20), "it does not come back");
    }
    started.elapsed()
}

async fn reason(connection: &Connection) -> String {
    let started = Instant::now();
    let error = connection.command::<String>(&ping()).await.unwrap_err();
    assert!(started.elapsed() < TOLD_WITHIN, "{:?}", started.elapsed());
    assert!(matches!(error, EngineError::Unavailable(_)), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn a_server_is_reached_by_socket_and_port_under_a_user_and_in_a_database() {
    let server = RedisServer::on_a_port(&[]);
    let rule = ["ACL", "SETUSER", "cue", "on", ">p@ss/word", "+@all", "~*"];
    server.command::<()>(&rule);
    let port = server.port;
    let socket = server.socket().display().to_string();
    for url in [
        format!("redis://127.0.0.1:{port}"),
        format!("redis://cue:p%40ss%2Fword@127.0.0.1:{port}/3"),
        server.url(),
        format!("redis+unix://{socket}?db=3"),
        format!("unix://cue:p%40ss%2Fword@{socket}?db=3"),
    ] {
        let connection = open(&url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
        let mut who = redis::cmd("ACL");
        who.arg("WHOAMI");
        let user = if url.contains("cue:") { "cue" } else { "default" };
        assert_eq!(connection.command::<String>(&who).await.unwrap(), user, "{url}");
        let mut info = redis::cmd("CLIENT");
        info.arg("INFO");
        let info: String = connection.command(&info).await.unwrap();
        let is_third = url.ends_with("/3") || url.ends_with("=3");
        let database = if is_third { " db=3 " } else { " db=0 " };
        assert!(info.contains(database), "{url}: {info}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_at_once_and_not_shown() {
    let server = RedisServer::with(&["--requirepass", "right"]);
    let url = format!("unix://:hunter2@{}", server.socket().display());
    let started = Instant::now();
    let error = open(&url).await.unwrap_err().to_string();
    assert!(started.elapsed() < TOLD_WITHIN, "{:?}", started.elapsed());
    assert!(error.contains("redis.sock"), "{error}");
    assert!(error.contains("Password authentication failed"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    let none = open(&server.url()).await.unwrap_err().to_string();
    assert!(none.contains("NOAUTH"), "{none}");
}

#[tokio::test]
async fn tls_believes_the_named_certificates_and_nobody_elses() {
    let server = RedisServer::with_tls();
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("rediss://{host}:{}", server.port);
        let mut settings = RedisSettings::parse(&url).unwrap();
        settings.tls.as_mut().unwrap().ca = Some(CA.to_owned());
        let connection = Connection::open(&settings).await.unwrap();
        assert!(answers(&connection).await);
    }
    let error = open(&format!("rediss://localhost:{}", server.port)).await.unwrap_err().to_string();
    assert!(error.contains("UnknownIssuer"), "{error}");
}

#[tokio::test]
async fn a_server_that_dies_is_told_within_a_second_and_found_again_within_two() {
    let mut server = RedisServer::on_a_port(&[]);
    for url in [server.url(), format!("redis://127.0.0.1:{}", server.port)] {
        let connection = open(&url).await.unwrap();
        assert!(answers(&connection).await);
        server.kill();
        for _ in 0..5 {
            let why = reason(&connection).await;
            assert!(why.contains("redis at "), "{why}");
        }
        server.start_again();
        let back = wait_for_answer(&connection).await;
        assert!(back < BACK_WITHIN, "{back:?}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_told_within_a_second_and_used_again_within_two() {
    let server = RedisServer::start();
    let connection = open(&server.url()).await.unwrap();
    server.hang();
    for _ in 0..3 {
        let why = reason(&connection).await;
        assert!(why.contains("did not answer within") || why.contains("does not answer"), "{why}");
    }
    server.go_on();
    let back = wait_for_answer(&connection).await;
    assert!(back < BACK_WITHIN, "{back:?}");
}

#[tokio::test]
async fn a_script_that_the_server_forgot_is_sent_again() {
    let server = RedisServer::start();
    let connection = open(&server.url()).await.unwrap();
    let script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    let mut call = script.key("{cuelight}:n");
    let call = call.arg(2);
    assert_eq!(connection.run::<i64>(call).await.unwrap(), 2);
    server.command::<()>(&["SCRIPT", "FLUSH"]);
    assert_eq!(connection.run::<i64>(call).await.unwrap(), 4);
    let of_another_type = Script::new("return redis.call('LPOP', KEYS[1])");
    let error = connection.run::<i64>(&of_another_type.key("{cuelight}:n")).await.unwrap_err();
    assert!(matches!(error, EngineError::Corrupt(_)), "{error:?}");
}

#[tokio::test]
async fn a_replica_is_refused() {
    let master = RedisServer::on_a_port(&[]);
    let port = master.port.to_string();
    let replica = RedisServer::with(&["--replicaof", "127.0.0.1", &port]);
    let error = open(&replica.url()).await.unwrap_err().to_string();
    assert!(error.contains("is a replica and takes no writes"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_demoted_is_left_and_used_again_when_it_is_promoted() {
    let server = RedisServer::start();
    let connection = open(&server.url()).await.unwrap();
    let mut set = redis::cmd("SET");
    set.arg("{cuelight}:x").arg(1);
    connection.command::<()>(&set).await.unwrap();
    server.command::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    let error = connection.command::<()>(&set).await.unwrap_err().to_string();
    assert!(error.contains("READONLY"), "{error}");
    // It is left as soon as the keeper has heard of it.
    let started = Instant::now();
    while answers(&connection).await {
        assert!(started.elapsed() < TOLD_WITHIN);
    }
    let why = reason(&connection).await;
    assert!(why.contains("is a replica"), "{why}");
    server.command::<()>(&["REPLICAOF", "NO", "ONE"]);
    assert!(wait_for_answer(&connection).await < BACK_WITHIN);
    connection.command::<()>(&set).await.unwrap();
}

#[tokio::test]
async fn a_call_that_blocks_holds_up_nobody_and_ends_with_the_connection() {
    let mut server = RedisServer::start();
    let connection = open(&server.url()).await.unwrap();
    let mut pop = redis::cmd("BZPOPMIN");
    pop.arg("{cuelight}:wake").arg(60);
    let within = Duration::from_secs(60);
    let mut add = redis::cmd("ZADD");
    add.arg("{cuelight}:wake").arg(1).arg("x");

    let mut blocking = connection.blocking().await.unwrap();
    let popped = blocking.command::<(String, String, f64)>(&pop, within);
    let (popped, ()) = tokio::join!(popped, async {
        assert!(answers(&connection).await);
        connection.command::<()>(&add).await.unwrap();
    });
    assert_eq!(popped.unwrap().1, "x");

    let popped = blocking.command::<(String, String, f64)>(&pop, within);
    let (popped, ()) = tokio::join!(popped, async {
        server.kill();
        reason(&connection).await;
    });
    assert!(matches!(popped, Err(EngineError::Unavailable(_))), "{popped:?}");
    assert!(connection.blocking().await.is_err());
}

#[tokio::test]
async fn after_a_close_calls_are_refused() {
    let server = RedisServer::start();
    let connection = open(&server.url()).await.unwrap();
    connection.close().await;
    let why = reason(&connection).await;
    assert!(why.contains("closed"), "{why}");
}
