//! Several servers: Sentinel and Cluster.

use std::time::Instant;

use cuelight::config::RedisSettings;
use cuelight::engine::redis::connection::Connection;

use super::connection::{answers, wait_for_answer};
use crate::support::redis::{Cluster, PATIENCE, RedisServer, SentinelTrio, until};

async fn open(url: &str) -> Connection {
    Connection::open(&RedisSettings::parse(url).unwrap()).await.unwrap()
}

async fn write(connection: &Connection, value: &str) -> bool {
    let mut set = redis::cmd("SET");
    set.arg("{cuelight}:x").arg(value);
    connection.command::<()>(&set).await.is_ok()
}

async fn written_in_the_end(connection: &Connection, value: &str) {
    let started = Instant::now();
    while !write(connection, value).await {
        assert!(started.elapsed() < PATIENCE, "it takes no writes");
    }
}

#[tokio::test]
async fn sentinels_are_asked_again_when_the_master_dies() {
    let mut trio = SentinelTrio::start().await;
    let connection = open(&trio.url()).await;
    assert!(write(&connection, "before").await);
    until("the replica has it", || {
        trio.replica.command::<Option<String>>(&["GET", "{cuelight}:x"]).is_some()
    })
    .await;
    trio.master.kill();
    written_in_the_end(&connection, "after").await;
    assert_eq!(trio.replica.command::<String>(&["GET", "{cuelight}:x"]), "after");
    // One that hangs answers nothing, and the next one is asked. It may be the one that led the
    // failover, so the others have to have heard of it first.
    until("the sentinels agree", || {
        trio.sentinels.iter().all(|sentinel| {
            let ask = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "cuelight"];
            sentinel.command::<(String, u16)>(&ask).1 == trio.replica.port
        })
    })
    .await;
    trio.sentinels[0].hang();
    let late = open(&trio.url()).await;
    assert!(answers(&late).await);
    trio.sentinels[0].go_on();
}

#[tokio::test]
async fn a_master_that_hung_through_a_failover_is_not_used_again() {
    let trio = SentinelTrio::start().await;
    let connection = open(&trio.url()).await;
    trio.master.hang();
    written_in_the_end(&connection, "after").await;
    assert_eq!(trio.replica.command::<String>(&["GET", "{cuelight}:x"]), "after");
    trio.master.go_on();
    // The Sentinels cut its connections when they demote it.
    until("the old master follows", || {
        let info = trio.master.try_command::<String>(&["INFO", "replication"]);
        info.is_ok_and(|info| info.contains("role:slave"))
    })
    .await;
    assert!(write(&connection, "later").await);

    let unknown = trio.url().replace("/cuelight", "/nobody");
    let unknown = RedisSettings::parse(&unknown).unwrap();
    let error = Connection::open(&unknown).await.unwrap_err().to_string();
    assert!(error.contains("knows no master `nobody`"), "{error}");
    assert_eq!(trio.replica.command::<String>(&["GET", "{cuelight}:x"]), "later");
}

#[tokio::test]
async fn a_master_that_the_sentinels_call_so_no_longer_is_left_though_it_answers() {
    let (old, new) = (RedisServer::on_a_port(&[]), RedisServer::on_a_port(&[]));
    let sentinel = RedisServer::sentinel(old.port);
    let url = format!("redis-sentinel://127.0.0.1:{}/cuelight", sentinel.port);
    let connection = open(&url).await;
    assert!(write(&connection, "old").await);
    sentinel.command::<()>(&["SENTINEL", "REMOVE", "cuelight"]);
    let port = new.port.to_string();
    sentinel.command::<()>(&["SENTINEL", "MONITOR", "cuelight", "127.0.0.1", &port, "1"]);
    let started = Instant::now();
    while new.command::<Option<String>>(&["GET", "{cuelight}:x"]).is_none() {
        write(&connection, "new").await;
        assert!(started.elapsed() < PATIENCE, "it stays with the old master");
    }
}

#[tokio::test]
async fn in_a_cluster_the_owner_of_our_slot_is_found_and_followed() {
    let cluster = Cluster::start().await;
    let connection = open(&cluster.url()).await;
    wait_for_answer(&connection).await;
    assert!(write(&connection, "a").await);
    let slot: i64 = cluster.nodes[0].command(&["CLUSTER", "KEYSLOT", "{cuelight}:x"]);
    let slot = slot.to_string();
    let holds = |at: usize| -> bool {
        cluster.nodes[at].try_command::<Option<String>>(&["GET", "{cuelight}:x"]).is_ok()
    };
    let from = (0..3).find(|at| holds(*at)).unwrap();
    let to = (from + 1) % 3;
    // Another node takes the slot over, as `redis-cli --cluster reshard` does it.
    let ids: Vec<String> = cluster.nodes.iter().map(|n| n.command(&["CLUSTER", "MYID"])).collect();
    cluster.nodes[from].command::<()>(&["DEL", "{cuelight}:x"]);
    cluster.nodes[to].command::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &ids[from]]);
    cluster.nodes[from].command::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &ids[to]]);
    for at in [to, from, (to + 1) % 3] {
        cluster.nodes[at].command::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &ids[to]]);
    }
    written_in_the_end(&connection, "b").await;
    assert!(holds(to) && !holds(from));
}
