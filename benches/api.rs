//! The read API of the real program over loopback, with 1,000, 10,000 and 100,000 entities.
//!
//! Half of the entities are components and half the Locations of their files; they are written
//! into a SQLite file as a worker writes them, without GitHub. Then, in this process, what one
//! changed repository costs the view; then, in a `cuelight serve` on that file, what it keeps in
//! memory and what it answers to `wrk`, which runs on the same cores. Printed are rates, and for
//! each size after the first how much more one answer costs than at the size before.
//!
//! `CUELIGHT_BENCH_ENTITIES` (a list with commas) and `CUELIGHT_BENCH_SECONDS` (for each question)
//! make it smaller; then bounds of sizes that are left out are not looked at.

#[path = "support/records.rs"]
mod records;
#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cuelight::clock::SystemClock;
use cuelight::engine::sqlite::{Options, SqliteEngine};
use records::{view_feed, write, write_all};
use support::{Program, at, exit, holds, percentile, say};
use tempfile::TempDir;

/// Entities.
const SIZES: [u64; 3] = [1_000, 10_000, 100_000];

/// Seconds for each question.
const SECONDS: u64 = 3;

/// Connections of the load generator.
const CONNECTIONS: &str = "16";

/// Repositories that change, one after another.
const UPDATES: u64 = 300;

/// Longest that 99 of 100 changed repositories may take at the largest size.
const UPDATE_MAX: Duration = Duration::from_millis(5);

/// Most bytes beside its own JSON that an entity may take at the largest size.
const OVERHEAD_BYTES_MAX: f64 = 4096.0;

/// A question, and what of it is promised at 10,000 entities: requests a second, and the longest
/// in ms that 99 of 100 take.
struct Question {
    name: &'static str,
    /// `%d` stands for the number of a component.
    path: &'static str,
    rate_min: Option<f64>,
    p99_max: Option<f64>,
}

const fn question(name: &'static str, path: &'static str) -> Question {
    Question { name, path, rate_min: None, p99_max: None }
}

const QUESTIONS: [Question; 7] = [
    Question {
        rate_min: Some(20_000.0),
        ..question("by-name", "/api/catalog/entities/by-name/component/default/svc-%d")
    },
    Question {
        rate_min: Some(5_000.0),
        p99_max: Some(10.0),
        ..question(
            "by-query",
            "/api/catalog/entities/by-query?limit=20&orderField=metadata.name,asc\
             &filter=kind=component,spec.type=service",
        )
    },
    question(
        "full text",
        "/api/catalog/entities/by-query?limit=20&orderField=metadata.name,asc\
         &fullTextFilterTerm=vc-7&fullTextFilterFields=metadata.name,metadata.title",
    ),
    question("facets", "/api/catalog/entity-facets?facet=kind&facet=spec.type&facet=metadata.tags"),
    question(
        "filter, one found",
        "/api/catalog/entities?filter=kind=component,metadata.name=svc-7",
    ),
    question("filter, 1 in 200", "/api/catalog/entities?filter=kind=component,spec.owner=team-7"),
    question("filter, refs only", "/api/catalog/entities?filter=spec.owner=team-7&fields=kind"),
];

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let sizes: Vec<u64> = match std::env::var("CUELIGHT_BENCH_ENTITIES") {
        Ok(text) => text.split(',').map(|n| n.trim().parse().expect("a number")).collect(),
        Err(_) => SIZES.to_vec(),
    };
    let seconds = std::env::var("CUELIGHT_BENCH_SECONDS");
    let seconds = seconds.map_or(SECONDS, |text| text.parse().expect("a number"));
    let mut costs = BTreeMap::new();
    let empty = runtime.block_on(Stage::prepare(0)).start();
    let empty_bytes = runtime.block_on(empty.settled_bytes());
    drop(empty);
    say(&format!("api: an empty catalog takes {:.1} MB", empty_bytes / 1e6));
    for size in sizes {
        let stage = runtime.block_on(Stage::prepare(size));
        runtime.block_on(stage.update(&mut costs));
        let served = stage.start();
        runtime.block_on(served.weigh(empty_bytes));
        for question in &QUESTIONS {
            served.ask(question, seconds, &mut costs);
        }
    }
    exit()
}

