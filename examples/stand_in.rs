//! A stand-in GitHub that holds the repositories of a directory, for whoever wants to try or test
//! cuelight from outside without GitHub.
//!
//! `cargo run --example stand_in -- DIR` takes each `DIR/OWNER/REPOSITORY/…` for a repository,
//! prints the address of its API, and stays up until its input ends. Its only token is `token`.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use fake_github::{FakeGitHub, NewRepository, World};

const TOKEN: &str = "token";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let root = std::env::args().nth(1).context("usage: stand_in DIR")?;
    let github = FakeGitHub::start().await;
    fill(&github.state(), Path::new(&root))?;
    say(&github.url());
    let until_end = || std::io::stdin().read_to_end(&mut Vec::new());
    tokio::task::spawn_blocking(until_end).await?.context("the input cannot be read")?;
    Ok(())
}

fn fill(world: &World, root: &Path) -> anyhow::Result<()> {
    let owners = names(root)?;
    for owner in &owners {
        world.create_organization(owner);
        for name in names(&root.join(owner))? {
            let directory = root.join(owner).join(&name);
            let new = with_files(NewRepository::named(&name), &directory, "")?;
            world.create_repository(owner, new);
        }
    }
    world.add_token(TOKEN, &owners.iter().map(String::as_str).collect::<Vec<_>>());
    Ok(())
}

fn with_files(
    mut repository: NewRepository,
    directory: &Path,
    prefix: &str,
) -> anyhow::Result<NewRepository> {
    for name in names(directory)? {
        let (file, path) = (directory.join(&name), format!("{prefix}{name}"));
        repository = if file.is_dir() {
            with_files(repository, &file, &format!("{path}/"))?
        } else {
            let content = fs::read(&file).with_context(|| format!("cannot read {file:?}"))?;
            repository.file(&path, content)
        };
    }
    Ok(repository)
}

/// What a directory holds, in order.
fn names(directory: &Path) -> anyhow::Result<Vec<String>> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot list {directory:?}"))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[expect(clippy::print_stdout, reason = "the address is what it is asked for")]
fn say(line: &str) {
    println!("{line}");
}
