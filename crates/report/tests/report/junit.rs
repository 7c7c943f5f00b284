use report::Report;

use crate::fixture::{self, HOSTILE};
use crate::written;
use crate::xml::{Element, elements};

fn suite<'x>(xml: &'x [Element], name: &str) -> (&'x Element, Vec<&'x Element>) {
    let place = xml
        .iter()
        .position(|suite| suite.name == "testsuite" && suite.get("name") == name)
        .unwrap();
    let cases = xml
        .iter()
        .filter(|case| case.name == "testcase" && case.around.last() == Some(&place));
    (&xml[place], cases.collect())
}

fn read(report: &Report) -> Vec<Element> {
    elements(&written(report, "junit.xml"))
}

#[test]
fn each_scenario_is_a_case_with_its_time() {
    let xml = read(&fixture::passed());
    let (suite, cases) = suite(&xml, "scenarios");
    let counts = ["tests", "failures", "errors", "skipped"].map(|count| suite.get(count).to_owned());
    assert_eq!(counts, ["5", "0", "0", "1"]);
    assert_eq!(cases[1].get("name"), "g05_duplicates_are_counted_not_created");
    assert_eq!(cases[1].number("time"), 2.31);
    let skipped = xml
        .iter()
        .find(|element| element.name == "skipped" && element.attributes.contains_key("message"));
    assert_eq!(skipped.unwrap().get("message"), "needs a second node");
}

#[test]
fn a_run_without_scenarios_is_not_an_empty_success() {
    let report = fixture::failed();
    let xml = read(&report);
    assert!(suite(&xml, "scenarios").1.is_empty());
    let (suite, cases) = suite(&xml, "tasks");
    assert_eq!((suite.get("tests"), suite.get("failures")), ("23", "1"));
    let failure = xml.iter().find(|element| element.name == "failure").unwrap();
    assert_eq!(
        failure.get("message"),
        "cargo build --package gateway exited with 101"
    );
    assert_eq!(failure.text, report.failures[0].text);
    let case = &xml[*failure.around.last().unwrap()];
    assert_eq!(case.get("name"), "compile");
    let gateway = cases.iter().find(|case| case.get("name") == "gateway").unwrap();
    let place = xml.iter().position(|element| element == *gateway).unwrap();
    assert_eq!(
        xml[place + 1].get("message"),
        "not started: needs compile, which failed"
    );
}

#[test]
fn hostile_texts_are_escaped() {
    let xml = read(&fixture::hostile());
    assert!(!xml.iter().any(|element| element.name == "script"));
    let (_, cases) = suite(&xml, "scenarios");
    // Only characters that XML forbids are removed.
    let plain = HOSTILE.replace("\u{1b}[31m", "").replace('\0', "");
    assert_eq!(cases[0].get("name"), plain);
    let failures: Vec<&str> = xml
        .iter()
        .filter(|element| element.name == "failure")
        .map(|failure| failure.text.as_str())
        .collect();
    assert_eq!(failures, [plain.as_str(); 5]);
}