/// A catalog in a file.
struct Stage {
    size: u64,
    dir: TempDir,
}

/// The catalog file of a component; `round` makes another of it.
fn text(id: u64, round: u64) -> String {
    let kind = match (round, id % 3) {
        (0, 0) => "website".to_owned(),
        (0, _) => "service".to_owned(),
        _ => format!("type-{round}"),
    };
    format!(
        "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata:\n  name: svc-{id}\n\
         \x20 title: Service number {id}\n  tags: [rust, team-{}]\n\
         spec:\n  type: {kind}\n  lifecycle: production\n  owner: team-{}\n  system: shop-{}\n",
        id % 50,
        id % 100,
        id % 300
    )
}

impl Stage {
    async fn prepare(size: u64) -> Self {
        let stage = Self { size, dir: TempDir::new().expect("a temporary directory") };
        let engine = stage.open();
        let started = Instant::now();
        write_all(&*engine, size / 2, |id| text(id, 0)).await;
        engine.close().await;
        if size > 0 {
            let seconds = started.elapsed().as_secs_f64();
            say(&format!("api: {size} entities, written in {seconds:.1} s"));
        }
        stage
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("cuelight.db")
    }

    fn open(&self) -> Arc<SqliteEngine> {
        let clock = Arc::new(SystemClock);
        SqliteEngine::open(self.file(), clock, Options::default()).expect("the file opens")
    }

    /// How long it takes from a written change to the view that shows it.
    async fn update(&self, costs: &mut BTreeMap<&'static str, f64>) {
        let engine = self.open();
        let (feed, shown) = view_feed(engine.clone());
        let started = Instant::now();
        let mut seq = feed.load(|_| {}).await.expect("the file is read");
        let loaded = started.elapsed();
        let mut spans = Vec::new();
        for round in 1..=UPDATES {
            let id = round * 7919 % (self.size / 2).max(1);
            let written = write(&*engine, id..id + 1, |id| text(id, round)).await;
            let started = Instant::now();
            seq = feed.catch_up(seq).await.expect("the file is read");
            spans.push(started.elapsed());
            assert_eq!((seq, shown.borrow().seq()), (written, written));
        }
        // The file is as before, for what is asked next.
        for round in 1..=UPDATES {
            let id = round * 7919 % (self.size / 2).max(1);
            write(&*engine, id..id + 1, |id| text(id, 0)).await;
        }
        engine.close().await;
        let mean = spans.iter().sum::<Duration>().as_secs_f64() / spans.len() as f64;
        spans.sort();
        let growth = growth("one update", mean, costs);
        say(&format!(
            "  loaded in {:.2} s · one update of the view: mean {:.2} ms, p50 {}, p99 {}, max \
             {}{growth}",
            loaded.as_secs_f64(),
            mean * 1e3,
            percentile(&spans, 50),
            percentile(&spans, 99),
            percentile(&spans, 100),
        ));
        if self.size == SIZES[2] {
            let what =
                format!("an update at 100,000 entities, p99 ≤ {} ms", UPDATE_MAX.as_millis());
            holds(&what, at(&spans, 99) <= UPDATE_MAX);
        }
    }

    fn start(self) -> Served {
        // No GitHub: nothing is due, no schedule and no heartbeat asks.
        let program = Program::start(
            self.dir.path(),
            &format!("sqlite:{}", self.file().display()),
            "http://127.0.0.1:9",
            "{ trigger: manual }",
        );
        Served { size: self.size, program, _dir: self.dir }
    }
}

/// The program on such a file.
struct Served {
    size: u64,
    program: Program,
    _dir: TempDir,
}

