//! The bench on runs of an artificial stack, simulated by the runner's scheduler.

use std::{collections::BTreeMap, time::Duration};

use report::{Document, Machine, Report, Run, RunResult, Sample};
use taskgraph::{Graph, Plan, Task, Timing, Trace};

use super::{
    ORDERS, page, plot,
    provider::ProviderName,
    record::{Record, VERB, WARM},
    replay::{self, CORES},
    run::Measured,
    warm,
};

/// Duration of a task on an idle machine in seconds, and its busy CPUs.
type Truth = (f64, f64);

/// A stack that can start its cluster while it compiles and loads an image, if the order permits.
fn stack(order: &str) -> Graph<Truth> {
    let tasks: [(&str, Truth, &[&str]); 6] = [
        ("compile", (10.0, 1.5), &[]),
        ("cluster", (20.0, 1.25), &[]),
        ("load", (12.0, 1.0), &["compile"]),
        ("postgresql", (6.0, 0.5), &["cluster", "load"]),
        ("gateway", (4.0, 0.5), &["postgresql"]),
        ("test", (1.0, 0.1), &["gateway"]),
    ];
    let mut plan = Plan::new();
    for (position, (name, truth, after)) in tasks.into_iter().enumerate() {
        let mut task = Task::new(name, truth).after_all(after.iter().copied());
        let before = position.checked_sub(1).map(|position| tasks[position].0);
        let is_chained = order == "sequential" || (order == "phased" && name == "load");
        if let Some(before) = before.filter(|before| is_chained && !after.contains(before)) {
            task = task.after(before);
        }
        plan.task(task);
    }
    plan.task(Task::new("teardown", (3.0, 0.1)).always());
    Graph::new(plan).unwrap()
}

fn simulated(order: &str, cores: f64) -> Trace {
    stack(order).simulate(Some(cores), |task| Timing {
        duration: Duration::from_secs_f64(task.action.0),
        cores: task.action.1,
        ..Timing::default()
    })
}

fn measured(order: &str, cores: f64) -> Measured {
    let trace = simulated(order, cores);
    let graph = stack(order);
    let work = |task: &taskgraph::TaskTrace| {
        let (seconds, cores) = graph.task(graph.id(&task.name).unwrap()).action;
        seconds * cores / task.duration().as_secs_f64()
    };
    // One sample each tenth of a second.
    let samples = (1..=(trace.wall.as_secs_f64() * 10.0).ceil() as u32).map(|tenth| {
        let middle = Duration::from_millis(u64::from(tenth) * 100 - 50);
        let running = trace.tasks.iter();
        let running = running.filter(|task| task.start.unwrap() <= middle && middle < task.end);
        Sample {
            at: f64::from(tenth) / 10.0,
            cpus: running.map(work).sum(),
            memory_bytes: 0,
        }
    });
    let report = Report {
        run: Run {
            id: "x".to_owned(),
            stack: "x".to_owned(),
            provider: "kind".to_owned(),
            provider_reason: String::new(),
            order: order.to_owned(),
            shard: None,
            command: Vec::new(),
            started: jiff::Timestamp::UNIX_EPOCH,
            result: RunResult::Passed,
            kept: false,
            runner_cpu_seconds: Some(trace.wall.as_secs_f64() / 100.0),
        },
        machine: Machine {
            system: "linux".to_owned(),
            cpus: cores as usize,
            memory_bytes: 1 << 33,
        },
        samples: samples.collect(),
        tasks: BTreeMap::new(),
        tests: Vec::new(),
        failures: Vec::new(),
        earlier: Vec::new(),
        trace,
    };
    Measured::read(&serde_json::to_vec(&Document::new(&report)).unwrap()).unwrap()
}

fn record(folder: &std::path::Path) -> Record {
    let mut record = Record::open(folder, true).unwrap();
    for order in ORDERS {
        record.add_run(order, measured(order, 2.0)).unwrap();
    }
    record
}

/// Seconds until the scenarios start.
fn up(trace: &Trace) -> f64 {
    trace.task("test").unwrap().start.unwrap().as_secs_f64()
}

fn is_near(found: f64, expected: f64) -> bool {
    (found / expected - 1.0).abs() < 0.01
}

#[test]
fn sequential_run_forecasts_other_orders_and_machines() {
    let folder = tempfile::tempdir().unwrap();
    let replays = replay::all(&record(folder.path())).unwrap();
    for order in ORDERS {
        let [replay] = replays[order].as_slice() else {
            panic!("one round")
        };
        let here = up(&simulated(order, 2.0));
        assert!(is_near(replay.measured, here), "{order}: {replay:?}");
        assert!(
            is_near(replay.replayed, here),
            "{order}: {replay:?} instead of {here}"
        );
        for (forecast, cores) in replay.forecasts.iter().zip(CORES) {
            let there = up(&simulated(order, f64::from(cores)));
            assert_eq!(forecast.cores, f64::from(cores));
            assert!(
                is_near(forecast.at_most.as_secs_f64(), there),
                "{order} on {cores}: {forecast:?} instead of {there}"
            );
            assert!(forecast.at_least <= forecast.at_most);
        }
    }
    let shortened =
        |order: &str| replays[order][0].forecasts[0].at_most.as_secs_f64() / replays[order][0].replayed;
    assert!(shortened("graph") < 0.95, "more cores must shorten graph");
}

