//! A catalog file on disk with the files that its Locations and placeholders lead to.
//!
//! They are read below the root of the file's repository: the nearest directory above it that
//! holds `.git`, else the working directory, else the file's own. Nothing outside is read, by `..`
//! or by a link. Files of other repositories and branches are not known here: what leads there is
//! neither followed nor told as a problem.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::catalog::placeholder::OTHER_REPOSITORY;
use crate::catalog::{
    AllowedKinds, BranchAt, Code, Expanded, Gathered, Given, HeldFile, HeldTree, Need, Problem,
    ProcessedFile, Source, expand, process_file,
};
use crate::repository::FILE_BYTES_MAX;

/// Deepest directory that is looked through for a pattern: deeper ones are a loop or no tree.
const DIRECTORY_DEPTH_MAX: usize = 64;

/// Most files that are listed for a pattern; GitHub lists no more either.
const PATHS_MAX: usize = 100_000;

/// What stands for the branch of files on disk.
const DISK: &str = "disk";

/// What stands for the name of a repository that has none.
const NAMELESS: &str = "this repository";

/// One file that was looked at.
pub struct Nearby {
    /// Where it lies, the first as it was given.
    pub path: PathBuf,
    /// The same as the file system knows it.
    pub real: PathBuf,
    /// What it holds.
    pub text: Arc<str>,
    /// What it became; its problems name `path`.
    pub processed: ProcessedFile,
}

/// The file at `path`, which holds `text`, and then what it leads to.
pub fn read(path: &Path, text: &str, allowed: &AllowedKinds) -> Vec<Nearby> {
    let repository = Repository::around(path);
    let source = repository.source(&repository.place(path));
    let mut gathered = Gathered::default();
    let expanded = loop {
        let given = Given {
            source: &source,
            text,
            allowed,
            previous: &Default::default(),
            gathered: &gathered,
        };
        let expanded = expand(&given, process_file);
        if !repository.gather(&expanded, &mut gathered) {
            break expanded;
        }
    };
    let nearby = |(index, file): (usize, crate::catalog::ExpandedFile)| {
        let real = repository.root.join(&file.source.path);
        let held = match gathered.files.get(&file.source) {
            Some(HeldFile::Text(text)) => Arc::clone(text),
            _ if index == 0 => text.into(),
            _ => "".into(),
        };
        let shown = if index == 0 { path.to_owned() } else { repository.shown(&real) };
        let mut processed = file.processed;
        processed.problems.retain(|problem| repository.can_tell(problem));
        for problem in &mut processed.problems {
            problem.path = shown.display().to_string();
        }
        Nearby { path: shown, real, text: held, processed }
    };
    expanded.files.into_iter().enumerate().map(nearby).collect()
}

struct Repository {
    root: PathBuf,
    /// The working directory, as far as there is one.
    current: PathBuf,
    /// Host and `owner/name`, where git knows them.
    name: Option<(String, String)>,
}

impl Repository {
    fn around(path: &Path) -> Self {
        let current = std::env::current_dir().and_then(fs::canonicalize).unwrap_or_default();
        let file = fs::canonicalize(path).unwrap_or_else(|_| current.join(path));
        let own = file.parent().unwrap_or(&current);
        let git = own.ancestors().find(|directory| directory.join(".git").exists());
        let below = own.starts_with(&current) && !current.as_os_str().is_empty();
        let root = git.unwrap_or(if below { &current } else { own }).to_owned();
        let config = fs::read_to_string(root.join(".git").join("config")).ok();
        let name = config.and_then(|config| origin(&config));
        Self { root, current, name }
    }

    /// A path from the root, with `/`.
    fn place(&self, path: &Path) -> String {
        let file = fs::canonicalize(path).unwrap_or_else(|_| self.current.join(path));
        let inner = file.strip_prefix(&self.root).unwrap_or(&file);
        let names = inner.components().map(|part| part.as_os_str().to_string_lossy());
        names.collect::<Vec<_>>().join("/")
    }

    fn source(&self, path: &str) -> Source {
        let (host, full_name) =
            self.name.clone().unwrap_or_else(|| ("github.com".into(), NAMELESS.into()));
        Source { host, full_name, branch: DISK.into(), path: path.to_owned() }
    }

    /// A file as a person in the working directory names it.
    fn shown(&self, real: &Path) -> PathBuf {
        real.strip_prefix(&self.current).unwrap_or(real).to_owned()
    }

    /// Whether a problem is one for sure: without a name, nobody knows what is another repository.
    fn can_tell(&self, problem: &Problem) -> bool {
        let of_others =
            problem.code == Code::Placeholder && problem.message.contains(OTHER_REPOSITORY);
        self.name.is_some() || !of_others
    }

