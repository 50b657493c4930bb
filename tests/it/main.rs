//! All integration tests, as modules of one binary: it links once.

mod architecture;
mod cli;
mod config;
