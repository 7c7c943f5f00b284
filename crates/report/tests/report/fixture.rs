//! Reports of simulated runs with given outcomes.

use std::collections::BTreeMap;
use std::time::Duration;

use report::{
    EarlierRun, Failure, Machine, Report, Run, RunResult, Sample, Scenario, ScenarioOutcome, TaskInfo,
};
use taskgraph::{Cause, Graph, Outcome, Plan, Task, Timing, Trace};

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A cold run on kind with a small plan.
pub(crate) fn trace() -> Trace {
    let mut plan = Plan::new();
    plan.resource("compile", 1)
        .resource("network", 2)
        .resource("images", 1);
    let task = |name: &str, duration: f64| Task::new(name, ()).estimate(seconds(duration));
    plan.task(task("preflight", 0.3))
        .task(task("check", 9.4).after("preflight").needs("compile", 1))
        .task(task("compile", 41.2).after("check").needs("compile", 1))
        .task(task("pull:redis", 6.1).after("preflight").needs("network", 1))
        .task(
            task("pull:postgresql", 14.8)
                .after("preflight")
                .needs("network", 1),
        )
        .task(task("pull:base", 5.0).after("preflight").needs("network", 1))
        .task(
            task("cluster", 24.6)
                .after("preflight")
                .milestone("begun", seconds(2.0)),
        )
        .task(task("node", 2.2).after_milestone("cluster", "begun"))
        .task(
            task("image:gateway", 4.1)
                .after("compile")
                .after("pull:base")
                .needs("images", 1),
        )
        .task(
            task("image:datastorage", 4.6)
                .after("compile")
                .after("pull:base")
                .needs("images", 1),
        )
        .task(task("load:redis", 2.4).after("pull:redis").after("node"))
        .task(
            task("load:postgresql", 5.2)
                .after("pull:postgresql")
                .after("node"),
        )
        .task(task("load:gateway", 1.7).after("image:gateway").after("node"))
        .task(
            task("load:datastorage", 1.9)
                .after("image:datastorage")
                .after("node"),
        )
        .task(task("base", 1.6).after("cluster"))
        .task(task("redis", 3.4).after("base").after("load:redis"))
        .task(task("postgresql", 6.6).after("base").after("load:postgresql"))
        .task(task("migrate", 2.8).after("postgresql").after("load:datastorage"))
        .task(task("datastorage", 2.1).after("migrate").after("redis"))
        .task(task("gateway", 2.0).after("base").after("load:gateway"))
        .task(task("test", 13.9).after("gateway").after("datastorage"))
        .task(task("collect", 0.0).always())
        .task(task("teardown", 1.8).always());
    let mut trace = Graph::new(plan).unwrap().simulate(None, Timing::estimated);
    let outcome = |trace: &mut Trace, name: &str, outcome: Outcome| {
        trace
            .tasks
            .iter_mut()
            .find(|task| task.name == name)
            .unwrap()
            .outcome = outcome;
    };
    outcome(
        &mut trace,
        "load:redis",
        Outcome::Skipped {
            reason: "the node has it already".to_owned(),
        },
    );
    outcome(
        &mut trace,
        "collect",
        Outcome::Skipped {
            reason: "nothing failed".to_owned(),
        },
    );
    trace
}

/// A run that passed, with earlier ones.
pub(crate) fn passed() -> Report {
    let trace = trace();
    let tasks = trace.tasks.iter().map(|task| {
        let kind = task.name.split(':').next().unwrap().to_owned();
        let log = format!("logs/{}.log", task.name.replace(':', "-"));
        (task.name.clone(), TaskInfo { kind, log: Some(log) })
    });
    Report {
        run: Run {
            id: "h7k2mw".to_owned(),
            stack: "kubernaut".to_owned(),
            provider: "kind".to_owned(),
            provider_reason: "podman, kind and kubectl work here".to_owned(),
            order: "graph".to_owned(),
            shard: None,
            command: ["cargo", "xtask", "e2e", "--provider", "kind"]
                .map(str::to_owned)
                .to_vec(),
            started: "2026-03-01T10:00:00Z".parse().unwrap(),
            result: RunResult::Passed,
            kept: false,
            runner_cpu_seconds: Some(0.25),
        },
        machine: Machine {
            system: "linux x86_64".to_owned(),
            cpus: 4,
            memory_bytes: 8 << 30,
        },
        tasks: tasks.collect(),
        tests: tests(),
        failures: Vec::new(),
        samples: samples(&trace),
        earlier: vec![earlier("a1", 98.0), earlier("b2", 102.0), earlier("c3", 96.0)],
        trace,
    }
}

fn earlier(id: &str, seconds: f64) -> EarlierRun {
    let tasks = [("compile", 52.0), ("cluster", 24.8), ("image:gateway", 2.1)];
    EarlierRun {
        id: id.to_owned(),
        started: "2026-02-28T09:30:00Z".parse().unwrap(),
        provider: "kind".to_owned(),
        order: "graph".to_owned(),
        result: RunResult::Passed,
        seconds,
        tasks: tasks.map(|(name, seconds)| (name.to_owned(), seconds)).into(),
    }
}

