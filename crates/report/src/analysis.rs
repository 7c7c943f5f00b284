//! Analysis of the trace, computed once per report.

use std::collections::BTreeMap;
use std::time::Duration;

use taskgraph::{ChainLink, IfFree, Trace};

pub(crate) struct Analysis {
    pub(crate) bounding: Vec<ChainLink>,
    pub(crate) longest: Vec<(String, Duration)>,
    pub(crate) slack: BTreeMap<String, Duration>,
    /// Only for a run in which all tasks started; for others a forecast is meaningless.
    pub(crate) if_free: Option<IfFree>,
}

impl Analysis {
    /// Analyzes a trace. If its edges are no valid graph there is neither a longest chain nor a forecast.
    pub(crate) fn new(trace: &Trace) -> Self {
        let all_started = trace.tasks.iter().all(|task| task.start.is_some());
        Self {
            bounding: trace.bounding_chain(),
            longest: trace.longest_chain().unwrap_or_default(),
            slack: trace.slack(),
            if_free: all_started
                .then(|| trace.if_longest_were_free().unwrap_or_default())
                .flatten(),
        }
    }

    /// Returns the task's link of the bounding chain.
    pub(crate) fn link(&self, task: &str) -> Option<&ChainLink> {
        self.bounding.iter().find(|link| link.task == task)
    }

    pub(crate) fn is_critical(&self, task: &str) -> bool {
        self.link(task).is_some()
    }
}
