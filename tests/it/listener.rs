//! The listener's bounds seen from a socket: deadlines, sizes, the cap, and the stop.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::routing::get;
use cuelight::http::listener::{CLOSING_TIMEOUT, HEADER_BYTES_MAX, Limits, serve};
use futures_util::stream;
use tokio_util::sync::CancellationToken;

use crate::support::http_client::{Connection, exchange};
use crate::support::receiver::{Delivery, Receiver, Setup};
use crate::support::recording_queue::Mode;

const LIVEZ: &[u8] = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
const SHORT: Duration = Duration::from_millis(300);

/// Far longer than [`SHORT`] and far shorter than any other bound.
const LONG: Duration = Duration::from_secs(8);

fn with_limits(change: impl FnOnce(&mut Limits)) -> Receiver {
    let mut setup = Setup::default();
    change(&mut setup.limits);
    Receiver::start(setup)
}

/// Waits for the end of `connection`; it must come after [`SHORT`], and not long after.
fn ends_in_time(connection: &mut Connection, began: Instant) {
    assert_eq!(connection.read_to_end(), b"");
    let elapsed = began.elapsed();
    assert!((SHORT..LONG).contains(&elapsed), "{elapsed:?}");
}

#[test]
fn headers_that_stop_arriving_end_the_connection() {
    let receiver = with_limits(|limits| limits.header_timeout = SHORT);
    for sent in [&b""[..], b"P", b"POST /webhooks/github HTTP/1.1\r\nHost: x\r\nX-A"] {
        let began = Instant::now();
        let mut connection = Connection::open(receiver.addr);
        connection.send(sent);
        ends_in_time(&mut connection, began);
    }
}

