//! A thousand slow sockets neither fill the memory nor keep good deliveries out.

use std::process::Command;
use std::time::{Duration, Instant};

use cuelight::http::listener::Limits;

use crate::support::http_client::Connection;
use crate::support::receiver::{Delivery, Receiver, Setup};

const TEST: &str = "slow_sockets::a_thousand_slow_sockets_are_bounded_and_keep_nobody_out";

/// Set in the process that does the work.
const ALONE: &str = "CUELIGHT_TEST_ALONE";

const MIB: u64 = 1024 * 1024;
const SLOW: usize = 1000;

/// Both ends of a thousand sockets, and what else is open.
const OPEN_FILES: usize = 4096;

/// What a slow body sends before it slows down; what a thousand of these hold would be seen.
const SLOW_BODY_BYTES: usize = 300_000;

/// 512 connections with 16 KiB of headers and 32 KiB of body are 24 MiB, the budget is 4 MiB;
/// the rest is for tasks, for the good deliveries and for this test itself.
const GROWTH_BYTES_MAX: u64 = 44 * MIB;

/// It measures the memory of its process, so it runs in a process of its own.
#[test]
fn a_thousand_slow_sockets_are_bounded_and_keep_nobody_out() {
    if std::env::var_os(ALONE).is_some() {
        return slow_sockets();
    }
    let script = format!("ulimit -n {OPEN_FILES} && exec \"$0\" --exact {TEST} --nocapture");
    let output = Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn slow_sockets() {
    let limits = Limits { connections_max: 512, ..Limits::default() };
    let mut setup = Setup { limits, ..Setup::default() };
    setup.receive.in_flight_bytes_max = 4 * MIB as usize;
    setup.receive.body_bytes_max = 4 * MIB as usize;
    let receiver = Receiver::start(setup);
    assert_eq!(receiver.deliver(&Delivery::push("warm-up")).status, 202);
    let before = resident_bytes();

    let slow_body = Delivery::new("slow", "push", vec![b' '; 3 * MIB as usize]);
    let mut slow_start = slow_body.head().into_bytes();
    slow_start.resize(slow_start.len() + SLOW_BODY_BYTES, b' ');
    let mut sockets: Vec<Connection> = (0..SLOW)
        .map(|number| {
            let mut connection = Connection::open(receiver.addr);
            connection.be_slow();
            match number % 2 {
                0 => connection.send(b"POST /webhooks/github HTTP/1.1\r\nHost: x\r\nX-A: "),
                _ => connection.send(&slow_start),
            }
            connection
        })
        .collect();

    let mut largest = 0;
    for number in 0..100 {
        for socket in &mut sockets {
            socket.send(b"a");
        }
        let began = Instant::now();
        let answer = receiver.deliver(&Delivery::push(&format!("good-{number}")));
        assert_eq!(answer.status, 202);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        largest = largest.max(resident_bytes());
    }
    let growth = largest.saturating_sub(before);
    assert!(growth <= GROWTH_BYTES_MAX, "grew by {} KiB", growth / 1024);
    assert_eq!(receiver.queue.pushes().len(), 101);
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}
