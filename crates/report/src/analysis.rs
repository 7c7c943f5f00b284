//! What bounded the run, worked out once for all forms of the report.

use std::collections::BTreeMap;
use std::time::Duration;

use taskgraph::{ChainLink, IfFree, Trace};

pub(crate) struct Analysis {
    pub(crate) bounding: Vec<ChainLink>,
    pub(crate) longest: Vec<(String, Duration)>,
    pub(crate) slack: BTreeMap<String, Duration>,
    /// Only of a run that came to its end: of another it would say nothing.
    pub(crate) if_free: Option<IfFree>,
}

impl Analysis {
    /// A trace that no run left (edges that make no graph) has no chain of edges and no forecast.
    pub(crate) fn new(trace: &Trace) -> Self {
        let came_to_its_end = trace.tasks.iter().all(|task| task.start.is_some());
        Self {
            bounding: trace.bounding_chain(),
            longest: trace.longest_chain().unwrap_or_default(),
            slack: trace.slack(),
            if_free: came_to_its_end
                .then(|| trace.if_longest_were_free().unwrap_or_default())
                .flatten(),
        }
    }

    /// The task's place in the chain that bounded the run.
    pub(crate) fn link(&self, task: &str) -> Option<&ChainLink> {
        self.bounding.iter().find(|link| link.task == task)
    }

    pub(crate) fn is_critical(&self, task: &str) -> bool {
        self.link(task).is_some()
    }
}
