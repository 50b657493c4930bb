//! The integration tests: one binary, so that they are linked once.

#![expect(clippy::unwrap_used, reason = "in a test a panic is how one fails")]

mod conformance;
mod model;
mod support;
