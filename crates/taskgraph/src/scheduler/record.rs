//! The scheduler's record of each task, and the resulting trace.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::graph::{Link, Node, Shape};
use crate::outcome::{Cause, Outcome};
use crate::plan::Edge;
use crate::trace::{Held, TaskTrace, Trace};

#[derive(Default)]
pub(super) struct Record {
    pub(super) ready: Option<Duration>,
    pub(super) start: Option<Duration>,
    pub(super) end: Duration,
    /// The task, and its milestone, whose edge was satisfied last.
    pub(super) released_by: Option<(usize, Option<String>)>,
    /// Of an `always` task: the previous one, for whose end it waited.
    pub(super) after_all: Option<usize>,
    /// The resources that it waited for last, once it was ready.
    pub(super) held: Option<Vec<String>>,
    /// The task whose end released it.
    pub(super) freed_by: Option<usize>,
    pub(super) milestones: BTreeMap<String, Duration>,
    pub(super) outcome: Option<Outcome>,
    pub(super) notes: Vec<String>,
    pub(super) measured: BTreeMap<String, f64>,
}

pub(super) fn trace(shape: &Shape, records: impl Iterator<Item = Record>) -> Trace {
    let tasks: Vec<TaskTrace> = shape
        .nodes
        .iter()
        .zip(records)
        .map(|(node, record)| task_trace(shape, node, record))
        .collect();
    Trace {
        wall: tasks.iter().map(|task| task.end).max().unwrap_or_default(),
        resources: shape
            .resource_names
            .iter()
            .cloned()
            .zip(shape.capacities.iter().copied())
            .collect(),
        tasks,
    }
}

fn task_trace(shape: &Shape, node: &Node, record: Record) -> TaskTrace {
    let Record {
        ready,
        start,
        end,
        released_by,
        after_all,
        held,
        freed_by,
        milestones,
        outcome,
        notes,
        measured,
    } = record;
    let name = |id: usize| shape.nodes[id].name.clone();
    let edge = |link: &Link| Edge {
        task: name(link.task),
        milestone: link.milestone.clone(),
    };
    let released_by = released_by.or(after_all.map(|id| (id, None)));
    TaskTrace {
        name: node.name.clone(),
        after: node.after.iter().map(edge).collect(),
        needs: node
            .needs
            .iter()
            .map(|&(id, amount)| (shape.resource_names[id].clone(), amount))
            .collect(),
        estimate: node.estimate,
        always: node.always,
        ready,
        start,
        end,
        released_by: released_by.map(|(id, milestone)| Edge {
            task: name(id),
            milestone,
        }),
        held: held.map(|resources| Held {
            resources,
            freed_by: freed_by.map(name),
        }),
        milestones,
        // Only a run that was aborted leaves a task without an outcome.
        outcome: outcome.unwrap_or(Outcome::NotStarted {
            cause: Cause::Interrupted {
                reason: "the run was aborted".to_owned(),
            },
        }),
        notes,
        measured,
    }
}
