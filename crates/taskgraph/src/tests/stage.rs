//! Runs a graph on its threads while the test decides how and when each task ends.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::DEADLINE;
use crate::{Cancelled, Context, Ending, Graph, Run, RunOptions, TaskError};

/// How a task ends.
pub(super) enum Cue {
    Succeed,
    Fail(&'static str),
    Panic(&'static str),
    Reach(&'static str),
    /// Sent by the task's own cancellation.
    Stop,
}

/// What the test observes of a task.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Started(String),
    Stopped(String),
}

pub(super) struct Stage<'g> {
    graph: &'g Graph<String>,
    signs: Receiver<Sign>,
    cues: Vec<Sender<Cue>>,
}

impl<'g> Stage<'g> {
    /// Runs the graph while `script` plays.
    pub(super) fn play(
        graph: &'g Graph<String>,
        options: &RunOptions,
        script: impl FnOnce(&Stage<'g>) + Send,
    ) -> Run {
        let (sign, signs) = channel();
        let (cues, inboxes): (Vec<_>, Vec<_>) = graph.ids().map(|_| channel()).unzip();
        let inboxes: Vec<_> = inboxes.into_iter().map(Mutex::new).collect();
        let stage = Stage {
            graph,
            signs,
            cues: cues.clone(),
        };
        std::thread::scope(|scope| {
            // After a failure of the script the running tasks end at `DEADLINE`.
            scope.spawn(move || script(&stage));
            let cues: Vec<_> = cues.into_iter().map(Mutex::new).collect();
            graph
                .run(
                    options,
                    |_| {},
                    |context, name| act(context, name, graph, &sign, &cues, &inboxes),
                )
                .unwrap()
        })
    }

    /// Waits until exactly these tasks have started or stopped, in any order.
    pub(super) fn expect(&self, signs: impl IntoIterator<Item = Sign>) {
        let mut left: Vec<Sign> = signs.into_iter().collect();
        while !left.is_empty() {
            let sign = self
                .signs
                .recv_timeout(DEADLINE)
                .unwrap_or_else(|_| panic!("still missing: {left:?}"));
            let position = left.iter().position(|expected| *expected == sign);
            left.remove(position.unwrap_or_else(|| panic!("unexpected {sign:?}, expected {left:?}")));
        }
    }

    pub(super) fn started(&self, tasks: &[&str]) {
        self.expect(tasks.iter().map(|&task| Sign::Started(task.to_owned())));
    }

    pub(super) fn stopped(&self, tasks: &[&str]) {
        self.expect(tasks.iter().map(|&task| Sign::Stopped(task.to_owned())));
    }

    pub(super) fn cue(&self, task: &str, cue: Cue) {
        self.cues[self.graph.id(task).unwrap().index()].send(cue).unwrap();
    }

    pub(super) fn succeed(&self, task: &str) {
        self.cue(task, Cue::Succeed);
    }
}

fn act(
    context: &Context,
    name: &str,
    graph: &Graph<String>,
    sign: &Sender<Sign>,
    cues: &[Mutex<Sender<Cue>>],
    inboxes: &[Mutex<Receiver<Cue>>],
) -> Result<Ending, TaskError> {
    assert_eq!(context.name(), name);
    let id = graph.id(name).unwrap().index();
    let own = cues[id].lock().unwrap().clone();
    let _guard = context.on_cancel(move || own.send(Cue::Stop).unwrap());
    sign.send(Sign::Started(name.to_owned()))?;
    loop {
        match inboxes[id].lock().unwrap().recv_timeout(DEADLINE)? {
            Cue::Succeed => return Ok(Ending::Done),
            Cue::Fail(text) => return Err(text.into()),
            Cue::Panic(text) => panic!("{text}"),
            Cue::Reach(milestone) => context.reach(milestone)?,
            Cue::Stop => {
                assert!(context.is_cancelled());
                sign.send(Sign::Stopped(name.to_owned()))?;
                return Err(Box::new(Cancelled(context.check().unwrap_err().0)));
            }
        }
    }
}

/// All graphs of `count` tasks whose edges go from lower to higher numbers, as lists of predecessors.
pub(super) fn all_graphs(count: usize) -> impl Iterator<Item = Vec<BTreeSet<usize>>> {
    let pairs: Vec<(usize, usize)> = (0..count)
        .flat_map(|to| (0..to).map(move |from| (from, to)))
        .collect();
    (0_u32..1 << pairs.len()).map(move |mask| {
        let mut after = vec![BTreeSet::new(); count];
        for (bit, &(from, to)) in pairs.iter().enumerate() {
            if mask & (1 << bit) != 0 {
                after[to].insert(from);
            }
        }
        after
    })
}
