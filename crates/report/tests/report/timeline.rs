use std::collections::BTreeMap;

use report::Report;

use crate::fixture::{self, HOSTILE};
use crate::written;
use crate::xml::{Element, elements};

/// Returns the rectangles of a class by the task of their row.
fn bars(svg: &[Element], class: &str) -> BTreeMap<String, Element> {
    let is_bar = |element: &&Element| element.name == "rect" && element.has_class(class);
    svg.iter()
        .filter(is_bar)
        .filter_map(|bar| Some((row(svg, bar)?.to_owned(), bar.clone())))
        .collect()
}

fn row<'s>(svg: &'s [Element], inner: &Element) -> Option<&'s str> {
    let row = inner
        .around
        .iter()
        .map(|&place| &svg[place])
        .find(|around| around.has_class("tl-row"))?;
    Some(row.get("data-task"))
}

fn drawn(report: &Report) -> Vec<Element> {
    elements(&written(report, "timeline.svg"))
}

/// Maximum error of a coordinate or width in the file, which is rounded to hundredths.
const ROUNDING: f64 = 0.005;

/// Compares values that depend on at most six rounded numbers: x and width of a bar, and x twice and width once in the
/// scale.
fn assert_near(found: f64, expected: f64, what: &str) {
    assert!(
        (found - expected).abs() <= 6.0 * ROUNDING,
        "{what}: {found} instead of {expected}"
    );
}

#[test]
fn each_started_task_has_a_bar_from_its_start_to_its_end() {
    let report = fixture::passed();
    let svg = drawn(&report);
    let bars = bars(&svg, "tl-run");
    assert_eq!(bars.len(), report.trace.tasks.len());
    // The first and the last bar determine the scale of the others.
    let (first, last) = (&bars["preflight"], &bars["teardown"]);
    let left = first.number("x");
    let per_second = (last.number("x") + last.number("width") - left) / report.trace.wall.as_secs_f64();
    for task in &report.trace.tasks {
        let bar = &bars[&task.name];
        let (start, duration) = (task.start.unwrap().as_secs_f64(), task.duration().as_secs_f64());
        assert_near(
            bar.number("x"),
            left + start * per_second,
            &format!("start of {}", task.name),
        );
        assert_near(
            bar.number("width"),
            (duration * per_second).max(2.0),
            &format!("width of {}", task.name),
        );
    }
    // The last bar ends at the end of the run, inside the image.
    let width = svg[0].number("width");
    let last = &bars["teardown"];
    assert_near(
        last.number("x") + last.number("width"),
        left + report.trace.wall.as_secs_f64() * per_second,
        "end",
    );
    assert!(last.number("x") + last.number("width") < width);
}

#[test]
fn rows_are_in_order_of_start_and_do_not_overlap() {
    let report = fixture::passed();
    let svg = drawn(&report);
    let mut bars: Vec<(f64, f64, f64)> = bars(&svg, "tl-run")
        .into_values()
        .map(|bar| (bar.number("y"), bar.number("height"), bar.number("x")))
        .collect();
    bars.sort_by(|one, other| one.0.total_cmp(&other.0));
    for pair in bars.windows(2) {
        assert!(pair[0].0 + pair[0].1 < pair[1].0, "{pair:?}");
        assert!(pair[0].2 <= pair[1].2, "{pair:?}");
    }
}

#[test]
fn a_wait_is_a_separate_bar_from_ready_to_start() {
    let report = fixture::passed();
    let svg = drawn(&report);
    let (waiting, running) = (bars(&svg, "tl-wait"), bars(&svg, "tl-run"));
    assert_eq!(
        waiting.keys().collect::<Vec<_>>(),
        ["image:gateway", "pull:redis"]
    );
    let (wait, run) = (&waiting["image:gateway"], &running["image:gateway"]);
    assert_near(
        wait.number("x") + wait.number("width"),
        run.number("x"),
        "end of the wait",
    );
    // It was ready at the end of the compile.
    assert_near(
        wait.number("x"),
        running["compile"].number("x") + running["compile"].number("width"),
        "ready",
    );
}

#[test]
fn exactly_the_bounding_chain_is_highlighted() {
    let report = fixture::passed();
    let svg = drawn(&report);
    let chain: Vec<String> = report
        .trace
        .bounding_chain()
        .into_iter()
        .map(|link| link.task)
        .collect();
    assert!(chain.len() < report.trace.tasks.len());
    let highlighted: Vec<String> = bars(&svg, "tl-bounding").into_keys().collect();
    let mut expected = chain.clone();
    expected.sort();
    assert_eq!(highlighted, expected);
    let bold: Vec<&Element> = svg
        .iter()
        .filter(|text| text.has_class("tl-label") && text.has_class("tl-critical"))
        .collect();
    assert_eq!(bold.len(), chain.len());
    let joints = svg.iter().filter(|path| path.has_class("tl-joint")).count();
    assert_eq!(joints, chain.len() - 1);
}

#[test]
fn only_the_part_before_a_milestone_is_highlighted_when_the_milestone_released_the_next_task() {
    use taskgraph::{Graph, Plan, Task, Timing};
    let second = std::time::Duration::from_secs;
    let mut plan = Plan::new();
    plan.task(
        Task::new("cluster", ())
            .estimate(second(20))
            .milestone("begun", second(5)),
    )
    .task(
        Task::new("load", ())
            .after_milestone("cluster", "begun")
            .estimate(second(30)),
    );
    let mut report = fixture::passed();
    report.trace = Graph::new(plan).unwrap().simulate(None, Timing::estimated);
    let svg = drawn(&report);
    let (running, highlighted) = (
        &bars(&svg, "tl-run")["cluster"],
        &bars(&svg, "tl-bounding")["cluster"],
    );
    assert_near(
        highlighted.number("width"),
        running.number("width") / 4.0,
        "highlighted part",
    );
}

