//! `cuelight healthcheck`: what a container platform runs every few seconds.

use anyhow::bail;
use hyper::StatusCode;

use super::client::Client;
use super::{DONE, block_on};
use crate::config::Config;

/// Asks the internal listener of this configuration whether it lives.
pub fn run(config: &Config) -> anyhow::Result<u8> {
    block_on(async {
        let client = Client::new(&config.server)?;
        let answer = client.get("/livez").await?;
        if answer.status != StatusCode::OK {
            bail!("{} answered {} to GET /livez", client.address(), answer.status);
        }
        Ok(DONE)
    })
}