    /// Reads what is needed and can be; whether that was anything.
    fn gather(&self, expanded: &Expanded, gathered: &mut Gathered) -> bool {
        let mut is_any = false;
        for need in &expanded.needs {
            match need {
                Need::File(source) if self.is_own(&source.host, &source.full_name) => {
                    let held = self.file(&source.path);
                    // On its own branch it may be there all the same.
                    if held == HeldFile::Missing && source.branch != DISK {
                        continue;
                    }
                    gathered.files.insert(source.clone(), held);
                }
                Need::Tree(branch) if self.is_own(&branch.host, &branch.full_name) => {
                    gathered.trees.insert(branch.clone(), self.tree(branch));
                }
                Need::File(_) | Need::Tree(_) => continue,
            }
            is_any = true;
        }
        is_any
    }

    fn is_own(&self, host: &str, full_name: &str) -> bool {
        let own = self.source("");
        own.host.eq_ignore_ascii_case(host) && own.full_name.eq_ignore_ascii_case(full_name)
    }

    fn file(&self, path: &str) -> HeldFile {
        let file = match fs::canonicalize(self.root.join(path)) {
            Ok(file) if !file.starts_with(&self.root) => {
                let why = "it is a link that leads out of the repository";
                return HeldFile::Unreadable(why.to_owned());
            }
            Ok(file) if file.is_file() => file,
            Ok(_) => return HeldFile::Missing,
            Err(error) => return not_read(&error),
        };
        let mut bytes = Vec::new();
        let opened = fs::File::open(file);
        let read = opened.and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
        match read {
            Ok(_) if bytes.len() as u64 > FILE_BYTES_MAX => {
                HeldFile::Unreadable(format!("larger than {FILE_BYTES_MAX} bytes"))
            }
            Ok(_) => HeldFile::Text(String::from_utf8_lossy(&bytes).into()),
            Err(error) => not_read(&error),
        }
    }

    fn tree(&self, branch: &BranchAt) -> HeldTree {
        let mut paths = Vec::new();
        match list(&self.root, "", DIRECTORY_DEPTH_MAX, &mut paths) {
            Ok(()) if paths.len() > PATHS_MAX => {
                HeldTree::Unreadable(format!("there are more than {PATHS_MAX} files"))
            }
            Ok(()) => HeldTree::Paths(paths.into()),
            Err(error) => {
                HeldTree::Unreadable(format!("{} cannot be listed: {error}", branch.full_name))
            }
        }
    }
}

fn not_read(error: &io::Error) -> HeldFile {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => HeldFile::Missing,
        _ => HeldFile::Unreadable(error.to_string()),
    }
}

/// The paths below a directory, each with `prefix` in front; links are not followed.
fn list(directory: &Path, prefix: &str, depth: usize, paths: &mut Vec<String>) -> io::Result<()> {
    if depth == 0 || paths.len() > PATHS_MAX {
        return Ok(());
    }
    let mut entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type()?;
        if kind.is_file() {
            paths.push(path);
        } else if kind.is_dir() && entry.file_name() != ".git" {
            list(&entry.path(), &format!("{path}/"), depth - 1, paths)?;
        }
    }
    Ok(())
}

