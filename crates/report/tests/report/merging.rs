use report::{Document, Part, Report, RunResult, ScenarioOutcome, merge};

use crate::fixture;

/// One of `of` shards with the scenarios whose place in the list falls to it, begun `later` seconds after the first.
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
fn the_shards_of_one_whole_are_one_report_with_every_scenario_once() {
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
        "the logs are linked where they are"
    );
}

#[test]
fn a_shard_that_left_no_report_fails_the_whole() {
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
fn one_failed_scenario_fails_the_whole() {
    let mut red = fixture::passed();
    red.tests[0].outcome = ScenarioOutcome::Failed;
    red.run.result = RunResult::TestsFailed;
    let merged = merged(vec![shard(fixture::passed(), 1, 2, 0), shard(red, 2, 2, 0)]).unwrap();
    assert_eq!(merged.run.result, RunResult::TestsFailed);
}

#[test]
fn what_are_no_shards_of_one_whole_is_refused_with_the_reason() {
    let refused = |parts| merged(parts).unwrap_err().to_string();
    let whole = Part {
        document: Document::new(&fixture::passed()),
        folder: "a".to_owned(),
    };
    assert_eq!(
        refused(vec![whole]),
        "run h7k2mw is no shard: it was called without --shard I/N"
    );
    let one = || shard(fixture::passed(), 1, 2, 0);
    assert_eq!(
        refused(vec![one(), one()]),
        "the runs run1 and run1 are both shard 1/2"
    );
    let other = refused(vec![one(), shard(fixture::passed(), 3, 3, 0)]);
    assert!(other.contains("not shards of one"), "{other}");
    let mut same = shard(fixture::passed(), 2, 2, 0);
    same.document.tests = one().document.tests;
    assert!(refused(vec![one(), same]).contains("not shards of one build"));
    assert_eq!(refused(Vec::new()), "there is no report to merge");
}
