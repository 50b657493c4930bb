//! `GET /entities`: the whole catalog, or pages by offset with a link to the next.

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::LINK;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::catalog::filter::Filter;
use crate::catalog::javascript::from_base64;
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
    let Some(Window { limit, offset }) = window(&params)? else {
        let order = order.into_iter().next().map_or(Order::Uid, Order::Values);
        return ask(&state, move |view| {
            let entities = view.select(filter.as_ref(), &order).entities;
            entity_list(view, entities, fields, "[", "]".to_owned())
        })
        .await;
    };
    let order = if order.is_empty() { Order::Ref } else { Order::Fields(order) };
    let (mut response, has_more) = ask(&state, move |view| {
        let limit = limit.unwrap_or(usize::MAX);
        let set = view.find(filter.as_ref());
        let mut page = view.cut(&set, &order, offset.unwrap_or(0), limit.saturating_add(1));
        let has_more = page.len() > limit;
        page.truncate(limit);
        (entity_list(view, page, fields, "[", "]".to_owned()), has_more)
    })
    .await?;
    if let Some(limit) = limit.filter(|_| has_more) {
        let offset = offset.unwrap_or(0).saturating_add(limit);
        let next = Window { limit: Some(limit), offset: Some(offset) };
        let query = params.with("after", &next.encode(), "offset");
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
    offset: Option<usize>,
}

impl Window {
    fn encode(self) -> String {
        STANDARD
            .encode(serde_json::json!({ "limit": self.limit, "offset": self.offset }).to_string())
    }

    fn decode(text: &str) -> Result<Self, &'static str> {
        let value: Option<Value> = serde_json::from_slice(&from_base64(text)).ok();
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
            limit => Ok(Self { limit, offset }),
        }
    }
}

/// What `limit`, `offset` and `after` ask for; `None` when none of them is given.
fn window(params: &Params) -> Result<Option<Window>, ApiError> {
    let (mut limit, mut offset) = (params.number("limit")?, params.number("offset")?);
    if limit == Some(0) {
        return Err(ApiError::input("Invalid limit, must be greater than zero"));
    }
    let after = params.only("after")?;
    if let Some(after) = after {
        let window = Window::decode(after)
            .map_err(|why| ApiError::input(format!("Malformed after cursor, {why}")))?;
        limit = window.limit.or(limit);
        offset = window.offset.or(offset);
    }
    let is_paged = after.is_some() || limit.is_some() || offset.is_some();
    Ok(is_paged.then_some(Window { limit, offset }))
}
