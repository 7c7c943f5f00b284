//! Figures, and the section of docs/benchmarks.md that shows them.

use std::fmt::Write as _;

use super::{
    ORDERS,
    provider::ProviderName,
    record::{BUILD, FIRST_SCENARIO, Record, VERB, WARM},
    replay::{self, Replays},
    run::Measured,
};
use crate::figures::{self, Figure, Target, median, ratios};

// Targets, as in docs/e2e.md, for a machine with enough cores.
const AGAINST_SEQUENTIAL: f64 = 0.60;
const AGAINST_PHASED: f64 = 0.80;
const AGAINST_LONGEST_CHAIN: f64 = 1.10;
const WARM_AGAINST_COLD: f64 = 0.15;
const RUNNER_CPU_PER_CENT: f64 = 2.0;
const VERB_SECONDS: f64 = 0.3;
const FIRST_SCENARIO_SECONDS: f64 = 5.0;
const BUILD_SECONDS: f64 = 60.0;
/// Maximum error of a replay for its forecasts to be usable.
const REPLAY_ERROR_PER_CENT: f64 = 10.0;

/// Returns all figures, measured and forecast, without those that have no measurement.
pub(super) fn figures(provider: ProviderName, record: &Record, replays: &Replays) -> Vec<Figure> {
    let mut all = measured(provider, record);
    all.extend(forecast_figures(provider, replays));
    all.retain(|figure| !figure.runs.is_empty());
    all
}

fn figure(
    provider: ProviderName,
    name: &str,
    unit: &'static str,
    at_most: Option<f64>,
    runs: Vec<f64>,
) -> Figure {
    Figure::new(
        format!("{provider}: {name}"),
        unit,
        at_most.map(Target::AtMost),
        runs,
    )
}

fn measured(provider: ProviderName, record: &Record) -> Vec<Figure> {
    let figure = |name: &str, unit, at_most, runs| figure(provider, name, unit, at_most, runs);
    // On local only compiling takes long, so no order can be faster there.
    let of_orders = |at_most: f64| (provider != ProviderName::Local).then_some(at_most);
    let graph = record.runs("graph");
    let chains = graph.iter().map(|run| {
        let longest: f64 = run.document.longest_chain.iter().map(|link| link.cost).sum();
        run.document.seconds / longest
    });
    let own_cpu = graph.iter().filter_map(|run| {
        let seconds = run.document.run.runner_cpu_seconds?;
        Some(100.0 * seconds / run.document.seconds)
    });
    let cold = median(&record.up("graph"));
    let warm = record.up(WARM);
    let against_cold = warm
        .iter()
        .map(|warm| warm / cold)
        .filter(|ratio| ratio.is_finite());
    let (up, seconds) = (
        |what: &str| record.up(what),
        |what: &str| record.seconds(what).to_vec(),
    );
    let mut all: Vec<Figure> = ORDERS
        .iter()
        .map(|order| {
            figure(
                &format!("order {order}, until the scenarios start"),
                "s",
                None,
                up(order),
            )
        })
        .collect();
    all.extend([
        figure(
            "graph against sequential",
            "ratio",
            of_orders(AGAINST_SEQUENTIAL),
            ratios(&up("graph"), &up("sequential")),
        ),
        figure(
            "graph against phased",
            "ratio",
            of_orders(AGAINST_PHASED),
            ratios(&up("graph"), &up("phased")),
        ),
        figure(
            "wall time of graph against its longest chain",
            "ratio",
            Some(AGAINST_LONGEST_CHAIN),
            chains.collect(),
        ),
        figure("warm loop, one service edited", "s", None, warm.clone()),
        figure(
            "warm loop against cold",
            "ratio",
            Some(WARM_AGAINST_COLD),
            against_cold.collect(),
        ),
        figure(
            "runner's own CPU time during a run, of one core",
            "%",
            // A run of seconds consists of hashing and copying programs, not of waiting.
            of_orders(RUNNER_CPU_PER_CENT),
            own_cpu.collect(),
        ),
        figure(
            "command to first scenario, services built",
            "s",
            Some(FIRST_SCENARIO_SECONDS),
            seconds(FIRST_SCENARIO),
        ),
        figure("`cargo xtask status`", "s", Some(VERB_SECONDS), seconds(VERB)),
        figure(
            "cold build of the runner",
            "s",
            Some(BUILD_SECONDS),
            seconds(BUILD),
        ),
    ]);
    all
}

