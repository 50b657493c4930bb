//! What the catalog has to be, worked out from the fake's state alone, and how it differs.
//!
//! Where histories may differ the truth is a set: an invalid file leaves whatever it declared
//! before, and of several claims on a ref any may have come first.

use std::collections::{BTreeMap, BTreeSet};

use cuelight::engine::record::RepoRecord;
use fake_github::{Content, Heads, Repository};
use serde_json::Value;

use super::organisations::{DOCS, Organisations, RELEASE};
use super::texts::Doc;
use crate::support::stage::{FILE, Stage};

/// How much is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// All entities. What has none may still be known under its last name.
    Entities,
    /// Also all that a listing shows.
    Listed,
    /// Also the heads, which a scan looks at only where a file differs.
    Everything,
}

/// The branch (`None`: the default one) and path of each file that a repository is read for.
fn wanted(login: &str, found: &Repository) -> Vec<(Option<&'static str>, &'static str)> {
    let has = |topic: &str| found.topics.iter().any(|t| t == topic);
    let mut wanted = Vec::new();
    if login == "acme" && !found.archived && !has("legacy") {
        wanted.push((None, FILE));
    }
    if login == "acme" && !found.archived && has("released") {
        wanted.push((Some(RELEASE), DOCS));
    }
    if login == "globex" && !found.fork && found.visibility != "private" {
        wanted.push((None, FILE));
    }
    wanted
}

/// A repository that the configuration asks for.
struct Expected {
    full_name: String,
    repository: Repository,
    /// Configured branch (`""` for the default one), path, blob.
    files: BTreeSet<(String, String, String)>,
}

/// A component that a valid document declares.
#[derive(Debug, PartialEq, Eq)]
struct Claim {
    version: u64,
    full_name: String,
    path: String,
    branch: String,
}

/// What may stand for a name.
#[derive(Debug, Default)]
struct Claims {
    /// Declared now.
    must: Vec<Claim>,
    /// Declared once by a file that is invalid now.
    may: BTreeSet<u64>,
}

/// Every difference between the catalog and the truth, in words.
pub async fn differences(stage: &Stage, all: &Organisations, compared: Compared) -> Vec<String> {
    let expected = expected(all);
    let records = stage.app.worker.store.records(None, 10_000).await.expect("the storage works");
    let records: BTreeMap<u64, RepoRecord> =
        records.into_iter().map(|record| (record.key.id.0, record)).collect();
    let mut wrong = Vec::new();
    for (id, record) in &records {
        let is_told = compared != Compared::Entities || record.holds_entities();
        if !expected.contains_key(id) && is_told {
            wrong.push(format!("{} ({id}) is in the catalog", record.full_name));
        }
    }
    for (id, expected) in &expected {
        match records.get(id) {
            Some(record) => compare(expected, record, compared, &mut wrong),
            None if expected.files.is_empty() => {}
            None => wrong.push(format!("{} ({id}) is not in the catalog", expected.full_name)),
        }
    }
    let claims = claims(all, &expected);
    compare_view(stage, &claims, &mut wrong).await;
    wrong
}

fn expected(all: &Organisations) -> BTreeMap<u64, Expected> {
    let mut expected = BTreeMap::new();
    for full_name in all.names() {
        let repository = all.world.repository(&full_name);
        let (login, _) = full_name.split_once('/').expect("a full name");
        let wanted = wanted(login, &repository);
        if wanted.is_empty() {
            continue;
        }
        let heads = &repository.content.heads;
        let file = |(branch, path): &(Option<&str>, &str)| {
            let revision = branch.map_or("HEAD".to_owned(), |b| format!("refs/heads/{b}"));
            let blob = repository.file(heads, &revision, path)?;
            Some((branch.unwrap_or_default().to_owned(), (*path).to_owned(), blob.oid.to_string()))
        };
        let files = wanted.iter().filter_map(file).collect();
        expected.insert(repository.id, Expected { full_name, repository, files });
    }
    expected
}

fn default_head<'a>(repository: &'a Repository, heads: &'a Heads) -> Option<&'a str> {
    heads.branches.get(&repository.default_branch).map(|oid| &**oid)
}

