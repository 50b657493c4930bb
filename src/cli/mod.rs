//! The command line: what can be typed, and one file a command.
//!
//! Exit codes: 0 done, 1 failed, 2 usage or configuration. Results go to standard output, all
//! else to standard error, a line each that begins with `cuelight:`.

mod client;
mod explain;
mod healthcheck;
mod queue;
mod scan;
mod serve;
mod table;
pub mod validate;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigErrors, LoadArgs, Loaded, Rules};
use crate::ids::FullName;
use crate::telemetry;

/// Done.
pub const DONE: u8 = 0;
/// Failed: the thing asked for did not work out.
pub const FAILED: u8 = 1;
/// Not even tried: the command line or the configuration is wrong.
pub const USAGE: u8 = 2;

/// Keeps a Backstage-style software catalog true to GitHub.
#[derive(Debug, Parser)]
#[command(name = "cuelight", version, about, max_term_width = 100)]
#[command(after_help = "Documentation of every setting: docs/configuration.md")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Receive webhooks, scan, and serve the catalog, until stopped.
    Serve {
        #[command(flatten)]
        config: ConfigFiles,
        /// Keep the catalog of this organisation or user (adds the provider `default`).
        #[arg(long, value_name = "ORG")]
        org: Option<String>,
    },
    /// Check catalog files; prints problems like a compiler and exits 1 when there are any.
    Validate {
        /// Files, or folders in which every catalog-info.yaml and .yml is checked.
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        #[command(flatten)]
        config: ConfigFiles,
    },
    /// Ask the running server whether it lives; exits 0 or 1.
    Healthcheck {
        #[command(flatten)]
        config: ConfigFiles,
    },
    /// Scan GitHub through the running server, see what a scan would do, approve what is held.
    Scan {
        #[command(flatten)]
        config: ConfigFiles,
        #[command(flatten)]
        what: scan::What,
    },
    /// Tell why a repository is in the catalog or why it is not; asks the running server.
    Explain {
        #[command(flatten)]
        config: ConfigFiles,
        /// The repository.
        #[arg(value_name = "OWNER/REPO", value_parser = FullName::parse)]
        repository: FullName,
    },
    /// Look after keys that were given up.
    Queue {
        #[command(flatten)]
        config: ConfigFiles,
        #[command(subcommand)]
        verb: queue::Verb,
    },
}

/// Where the settings come from.
#[derive(Debug, Clone, Default, Args)]
struct ConfigFiles {
    /// A file of settings; may be given several times, later wins.
    #[arg(long = "config", global = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A Backstage file, read for its integrations and catalog sections.
    #[arg(long = "app-config", global = true, value_name = "FILE")]
    app_configs: Vec<PathBuf>,
}

impl ConfigFiles {
    fn load(self, org: Option<String>) -> Result<Loaded, ConfigErrors> {
        Config::load(&self.args(org), variable)
    }

    fn load_rules(self) -> Result<Rules, ConfigErrors> {
        Config::load_rules(&self.args(None), variable)
    }

    fn args(self, org: Option<String>) -> LoadArgs {
        LoadArgs { app_configs: self.app_configs, files: self.files, org }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Does what the whole process needs once, before anything else: one crypto stack for TLS, and
/// panics that read like errors.
pub fn prepare_process() {
    // An error means that it is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    telemetry::report_panics();
}

/// Runs the command that `args` name and returns the exit code.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let line = match CommandLine::try_parse_from(args) {
        Ok(line) => line,
        Err(answer) => return tell(answer, out, err),
    };
    match line.command {
        Command::Serve { config, org } => with_config(config.load(org), err, serve::run),
        Command::Validate { paths, config } => with_config(config.load_rules(), err, |rules, _| {
            Ok(match validate::run(&paths, &rules.allowed_kinds(), out)? {
                0 => DONE,
                _ => FAILED,
            })
        }),
        Command::Healthcheck { config } => {
            with_config(config.load(None), err, |loaded, _| healthcheck::run(&loaded.config))
        }
        Command::Scan { config, what } => with_config(config.load(None), err, |loaded, err| {
            scan::run(&loaded.config, &what, out, err)
        }),
        Command::Explain { config, repository } => {
            with_config(config.load(None), err, |loaded, _| {
                explain::run(&loaded.config, &repository, out)
            })
        }
        Command::Queue { config, verb } => with_config(config.load(None), err, |loaded, err| {
            queue::run(&loaded.config, verb, out, err)
        }),
    }
}

/// Help and version are answers; everything else is a mistake.
fn tell(answer: clap::Error, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let text = answer.render();
    // Who closed the other end does not want to hear.
    if answer.use_stderr() {
        let _ = write!(err, "{text}");
        USAGE
    } else {
        let _ = write!(out, "{text}");
        DONE
    }
}

fn with_config<T>(
    loaded: Result<T, ConfigErrors>,
    err: &mut dyn Write,
    run: impl FnOnce(T, &mut dyn Write) -> anyhow::Result<u8>,
) -> u8 {
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(errors) => {
            let _ = writeln!(err, "cuelight: the configuration is not usable:\n{errors}");
            return USAGE;
        }
    };
    match run(loaded, err) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(err, "cuelight: {error:#}");
            FAILED
        }
    }
}

/// Runs what a short command has to wait for.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }
}
