//! From the bytes of a webhook to the keys that may have changed: verify, decode, route.
//!
//! Pure: no I/O, no clock, no async. Nobody behind [`route()`] knows GitHub's JSON.

pub mod event;
pub mod route;
pub mod signature;
mod wire;

pub use event::{DecodeError, Event, decode, payload};
pub use route::{Routed, Routing, route};
pub use signature::Secrets;
pub use wire::Text;
