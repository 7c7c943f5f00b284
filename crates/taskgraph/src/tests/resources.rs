use super::stage::{Cue, Stage};
use super::{plan, seconds};
use crate::{Event, Graph, Plan, RunOptions, Task, Timing, What};

fn starts(plan: Plan<()>) -> Vec<(String, u64)> {
    let trace = Graph::new(plan).unwrap().simulate(None, Timing::estimated);
    trace
        .tasks
        .into_iter()
        .map(|task| (task.name, task.start.unwrap().as_secs()))
        .collect()
}

fn task(name: &str, slots: u64, estimate: u64) -> Task<()> {
    Task::new(name, ())
        .needs("slots", slots)
        .estimate(seconds(estimate))
}

#[test]
fn longest_remaining_chain_goes_first() {
    let mut plan = Plan::new();
    plan.resource("slots", 1)
        .task(task("short", 1, 5))
        .task(task("begins the long chain", 1, 1))
        .task(
            Task::new("long", ())
                .after("begins the long chain")
                .estimate(seconds(60)),
        );
    assert_eq!(
        starts(plan),
        [
            ("short".to_owned(), 1),
            ("begins the long chain".to_owned(), 0),
            ("long".to_owned(), 1)
        ]
    );
}

#[test]
fn all_resources_of_a_task_are_acquired_at_once_or_none() {
    // `both` waits for memory; meanwhile it must not hold the slot.
    let mut plan = Plan::new();
    plan.resource("memory", 1)
        .resource("slots", 1)
        .task(Task::new("holder", ()).needs("memory", 1).estimate(seconds(10)))
        .task(
            Task::new("both", ())
                .needs("memory", 1)
                .needs("slots", 1)
                .estimate(seconds(9)),
        )
        .task(task("slot alone", 1, 8));
    assert_eq!(
        starts(plan),
        [
            ("holder".into(), 0),
            ("both".into(), 10),
            ("slot alone".into(), 0)
        ]
    );
}

#[test]
fn small_tasks_do_not_keep_a_big_urgent_one_waiting() {
    let mut plan = Plan::new();
    plan.resource("slots", 2)
        .task(task("first", 1, 10))
        .task(Task::new("gate", ()).estimate(seconds(1)));
    plan.task(task("big", 2, 50).after("gate"));
    for id in 0..5 {
        plan.task(task(&format!("small{id}"), 1, 20).after("gate"));
    }
    let starts = starts(plan);
    let big = starts.iter().find(|(name, _)| name == "big").unwrap().1;
    assert_eq!(big, 10, "{starts:?}");
}

#[test]
fn small_task_goes_ahead_where_it_does_not_delay_the_big_one() {
    let mut plan = Plan::new();
    plan.resource("slots", 2)
        .task(task("first", 1, 10))
        .task(Task::new("gate", ()).estimate(seconds(1)))
        .task(task("big", 2, 50).after("gate"))
        .task(task("fits before", 1, 9).after("gate"))
        .task(task("would delay", 1, 20).after("gate"));
    let starts = starts(plan);
    assert_eq!(starts[2].1, 10, "{starts:?}");
    assert_eq!(starts[3].1, 1, "{starts:?}");
    assert_eq!(starts[4].1, 60, "{starts:?}");
}

#[test]
fn waiting_task_reports_the_resource_and_the_releasing_task() {
    let mut plan = plan(&["holder", "waits"]);
    plan.resource("build slots", 1);
    for task in &mut plan.tasks {
        task.needs.insert("build slots".to_owned(), 1);
    }
    let graph = Graph::new(plan).unwrap();
    let mut events: Vec<Event> = Vec::new();
    let run = graph
        .run(
            &RunOptions::default(),
            |event| events.push(event.clone()),
            |context, name| -> Result<crate::Ending, crate::TaskError> {
                context.progress(format!("{name} half way"));
                Ok(crate::Ending::Done)
            },
        )
        .unwrap();
    let seen: Vec<_> = events
        .iter()
        .map(|event| (graph.task(event.task).name.as_str(), event.what.clone()))
        .collect();
    let done = || What::Finished(crate::Outcome::Done { note: None });
    assert_eq!(
        seen,
        [
            ("holder", What::Started),
            (
                "waits",
                What::Waiting {
                    resources: vec!["build slots".to_owned()]
                }
            ),
            ("holder", What::Progress("holder half way".to_owned())),
            ("holder", done()),
            ("waits", What::Started),
            ("waits", What::Progress("waits half way".to_owned())),
            ("waits", done()),
        ]
    );
    assert!(events.windows(2).all(|pair| pair[0].at <= pair[1].at));
    let held = run.trace.task("waits").unwrap().held.clone().unwrap();
    assert_eq!(
        (held.resources, held.freed_by.as_deref()),
        (vec!["build slots".to_owned()], Some("holder"))
    );
}

#[test]
fn failed_task_releases_its_resources() {
    let mut plan = plan(&["fails", "waits"]);
    plan.resource("slots", 1);
    for task in &mut plan.tasks {
        task.needs.insert("slots".to_owned(), 1);
    }
    let graph = Graph::new(plan).unwrap();
    let options = RunOptions {
        keep_going: true,
        ..RunOptions::default()
    };
    let run = Stage::play(&graph, &options, |stage| {
        stage.started(&["fails"]);
        stage.cue("fails", Cue::Panic("holding a slot"));
        stage.started(&["waits"]);
        stage.succeed("waits");
    });
    assert_eq!(super::words(&run.trace), [("fails", "failed"), ("waits", "done")]);
}
