//! A plan as text, dot, mermaid or JSON.

use std::fmt::Write as _;

use clap::ValueEnum;
use serde_json::json;

use super::{Plan, Step, Task, TaskKind};

/// Output format of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One line per task
    Text,
    /// Graphviz
    Dot,
    /// Diagram for Markdown
    Mermaid,
    /// Tasks with edges, resources and steps
    Json,
}

/// Returns the plan in a format, with a final newline.
pub(crate) fn plan(plan: &Plan, format: Format) -> anyhow::Result<String> {
    Ok(match format {
        Format::Text => text(plan),
        Format::Dot => dot(plan),
        Format::Mermaid => mermaid(plan),
        Format::Json => serde_json::to_string_pretty(&json(plan))? + "\n",
    })
}

/// Returns every command of the plan, exactly as it would run, task by task.
pub(crate) fn commands(plan: &Plan) -> String {
    let mut out = String::new();
    for task in &plan.tasks {
        let _ = writeln!(out, "# {}{}", task.name, after(task));
        for line in task.action.steps.iter().flat_map(Step::lines) {
            let _ = writeln!(out, "{line}");
        }
        out.push('\n');
    }
    out
}

fn after(task: &Task) -> String {
    let edges: Vec<String> = task.after.iter().map(ToString::to_string).collect();
    match (task.always, edges.is_empty()) {
        (true, _) => "   (always, at the end)".to_owned(),
        (false, true) => String::new(),
        (false, false) => format!("   (after {})", edges.join(", ")),
    }
}

fn text(plan: &Plan) -> String {
    let width = plan.tasks.iter().map(|task| task.name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for task in &plan.tasks {
        let edges: Vec<String> = task.after.iter().map(ToString::to_string).collect();
        let edges = if task.always {
            "always, at the end".to_owned()
        } else {
            format!("[{}]", edges.join(", "))
        };
        let needs: Vec<&str> = task.needs.keys().map(String::as_str).collect();
        let needs = if needs.is_empty() {
            String::new()
        } else {
            format!("   holds {}", needs.join(", "))
        };
        let _ = writeln!(out, "{:width$}  {edges}{needs}", task.name);
    }
    out
}

fn color(kind: TaskKind) -> &'static str {
    match kind {
        TaskKind::Preflight | TaskKind::Check => "#e8e8e8",
        TaskKind::Compile => "#f7d794",
        TaskKind::Pull | TaskKind::Image | TaskKind::Load => "#c7ecee",
        TaskKind::Cluster => "#d6c9f0",
        TaskKind::Deploy => "#c8e6c9",
        TaskKind::Test => "#bbdefb",
        TaskKind::Collect | TaskKind::Teardown => "#f5f5f5",
    }
}

fn dot(plan: &Plan) -> String {
    let mut out =
        "digraph plan {\n  rankdir=LR; node [shape=box, style=\"rounded,filled\", fontname=sans];\n"
            .to_owned();
    for task in &plan.tasks {
        let _ = writeln!(
            out,
            "  \"{}\" [fillcolor=\"{}\"];",
            task.name,
            color(task.action.kind)
        );
    }
    for task in &plan.tasks {
        for edge in &task.after {
            let style = edge
                .milestone
                .as_ref()
                .map(|name| format!(" [style=dashed, label=\"{name}\"]"));
            let _ = writeln!(
                out,
                "  \"{}\" -> \"{}\"{};",
                edge.task,
                task.name,
                style.unwrap_or_default()
            );
        }
    }
    out + "}\n"
}

fn mermaid(plan: &Plan) -> String {
    let id = |name: &str| format!("t_{}", name.replace(|c: char| !c.is_ascii_alphanumeric(), "_"));
    let mut out = "flowchart LR\n".to_owned();
    for task in &plan.tasks {
        let _ = writeln!(out, "  {}[\"{}\"]", id(&task.name), task.name);
        for edge in &task.after {
            let arrow = edge
                .milestone
                .as_ref()
                .map_or("-->".to_owned(), |name| format!("-. {name} .->"));
            let _ = writeln!(out, "  {} {arrow} {}", id(&edge.task), id(&task.name));
        }
    }
    for task in &plan.tasks {
        let _ = writeln!(out, "  style {} fill:{}", id(&task.name), color(task.action.kind));
    }
    out
}

fn json(plan: &Plan) -> serde_json::Value {
    let task = |task: &Task| {
        json!({
            "name": task.name,
            "kind": task.action.kind,
            "after": task.after,
            "needs": task.needs,
            "always": task.always,
            "estimate_seconds": task.estimate.as_secs_f64(),
            "steps": task.action.steps,
            "commands": task.action.steps.iter().flat_map(Step::lines).collect::<Vec<_>>(),
        })
    };
    json!({"resources": plan.resources, "tasks": plan.tasks.iter().map(task).collect::<Vec<_>>()})
}