/// Host and `owner/name` of the remote `origin` in git's configuration.
fn origin(config: &str) -> Option<(String, String)> {
    let section = config.split("[remote \"origin\"]").nth(1)?;
    let mut lines = section.lines().take_while(|line| !line.trim_start().starts_with('['));
    let url = lines.find_map(|line| line.trim().strip_prefix("url")?.trim().strip_prefix('='))?;
    let url = url.trim().trim_end_matches('/').trim_end_matches(".git");
    let (_, rest) = url.split_once("://").unwrap_or(("", url));
    // `git@host:owner/name` and `host/owner/name`, with or without a user.
    let (_, rest) = rest.split_once('@').unwrap_or(("", rest));
    let (host, name) = rest.split_once([':', '/'])?;
    let is_name = name.split('/').count() == 2 && !name.split('/').any(str::is_empty);
    is_name.then(|| (host.to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &str = "[core]\n\tbare = false\n[remote \"origin\"]\n\tfetch = x\n\turl = \
                          git@github.com:acme/cart.git\n[branch \"main\"]\n\turl = no\n";

    /// Reads `r/catalog-info.yaml` of these files; shows names and problems of each file.
    fn check(files: &[(&str, &str)], expected: &[&str]) {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match text.strip_prefix("-> ") {
                Some(target) => std::os::unix::fs::symlink(target, path).unwrap(),
                None => fs::write(path, text).unwrap(),
            }
        }
        let path = directory.path().join("r/catalog-info.yaml");
        let text = fs::read_to_string(&path).unwrap();
        let base = fs::canonicalize(directory.path()).unwrap().display().to_string() + "/";
        let mut shown = Vec::new();
        for file in read(&path, &text, &AllowedKinds::default()) {
            let place = file.path.display().to_string().replace(&base, "");
            let entities = file.processed.entities.iter().filter(|entity| !entity.generated);
            let names: Vec<&str> =
                entities.map(|e| e.body["metadata"]["name"].as_str().unwrap()).collect();
            shown.push(format!("{place}: {}", names.join(", ")));
            let is_unread = file.text.is_empty();
            assert!(is_unread || fs::read_to_string(&file.real).unwrap() == *file.text);
            shown.extend(file.processed.problems.iter().map(|problem| {
                let Problem { code, path, line, message, .. } = problem;
                format!("{}:{line} {code}: {message}", path.replace(&base, ""))
            }));
        }
        assert_eq!(shown, expected);
    }

    fn location(targets: &str) -> String {
        let head = "apiVersion: backstage.io/v1alpha1\nkind: Location\nmetadata: {name: all}\n";
        format!("{head}spec: {{targets: [{targets}]}}\n")
    }

    fn system(name: &str, owner: &str) -> String {
        let head = "apiVersion: backstage.io/v1alpha1\nkind: System\n";
        format!("{head}metadata: {{name: {name}}}\nspec: {{owner: {owner}}}\n")
    }

    #[test]
    fn what_a_file_leads_to_is_read_below_the_root_of_its_repository() {
        let root = location("a/b.yaml, '/c.yaml', '**/d.yaml', no.yaml");
        check(
            &[
                (".git/config", ORIGIN),
                (".git/d.yaml", "a: ["),
                ("r/catalog-info.yaml", &root),
                ("r/a/b.yaml", &system("b", "{$text: /owner.txt}")),
                ("c.yaml", &system("c", "{$text: /../owner.txt}")),
                ("r/x/d.yaml", &system("d", "web")),
                ("owner.txt", "web"),
            ],
            &[
                "r/catalog-info.yaml: all",
                "r/catalog-info.yaml:4 target-missing: there is no file r/no.yaml in acme/cart \
                 on disk",
                "r/a/b.yaml: b",
                "c.yaml: ",
                "c.yaml:4 placeholder: Processor PlaceholderProcessor threw an error while \
                 preprocessing; caused by Error: Placeholder $text could not form a URL out of \
                 https://github.com/acme/cart/blob/disk/c.yaml and /../owner.txt, Error: \
                 `/../owner.txt` leads out of the repository",
                "r/x/d.yaml: d",
            ],
        );
    }

    #[test]
    fn nothing_outside_is_read_by_dots_or_links() {
        check(
            &[
                ("r/.git/config", ""),
                ("r/catalog-info.yaml", &location("link.yaml, inner.yaml, ../s.yaml, '*k.yaml'")),
                ("r/link.yaml", "-> ../s.yaml"),
                ("r/inner.yaml", "-> t.yaml"),
                ("r/t.yaml", &system("t", "web")),
                ("s.yaml", &system("s", "web")),
            ],
            &[
                "r/catalog-info.yaml: all",
                "r/catalog-info.yaml:4 target-invalid: `../s.yaml` leads out of the repository",
                "r/catalog-info.yaml:4 file-unreadable: `link.yaml` cannot be read: it is a link \
                 that leads out of the repository",
                "r/catalog-info.yaml:4 target-missing: no file of this repository on disk fits \
                 `*k.yaml`",
                "r/link.yaml: ",
                "r/inner.yaml: t",
            ],
        );
    }

    #[test]
    fn what_lies_in_other_repositories_is_no_problem_here() {
        let far = "https://github.com/acme/lib/blob/main/a.yaml";
        let own = "https://github.com/Acme/Cart/blob/main";
        let root = location(&format!("'{far}', '{own}/b.yaml', '{own}/new.yaml', '{own}/x/*'"));
        let entity = system("s", &format!("{{$text: '{far}'}}"));
        let text = format!("{root}---\n{entity}");
        let files = [
            ("r/catalog-info.yaml", text.as_str()),
            ("b.yaml", &system("b", &format!("{{$text: '{own}/later.txt'}}"))),
            ("x/e.yaml", ""),
        ];
        let refused = "r/catalog-info.yaml:9 placeholder: Processor PlaceholderProcessor threw \
                       an error while preprocessing; caused by Error: Placeholder $text could \
                       not form a URL out of https://github.com/acme/cart/blob/disk/r/\
                       catalog-info.yaml and https://github.com/acme/lib/blob/main/a.yaml, \
                       Error: Placeholder may only reference files from the same repository as \
                       the entity";
        check(
            &[&[(".git/config", ORIGIN)], &files[..]].concat(),
            &["r/catalog-info.yaml: all", refused, "b.yaml: b", "x/e.yaml: "],
        );
        let unknown = &["r/catalog-info.yaml: all"];
        check(&[&[(".git/HEAD", "x")], &files[..]].concat(), unknown);
    }

    #[test]
    fn the_name_of_a_repository_is_that_of_its_origin() {
        let name = |url: &str| {
            let config = format!("[remote \"origin\"]\n  url = {url}\n");
            origin(&config).map(|(host, name)| format!("{host} {name}"))
        };
        assert_eq!(origin(ORIGIN), Some(("github.com".into(), "acme/cart".into())));
        let https = "https://x-access-token:t@ghe.example:8443/acme/cart/";
        assert_eq!(name("ssh://git@github.com/acme/cart.git").unwrap(), "github.com acme/cart");
        assert_eq!(name("https://github.com/acme/cart").unwrap(), "github.com acme/cart");
        assert_eq!(name(https), None, "a port cannot be told from a path");
        assert_eq!(name("/srv/git/cart.git"), None);
        assert_eq!(origin("[core]\n"), None);
    }
}