#[test]
fn headers_that_trickle_end_the_connection_too() {
    let receiver = with_limits(|limits| limits.header_timeout = SHORT);
    let began = Instant::now();
    let mut connection = Connection::open(receiver.addr);
    connection.send(b"GET /livez HTTP/1.1\r\nX-A: ");
    while began.elapsed() < LONG && !connection.ended_within(SHORT / 20) {
        connection.send(b"a");
    }
    assert!((SHORT..LONG).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[test]
fn the_second_request_of_a_connection_has_the_same_deadline_for_its_headers() {
    let receiver = with_limits(|limits| limits.header_timeout = SHORT);
    let mut connection = Connection::open(receiver.addr);
    connection.send(LIVEZ);
    assert_eq!(connection.answer().status, 200);
    let began = Instant::now();
    connection.send(b"GET /livez HT");
    ends_in_time(&mut connection, began);
}

#[test]
fn an_idle_connection_outlives_the_header_deadline_but_not_its_own() {
    let receiver = with_limits(|limits| {
        limits.header_timeout = Duration::from_millis(1);
        limits.idle_timeout = SHORT;
    });
    let mut connection = Connection::open(receiver.addr);
    connection.send(LIVEZ);
    assert_eq!(connection.answer().status, 200);
    ends_in_time(&mut connection, Instant::now());
}

#[test]
fn a_body_that_no_handler_gives_up_on_is_cut() {
    let receiver = with_limits(|limits| limits.body_timeout = SHORT);
    let began = Instant::now();
    let mut connection = Connection::open(receiver.addr);
    connection.send(Delivery::push("cut").head().as_bytes());
    ends_in_time(&mut connection, began);
}

#[test]
fn headers_have_a_size_and_a_number() {
    let receiver = Receiver::start(Setup::default());
    let with = |headers: String| {
        let request = format!("GET /livez HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        exchange(receiver.addr, request.as_bytes())
    };
    assert_eq!(with(format!("A: {}\r\n", "a".repeat(HEADER_BYTES_MAX / 2))).status, 200);
    assert_eq!(with(format!("A: {}\r\n", "a".repeat(HEADER_BYTES_MAX))).status, 431);
    assert_eq!(with(format!("A: {}\r\n", "a".repeat(1_000_000))).status, 431);
    assert_eq!(with("A: a\r\n".repeat(90)).status, 200);
    assert_eq!(with("A: a\r\n".repeat(200)).status, 431);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let receiver = Receiver::start(Setup::default());
    let mut connection = Connection::open(receiver.addr);
    let ids: Vec<String> = (0..20).map(|number| format!("pipelined-{number}")).collect();
    let all: Vec<u8> = ids.iter().flat_map(|id| Delivery::push(id).request()).collect();
    connection.send(&all);
    for id in ids {
        assert_eq!(connection.answer().json()["delivery"], id);
    }
}

#[test]
fn over_the_cap_an_idle_connection_makes_room_at_once() {
    let receiver = with_limits(|limits| limits.connections_max = 2);
    let mut idle: Vec<Connection> = (0..2).map(|_| Connection::open(receiver.addr)).collect();
    for connection in &mut idle {
        connection.send(LIVEZ);
        assert_eq!(connection.answer().status, 200);
    }
    assert_eq!(exchange(receiver.addr, LIVEZ).status, 200);
    assert_eq!(idle[0].read_to_end(), b"", "the one idle for longest was shed");
    idle[1].send(LIVEZ);
    assert_eq!(idle[1].answer().status, 200);
}

#[test]
fn over_the_cap_a_delivery_at_work_is_not_cut() {
    let receiver = with_limits(|limits| limits.connections_max = 1);
    receiver.queue.set(Mode::Blocked);
    let mut working = Connection::open(receiver.addr);
    working.send(&Delivery::push("working").request());
    receiver.queue.wait_until_asked(1);
    let mut waiting = Connection::open(receiver.addr);
    waiting.send(&Delivery::push("waiting").request());
    receiver.queue.set(Mode::Working);
    assert_eq!(working.answer().json()["outcome"], "queued");
    assert_eq!(waiting.answer().json()["outcome"], "merged");
}

#[test]
fn a_stop_lets_deliveries_end_and_closes_what_is_idle() {
    let mut receiver = Receiver::start(Setup::default());
    let mut idle = Connection::open(receiver.addr);
    idle.send(LIVEZ);
    assert_eq!(idle.answer().status, 200);
    let mut silent = Connection::open(receiver.addr);
    receiver.queue.set(Mode::Blocked);
    let mut working = Connection::open(receiver.addr);
    working.send(&Delivery::push("in flight").with("X-GitHub-Delivery", "in-flight").request());
    receiver.queue.wait_until_asked(1);
    let began = Instant::now();
    receiver.stop.cancel();
    assert_eq!(idle.read_to_end(), b"");
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
    assert_eq!(silent.read_to_end(), b"");
    receiver.queue.set(Mode::Working);
    assert_eq!(working.answer().json()["outcome"], "queued");
    assert_eq!(working.read_to_end(), b"");
    receiver.join();
    assert!(std::net::TcpStream::connect(receiver.addr).is_err(), "nobody listens any more");
    assert_eq!(receiver.queue.pushes().len(), 1);
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    let mut receiver = with_limits(|limits| limits.shutdown_timeout = SHORT);
    receiver.queue.set(Mode::Blocked);
    let mut working = Connection::open(receiver.addr);
    working.send(&Delivery::push("stuck").request());
    receiver.queue.wait_until_asked(1);
    let began = Instant::now();
    receiver.stop.cancel();
    receiver.join();
    assert!((SHORT..LONG).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert_eq!(working.read_to_end(), b"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_takes_nothing_of_its_answer_is_cut_soon_after_the_stop() {
    // An answer without end, and patience for all but the stop.
    let long = Duration::from_secs(3_600);
    let limits = Limits { idle_timeout: long, shutdown_timeout: long, ..Limits::default() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let part = || stream::repeat(Ok::<_, Infallible>(Bytes::from_static(&[0; 4096])));
    let answer = get(move || async move { Body::from_stream(part()) });
    let app = axum::Router::new().route("/", answer);
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, app, limits, stop.clone()));
    let mut peer = Connection::open(address);
    peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(peer.answer().status, 200);
    let began = Instant::now();
    stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(60), serving).await;
    ended.expect("it waits for a peer that takes nothing").unwrap();
    assert!(began.elapsed() >= CLOSING_TIMEOUT, "a slow peer has a moment: {:?}", began.elapsed());
}
