use report::{Document, Part, Report, RunResult, ScenarioOutcome, merge};

use crate::fixture;

/// Returns one of `of` shards with its scenarios, started `later` seconds after the first.
fn shard(report: Report, shard: usize, of: usize, later: i64) -> Part {
    let mut report = report;
    report.run.id = format!("run{shard}");
    report.run.shard = Some(format!("{shard}/{of}"));
    report.run.started += jiff::SignedDuration::from_secs(later);
    let mut place = 0;
    report.tests.retain(|_| {
        place += 1;
        place % of == shard - 1
    });
    Part {
        document: Document::new(&report),
        folder: format!("run{shard}"),
    }
}

fn merged(parts: Vec<Part>) -> anyhow::Result<Report> {
    merge(
        parts,
        "merged",
        vec!["xtask".to_owned(), "merge-reports".to_owned()],
    )
}

#[test]
fn shards_are_merged_into_a_report_with_every_scenario_once() {
    let whole = fixture::passed();
    let parts = vec![
        shard(fixture::passed(), 2, 2, 30),
        shard(fixture::passed(), 1, 2, 0),
    ];
    let merged = merged(parts).unwrap();
    assert_eq!(merged.run.result, RunResult::Passed);
    let sorted = |report: &Report| {
        let mut names: Vec<String> = report.tests.iter().map(|test| test.name.clone()).collect();
        names.sort();
        names
    };
    assert_eq!(sorted(&merged), sorted(&whole));
    let compile = |shard: &str| {
        merged
            .trace
            .task(&format!("{shard} compile"))
            .unwrap()
            .start
            .unwrap()
    };
    assert_eq!(
        (compile("2/2") - compile("1/2")).as_secs(),
        30,
        "one clock for both"
    );
    assert_eq!(
        merged.trace.wall.as_micros(),
        (whole.trace.wall + std::time::Duration::from_secs(30)).as_micros()
    );
    let page = crate::written(&merged, "report.html").replace("&#x2f;", "/");
    assert!(
        page.contains("run2/logs/compile.log"),
        "the logs of the shard are linked"
    );
}

#[test]
fn a_shard_without_a_report_fails_the_merged_run() {
    let merged = merged(vec![
        shard(fixture::passed(), 1, 3, 0),
        shard(fixture::passed(), 3, 3, 0),
    ])
    .unwrap();
    assert_eq!(merged.run.result, RunResult::Failed);
    assert_eq!(merged.failures.len(), 1);
    assert!(
        merged.failures[0].text.contains("shard 2/3 left no report"),
        "{:?}",
        merged.failures
    );
}

#[test]
fn a_failed_scenario_fails_the_merged_run() {
    let mut red = fixture::passed();
    red.tests[0].outcome = ScenarioOutcome::Failed;
    red.run.result = RunResult::TestsFailed;
    let merged = merged(vec![shard(fixture::passed(), 1, 2, 0), shard(red, 2, 2, 0)]).unwrap();
    assert_eq!(merged.run.result, RunResult::TestsFailed);
}

#[test]
fn rejects_runs_that_are_not_shards_of_the_same_run() {
    let error = |parts| merged(parts).unwrap_err().to_string();
    let whole = Part {
        document: Document::new(&fixture::passed()),
        folder: "a".to_owned(),
    };
    assert_eq!(
        error(vec![whole]),
        "run h7k2mw is not a shard: it ran without --shard I/N"
    );
    let one = || shard(fixture::passed(), 1, 2, 0);
    assert_eq!(
        error(vec![one(), one()]),
        "the runs run1 and run1 are both shard 1/2"
    );
    let mut other = shard(fixture::passed(), 3, 3, 0);
    other.document.tests.clear();
    let other = error(vec![one(), other]);
    assert!(other.contains("not shards of the same run"), "{other}");
    let mut same = shard(fixture::passed(), 2, 2, 0);
    same.document.tests = one().document.tests;
    assert!(error(vec![one(), same]).contains("not shards of the same build"));
    assert_eq!(error(Vec::new()), "no report to merge");
}
