//! Reads `integrations.github[].apps`, under Backstage's own names.

use super::GitHubApp;
use super::reader::{Item, Keys, Reader, Section};

/// Largest App id: far above GitHub's, and whole in every number format on the way.
pub const APP_ID_MAX: u64 = 1 << 53;

/// `webhookUrl` stands in the file that Backstage writes when it creates an App.
const KEYS: Keys = Keys::only(&[
    "appId",
    "privateKey",
    "privateKeyFile",
    "webhookSecret",
    "webhookSecretFile",
    "webhookUrl",
    "clientId",
    "clientSecret",
    "clientSecretFile",
    "allowedInstallationOwners",
]);

/// The Apps of one integration.
pub fn apps(reader: &Reader<'_>, integration: &Section<'_>) -> Option<Vec<GitHubApp>> {
    let Some(item) = integration.get("apps") else { return Some(Vec::new()) };
    if !item.is_list() {
        return reader.wrong(&item, "expected a list of Apps");
    }
    let mut found: Vec<GitHubApp> = Vec::new();
    let mut complete = true;
    for item in item.each() {
        match app(reader, &item) {
            Some(app) if found.iter().any(|other| other.id == app.id) => {
                let twice = format!("`appId`: {} stands here a second time", app.id);
                complete = false;
                reader.wrong::<()>(&item, twice);
            }
            Some(app) => found.push(app),
            None => complete = false,
        }
    }
    complete.then_some(found)
}

fn app(reader: &Reader<'_>, item: &Item<'_>) -> Option<GitHubApp> {
    let section = reader.section(item, KEYS)?;
    let id = reader.required(&section, "appId");
    let id = id.and_then(|item| app_id(reader, &item));
    let key = reader.secret(&section, "privateKey");
    if section.get("privateKey").is_none() && section.get("privateKeyFile").is_none() {
        reader.required(&section, "privateKey");
    }
    let webhook_secret = reader.secret(&section, "webhookSecret");
    // Read so that they are checked; signing in is Backstage's business.
    reader.secret(&section, "clientSecret");
    let client_id = section.get("clientId").map(|item| reader.text(&item));
    let owners = section.get("allowedInstallationOwners").map(|item| {
        item.each().iter().map(|one| reader.text(one)).collect::<Option<Vec<String>>>()
    });
    if let Some(None) = client_id {
        return None;
    }
    let allowed_owners = match owners {
        Some(owners) => Some(owners?),
        None => None,
    };
    Some(GitHubApp { id: id?, private_key: key?, webhook_secret, allowed_owners })
}

/// The id of an App, also in quotes, as Backstage's own files have it.
pub fn app_id(reader: &Reader<'_>, item: &Item<'_>) -> Option<u64> {
    let text = reader.text(item)?;
    match text.trim().parse() {
        Ok(id) if (1..=APP_ID_MAX).contains(&id) => Some(id),
        _ => reader.wrong(item, "expected the number that GitHub shows as `App ID`"),
    }
}