fn tests() -> Vec<Scenario> {
    let test = |id: &str, what: &str, outcome, seconds| Scenario {
        id: id.to_owned(),
        name: format!("{id}_{what}"),
        outcome,
        seconds,
        reason: None,
        detail: None,
    };
    let mut skipped = test(
        "x05",
        "cluster_moves_a_pod_to_another_node",
        ScenarioOutcome::Skipped,
        0.0,
    );
    skipped.reason = Some("needs a second node".to_owned());
    vec![
        test(
            "g01",
            "alert_becomes_one_remediation_request",
            ScenarioOutcome::Passed,
            0.84,
        ),
        test(
            "g05",
            "duplicates_are_counted_not_created",
            ScenarioOutcome::Passed,
            2.31,
        ),
        test("s01", "event_is_stored_and_found", ScenarioOutcome::Passed, 0.42),
        test(
            "s05",
            "events_survive_a_restart_of_postgresql",
            ScenarioOutcome::Passed,
            9.7,
        ),
        skipped,
    ]
}

/// Samples with one busy CPU per computing task.
fn samples(trace: &Trace) -> Vec<Sample> {
    let count = (trace.wall.as_secs_f64() * 2.0) as usize;
    (1..=count)
        .map(|place| {
            let at = place as f64 / 2.0;
            let running = trace.tasks.iter().filter(|task| {
                task.start.is_some_and(|start| start.as_secs_f64() <= at) && at < task.end.as_secs_f64()
            });
            let busy: f64 = running
                .map(|task| match task.name.as_str() {
                    "compile" | "check" => 3.1,
                    "cluster" => 0.9,
                    _ => 0.25,
                })
                .sum();
            let ripple = (place % 5) as f64 * 0.06;
            Sample {
                at,
                cpus: (busy + ripple).min(4.0),
                memory_bytes: ((2.0 + busy * 0.7 + at / 60.0) * f64::from(1 << 30)) as u64,
            }
        })
        .collect()
}

/// A run whose compile failed: its dependents did not start, and the cluster was cancelled.
pub(crate) fn failed() -> Report {
    let mut report = passed();
    let compile_end = seconds(12.5);
    let error = "cargo build --package gateway exited with 101".to_owned();
    for task in &mut report.trace.tasks {
        let Some(start) = task.start else { continue };
        if task.name == "compile" {
            task.outcome = Outcome::Failed {
                error: error.clone(),
                panicked: false,
            };
        } else if !task.always && start < compile_end && task.end > compile_end {
            let cause = Cause::Stopped {
                task: "compile".to_owned(),
            };
            task.outcome = Outcome::Cancelled {
                cause,
                detail: Some("kind was ended".to_owned()),
            };
        } else if !task.always && start >= compile_end {
            let cause = Cause::Needs {
                task: "compile".to_owned(),
            };
            task.outcome = Outcome::NotStarted { cause };
            (task.ready, task.start, task.held, task.released_by) = (None, None, None, None);
            task.milestones.clear();
        }
        task.end = task.end.min(compile_end);
    }
    for (task, (start, end)) in report
        .trace
        .tasks
        .iter_mut()
        .filter(|task| task.always)
        .zip([(12.5, 13.1), (13.1, 14.9)])
    {
        (task.ready, task.start, task.end) = (Some(seconds(start)), Some(seconds(start)), seconds(end));
    }
    let collect = report
        .trace
        .tasks
        .iter_mut()
        .find(|task| task.name == "collect")
        .unwrap();
    collect.outcome = Outcome::Done { note: None };
    collect.released_by = Some(taskgraph::Edge::end("compile"));
    report.trace.wall = seconds(14.9);
    report.run.result = RunResult::Failed;
    report.tests.clear();
    let text = format!(
        "{error}\n\nerror[E0425]: cannot find value `spool` in this scope\n  --> gateway/src/spool.rs:41:9\n\n\
         log: target/e2e/h7k2mw/logs/compile.log\nagain: cargo build --locked --package gateway"
    );
    report.failures = vec![Failure {
        task: "compile".to_owned(),
        text,
    }];
    report
}

/// Names and texts that would break out of XML, HTML, links and terminals.
pub(crate) const HOSTILE: &str = "</title><script>alert('x')</script>&\"\u{1b}[31m\u{0}]]>";

pub(crate) fn hostile() -> Report {
    let mut report = passed();
    let old = "redis";
    for task in &mut report.trace.tasks {
        if task.name == old {
            task.name = HOSTILE.to_owned();
            task.notes.push(HOSTILE.to_owned());
        }
        for edge in task
            .after
            .iter_mut()
            .chain(&mut task.released_by)
            .filter(|edge| edge.task == old)
        {
            edge.task = HOSTILE.to_owned();
        }
    }
    let info = TaskInfo {
        kind: HOSTILE.to_owned(),
        log: Some("logs/a b\"#?é.log".to_owned()),
    };
    report.tasks = BTreeMap::from([(HOSTILE.to_owned(), info)]);
    report.run.stack = HOSTILE.to_owned();
    report.run.command.push(HOSTILE.to_owned());
    report.failures.push(Failure {
        task: HOSTILE.to_owned(),
        text: HOSTILE.to_owned(),
    });
    for test in &mut report.tests {
        test.name = HOSTILE.to_owned();
        test.reason = Some(HOSTILE.to_owned());
        test.detail = Some(HOSTILE.to_owned());
        test.outcome = ScenarioOutcome::Failed;
    }
    report.earlier[0].id = HOSTILE.to_owned();
    report
}