fn compare(expected: &Expected, record: &RepoRecord, compared: Compared, wrong: &mut Vec<String>) {
    let Expected { full_name, repository, files } = expected;
    let Content { heads, .. } = &repository.content;
    let mut differs = |what: &str, expected: String, found: String| {
        if expected != found {
            wrong.push(format!("{full_name}: {what} is {found}, not {expected}"));
        }
    };
    differs("its name", full_name.clone(), record.full_name.to_string());
    differs("its account", repository.owner.to_string(), record.account.owner.to_string());
    let found = record.files.iter();
    let found: BTreeSet<_> =
        found.map(|f| (f.branch.clone(), f.path.clone(), f.oid.to_string())).collect();
    differs("the set of its files", format!("{files:?}"), format!("{found:?}"));
    let head = default_head(repository, heads);
    let mut topics = repository.topics.clone();
    topics.sort();
    let expected = (
        repository.visibility.as_str(),
        repository.archived,
        repository.fork,
        head.map(|_| repository.default_branch.as_str()),
        topics,
    );
    let listed = &record.listed;
    let found = (
        listed.visibility.as_str(),
        listed.archived,
        listed.fork,
        listed.default_branch.as_deref(),
        listed.topics.clone(),
    );
    differs("what lists show", format!("{expected:?}"), format!("{found:?}"));
    if compared == Compared::Everything {
        let found = record.checked_head.as_ref().map(ToString::to_string);
        differs("its head", format!("{head:?}"), format!("{:?}", found.as_deref()));
    }
}

fn claims(all: &Organisations, expected: &BTreeMap<u64, Expected>) -> BTreeMap<String, Claims> {
    let mut claims: BTreeMap<String, Claims> = BTreeMap::new();
    for (id, Expected { full_name, repository, files }) in expected {
        for (branch, path, oid) in files {
            let docs = all.texts.docs(oid);
            let branch = if branch.is_empty() { &repository.default_branch } else { branch };
            let stays = |name: &str| {
                docs.iter().any(|doc| match doc {
                    Doc::Broken => true,
                    Doc::Bad { name: bad } => bad == name,
                    Doc::Good { .. } => false,
                })
            };
            for (name, version) in all.ever.get(id).into_iter().flatten() {
                if stays(name) {
                    claims.entry(name.clone()).or_default().may.insert(*version);
                }
            }
            for doc in docs {
                let Doc::Good { name, version } = doc else { continue };
                claims.entry(name.clone()).or_default().must.push(Claim {
                    version: *version,
                    full_name: full_name.clone(),
                    path: path.clone(),
                    branch: branch.clone(),
                });
            }
        }
    }
    claims
}

async fn compare_view(stage: &Stage, claims: &BTreeMap<String, Claims>, wrong: &mut Vec<String>) {
    let (_, entities) = stage.get("/api/catalog/entities?filter=kind=component").await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut served = BTreeMap::new();
    for entity in entities.as_array().expect("a list") {
        let location = text(&entity["metadata"]["annotations"]["backstage.io/managed-by-location"]);
        let version = text(&entity["spec"]["type"])[1..].parse::<u64>().expect("`v` and a number");
        served.insert(text(&entity["metadata"]["name"]), (version, location));
    }
    let mut conflicts = BTreeSet::new();
    let (_, problems) = stage.get("/api/cuelight/v1/problems?limit=1000").await;
    for problem in problems["items"].as_array().expect("a list") {
        if problem["code"] == "conflict" {
            let name = text(&problem["entityRef"]).replace("component:default/", "");
            conflicts.insert((name, text(&problem["repository"]), text(&problem["path"])));
        }
    }
    let names: BTreeSet<&String> = served.keys().chain(claims.keys()).collect();
    let none = Claims::default();
    for name in names {
        let claims = claims.get(name).unwrap_or(&none);
        compare_name(name, claims, served.get(name), &conflicts, wrong);
    }
}

fn compare_name(
    name: &str,
    claims: &Claims,
    served: Option<&(u64, String)>,
    conflicts: &BTreeSet<(String, String, String)>,
    wrong: &mut Vec<String>,
) {
    let is_at = |claim: &Claim, location: &str| {
        let Claim { full_name, path, branch, .. } = claim;
        ["blob", "tree"].iter().any(|verb| {
            location == format!("url:https://github.com/{full_name}/{verb}/{branch}/{path}")
        })
    };
    let Some((version, location)) = served else {
        if let Some(claim) = claims.must.first() {
            wrong.push(format!("{name} is not served, {} declares it", claim.full_name));
        }
        return;
    };
    let same = |claim: &&Claim| claim.version == *version && is_at(claim, location);
    let winner = claims.must.iter().find(same);
    if winner.is_none() && !claims.may.contains(version) {
        wrong.push(format!("{name} is served as v{version} of {location}, not of {claims:?}"));
    }
    for claim in &claims.must {
        let lost = !is_at(claim, location);
        let is_told =
            conflicts.contains(&(name.to_owned(), claim.full_name.clone(), claim.path.clone()));
        if lost && !is_told {
            wrong.push(format!("{name}: nobody tells {} of the conflict", claim.full_name));
        }
    }
    let may_conflict = claims.must.len() > 1 || !claims.may.is_empty();
    if !may_conflict && conflicts.iter().any(|(of, ..)| of == name) {
        wrong.push(format!("{name}: a conflict is told of that there is not"));
    }
}
