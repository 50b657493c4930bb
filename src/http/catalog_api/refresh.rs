//! `POST /refresh`: reads the repository of an entity again.

use axum::extract::{Request, State};
use axum::http::StatusCode;

use crate::catalog::View;
use crate::catalog::view::ViewEntity;
use crate::engine::queue::{Push, PushKey};
use crate::http::answer::ApiError;
use crate::http::params::{Params, json_body, only_text, text};
use crate::http::state::{InternalState, Shared};
use crate::ids::{FullName, Host, RepoId};
use crate::work::{Hint, Lane, Reasons, RepoKey, WorkKey};

/// Pushes the key of the repository that declares an entity, as if an event had named it.
pub(super) async fn refresh(
    State(state): State<Shared>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    Params::parse(&request, &[])?;
    let body = json_body(request).await?;
    // Older clients send their token also here; who asks is known already.
    text(&body, "authorizationToken")?;
    let entity_ref = only_text(&body, "entityRef", &["authorizationToken"])?.to_lowercase();
    let view = state.complete_view()?;
    let entity = view
        .entity(&entity_ref)
        .ok_or_else(|| ApiError::not_found(format!("Entity {entity_ref} not found")))?;
    let key = push_key(&state, &view, entity)
        .ok_or_else(|| ApiError::internal(format!("{entity_ref} has no repository to read")))?;
    state.queue.push(Push { delivery: None, keys: vec![key] }).await?;
    Ok(StatusCode::OK)
}

fn push_key(state: &InternalState, view: &View, entity: &ViewEntity) -> Option<PushKey> {
    let id = entity.repository();
    let repository = view.repository(id)?;
    let mut hint = Hint::new(Reasons::REFRESH, state.clock.now());
    hint.name = FullName::parse(&repository.full_name).ok();
    Some(PushKey {
        key: WorkKey::Repo(RepoKey { host: Host::parse(&id.host).ok()?, id: RepoId(id.id) }),
        account: repository.account.parse().ok()?,
        lane: Lane::Event,
        hint,
    })
}
