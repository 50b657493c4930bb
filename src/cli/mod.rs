//! The command line: what can be typed, and one file a command.
//!
//! Exit codes: 0 done, 1 failed, 2 usage or configuration. Results go to standard output, all
//! else to standard error, a line each that begins with `cuelight:`.

mod client;
mod explain;
mod healthcheck;
mod nearby;
mod queue;
mod reach;
mod scan;
mod serve;
mod table;
pub mod validate;

use std::ffi::OsString;
use std::io::{BufRead, Write};
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
        /// How problems are told.
        #[arg(long, value_enum, default_value_t = validate::Format::Text)]
        format: validate::Format,
        /// Files, folders in which every catalog-info.yaml and .yml is checked, or `-` for what
        /// is piped in.
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
    /// Scan GitHub now, see what a scan would do, approve removals that are held.
    #[command(after_help = ALONE)]
    Scan {
        #[command(flatten)]
        config: ConfigFiles,
        /// Scan this organisation or user (as `serve --org` does).
        #[arg(long, value_name = "ORG")]
        org: Option<String>,
        #[command(flatten)]
        what: scan::What,
    },
    /// Tell why a repository is in the catalog or why it is not.
    #[command(after_help = ALONE)]
    Explain {
        #[command(flatten)]
        config: ConfigFiles,
        /// The catalog is that of this organisation or user (as `serve --org` does).
        #[arg(long, value_name = "ORG")]
        org: Option<String>,
        /// How it is told.
        #[arg(long, value_enum, default_value_t = explain::Format::Text)]
        format: explain::Format,
        /// The repository.
        #[arg(value_name = "OWNER/REPO", value_parser = FullName::parse)]
        repository: FullName,
    },
    /// Look after keys that were given up.
    #[command(after_help = ALONE)]
    Queue {
        #[command(flatten)]
        config: ConfigFiles,
        #[command(subcommand)]
        verb: queue::Verb,
    },
}

/// What is said below the help of commands that need no server.
const ALONE: &str = "The running server is asked, at server.internal.listen. When none answers, \
                     the command works on storage.url itself.";

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

/// What a command reads and writes.
pub struct Streams<'a> {
    /// Results.
    pub out: &'a mut dyn Write,
    /// All else.
    pub err: &'a mut dyn Write,
    /// What comes in.
    pub input: Input<'a>,
    /// Whether progress is drawn on the process's standard error: it is a terminal.
    pub is_drawn: bool,
}

/// What comes in, and from whom.
pub enum Input<'a> {
    /// Somebody is there, who can be asked.
    Typed(&'a mut dyn BufRead),
    /// A file or another program, which answers no questions.
    Piped(&'a mut dyn BufRead),
}

/// Runs the command that `args` name and returns the exit code.
pub fn run(args: impl IntoIterator<Item = OsString>, streams: &mut Streams<'_>) -> u8 {
    let line = match CommandLine::try_parse_from(args) {
        Ok(line) => line,
        Err(answer) => return tell(answer, streams.out, streams.err),
    };
    match line.command {
        Command::Serve { config, org } => {
            with_config(config.load(org), streams, |loaded, streams| {
                serve::run(loaded, streams.err)
            })
        }
        Command::Validate { format, paths, config } => {
            with_config(config.load_rules(), streams, |rules, streams| {
                validate(&paths, format, &rules, streams)
            })
        }
        Command::Healthcheck { config } => {
            with_config(config.load(None), streams, |loaded, _| healthcheck::run(&loaded.config))
        }
        Command::Scan { config, org, what } => {
            with_config(config.load(org.clone()), streams, |loaded, streams| {
                scan::run(&loaded.config, org.as_deref(), &what, streams)
            })
        }
        Command::Explain { config, org, format, repository } => {
            with_config(config.load(org), streams, |loaded, streams| {
                explain::run(&loaded.config, &repository, format, streams)
            })
        }
        Command::Queue { config, verb } => {
            with_config(config.load(None), streams, |loaded, streams| {
                queue::run(&loaded.config, verb, streams.out, streams.err)
            })
        }
    }
}

fn validate(
    paths: &[PathBuf],
    format: validate::Format,
    rules: &Rules,
    streams: &mut Streams<'_>,
) -> anyhow::Result<u8> {
    let (Input::Typed(input) | Input::Piped(input)) = &mut streams.input;
    let report = validate::check(paths, &rules.allowed_kinds(), &mut *input);
    let workspace = variable("GITHUB_WORKSPACE").map(PathBuf::from);
    let root = validate::Root::new(std::env::current_dir()?, workspace);
    report.write(format, &root, streams.out)?;
    Ok(if report.problems() == 0 { DONE } else { FAILED })
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
    streams: &mut Streams<'_>,
    run: impl FnOnce(T, &mut Streams<'_>) -> anyhow::Result<u8>,
) -> u8 {
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(errors) => {
            let _ = writeln!(streams.err, "cuelight: the configuration is not usable:\n{errors}");
            return USAGE;
        }
    };
    match run(loaded, streams) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(streams.err, "cuelight: {error:#}");
            FAILED
        }
    }
}

/// What is no mistake in a configuration, and yet hardly what somebody wants.
fn gaps(config: &Config) -> Vec<String> {
    let mut gaps = Vec::new();
    if config.providers.is_empty() {
        let gap = "no provider is configured, so the catalog stays empty: give --org ORG or \
                   catalog.providers.github";
        gaps.push(gap.to_owned());
    }
    let bare = config.integrations.iter().filter(|i| i.token.is_none() && i.apps.is_empty());
    for integration in bare {
        let host = &integration.host;
        if config.providers.iter().any(|provider| provider.host == *host) {
            gaps.push(format!(
                "there is no token for {host}, and GitHub answers few questions without one: set \
                 GITHUB_TOKEN (for github.com) or `token` in integrations.github"
            ));
        }
    }
    gaps
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
