//! The integration tests: one binary, one module a subject.

mod api;
mod support;
mod view;
