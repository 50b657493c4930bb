//! `POST /analyze-location`: what the catalog knows of a repository, and what a first catalog file
//! of it could say. Nothing is read from GitHub for it.

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Value, json};
use url::Url;

use crate::catalog::View;
use crate::catalog::schema::ANALYSIS;
use crate::http::answer::{ApiError, tagged};
use crate::http::catalog_api::ask;
use crate::http::params::{Params, json_body, text, text_at};
use crate::http::state::Shared;

pub(super) async fn analyze(
    State(state): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    Params::parse(&request, &[])?;
    let body = json_body(request).await?;
    // The name of a file is checked and not needed: the catalog knows all files there are.
    text(&body, "catalogFileName")?;
    let location = match body.get("location") {
        Some(Value::Object(location)) => location,
        Some(_) => return Err(ApiError::input("request/body/location must be object")),
        None => {
            let message = "request/body must have required property 'location'";
            return Err(ApiError::input(message));
        }
    };
    for name in ["type", "target"] {
        if text_at(location, name, "/location")?.is_none() {
            let message = format!("request/body/location must have required property '{name}'");
            return Err(ApiError::input(message));
        }
    }
    if location.keys().any(|key| !["type", "target"].contains(&key.as_str())) {
        let message = "request/body/location must NOT have additional properties";
        return Err(ApiError::input(message));
    }
    let target = text_at(location, "target", "/location")?.unwrap_or_default();
    if let Some(objections) = ANALYSIS.objections_as_json(&Value::Object(body)) {
        return Err(ApiError::input(format!("Malformed request: {objections}")));
    }
    let url = Url::parse(&target)
        .ok()
        .filter(|url| url.has_host())
        .ok_or_else(|| ApiError::input("The given location.target is not a URL"))?;
    ask(&state, move |view| tagged(analysis(view, &url).to_string().into_bytes())).await
}

fn analysis(view: &View, url: &Url) -> Value {
    let host = url.host_str().unwrap_or_default();
    let mut segments = url.path_segments().into_iter().flatten().filter(|part| !part.is_empty());
    let (owner, name) = (segments.next(), segments.next());
    let name = name.map(|name| name.strip_suffix(".git").unwrap_or(name));
    let full_name = owner.zip(name).map(|(owner, name)| format!("{owner}/{name}"));
    let known =
        full_name.as_ref().and_then(|full_name| view.repository_named(Some(host), full_name));
    let files = known.map(|repository| view.files_of(repository)).unwrap_or_default();
    let existing: Vec<Value> = files
        .into_iter()
        .flat_map(|location| {
            let target = view.json(location)["spec"]["target"].take();
            view.entities_of_file(location).into_iter().map(move |entity| {
                json!({
                    "isRegistered": true,
                    "location": { "type": "url", "target": target },
                    "entity": view.json(entity),
                })
            })
        })
        .collect();
    let mut generated = Vec::new();
    if let Some(name) = name.or(owner).filter(|_| existing.is_empty()) {
        let mut entity = json!({
            "apiVersion": "backstage.io/v1alpha1",
            "kind": "Component",
            "metadata": { "name": name },
            "spec": { "type": "other", "lifecycle": "unknown" },
        });
        let is_github = host == "github.com" || view.repositories().any(|r| &*r.id.host == host);
        if let Some(full_name) = full_name.filter(|_| is_github) {
            entity["metadata"]["annotations"] = json!({ "github.com/project-slug": full_name });
        }
        generated.push(json!({ "entity": entity, "fields": [] }));
    }
    json!({ "existingEntityFiles": existing, "generateEntities": generated })
}
