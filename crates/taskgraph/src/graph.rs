//! A checked plan: every edge leads to a task, there is no cycle, every need can be met.

mod check;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::plan::{Plan, Task};

/// A task of one [`Graph`]: only that graph creates it, so it always refers to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub(crate) usize);

impl TaskId {
    /// Its index in the plan.
    pub fn index(self) -> usize {
        self.0
    }
}

/// A checked [`Plan`], ready to [`run`](Self::run) or to [`simulate`](Self::simulate).
#[derive(Clone, Debug)]
pub struct Graph<A = ()> {
    plan: Plan<A>,
    pub(crate) shape: Shape,
}

/// The graph by indices, without the actions.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) resource_names: Vec<String>,
    pub(crate) capacities: Vec<u64>,
    pub(crate) nodes: Vec<Node>,
    /// An order in which every task follows those that it waits for.
    pub(crate) topological: Vec<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) always: bool,
    pub(crate) after: Vec<Link>,
    /// Tasks that wait for this one, each once for each of its edges.
    pub(crate) before: Vec<Link>,
    /// Amount of each resource, by index.
    pub(crate) needs: Vec<(usize, u64)>,
    pub(crate) estimate: Duration,
    milestones: BTreeMap<String, Duration>,
    /// The longest chain of estimates from this task's start to the end of the graph.
    pub(crate) chain: Duration,
}

/// One end of an edge: the other task, and the milestone unless the edge is to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) task: usize,
    pub(crate) milestone: Option<String>,
}

/// All errors of a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct PlanErrors(pub Vec<PlanError>);

impl fmt::Display for PlanErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

/// One error of a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Two tasks have one name.
    #[error("task {name:?} is in the plan twice")]
    Duplicate {
        /// Their name.
        name: String,
    },
    /// An edge to a missing task.
    #[error("task {task:?} waits for {missing:?}, which is not in the plan")]
    UnknownTask {
        /// The task with the edge.
        task: String,
        /// The missing task.
        missing: String,
    },
    /// An edge to a milestone that its task does not declare.
    #[error("task {task:?} waits for milestone {milestone:?} of {of:?}, which declares {declared}")]
    UnknownMilestone {
        /// The task with the edge.
        task: String,
        /// The task that it waits for.
        of: String,
        /// The milestone that it waits for.
        milestone: String,
        /// The declared milestones, for people.
        declared: String,
    },
    /// The plan contains a dependency cycle.
    #[error("dependency cycle: {}", cycle.join(" -> "))]
    Cycle {
        /// Each waits for the previous one; the first is repeated at the end.
        cycle: Vec<String>,
    },
    /// A need of a resource that the plan does not have.
    #[error("task {task:?} needs {resource:?}, which is not a resource of the plan")]
    UnknownResource {
        /// The task.
        task: String,
        /// The resource.
        resource: String,
    },
    /// A need that can never be met.
    #[error("task {task:?} needs {amount} of {resource:?}, of which there are {capacity}")]
    TooMuch {
        /// The task.
        task: String,
        /// The resource.
        resource: String,
        /// The needed amount.
        amount: u64,
        /// Its capacity.
        capacity: u64,
    },
    /// `always` tasks run after all others, in the order of the plan, and have no edges.
    #[error(
        "task {task:?} waits for {after:?}, but one of them always runs at the end, in the order of the plan"
    )]
    EdgeOfAlways {
        /// The task with the edge.
        task: String,
        /// What it waits for.
        after: String,
    },
}

impl<A> Graph<A> {
    /// Checks a plan.
    ///
    /// # Errors
    /// All errors, by name.
    pub fn new(plan: Plan<A>) -> Result<Self, PlanErrors> {
        let shape = Shape::new(&plan)?;
        Ok(Self { plan, shape })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan<A> {
        &self.plan
    }

    /// Number of tasks.
    pub fn len(&self) -> usize {
        self.plan.tasks.len()
    }

    /// Whether there is no task.
    pub fn is_empty(&self) -> bool {
        self.plan.tasks.is_empty()
    }

    /// The tasks in the order of the plan.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = TaskId> + use<A> {
        (0..self.len()).map(TaskId)
    }

