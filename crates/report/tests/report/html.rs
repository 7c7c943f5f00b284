use crate::fixture;

/// Returns the page with unescaped slashes.
fn written(report: &report::Report) -> String {
    crate::written(report, "report.html").replace("&#x2f;", "/")
}

#[test]
fn the_page_has_no_external_resources() {
    for report in [fixture::passed(), fixture::failed(), fixture::hostile()] {
        let page = written(&report);
        // The name of a namespace is not a link.
        let page = page.replace("http://www.w3.org/2000/svg", "");
        for bad in [
            "http:", "https:", "//www", "src=", "@import", "<script", "<iframe", "<object", "<img", "url(h",
        ] {
            assert!(!page.contains(bad), "{bad} is in the page");
        }
        assert!(page.contains("Content-Security-Policy\" content=\"default-src 'none'"));
    }
}

#[test]
fn the_page_has_timeline_chain_scenarios_and_comparison() {
    let page = written(&fixture::passed());
    for part in [
        "<svg ",
        "If compile took no time, the run would take 53.7 s.",
        "when image:datastorage released images",
        "g05_duplicates_are_counted_not_created",
        "needs a second node",
        "This run was 19 % faster than the median of 3 earlier runs here (98.0 s).",
        "−10.8 s",
        "<a href=\"logs/image-gateway.log\">image:gateway</a>",
    ] {
        assert!(page.contains(part), "{part} is missing");
    }
    // No earlier run has `test`.
    let changes = page
        .split("class=\"changes\"")
        .nth(1)
        .unwrap()
        .split("</table>")
        .next()
        .unwrap();
    assert!(!changes.contains("<td>test</td>"), "{changes}");
}

#[test]
fn failures_precede_the_timeline() {
    let page = written(&fixture::failed());
    let failure = page.find("cannot find value `spool` in this scope").unwrap();
    assert!(failure < page.find("<svg ").unwrap());
    assert!(page.contains("<a href=\"logs/compile.log\">log</a>"));
}

#[test]
fn failed_scenarios_are_first_with_their_detail() {
    let mut report = fixture::passed();
    report.tests[3].outcome = report::ScenarioOutcome::Failed;
    report.tests[3].detail = Some("expected 5 events, found 4".to_owned());
    let page = written(&report);
    let tests = page.split("class=\"tests\"").nth(1).unwrap();
    let place = |part: &str| tests.find(part).unwrap();
    assert!(place("expected 5 events, found 4") < place("g01_alert_becomes_one_remediation_request"));
}
