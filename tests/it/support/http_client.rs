//! A client that can send anything, also what no HTTP library would: bytes out, answers in.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// No answer within this time fails a test.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// An answer as it came over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case, in the order they came.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }
}

/// One connection.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub fn open(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("the server listens");
        stream.set_read_timeout(Some(READ_TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(READ_TIMEOUT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Sends `bytes`; whether the peer still takes them is no matter.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_mut().write_all(bytes);
    }

    /// Sends `bytes`; false once the peer takes no more.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.get_mut().write_all(bytes).is_ok()
    }

    /// Waits for at most `pause` for the server to end the connection; whether it did.
    pub fn ended_within(&mut self, pause: Duration) -> bool {
        self.stream.get_mut().set_read_timeout(Some(pause)).unwrap();
        let read = self.stream.get_mut().read(&mut [0]);
        self.stream.get_mut().set_read_timeout(Some(READ_TIMEOUT)).unwrap();
        match read {
            Ok(0) => true,
            Ok(_) => panic!("the server answered"),
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }

    /// From now on sending what the peer does not take at once fails instead of waiting.
    pub fn be_slow(&mut self) {
        self.stream.get_mut().set_nonblocking(true).unwrap();
    }

    /// Reads one answer.
    pub fn answer(&mut self) -> Answer {
        let mut status = String::new();
        self.stream.read_line(&mut status).expect("an answer in time");
        let code = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = code.unwrap_or_else(|| panic!("not a status line: {status:?}"));
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("headers in time");
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.push((name.to_lowercase(), value.to_owned()));
        }
        let answer = Answer { status, headers, body: String::new() };
        let length = answer.header("content-length").map_or(0, |text| text.parse().unwrap());
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).expect("the body in time");
        Answer { body: String::from_utf8(body).expect("UTF-8"), ..answer }
    }

    /// Waits until the server ends the connection; returns what came before.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the server did not close: {error}"),
        }
        rest
    }
}

/// Sends one request on a connection of its own.
pub fn exchange(addr: SocketAddr, request: &[u8]) -> Answer {
    let mut connection = Connection::open(addr);
    connection.send(request);
    connection.answer()
}