impl Served {
    /// What is resident once the catalog is loaded.
    async fn settled_bytes(&self) -> f64 {
        let ready = |status: u16, _: &[u8]| status == 200;
        self.program.until("/readyz", Duration::from_millis(20), ready).await;
        self.program.usage().0 * 1024.0 * 1024.0
    }

    /// What an entity takes beside its JSON, before and after all of it was made that is made when
    /// it is first asked for.
    async fn weigh(&self, empty_bytes: f64) {
        let loaded = self.settled_bytes().await - empty_bytes;
        let (status, all) = self.program.get("/api/catalog/entities").await;
        assert_eq!(status, 200);
        let json = all.len() as f64;
        drop(all);
        let asked = self.settled_bytes().await - empty_bytes;
        let each = |bytes: f64| bytes / self.size as f64;
        let beside = each(asked - json);
        say(&format!(
            "  resident beside an empty catalog: {:.1} MB loaded, {:.1} MB when all was asked for; \
             an entity is {:.0} bytes of JSON and {beside:.0} beside it, a component with its \
             Location {:.0} beside both",
            loaded / 1e6,
            asked / 1e6,
            each(json),
            beside * 2.0,
        ));
        if self.size == SIZES[2] {
            holds("an entity takes ≤ 4 kB beside its JSON", beside <= OVERHEAD_BYTES_MAX);
        }
    }

    /// Asks with `wrk` for some seconds.
    fn ask(&self, question: &Question, seconds: u64, costs: &mut BTreeMap<&'static str, f64>) {
        let Question { name, path, rate_min, p99_max } = question;
        let mut wrk = Command::new("wrk");
        wrk.args(["-t", "1", "-c", CONNECTIONS, "--latency", "-d"]).arg(format!("{seconds}s"));
        if path.contains("%d") {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/api.lua");
            let count = (self.size / 2).max(1).to_string();
            wrk.arg("-s").arg(script).env("BENCH_PATH", path).env("BENCH_COUNT", count);
            wrk.arg(&self.program.served.internal);
        } else {
            wrk.arg(format!("{}{path}", self.program.served.internal));
        }
        let told = wrk.output().expect("wrk is installed: apt-get install wrk");
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let is_clean = !told.contains("Non-2xx") && !told.contains("Socket errors");
        assert!(is_clean, "{path}: not every question was answered\n{told}");
        let field = |name: &str| {
            let line = told.lines().find(|line| line.trim_start().starts_with(name));
            let text = line.and_then(|line| line.split_whitespace().nth(1));
            text.unwrap_or_else(|| panic!("wrk says no {name}:\n{told}"))
        };
        let rate: f64 = field("Requests/sec:").parse().expect("a number");
        let (p50, p99) = (millis(field("50%")), millis(field("99%")));
        let growth = growth(name, 1.0 / rate, costs);
        let size = self.size;
        say(&format!("  {size:>6} {name:<18} {rate:>8.0}/s  p50 {p50:.2} p99 {p99:.2} ms{growth}"));
        if size == SIZES[1] {
            if let Some(bound) = rate_min {
                holds(&format!("{name} at 10,000 entities ≥ {bound}/s"), rate >= *bound);
            }
            if let Some(bound) = p99_max {
                holds(&format!("{name} at 10,000 entities, p99 ≤ {bound} ms"), p99 <= *bound);
            }
        }
    }
}

/// How many times what it was at the size before.
fn growth(name: &'static str, cost: f64, costs: &mut BTreeMap<&'static str, f64>) -> String {
    let before = costs.insert(name, cost);
    before.map(|before| format!(" · ×{:.1}", cost / before)).unwrap_or_default()
}

/// A time as wrk writes it.
fn millis(text: &str) -> f64 {
    let units = [("us", 1e-3), ("ms", 1.0), ("s", 1e3), ("m", 6e4)];
    let (unit, factor) = units.iter().find(|(unit, _)| text.ends_with(unit)).expect("a unit");
    text.trim_end_matches(unit).parse::<f64>().expect("a number") * factor
}