#[test]
fn each_bar_links_to_its_log() {
    let svg = drawn(&fixture::passed());
    for (task, bar) in bars(&svg, "tl-run") {
        let links: Vec<&str> = bar
            .around
            .iter()
            .map(|&place| &svg[place])
            .filter(|around| around.name == "a")
            .map(|link| link.get("href"))
            .collect();
        assert_eq!(links, [format!("logs/{}.log", task.replace(':', "-"))]);
    }
}

#[test]
fn charts_of_cpu_and_memory_are_below_on_the_same_axis() {
    let report = fixture::passed();
    let svg = drawn(&report);
    let curves: Vec<&Element> = svg.iter().filter(|line| line.has_class("tl-curve")).collect();
    let [cpu, memory] = &curves[..] else {
        panic!("{curves:?}")
    };
    let lowest_bar = bars(&svg, "tl-run")
        .into_values()
        .map(|bar| bar.number("y"))
        .fold(0.0, f64::max);
    for curve in [cpu, memory] {
        let points: Vec<(f64, f64)> = curve
            .get("points")
            .split(' ')
            .map(|point| point.split_once(',').unwrap())
            .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
            .collect();
        assert_eq!(points.len(), report.samples.len());
        assert!(points.iter().all(|point| point.1 > lowest_bar));
        // The last sample is where the scale of the bars puts its time.
        let (first, end) = (
            &bars(&svg, "tl-run")["preflight"],
            &bars(&svg, "tl-run")["teardown"],
        );
        let left = first.number("x");
        let per_second = (end.number("x") + end.number("width") - left) / report.trace.wall.as_secs_f64();
        assert_near(
            points.last().unwrap().0,
            left + report.samples.last().unwrap().at * per_second,
            "last sample",
        );
    }
    // All CPUs are busy in sample 30, during the compile, and few at the end: at least a third of the chart's height of 56
    // pixels lower, as y grows downwards.
    let y = |place: usize| -> f64 {
        cpu.get("points")
            .split(' ')
            .nth(place)
            .unwrap()
            .split_once(',')
            .unwrap()
            .1
            .parse()
            .unwrap()
    };
    assert!(y(30) + 56.0 / 3.0 < y(report.samples.len() - 1));
}

#[test]
fn a_run_without_samples_has_no_charts() {
    let mut report = fixture::passed();
    report.samples.clear();
    assert!(!drawn(&report).iter().any(|element| element.has_class("tl-chart")));
}

#[test]
fn failed_cancelled_and_not_started_tasks_look_different() {
    let report = fixture::failed();
    let svg = drawn(&report);
    assert_eq!(
        bars(&svg, "tl-failed").into_keys().collect::<Vec<_>>(),
        ["compile"]
    );
    assert_eq!(
        bars(&svg, "tl-cancelled").into_keys().collect::<Vec<_>>(),
        ["cluster", "load:redis", "pull:postgresql"]
    );
    assert!(!bars(&svg, "tl-run").contains_key("gateway"));
    let texts: Vec<&str> = svg
        .iter()
        .filter(|text| row(&svg, text) == Some("gateway"))
        .map(|text| text.text.trim())
        .collect();
    assert!(
        texts.contains(&"not started: needs compile, which failed"),
        "{texts:?}"
    );
}

#[test]
fn hostile_names_are_escaped() {
    let svg = drawn(&fixture::hostile());
    assert!(!svg.iter().any(|element| element.name == "script"));
    let shown = HOSTILE.replace(['\u{1b}', '\0'], "\u{fffd}");
    let names: Vec<&str> = svg
        .iter()
        .filter(|row| row.has_class("tl-row"))
        .map(|row| row.get("data-task"))
        .collect();
    assert!(names.contains(&shown.as_str()), "{names:?}");
    let links: Vec<&str> = svg
        .iter()
        .filter(|link| link.name == "a")
        .map(|link| link.get("href"))
        .collect();
    assert_eq!(links, ["logs/a%20b%22%23%3F%C3%A9.log"]);
}

#[test]
fn an_empty_run_is_rendered() {
    let mut report = fixture::passed();
    report.trace.tasks.clear();
    report.trace.wall = std::time::Duration::ZERO;
    report.samples.clear();
    let svg = drawn(&report);
    assert!(svg.iter().any(|text| text.has_class("tl-heading")));
    for element in svg {
        assert!(
            element
                .attributes
                .values()
                .all(|value| !value.contains("NaN") && !value.contains("inf")),
            "{element:?}"
        );
    }
}

#[test]
fn text_without_space_after_its_bar_is_before_it() {
    // The text of a cancelled task at the end of the run has no space after the bar.
    let mut report = fixture::passed();
    let teardown = report.trace.tasks.last_mut().unwrap();
    teardown.outcome = taskgraph::Outcome::Cancelled {
        cause: taskgraph::Cause::Interrupted {
            reason: "Ctrl-C".to_owned(),
        },
        detail: None,
    };
    let svg = drawn(&report);
    let text = svg
        .iter()
        .find(|text| text.text.starts_with("cancelled · 1.8 s"))
        .unwrap();
    assert_eq!(text.get("text-anchor"), "end");
    assert!(text.number("x") < bars(&svg, "tl-run")["teardown"].number("x"));
}
