//! Notes: small facts by name that outlive a restart.

use cuelight::engine::EngineError;
use cuelight::engine::store::{NOTE_BYTES_MAX, NOTE_NAME_BYTES_MAX};

use super::*;

behaviours! {
    the_last_text_of_a_note_is_kept,
    a_forgotten_note_is_not_there,
    notes_are_found_by_the_beginning_of_their_names_and_sorted,
    a_prefix_is_compared_byte_by_byte,
    a_note_survives_a_crash,
    a_note_has_a_longest_name_and_text,
}

async fn put(rig: &Rig, name: &str, text: &str) {
    rig.engine().put_note(name.to_owned(), Some(text.to_owned())).await.unwrap();
}

async fn forget(rig: &Rig, name: &str) {
    rig.engine().put_note(name.to_owned(), None).await.unwrap();
}

async fn notes(rig: &Rig, prefix: &str) -> Vec<(String, String)> {
    rig.engine().notes(prefix.to_owned()).await.unwrap()
}

async fn names(rig: &Rig, prefix: &str) -> Vec<String> {
    notes(rig, prefix).await.into_iter().map(|(name, _)| name).collect()
}

async fn the_last_text_of_a_note_is_kept(rig: Rig) {
    assert!(notes(&rig, "").await.is_empty());
    put(&rig, "scan:1", "page 1").await;
    put(&rig, "scan:2", "").await;
    put(&rig, "scan:1", "page 2 with 'quotes', \"more\" and \n a line").await;
    let kept = notes(&rig, "scan:").await;
    let first = ("scan:1".to_owned(), "page 2 with 'quotes', \"more\" and \n a line".to_owned());
    assert_eq!(kept, [first, ("scan:2".to_owned(), String::new())], "an empty one is one");
}

async fn a_forgotten_note_is_not_there(rig: Rig) {
    put(&rig, "scan:1", "a").await;
    put(&rig, "scan:11", "b").await;
    forget(&rig, "scan:1").await;
    forget(&rig, "never there").await;
    assert_eq!(names(&rig, "").await, ["scan:11"]);
    put(&rig, "scan:1", "c").await;
    assert_eq!(notes(&rig, "scan:1").await[0], ("scan:1".to_owned(), "c".to_owned()));
}

async fn notes_are_found_by_the_beginning_of_their_names_and_sorted(rig: Rig) {
    for name in ["scan:b", "scan", "scan:a", "scar", "scan:B", "zoo", "scan:ä"] {
        put(&rig, name, name).await;
    }
    assert_eq!(names(&rig, "scan:").await, ["scan:B", "scan:a", "scan:b", "scan:ä"]);
    assert_eq!(names(&rig, "scan").await.len(), 5);
    assert_eq!(names(&rig, "scan:a").await, ["scan:a"]);
    assert!(names(&rig, "scan:a:").await.is_empty());
    assert_eq!(names(&rig, "").await.len(), 7);
}

async fn a_prefix_is_compared_byte_by_byte(rig: Rig) {
    for name in ["a*b", "a%b", "a_b", "a?b", "a[b", "A%b", "a\\b"] {
        put(&rig, name, "").await;
    }
    for prefix in ["a*", "a%", "a_", "a?", "a[", "A%", "a\\"] {
        assert_eq!(names(&rig, prefix).await, [format!("{prefix}b")]);
    }
}

async fn a_note_survives_a_crash(mut rig: Rig) {
    put(&rig, "scan:1", "page 1").await;
    put(&rig, "scan:2", "page 1").await;
    forget(&rig, "scan:2").await;
    rig.reopen().await;
    assert_eq!(notes(&rig, "").await, [("scan:1".to_owned(), "page 1".to_owned())]);
}

async fn a_note_has_a_longest_name_and_text(rig: Rig) {
    let (name, text) = ("n".repeat(NOTE_NAME_BYTES_MAX), "ä".repeat(NOTE_BYTES_MAX / 2));
    put(&rig, &name, &text).await;
    let engine = rig.engine();
    for (name, text) in [(format!("{name}n"), String::new()), (name.clone(), format!("{text}t"))] {
        let refused = engine.put_note(name, Some(text)).await.unwrap_err();
        assert!(matches!(refused, EngineError::TooLarge(_)), "{refused}");
        assert!(refused.to_string().contains("fit"), "{refused}");
    }
    assert_eq!(notes(&rig, "").await, [(name, text)], "what was there stays");
}
