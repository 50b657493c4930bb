//! All integration tests, as modules of one binary: it links once.

mod architecture;
mod catalog;
mod cli;
mod config;
