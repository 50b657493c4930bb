//! What faults do to an answer.

use serde_json::{Value, json};

use crate::faults::Fault;
use crate::server::Reply;
use crate::state::State;

/// GraphQL's rate limit error.
pub(crate) fn rate_limited() -> Value {
    json!({"errors": [{
        "type": "RATE_LIMITED",
        "code": "graphql_rate_limit",
        "message": "API rate limit already exceeded for user ID 7.",
    }]})
}

/// Changes a GraphQL body.
pub(crate) fn spoil(state: &State, fault: &Fault, body: &mut Value) {
    match fault {
        Fault::GraphqlLimited { .. } => *body = rate_limited(),
        Fault::ResourceLimits { keep } => {
            let blank = |list: &mut Value| {
                for node in list.as_array_mut().into_iter().flatten().skip(*keep) {
                    *node = Value::Null;
                }
            };
            let data = &mut body["data"];
            if let Some(nodes) = data.get_mut("nodes") {
                blank(nodes);
            } else if let Some(owner) = data["repositoryOwner"].as_object_mut() {
                owner.values_mut().filter_map(|page| page.get_mut("nodes")).for_each(blank);
            }
            body["errors"] = json!([{
                "type": "RESOURCE_LIMITS_EXCEEDED",
                "message": "Resource limits for this query exceeded.",
            }]);
        }
        Fault::ShortList { keep, total } => {
            let Some(list) = body.pointer_mut("/data/repositoryOwner/repositories") else { return };
            if let Some(nodes) = list["nodes"].as_array_mut() {
                nodes.truncate(*keep);
            }
            list["pageInfo"]["hasNextPage"] = json!(false);
            if let Some(total) = total {
                list["totalCount"] = json!(total);
            }
        }
        Fault::NoData { kind } => {
            for value in body["data"].as_object_mut().into_iter().flat_map(|data| data.values_mut())
            {
                *value = Value::Null;
            }
            body["errors"] = json!([{"type": kind, "message": "Something went wrong."}]);
        }
        Fault::NodeError { repository, field, kind } => {
            let id = state.names.get(&repository.to_lowercase()).copied();
            let mut path = None;
            for (at, node) in repositories(body) {
                if id.is_none() || node["databaseId"].as_u64() != id {
                    continue;
                }
                let below = match field {
                    Some(field) => {
                        node[field.as_str()] = Value::Null;
                        vec![json!(field)]
                    }
                    None => {
                        *node = Value::Null;
                        vec![]
                    }
                };
                path = Some(at.into_iter().chain(below).collect::<Vec<_>>());
            }
            if let Some(path) = path {
                let message = "Something went wrong while executing your query.";
                let error = json!({"type": kind, "path": path, "message": message});
                match body["errors"].as_array_mut() {
                    Some(errors) => errors.push(error),
                    None => body["errors"] = json!([error]),
                }
            }
        }
        _ => {}
    }
}

/// The repositories of an answer with their paths: those of `nodes`, or those that were asked for
/// one by one.
fn repositories(body: &mut Value) -> Vec<(Vec<Value>, &mut Value)> {
    let data = body.get_mut("data").and_then(Value::as_object_mut);
    let mut found = Vec::new();
    for (key, value) in data.into_iter().flatten() {
        if value.is_array() {
            let nodes = value.as_array_mut().into_iter().flatten().enumerate();
            found.extend(nodes.map(|(at, node)| (vec![json!(key), json!(at)], node)));
        } else {
            found.push((vec![json!(key)], value));
        }
    }
    found
}

/// Changes the answer as a whole; `size` is how many nodes were asked for.
pub(crate) fn instead(fault: &Fault, size: usize, reply: &mut Reply) {
    match fault {
        Fault::Status(status) => {
            *reply = Reply::json(*status, &json!({"message": "the fake was told to fail"}));
        }
        Fault::TooHeavy { nodes } if size > *nodes => {
            let message = "We couldn't respond to your request in time. Sorry about that.";
            *reply = Reply::json(502, &json!({"data": null, "errors": [{"message": message}]}));
        }
        Fault::Html(status) => {
            reply.status = *status;
            reply.content_type = "text/html; charset=utf-8";
            reply.body = b"<html><body><h1>Unicorn!</h1></body></html>".to_vec();
        }
        Fault::Limited { status, retry_after, reset } => {
            let message = match reset {
                Some(_) => "API rate limit exceeded for user ID 7.",
                None => "You have exceeded a secondary rate limit. Please wait a few minutes.",
            };
            *reply = Reply::json(*status, &json!({ "message": message }));
            reply.headers.extend(retry_after.map(|it| ("retry-after", it.to_string())));
            reply.headers.extend(reset.map(|it| ("x-ratelimit-reset", it.to_string())));
            reply.headers.extend(reset.map(|_| ("x-ratelimit-remaining", "0".to_owned())));
        }
        Fault::GraphqlLimited { reset } => {
            reply.headers = vec![
                ("x-ratelimit-remaining", "0".to_owned()),
                ("x-ratelimit-reset", reset.to_string()),
            ];
        }
        Fault::HalfList => {
            let mut body: Value = serde_json::from_slice(&reply.body).expect("our own JSON");
            if let Some(all) = body["repositories"].as_array_mut() {
                all.truncate(all.len() / 2);
            }
            reply.body = body.to_string().into_bytes();
        }
        Fault::CutBody => reply.cut = true,
        Fault::HugeBody(bytes) => {
            let end = std::mem::replace(&mut reply.body, vec![b' '; *bytes]);
            reply.body.extend(end);
        }
        Fault::Redirect(to) => {
            *reply = Reply::json(302, &json!({"message": "Found"}));
            reply.headers.push(("location", to.clone()));
        }
        _ => {}
    }
}
