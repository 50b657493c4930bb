//! `cuelight serve`: sets up the log and hands over to the app.

use std::io::Write;

use anyhow::Context;

use super::{DONE, USAGE};
use crate::app;
use crate::config::{Config, Loaded};
use crate::telemetry;

/// Serves until told to stop.
pub fn run(loaded: Loaded, err: &mut dyn Write) -> anyhow::Result<u8> {
    let Loaded { config, warnings } = loaded;
    let directives = std::env::var("RUST_LOG").ok();
    let log = config.log;
    if let Err(why) = telemetry::init_logging(log.level, log.format, directives.as_deref()) {
        writeln!(err, "cuelight: {why}")?;
        return Ok(USAGE);
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    warn_of_gaps(&config);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime did not start")?;
    runtime.block_on(app::serve(config))?;
    Ok(DONE)
}

/// What is no mistake, and yet hardly what somebody wants.
fn warn_of_gaps(config: &Config) {
    if config.providers.is_empty() {
        tracing::warn!(
            "no provider is configured, so the catalog stays empty: give --org ORG or \
             catalog.providers.github"
        );
    }
    let bare = config.integrations.iter().filter(|i| i.token.is_none() && i.apps.is_empty());
    for integration in bare {
        let host = &integration.host;
        if config.providers.iter().any(|provider| provider.host == *host) {
            tracing::warn!(
                "there is no token for {host}, and GitHub answers few questions without one: set \
                 GITHUB_TOKEN (for github.com) or `token` in integrations.github"
            );
        }
    }
}