fn forecast_figures(provider: ProviderName, replays: &Replays) -> Vec<Figure> {
    let figure = |name: &str, unit, at_most, runs| figure(provider, name, unit, at_most, runs);
    let mut all = Vec::new();
    for order in ["graph", "phased"] {
        let rounds = replays.get(order).into_iter().flatten();
        let errors = rounds.map(|replay| 100.0 * (replay.replayed / replay.measured - 1.0).abs());
        let name = format!("error of sequential run replayed as {order}");
        all.push(figure(&name, "%", Some(REPLAY_ERROR_PER_CENT), errors.collect()));
    }
    let times = replay::times(0, replays);
    for times in times.iter().filter(|times| times.origin == "forecast") {
        let cpus = times.cpus;
        for order in ORDERS {
            let name = format!("forecast for {cpus} CPUs: {order}");
            all.push(figure(&name, "s", None, times.at_most(order).to_vec()));
        }
        for (other, limit) in [("sequential", AGAINST_SEQUENTIAL), ("phased", AGAINST_PHASED)] {
            let name = format!("forecast for {cpus} CPUs: graph against {other}");
            let limit = (provider != ProviderName::Local).then_some(limit);
            let runs = ratios(times.at_most("graph"), times.at_most(other));
            all.push(figure(&name, "ratio", limit, runs));
        }
    }
    all
}

/// Returns the section of the page.
pub(super) fn markdown(
    provider: ProviderName,
    record: &Record,
    replays: &Replays,
    figures: &[Figure],
) -> String {
    let mut text = String::new();
    let count = ORDERS.map(|order| record.runs(order).len()).into_iter().max();
    let count = count.unwrap_or(0);
    let warm = match record.runs(WARM) {
        [] => "",
        _ => "; the warm loop keeps the stack and edits `gateway` before each round",
    };
    if let Some(machine) = record.machine() {
        let _ = writeln!(
            text,
            "{}. {count} runs of each order alternately, cluster cold, compile cache warm{warm}.\n\n\
             ```console\ncargo xtask bench e2e --provider {provider} --runs {count} --write\n```\n",
            figures::describe(machine)
        );
    }
    let (forecast, measured): (Vec<&Figure>, Vec<&Figure>) = figures
        .iter()
        .partition(|figure| figure.name.contains("forecast for"));
    text.push_str(&figures::table(measured));
    text.push_str(&chain(record));
    if !forecast.is_empty() {
        text.push_str(&forecasts(record, replays));
    }
    text
}

/// Returns a table of the critical path of graph's median run: durations there, and alone in the sequential order.
fn chain(record: &Record) -> String {
    let middle = median(&record.up("graph"));
    let distance = |run: &&Measured| (run.up - middle).abs();
    let runs = record.runs("graph").iter();
    let Some(run) = runs.min_by(|one, other| distance(one).total_cmp(&distance(other))) else {
        return String::new();
    };
    let cpus = run.document.machine.cpus;
    let busy = run.busy(0.0, run.up) / run.up;
    let mut text = format!(
        "\nUntil the scenarios of graph's median run started, {busy:.2} of {cpus} CPUs were busy on average. Its critical \
         path, and the same tasks in the sequential order, where each has the whole machine:\n\n\
         | task | seconds | alone | busy CPUs, alone |\n|---|---:|---:|---:|\n"
    );
    for link in run
        .document
        .bounding_chain
        .iter()
        .filter(|link| link.from < run.up)
    {
        let alone = |value: fn(&Measured, &str) -> Option<f64>| -> Vec<f64> {
            let runs = record.runs("sequential").iter();
            runs.filter_map(|run| value(run, &link.task)).collect()
        };
        let (seconds, cpus) = (alone(Measured::duration), alone(Measured::cpus));
        let shown = |values: &[f64], digits: usize| match values {
            [] => String::new(),
            values => format!("{:.digits$}", median(values)),
        };
        let (cost, seconds, cpus) = (link.cost, shown(&seconds, 1), shown(&cpus, 2));
        let _ = writeln!(text, "| {} | {cost:.1} | {seconds} | {cpus} |", link.task);
    }
    text
}

fn forecasts(record: &Record, replays: &Replays) -> String {
    let here = record.machine().map_or(0, |machine| machine.cpus);
    let mut text = format!(
        "\nForecast of the same runs on machines with more CPUs, by the runner's scheduler in virtual time. Duration and \
         busy CPUs of each task are those of the sequential run; the replay for {here} CPUs shows the error of the model. \
         Tasks use as many CPUs as measured; in brackets, if tasks that used more than one use all.\n\n\
         | CPUs | graph | phased | sequential | graph against sequential | graph against phased |\n\
         |---|---:|---:|---:|---:|---:|\n"
    );
    for times in replay::times(here, replays) {
        let shown = ORDERS.map(|order| {
            let (upper, lower) = (median(times.at_most(order)), median(times.at_least(order)));
            if upper - lower < 0.05 {
                format!("{upper:.1} s")
            } else {
                format!("{upper:.1} s ({lower:.1})")
            }
        });
        let against = ["sequential", "phased"].map(|other| {
            let upper = median(&ratios(times.at_most("graph"), times.at_most(other)));
            let lower = median(&ratios(times.at_least("graph"), times.at_least(other)));
            let (upper, lower) = (format!("{upper:.2}"), format!("{lower:.2}"));
            if upper == lower {
                upper
            } else {
                format!("{upper} ({lower})")
            }
        });
        let (cpus, origin) = (times.cpus, times.origin);
        let (shown, against) = (shown.join(" | "), against.join(" | "));
        let _ = writeln!(text, "| {cpus}, {origin} | {shown} | {against} |");
    }
    text
}
