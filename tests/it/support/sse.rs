//! A consumer of server-sent events, and a mirror of the catalog that is made from them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// No event within this time fails a test.
const PATIENCE: Duration = Duration::from_secs(20);

/// The path of the stream.
pub const CHANGES: &str = "/api/cuelight/v1/changes";

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// `event:`, or `comment` for one.
    pub name: String,
    /// `id:`
    pub id: Option<String>,
    /// `data:` as JSON; the text of a comment.
    pub data: Value,
}

/// An open stream.
pub struct Feed {
    /// The answer's status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    body: Incoming,
    text: String,
    /// Bytes that came.
    pub bytes: usize,
}

impl Feed {
    /// Follows the changes that `http://host:port` tells, from an id on.
    pub async fn open(origin: &str, last_event_id: Option<&str>) -> Self {
        let mut request = Request::get(format!("{origin}{CHANGES}"));
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        Self::ask(request.body(Full::default()).expect("a request")).await
    }

    /// Sends a request whose answer is a stream.
    pub async fn ask(request: Request<Full<Bytes>>) -> Self {
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let response = client.request(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        Self { status: parts.status, headers: parts.headers, body, text: String::new(), bytes: 0 }
    }

    /// A header, `""` when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a text"))
    }

    /// The next event or comment; `None` once the server has ended the stream as it should.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let event = parse(block);
                self.text = rest.to_owned();
                match event {
                    Some(event) => return Some(event),
                    None => continue,
                }
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await;
            let Some(frame) = frame.expect("an event in time") else {
                assert_eq!(self.text, "", "the stream ends within an event");
                return None;
            };
            let bytes = frame.expect("the stream is not cut").into_data().expect("no trailers");
            self.bytes += bytes.len();
            // A piece may end within a character only if the server cuts events, which it does not.
            self.text.push_str(std::str::from_utf8(&bytes).expect("UTF-8"));
        }
    }
}

/// One block of a stream; `None` for one that is no event, such as `retry`.
fn parse(block: &str) -> Option<Event> {
    let (mut name, mut id, mut data) = (None, None, None);
    for line in block.lines() {
        match line.split_once(": ") {
            Some(("", comment)) => {
                return Some(Event { name: "comment".into(), id: None, data: comment.into() });
            }
            Some(("event", text)) => name = Some(text.to_owned()),
            Some(("id", text)) => id = Some(text.to_owned()),
            Some(("data", text)) => data = Some(serde_json::from_str(text).expect("JSON")),
            Some(("retry", _)) => {}
            _ => panic!("not a line of a stream: {line:?}"),
        }
    }
    Some(Event { name: name?, id, data: data.expect("data") })
}

/// The catalog as a consumer has it.
#[derive(Default)]
pub struct Mirror {
    /// Entities by ref.
    pub entities: BTreeMap<String, Value>,
    /// The id that came last.
    pub id: Option<String>,
    /// The reasons of all snapshots so far.
    pub snapshots: Vec<String>,
    /// What the snapshot under way has named.
    named: Option<BTreeSet<String>>,
}

impl Mirror {
    /// Follows `feed` to the end of the batch; returns the names of its events with their refs.
    pub async fn follow(&mut self, feed: &mut Feed) -> Vec<(String, String)> {
        let mut seen = Vec::new();
        loop {
            let event = feed.next().await.expect("the stream goes on");
            if let Some(entity_ref) = self.apply(&event) {
                seen.push((event.name.clone(), entity_ref));
            }
            if event.name == "sync" {
                return seen;
            }
        }
    }

    /// Takes over one event; returns the ref that it is about.
    pub fn apply(&mut self, event: &Event) -> Option<String> {
        if let Some(id) = &event.id {
            self.id = Some(id.clone());
        }
        let has_id = ["snapshot", "changes", "sync"].contains(&event.name.as_str());
        assert_eq!(event.id.is_some(), has_id, "{event:?}");
        match event.name.as_str() {
            "snapshot" => {
                let reason = event.data["reason"].as_str().expect("a reason");
                self.snapshots.push(reason.to_owned());
                self.named = Some(BTreeSet::new());
                None
            }
            "upsert" => {
                let entity_ref = ref_of(&event.data);
                self.entities.insert(entity_ref.clone(), event.data.clone());
                self.named.iter_mut().for_each(|named| {
                    named.insert(entity_ref.clone());
                });
                Some(entity_ref)
            }
            "delete" => {
                let entity_ref = event.data["entityRef"].as_str().expect("a ref").to_owned();
                self.entities.remove(&entity_ref);
                Some(entity_ref)
            }
            "sync" => {
                if let Some(named) = self.named.take() {
                    self.entities.retain(|entity_ref, _| named.contains(entity_ref));
                }
                let expected = event.data["entities"].as_u64().expect("a number");
                assert_eq!(self.entities.len() as u64, expected, "{event:?}");
                None
            }
            "changes" | "comment" => None,
            other => panic!("nobody knows the event {other}"),
        }
    }

    /// Forgets what an interrupted snapshot has named, as a consumer that connects again.
    pub fn interrupt(&mut self) {
        self.named = None;
    }

    /// A consumer that holds something, and no id.
    pub fn holding(entities: BTreeMap<String, Value>) -> Self {
        Self { entities, ..Self::default() }
    }

    /// Compares with what `/entities` says.
    pub fn assert_equals(&self, entities: &Value) {
        let served = entities.as_array().expect("a list");
        let served: BTreeMap<String, Value> =
            served.iter().map(|entity| (ref_of(entity), entity.clone())).collect();
        assert_eq!(self.entities, served);
    }
}

fn ref_of(entity: &Value) -> String {
    let text = |value: &Value| value.as_str().expect("a text").to_lowercase();
    let metadata = &entity["metadata"];
    let namespace = metadata["namespace"].as_str().unwrap_or("default").to_lowercase();
    format!("{}:{namespace}/{}", text(&entity["kind"]), text(&metadata["name"]))
}
