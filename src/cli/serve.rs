//! `cuelight serve`: sets up the log and hands over to the app.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;

use super::{DONE, USAGE, gaps};
use crate::app;
use crate::config::Loaded;
use crate::telemetry;

/// How long work may go on that cannot be cancelled, such as reading a large file, when all else
/// has ended.
const BLOCKED_MAX: Duration = Duration::from_secs(5);

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
    for gap in gaps(&config) {
        tracing::warn!("{gap}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime did not start")?;
    let served = runtime.block_on(app::serve(config));
    // Whoever was to have its outcome is gone.
    runtime.shutdown_timeout(BLOCKED_MAX);
    served?;
    Ok(DONE)
}
