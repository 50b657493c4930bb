//! `cuelight validate` as programs use it: formats, exit codes, what is piped in.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

const GOOD: &str = "apiVersion: backstage.io/v1alpha1\nkind: System\nmetadata: {name: shop}\n\
                    spec: {owner: web}\n";

/// Runs the binary in a repository with a good file, a bad one in `pay` and one with an odd name;
/// returns the exit code, what it wrote and what it complained of.
fn validate(args: &[&str], folder: &str, workspace: bool, piped: &str) -> (i32, String, String) {
    let repository = tempfile::tempdir().expect("a folder");
    let root = repository.path().canonicalize().expect("it is there");
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("in the folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    };
    write("catalog-info.yaml", GOOD);
    write("pay/catalog-info.yaml", &GOOD.replace("shop", "pay").replace("web", "7"));
    write("a,b: 100%/catalog-info.yml", &GOOD.replace("shop", "odd").replace("web", "[]"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_cuelight"));
    command.arg("validate").args(args).current_dir(root.join(folder)).env_clear();
    if workspace {
        command.env("GITHUB_WORKSPACE", &root);
    }
    let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = streams.spawn().expect("the binary runs");
    running.stdin.take().expect("a pipe").write_all(piped.as_bytes()).expect("it reads");
    let ran = running.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (ran.status.code().expect("an exit code"), text(ran.stdout), text(ran.stderr))
}

const MUST_BE_STRING: &str = "Processor BuiltinKindsEntityProcessor threw an error while \
                              validating the entity system:default/";

#[test]
fn a_workflow_gets_commands_with_paths_of_the_repository() {
    let title = "title=cuelight%3A schema";
    let rest = "; caused by TypeError: /spec/owner must be string - type: string";
    let odd = "a%2Cb%3A 100%25/catalog-info.yml";
    let pay = |path: &str| {
        format!(
            "::error file={path},line=4,col=15,{title}::{MUST_BE_STRING}pay{rest} \
             (put the value in quotes)\n"
        )
    };
    let (code, out, err) = validate(&["--format", "github", "."], "", true, "");
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    assert!(out.starts_with(&format!("::error file={odd},line=4,col=15,{title}::")), "{out}");
    let end = format!("\n{}3 files checked, 2 problems\n", pay("pay/catalog-info.yaml"));
    assert!(out.ends_with(&end), "{out}");
    let (_, out, _) = validate(&["--format=github", "catalog-info.yaml"], "pay", true, "");
    assert!(out.starts_with(&pay("pay/catalog-info.yaml")), "{out}");
    let (_, out, _) = validate(&["--format=github", "catalog-info.yaml"], "pay", false, "");
    assert!(out.starts_with(&pay("catalog-info.yaml")), "{out}");
}

#[test]
fn json_is_one_document_also_when_all_is_well() {
    let (code, out, err) = validate(&["--format", "json", "catalog-info.yaml"], "", false, "");
    assert_eq!((code, err.as_str()), (0, ""));
    let told: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(told, json!({"version": 1, "files": 1, "problems": []}));
    let (code, out, _) = validate(&["--format", "json", "pay", "catalog-info.yaml"], "", false, "");
    let mut told: Value = serde_json::from_str(&out).expect("JSON");
    let message = told["problems"][0]["message"].take();
    assert!(message.as_str().is_some_and(|message| message.contains("/spec/owner must be string")));
    let problem = json!({
        "code": "schema", "path": "pay/catalog-info.yaml", "line": 4, "column": 15, "document": 1,
        "entityRef": "system:default/pay", "message": null,
        "help": "https://github.com/cuelight/cuelight/blob/main/docs/problems.md#schema",
    });
    assert_eq!((code, told), (1, json!({"version": 1, "files": 2, "problems": [problem]})));
}

#[test]
fn sarif_names_files_from_the_root_of_the_repository() {
    let (code, out, err) = validate(&["--format", "sarif", ".", "gone.yaml"], "pay", true, "");
    assert_eq!((code, err.as_str()), (1, ""));
    let log: Value = serde_json::from_str(&out).expect("JSON");
    let results = log["runs"][0]["results"].as_array().expect("results").iter();
    let place = |result: &Value| result["locations"][0]["physicalLocation"].clone();
    let base = "%SRCROOT%";
    assert_eq!(
        results.map(place).collect::<Vec<_>>(),
        [
            json!({
                "artifactLocation": {"uri": "pay/catalog-info.yaml", "uriBaseId": base},
                "region": {"startLine": 4, "startColumn": 15},
            }),
            json!({"artifactLocation": {"uri": "pay/gone.yaml", "uriBaseId": base}}),
        ]
    );
}

#[test]
fn the_dash_reads_what_is_piped_in() {
    let (code, out, _) = validate(&["-"], "", false, &GOOD.replace('\n', "\r\n"));
    assert_eq!((code, out.as_str()), (0, "1 file checked, 0 problems\n"));
    let (code, out, _) = validate(&["-", "catalog-info.yaml"], "", false, GOOD);
    assert_eq!(code, 1);
    let conflict = "catalog-info.yaml:1:1: error[conflict]: `system:default/shop` is declared in -";
    assert!(out.starts_with(conflict), "{out}");
}

#[test]
fn a_format_that_is_not_there_is_a_usage_error() {
    let (code, out, err) = validate(&["--format", "xml", "."], "", false, "");
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("[possible values: text, json, github, sarif]"), "{err}");
}

#[test]
fn a_folder_that_cannot_be_searched_is_a_problem_and_the_others_are_checked() {
    let base = tempfile::tempdir().expect("a folder");
    let root = base.path().canonicalize().expect("it is there");
    std::fs::write(root.join("catalog-info.yaml"), GOOD).expect("a file");
    // So deep that its whole path is longer than the system takes, whoever asks.
    let name = "n".repeat(255);
    let deep = vec![name.as_str(); 16].join("/");
    let made = Command::new("mkdir").args(["-p", &deep]).current_dir(&root).status();
    assert!(made.expect("mkdir runs").success());
    let mut command = Command::new(env!("CARGO_BIN_EXE_cuelight"));
    let ran = command.arg("validate").arg(&root).env_clear().output().expect("the binary runs");
    let out = String::from_utf8(ran.stdout).expect("UTF-8");
    assert_eq!(ran.status.code(), Some(1), "{out}");
    assert!(out.contains("error[file-unreadable]: cannot be searched: "), "{out}");
    assert!(out.ends_with("1 file checked, 1 problem\n"), "{out}");
}