    /// The task with this name.
    pub fn id(&self, name: &str) -> Option<TaskId> {
        self.plan
            .tasks
            .iter()
            .position(|task| task.name == name)
            .map(TaskId)
    }

    /// The task with this id, which must be of this graph.
    pub fn task(&self, id: TaskId) -> &Task<A> {
        &self.plan.tasks[id.0]
    }

    /// The tasks, each after those that it waits for; `always` tasks last.
    pub fn topological(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.shape.topological.iter().copied().map(TaskId)
    }

    /// The longest chain of estimates from the task's start to the end of the graph.
    pub fn remaining_chain(&self, id: TaskId) -> Duration {
        self.shape.nodes[id.0].chain
    }

    /// The longest chain of estimates, each task with what it adds; `always` tasks are not part of it.
    pub fn longest_chain(&self) -> Vec<(TaskId, Duration)> {
        let nodes = &self.shape.nodes;
        let normal = self.ids().filter(|id| !nodes[id.0].always);
        let mut next = normal.max_by_key(|id| (nodes[id.0].chain, Reverse(id.0)));
        let mut chain = Vec::new();
        while let Some(id) = next {
            let node = &nodes[id.0];
            let link = node.longest_link(nodes);
            let rest = link.map_or(Duration::ZERO, |link| nodes[link.task].chain);
            chain.push((id, node.chain.saturating_sub(rest)));
            next = link.map(|link| TaskId(link.task));
        }
        chain
    }
}

impl Shape {
    fn new<A>(plan: &Plan<A>) -> Result<Self, PlanErrors> {
        let mut errors = Vec::new();
        let ids = check::index_names(plan, &mut errors);
        let mut nodes: Vec<Node> = plan
            .tasks
            .iter()
            .map(|task| Node {
                name: task.name.clone(),
                always: task.always,
                after: check::links(plan, task, &ids, &mut errors),
                before: Vec::new(),
                needs: check::needs(plan, task, &mut errors),
                estimate: task.estimate,
                milestones: task.milestones.clone(),
                chain: Duration::ZERO,
            })
            .collect();
        for id in 0..nodes.len() {
            for Link { task, milestone } in nodes[id].after.clone() {
                nodes[task].before.push(Link { task: id, milestone });
            }
        }
        let topological = check::sort(&nodes, &mut errors);
        if !errors.is_empty() {
            return Err(PlanErrors(errors));
        }
        for &id in topological.iter().rev() {
            nodes[id].chain = chain(&nodes, id);
        }
        Ok(Self {
            resource_names: plan.resources.keys().cloned().collect(),
            capacities: plan.resources.values().copied().collect(),
            nodes,
            topological,
        })
    }
}

/// The longest chain of estimates from the start of `id`. The chains of its successors are known.
fn chain(nodes: &[Node], id: usize) -> Duration {
    let node = &nodes[id];
    let through = node.before.iter().map(|link| node.chain_through(nodes, link));
    through.max().unwrap_or_default().max(node.estimate)
}

impl Node {
    /// The chain from this task's start that continues with one of its successors.
    fn chain_through(&self, nodes: &[Node], link: &Link) -> Duration {
        let offset = match &link.milestone {
            None => self.estimate,
            // A milestone is within its task, whatever its expected offset is.
            Some(name) => self
                .milestones
                .get(name)
                .copied()
                .unwrap_or_default()
                .min(self.estimate),
        };
        offset.saturating_add(nodes[link.task].chain)
    }

    /// The link that continues with the longest chain; `None` when it ends here.
    fn longest_link(&self, nodes: &[Node]) -> Option<&Link> {
        self.before
            .iter()
            .find(|link| self.chain_through(nodes, link) == self.chain)
    }
}
