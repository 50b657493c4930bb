//! `GET /entities`: the whole catalog, or pages by offset with a link to the next.

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::LINK;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::catalog::filter::Filter;
use crate::catalog::query::{Fields, Order, OrderField};
use crate::http::answer::ApiError;
use crate::http::catalog_api::{ask, list as entity_list};
use crate::http::params::Params;
use crate::http::state::Shared;

/// Without `limit`, `offset` and `after`: everything, streamed.
pub(super) async fn list(
    State(state): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    let known = ["filter", "fields", "order", "limit", "offset", "after"];
    let params = Params::parse(&request, &known)?;
    let filter = Filter::parse(&params.all("filter"))?;
    let fields = Fields::parse(&params.all("fields"))?;
    let order: Vec<OrderField> = params
        .all("order")
        .iter()
        .map(|order| OrderField::parse_order(order))
        .collect::<Result<_, _>>()?;
    let Some(window) = window(&params)? else {
        let order = order.into_iter().next().map_or(Order::Uid, Order::Values);
        return ask(&state, move |view| {
            let entities = view.select(filter.as_ref(), &order).entities;
            entity_list(view, entities, fields, "[", "]".to_owned())
        })
        .await;
    };
    let order = if order.is_empty() { Order::Ref } else { Order::Fields(order) };
    let (mut response, has_more) = ask(&state, move |view| {
        let limit = window.limit.unwrap_or(usize::MAX);
        let set = view.find(filter.as_ref());
        let mut page = view.cut(&set, &order, window.offset, limit.saturating_add(1));
        let has_more = page.len() > limit;
        page.truncate(limit);
        (entity_list(view, page, fields, "[", "]".to_owned()), has_more)
    })
    .await?;
    if let Some(limit) = window.limit.filter(|_| has_more) {
        let next = Window { limit: Some(limit), offset: window.offset.saturating_add(limit) };
        let query = params.with(&["offset", "after"], "after", &next.encode());
        let link = format!("</entities?{query}>; rel=\"next\"");
        let value = HeaderValue::from_str(&link)
            .map_err(|_| ApiError::internal("the link to the next page is no header"))?;
        response.headers_mut().insert(LINK, value);
    }
    Ok(response)
}

/// The part of a list that is asked for.
#[derive(Debug, Clone, Copy)]
struct Window {
    limit: Option<usize>,
    offset: usize,
}

impl Window {
    fn encode(self) -> String {
        STANDARD
            .encode(serde_json::json!({ "limit": self.limit, "offset": self.offset }).to_string())
    }

    fn decode(text: &str) -> Result<Self, &'static str> {
        let bytes = STANDARD.decode(text).ok();
        let value: Option<Value> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let members = value.ok_or("could not be parsed")?;
        let number = |name: &str| match members.get(name) {
            None => Ok(None),
            Some(value) => match value.as_i64() {
                None => Err(()),
                Some(number) => usize::try_from(number).map(Some).map_err(|_| ()),
            },
        };
        let limit = number("limit").map_err(|()| "limit was not an number")?;
        let offset = number("offset").map_err(|()| "offset was not a number")?;
        // A page of nothing would link to itself.
        match limit {
            Some(0) => Err("limit was not an number"),
            limit => Ok(Self { limit, offset: offset.unwrap_or(0) }),
        }
    }
}

/// What `limit`, `offset` and `after` ask for; `None` when none of them is given.
fn window(params: &Params) -> Result<Option<Window>, ApiError> {
    let (mut limit, mut offset) = (params.number("limit")?, params.number("offset")?);
    if limit == Some(0) {
        return Err(ApiError::input("Invalid limit, must be greater than zero"));
    }
    if let Some(after) = params.only("after")? {
        let window = Window::decode(after)
            .map_err(|why| ApiError::input(format!("Malformed after cursor, {why}")))?;
        limit = window.limit.or(limit);
        offset = Some(window.offset);
    }
    if limit.is_none() && offset.is_none() {
        return Ok(None);
    }
    Ok(Some(Window { limit, offset: offset.unwrap_or(0) }))
}
