//! The only place that builds things and orders start and stop.

use anyhow::bail;

use crate::config::Config;

/// Serves until the process is told to stop.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    bail!("serving {} providers is not wired up", config.providers.len())
}
