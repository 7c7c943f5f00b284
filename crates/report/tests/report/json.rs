use std::fs;
use std::path::Path;

use report::{Document, DocumentOutcome, RunResult};
use serde_json::Value;

use crate::fixture;
use crate::written;

#[test]
fn the_report_has_tasks_bounding_chain_and_forecast() {
    let report = fixture::passed();
    let document: Document = serde_json::from_str(&written(&report, "report.json")).unwrap();
    assert_eq!((document.version, document.run.clone()), (1, report.run.clone()));
    assert_eq!(document.tasks.len(), report.trace.tasks.len());
    let cost: f64 = document.bounding_chain.iter().map(|link| link.cost).sum();
    assert!(
        (cost - document.seconds).abs() < 1e-3,
        "{cost} instead of {}",
        document.seconds
    );
    let image = document
        .tasks
        .iter()
        .find(|task| task.name == "image:gateway")
        .unwrap();
    assert_eq!(
        image.held.as_ref().unwrap().freed_by.as_deref(),
        Some("image:datastorage")
    );
    assert!(image.critical);
    assert_eq!(
        (image.slack, image.log.as_deref()),
        (Some(0.0), Some("logs/image-gateway.log"))
    );
    let free = document.if_longest_were_free.unwrap();
    assert_eq!(free.task, "compile");
    assert!(free.seconds < document.seconds && free.seconds > document.seconds - free.cost - 1e-6);
    assert_eq!(document.tests, report.tests);
    assert_eq!(
        (document.samples.len(), document.samples[0]),
        (report.samples.len(), report.samples[0])
    );
}

#[test]
fn failed_cancelled_and_not_started_tasks_have_their_cause() {
    let document = Document::new(&fixture::failed());
    let outcome = |name: &str| {
        document
            .tasks
            .iter()
            .find(|task| task.name == name)
            .unwrap()
            .outcome
            .clone()
    };
    assert!(matches!(
        outcome("compile"),
        DocumentOutcome::Failed { panicked: false, .. }
    ));
    assert!(
        matches!(outcome("cluster"), DocumentOutcome::Cancelled { because_of: Some(task), .. } if task == "compile")
    );
    assert!(
        matches!(outcome("gateway"), DocumentOutcome::NotStarted { because_of: Some(task), .. } if task == "compile")
    );
    // A run that was cut short has no forecast.
    assert_eq!(document.if_longest_were_free, None);
}

#[test]
fn earlier_runs_are_read_from_their_reports_oldest_first() {
    let runs = tempfile::tempdir().unwrap();
    for (id, day) in [("second", 2), ("third", 3), ("first", 1), ("own", 4)] {
        let mut report = fixture::passed();
        report.run.id = id.to_owned();
        report.run.started = format!("2026-03-0{day}T10:00:00Z").parse().unwrap();
        fs::create_dir(runs.path().join(id)).unwrap();
        report::write_all(&report, &runs.path().join(id)).unwrap();
    }
    // A killed run, and one with another version of the format.
    fs::create_dir(runs.path().join("killed")).unwrap();
    fs::create_dir(runs.path().join("newer")).unwrap();
    let newer = fs::read_to_string(runs.path().join("third/report.json")).unwrap();
    fs::write(
        runs.path().join("newer/report.json"),
        newer.replace("\"version\": 1", "\"version\": 2"),
    )
    .unwrap();

    let earlier = report::earlier_runs(runs.path(), "own", 10);
    let ids: Vec<&str> = earlier.iter().map(|run| run.id.as_str()).collect();
    assert_eq!(ids, ["first", "second", "third"]);
    assert_eq!((earlier[0].result, earlier[0].seconds), (RunResult::Passed, 79.0));
    assert_eq!(earlier[0].tasks["compile"], 41.2);
    // A skipped task has no duration.
    assert!(!earlier[0].tasks.contains_key("load:redis"));
    let newest: Vec<String> = report::earlier_runs(runs.path(), "own", 2)
        .into_iter()
        .map(|run| run.id)
        .collect();
    assert_eq!(newest, ["second", "third"]);
    assert_eq!(report::earlier_runs(&runs.path().join("nowhere"), "own", 2), []);
}

#[test]
fn the_trace_has_slices_arrows_and_counters() {
    let report = fixture::passed();
    let trace: Value = serde_json::from_str(&written(&report, "trace.json")).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let of = |phase: &str| {
        events
            .iter()
            .filter(|event| event["ph"] == phase)
            .collect::<Vec<_>>()
    };
    for event in events {
        assert!(
            event["pid"].is_u64() && (event["ph"] == "M" || event["ts"].as_f64().is_some()),
            "{event}"
        );
    }
    let compile = of("X")
        .into_iter()
        .find(|slice| slice["name"] == "compile")
        .unwrap();
    assert_eq!(
        (&compile["ts"], &compile["dur"]),
        (&9_700_000.into(), &41_200_000.into())
    );
    assert_eq!(compile["cat"], "running,critical");
    let waits = of("X")
        .into_iter()
        .find(|slice| slice["name"] == "waits for images")
        .unwrap();
    assert_eq!(waits["dur"], 4_600_000);
    // Each arrow of the chain has both ends, and each end is within a slice of its row.
    let links = report.trace.bounding_chain().len() - 1;
    assert_eq!((of("s").len(), of("f").len()), (links, links));
    for end in of("s").into_iter().chain(of("f")) {
        let at = end["ts"].as_u64().unwrap();
        let within = of("X")
            .into_iter()
            .filter(|slice| slice["tid"] == end["tid"])
            .any(|slice| {
                let (from, duration) = (slice["ts"].as_u64().unwrap(), slice["dur"].as_u64().unwrap());
                from <= at && at <= from + duration
            });
        assert!(within, "{end}");
    }
    assert_eq!(of("C").len(), 2 * report.samples.len());
    assert_eq!(of("i")[0]["name"], "begun");
}

#[test]
fn every_file_that_cannot_be_written_is_reported() {
    let error = report::write_all(&fixture::passed(), Path::new("/nowhere/at/all"))
        .unwrap_err()
        .to_string();
    for file in [
        "report.json",
        "junit.xml",
        "trace.json",
        "timeline.svg",
        "report.html",
    ] {
        assert!(
            error.contains(&format!("write /nowhere/at/all/{file}")),
            "{error}"
        );
    }
}

#[test]
fn the_sampler_measures_the_machine() {
    let machine = report::Machine::this();
    assert!(machine.cpus >= 1 && machine.memory_bytes > 1 << 20, "{machine:?}");
    // Even the shortest run has a sample at its end.
    let samples = report::Sampler::start(std::time::Duration::from_secs(3600)).finish();
    let [sample] = samples[..] else {
        panic!("{samples:?}")
    };
    assert!((0.0..60.0).contains(&sample.at), "{sample:?}");
    assert!(sample.memory_bytes > 1 << 20, "{sample:?}");
    assert!((0.0..=1024.0).contains(&sample.cpus), "{sample:?}");
}
