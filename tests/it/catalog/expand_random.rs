//! Whatever files lead to whatever files: expanding ends, keeps its promises, and forgets nothing
//! that it should know and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use cuelight::catalog::{Entity, HeldFile, HeldTree, Source};

use super::world::{World, at, foreign, location, main, optional, shown, system};

const PATHS: [&str; 6] = ["a.yaml", "b.yaml", "x/a.yaml", "x/b.yaml", "x/y/c.yaml", ".d/e.yaml"];

const TARGETS: [&str; 20] = [
    "a.yaml",
    "./b.yaml",
    "../a.yaml",
    "../../a.yaml",
    "/x/a.yaml",
    "x/b.yaml",
    "/x/y/c.yaml",
    "/.d/e.yaml",
    "catalog-info.yaml",
    "/catalog-info.yaml",
    "**/*.yaml",
    "x/*.yaml",
    "{a,b}.yaml",
    "none.yaml",
    "none/*",
    ".",
    "https://github.com/ACME/cart/blob/main/x/b.yaml",
    "https://github.com/other/lib/tree/dev/z.yaml",
    "https://github.com/other/lib/tree/dev/*.yaml",
    "https://example.com/",
];

fn text(random: &mut fastrand::Rng) -> String {
    let mut documents = Vec::new();
    for _ in 0..random.usize(0..4) {
        let name = ["p", "q", "R", "r", "s"][random.usize(..5)];
        documents.push(match random.u8(..10) {
            0 => "a: [".to_owned(),
            1 => system(name).replace("web", "7"),
            2 => system(name).replace("web", "{$text: /owner.txt}"),
            3 => system(name).replace("web", "{$yaml: a.yaml}"),
            4 | 5 => system(name),
            _ => {
                let count = random.usize(0..4);
                let targets: Vec<&str> =
                    (0..count).map(|_| TARGETS[random.usize(..TARGETS.len())]).collect();
                let text = location(name, &targets);
                if random.bool() { optional(text) } else { text }
            }
        });
    }
    documents.join("---\n")
}

fn held(random: &mut fastrand::Rng) -> Option<HeldFile> {
    match random.u8(..8) {
        0 => None,
        1 => Some(HeldFile::Unreadable("away".into())),
        _ => Some(HeldFile::Text(text(random).into())),
    }
}

fn world(random: &mut fastrand::Rng) -> World {
    let targets: Vec<&str> = (0..4).map(|_| TARGETS[random.usize(..TARGETS.len())]).collect();
    let mut world = World::new(format!("{}---\n{}", location("root", &targets), text(random)));
    let sources = PATHS.map(at).into_iter().chain([foreign("other/lib", "dev", "z.yaml")]);
    world.files = sources.filter_map(|source| held(random).map(|held| (source, held))).collect();
    let owner = ["web", "component:", ""][random.usize(..3)];
    let mut world = world.file("owner.txt", owner);
    if random.u8(..6) == 0 {
        world.trees.insert(main(), HeldTree::Unreadable("away".into()));
        return world;
    }
    world.tree(&PATHS)
}

fn refs(held: &BTreeMap<Source, Vec<Entity>>) -> BTreeSet<&str> {
    held.values().flatten().map(|entity| entity.entity_ref.as_str()).collect()
}

#[test]
fn files_that_lead_to_each_other_in_any_way_keep_the_promises() {
    let mut random = fastrand::Rng::with_seed(20_261_122);
    let (mut files, mut stale) = (0, 0);
    for _ in 0..100 {
        let mut now = world(&mut random);
        let fresh = now.expand();
        files += fresh.files.len();
        for _ in 0..4 {
            let before = now.previous.clone();
            let next = now.expand();
            let known = refs(&before);
            for file in &next.files {
                for entity in &file.processed.entities {
                    stale += usize::from(entity.stale.is_some());
                    let is_known = known.contains(entity.entity_ref.as_str());
                    assert!(entity.stale.is_none() || is_known, "stale from nowhere: {entity:?}");
                    let is_included = file.source.path != "catalog-info.yaml";
                    assert_eq!(entity.included_by.is_some(), is_included, "{:?}", file.source);
                }
            }
            let entities = next.files.into_iter().map(|f| (f.source, f.processed.entities));
            let previous = entities.collect();
            now = World { previous, ..world(&mut random) };
        }
        // A world without faults forgets everything that was before.
        let whole = |previous| {
            World { previous, ..World::new(location("r", &["a.yaml"])) }.file("a.yaml", system("s"))
        };
        let healed = whole(now.previous).expand();
        assert_eq!(healed, whole(BTreeMap::new()).expand());
        assert_eq!(shown(&healed), ["catalog-info.yaml: r", "a.yaml: s"]);
    }
    assert!(files > 250 && stale > 50, "the worlds are too simple: {files} files, {stale} stale");
}