#[test]
fn missing_order_has_no_forecast() {
    let folder = tempfile::tempdir().unwrap();
    let mut record = Record::open(folder.path(), true).unwrap();
    record.add_run("graph", measured("graph", 2.0)).unwrap();
    assert!(replay::all(&record).unwrap().is_empty());
    let figures = page::figures(ProviderName::Kind, &record, &replay::all(&record).unwrap());
    let names: Vec<&str> = figures.iter().map(|figure| figure.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "kind: order graph, until the scenarios start",
            "kind: wall time of graph against its longest chain",
            "kind: runner's own CPU time during a run, of one core",
        ]
    );
}

#[test]
fn measurement_is_resumed_or_restarted() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = record(folder.path());
    first.add_run("graph", measured("graph", 1.0)).unwrap();
    first.add_seconds(VERB, 0.25).unwrap();
    let again = Record::open(folder.path(), true).unwrap();
    for order in ORDERS {
        assert_eq!(again.up(order), first.up(order));
    }
    assert_eq!(again.runs("graph").len(), 2);
    assert_eq!(again.seconds(VERB), [0.25]);
    assert!(again.runs(WARM).is_empty());
    let restarted = Record::open(folder.path(), false).unwrap();
    assert!(ORDERS.iter().all(|order| restarted.runs(order).is_empty()));
    assert!(restarted.seconds(VERB).is_empty());
}

#[test]
fn figures_are_compared_with_targets() {
    let folder = tempfile::tempdir().unwrap();
    let mut record = record(folder.path());
    record.add_run(WARM, measured("graph", 8.0)).unwrap();
    record.add_seconds(VERB, 0.4).unwrap();
    let replays = replay::all(&record).unwrap();
    let figures = page::figures(ProviderName::Kind, &record, &replays);
    let figure = |name: &str| {
        let name = format!("kind: {name}");
        figures.iter().find(|figure| figure.name == name).unwrap()
    };
    let here = |order| up(&simulated(order, 2.0));
    let ratio = figure("graph against sequential");
    assert!(is_near(ratio.value(), here("graph") / here("sequential")));
    assert_eq!(ratio.is_met(), Some(ratio.value() <= 0.6));
    let warm = figure("warm loop against cold");
    assert!(is_near(
        warm.value(),
        up(&simulated("graph", 8.0)) / here("graph")
    ));
    assert_eq!(warm.is_met(), Some(false));
    assert!(is_near(
        figure("runner's own CPU time during a run, of one core").value(),
        1.0
    ));
    assert_eq!(figure("`cargo xtask status`").is_met(), Some(false));
    let there = |order| up(&simulated(order, 4.0));
    let forecast = figure("forecast for 4 CPUs: graph against sequential");
    assert!(is_near(forecast.value(), there("graph") / there("sequential")));
    assert!(figure("error of sequential run replayed as graph").value() < 1.0);
}

#[test]
fn page_shows_durations_of_critical_path_in_run_and_alone() {
    let folder = tempfile::tempdir().unwrap();
    let record = record(folder.path());
    let replays = replay::all(&record).unwrap();
    let figures = page::figures(ProviderName::Kind, &record, &replays);
    let page = page::markdown(ProviderName::Kind, &record, &replays, &figures);
    // Alone, PostgreSQL takes 6 s with half a core.
    assert!(page.contains("| postgresql | 6.0 | 6.0 | 0.50 |"), "{page}");
    assert!(!page.contains("NaN") && !page.contains("| test |"), "{page}");
    for row in [
        "| 2, measured |",
        "| 2, replayed |",
        "| 4, forecast |",
        "| 8, forecast |",
    ] {
        assert!(page.contains(row), "{row} is missing in {page}");
    }
}

#[test]
fn plot_has_a_bar_for_each_order_and_machine() {
    let folder = tempfile::tempdir().unwrap();
    let record = record(folder.path());
    let svg = plot::svg(ProviderName::Kind, &record, &replay::all(&record).unwrap())
        .unwrap()
        .unwrap();
    for order in ORDERS {
        // Measured, replayed, two forecasts, and the legend.
        assert_eq!(
            svg.matches(&format!("<rect class=\"or-{order}\"")).count(),
            5,
            "{svg}"
        );
    }
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    let nothing = Record::open(&folder.path().join("nothing"), true).unwrap();
    assert!(
        plot::svg(ProviderName::Kind, &nothing, &replay::Replays::new())
            .unwrap()
            .is_none()
    );
}

#[test]
fn round_without_new_image_is_no_warm_loop() {
    let mut run = measured("graph", 2.0);
    assert!(
        warm::is_updated(&run),
        "without images the task of the service counts"
    );
    let mut image = run.document.tasks[0].clone();
    image.name = "image:gateway".to_owned();
    image.outcome = report::DocumentOutcome::Skipped {
        reason: "up to date".to_owned(),
    };
    run.document.tasks.push(image);
    assert!(!warm::is_updated(&run));
}
