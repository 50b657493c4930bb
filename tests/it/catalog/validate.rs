//! `fixtures/validate/cases.yaml`: entities, and every fault they have.

use cuelight::catalog::validate::validate;

use super::{root, table, texts};

/// The end of Backstage's messages about formats.
const HELP: &str = "https://github.com/backstage/backstage/blob/master/docs/\
                    architecture-decisions/adr002-default-catalog-file-format.md";

#[test]
fn every_entity_of_the_table_has_the_expected_faults() {
    let cases = table("fixtures/validate/cases.yaml");
    for case in &cases {
        let root = root(case["entity"].as_str().unwrap());
        let faults = validate(&root).faults;
        let found: Vec<String> = faults
            .iter()
            .enumerate()
            .map(|(index, fault)| match index {
                0 => format!("{}: {}", fault.class, fault.message),
                _ => fault.brief.clone(),
            })
            .map(|message| message.replace(HELP, "<help>"))
            .collect();
        assert_eq!(found, texts(&case["faults"]), "{}", case["about"]);
        let places: Vec<String> = faults
            .iter()
            .map(|fault| root.locate(&fault.path, fault.part))
            .map(|at| format!("{}:{}", at.line, at.column))
            .collect();
        assert_eq!(places, texts(&case["at"]), "{}", case["about"]);
    }
    assert!(cases.len() >= 60, "the table has shrunk to {} cases", cases.len());
}

#[test]
fn an_entity_is_identified_when_its_kind_exists_and_its_names_are_sound() {
    let identified = |text: &str| validate(&root(text)).identified;
    let good = "apiVersion: backstage.io/v1alpha1\nkind: API\nmetadata: {name: x}\n";
    assert!(identified(good), "a missing spec does not hide which entity it is");
    assert!(!identified(&good.replace("API", "Api")));
    assert!(!identified(&good.replace("name: x", "name: x y")));
    assert!(!identified(&good.replace("name: x", "name: x, namespace: X")));
    assert!(!identified(&good.replace("name", "nome")));
    assert!(!identified("[]"));
}
