//! Bodies of every size and speed: what is read, what is refused, and how soon.

use std::time::{Duration, Instant};

use crate::support::http_client::Connection;
use crate::support::receiver::{Delivery, Receiver, Setup, fixture};
use crate::support::recording_queue::Mode;

const MIB: usize = 1024 * 1024;

/// A push payload padded with spaces to exactly `bytes`.
fn padded(id: &str, bytes: usize) -> Delivery {
    let mut body = fixture("push.default-branch.json").into_bytes();
    body.resize(bytes, b' ');
    Delivery::new(id, "push", body)
}

#[test]
fn a_body_of_25_mib_is_read_and_a_byte_more_is_413() {
    let receiver = Receiver::start(Setup::default());
    assert_eq!(receiver.deliver(&padded("declared", 25 * MIB)).status, 202);
    assert_eq!(receiver.deliver(&padded("chunked", 25 * MIB).chunked()).status, 202);
    let large = padded("one more", 25 * MIB + 1);
    for delivery in [large.clone(), large.chunked()] {
        let mut connection = Connection::open(receiver.addr);
        // Most clients send all before they read: the refusal must not reset the connection.
        assert!(connection.try_send(&delivery.request()));
        let answer = connection.answer();
        assert_eq!(answer.status, 413);
        assert_eq!(answer.json()["error"], "the body has more than 26214400 bytes");
    }
    assert_eq!(receiver.counted("too-large"), 2);
    assert_eq!(receiver.queue.pushes().len(), 2);
}

#[test]
fn a_declared_length_over_the_limit_is_refused_before_a_byte_of_it_is_sent() {
    let receiver = Receiver::start(Setup::default());
    let mut connection = Connection::open(receiver.addr);
    let unsigned = "POST /webhooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: 26214401\r\n\r\n";
    connection.send(unsigned.as_bytes());
    assert_eq!(connection.answer().status, 413);
    assert_eq!(connection.read_to_end(), b"");
}

#[test]
fn a_client_that_asks_first_is_told_before_it_sends() {
    let receiver = Receiver::start(Setup::default());
    let large = padded("ask", 25 * MIB + 1).with("Expect", "100-continue");
    let mut connection = Connection::open(receiver.addr);
    connection.send(large.head().as_bytes());
    assert_eq!(connection.answer().status, 413);
    let small = Delivery::push("ask").with("Expect", "100-continue");
    let mut connection = Connection::open(receiver.addr);
    connection.send(small.head().as_bytes());
    assert_eq!(connection.answer().status, 100);
    connection.send(&small.body);
    assert_eq!(connection.answer().status, 202);
}

#[test]
fn every_way_of_cutting_a_body_into_pieces_gives_the_same_answer() {
    let receiver = Receiver::start(Setup::default());
    for (number, piece) in [1, 7, 1000, 5000].into_iter().enumerate() {
        for bytes in [7_500, 40_000] {
            let delivery = padded(&format!("{number}-{bytes}"), bytes);
            let mut connection = Connection::open(receiver.addr);
            for part in delivery.request().chunks(piece) {
                connection.send(part);
            }
            assert_eq!(connection.answer().status, 202, "{bytes} in pieces of {piece}");
        }
    }
}

#[test]
fn a_body_that_stops_arriving_is_408() {
    let mut setup = Setup::default();
    setup.receive.body_timeout = Duration::from_millis(300);
    let receiver = Receiver::start(setup);
    for delivery in [Delivery::push("slow"), Delivery::push("slow").chunked()] {
        let mut connection = Connection::open(receiver.addr);
        let request = delivery.request();
        connection.send(&request[..request.len() - 100]);
        assert_eq!(connection.answer().status, 408);
        connection.send(&request[request.len() - 100..]);
        assert_eq!(connection.read_to_end(), b"", "nothing more is read as a request");
    }
    assert_eq!(receiver.counted("incomplete"), 2);
    assert!(receiver.queue.pushes().is_empty());
}

#[test]
fn large_bodies_share_a_budget_and_small_ones_need_none() {
    let mut setup = Setup::default();
    setup.receive.body_bytes_max = 2 * MIB;
    setup.receive.in_flight_bytes_max = 2 * MIB;
    let receiver = Receiver::start(setup);
    // Declaring much holds nothing: this one has sent a single byte.
    let mut declaring = Connection::open(receiver.addr);
    declaring.send(padded("declaring", 2 * MIB).head().as_bytes());
    declaring.send(b"{");
    assert_eq!(receiver.deliver(&padded("large", 2 * MIB)).status, 202);
    // This one holds all there is, while the queue keeps it waiting.
    receiver.queue.set(Mode::Blocked);
    let mut holding = Connection::open(receiver.addr);
    holding.send(&padded("holding", 2 * MIB).request());
    receiver.queue.wait_until_asked(2);
    let began = Instant::now();
    let refused = receiver.deliver(&padded("refused", 200_000));
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(receiver.counted("overloaded"), 1);
    receiver.queue.set(Mode::Working);
    assert_eq!(receiver.deliver(&padded("small", 20_000)).status, 202);
    assert_eq!(holding.answer().status, 202);
    assert_eq!(receiver.deliver(&padded("next", 2 * MIB)).status, 202);
}
