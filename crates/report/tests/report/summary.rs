use report::{RunResult, summary};

use crate::fixture::{self, HOSTILE};

#[test]
fn the_summary_has_the_bounding_chain_the_forecast_and_the_comparison() {
    let text = summary(&fixture::passed());
    let expected = "\
The run was bounded by check 9.4 s, compile 41.2 s, image:datastorage 4.6 s, image:gateway 4.1 s, test 13.9 s. \
If compile took no time, the run would take 53.7 s.
This run was 19 % faster than the median of 3 earlier runs here (98.0 s).
skipped x05_cluster_moves_a_pod_to_another_node: needs a second node
run h7k2mw on kind, order graph: passed in 79.0 s; 5 scenarios: 4 passed, 1 skipped
";
    assert_eq!(text, expected);
}

#[test]
fn the_first_failure_is_nearest_to_the_prompt() {
    let mut report = fixture::failed();
    report.failures.push(report::Failure {
        task: "cluster".to_owned(),
        text: "came second".to_owned(),
    });
    let text = summary(&report);
    let place = |part: &str| {
        text.find(part)
            .unwrap_or_else(|| panic!("{part} is missing in\n{text}"))
    };
    let order = [
        "cancelled (the run stopped because compile failed): pull:postgresql, cluster, load:redis",
        "not started (needs compile, which failed): image:gateway",
        "cluster failed: came second",
        "compile failed: cargo build --package gateway exited with 101",
        "run h7k2mw on kind, order graph: failed in 14.9 s; no scenarios ran",
    ];
    assert!(
        order.windows(2).all(|pair| place(pair[0]) < place(pair[1])),
        "{text}"
    );
    // A failed run is always fast: that is no news.
    assert!(!text.contains("faster"), "{text}");
}

#[test]
fn failed_scenarios_are_shown_with_their_detail_and_a_kept_stack_with_its_end() {
    let mut report = fixture::passed();
    report.run.result = RunResult::TestsFailed;
    report.run.kept = true;
    report.tests[1].outcome = report::ScenarioOutcome::Failed;
    report.tests[1].detail = Some("expected 2 occurrences\nfound 1".to_owned());
    let text = summary(&report);
    assert!(text.contains("scenario g05_duplicates_are_counted_not_created failed after 2.3 s\n  expected 2 occurrences\n  found 1\n"), "{text}");
    assert!(
        text.ends_with(
            "3 passed, 1 failed, 1 skipped; the stack is still up, `cargo xtask down h7k2mw` removes it\n"
        ),
        "{text}"
    );
}

#[test]
fn terminal_control_characters_are_removed() {
    let mut report = fixture::hostile();
    report.run.id = HOSTILE.to_owned();
    assert!(!summary(&report).contains(['\u{1b}', '\0']));
}
