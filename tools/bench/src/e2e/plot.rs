//! Plot of the orders: bars of the measured and forecast times.

use serde::Serialize;

use super::{
    ORDERS, page,
    provider::ProviderName,
    record::Record,
    replay::{CORES, Replays},
};
use crate::{
    figures::{median, ratios},
    plot::{self, round},
};

const WIDTH: f64 = 760.0;
const LEFT: f64 = 128.0;
/// Space for the text behind the longest bar.
const RIGHT: f64 = 168.0;
const TOP: f64 = 84.0;
const BAR: f64 = 14.0;
const ROW: f64 = 19.0;
const GROUP_GAP: f64 = 16.0;
const FOOT: f64 = 44.0;
/// Estimated width of a letter of the legend, rounded up.
const LETTER: f64 = 6.4;

#[derive(Serialize)]
struct Picture {
    title: String,
    subtitle: String,
    width: f64,
    height: f64,
    left: f64,
    top: f64,
    bottom: f64,
    bar_height: f64,
    orders: [&'static str; 3],
    ticks: Vec<Tick>,
    groups: Vec<Group>,
    legend: Vec<Legend>,
}

#[derive(Serialize)]
struct Tick {
    x: f64,
    label: String,
}

/// Orders on one machine.
#[derive(Serialize)]
struct Group {
    name: String,
    note: &'static str,
    y: f64,
    bars: Vec<Bar>,
}

#[derive(Serialize)]
struct Bar {
    order: &'static str,
    y: f64,
    middle: f64,
    width: f64,
    /// Hatched end of the bar: range of a forecast.
    open: Option<Open>,
    /// Range of the measured runs.
    spread: Option<Spread>,
    text: String,
    text_x: f64,
}

#[derive(Serialize)]
struct Open {
    x: f64,
    width: f64,
}

#[derive(Serialize)]
struct Spread {
    from: f64,
    to: f64,
}

#[derive(Serialize)]
struct Legend {
    x: f64,
    class: String,
    label: String,
}

/// Values of a bar, in seconds.
struct Shown {
    order: &'static str,
    at_least: f64,
    at_most: f64,
    /// Ratio to the sequential order, except for that itself.
    ratio: Option<f64>,
    spread: Option<(f64, f64)>,
}

/// Values of a group.
struct Machine {
    name: String,
    note: &'static str,
    shown: Vec<Shown>,
}

/// Writes the plot and returns its Markdown, empty when no order was measured.
pub(super) fn write(provider: ProviderName, record: &Record, replays: &Replays) -> anyhow::Result<String> {
    let Some(svg) = svg(provider, record, replays)? else {
        return Ok(String::new());
    };
    let title = format!("The three orders on {provider}, measured and forecast");
    Ok(format!(
        "\n{}",
        plot::write(&format!("e2e-{provider}"), &title, &svg)?
    ))
}

pub(super) fn svg(
    provider: ProviderName,
    record: &Record,
    replays: &Replays,
) -> anyhow::Result<Option<String>> {
    let machines = machines(record, replays);
    if machines.iter().all(|machine| machine.shown.is_empty()) {
        return Ok(None);
    }
    plot::bars(&picture(provider, &machines)).map(Some)
}

fn machines(record: &Record, replays: &Replays) -> Vec<Machine> {
    let here = record.machine().map_or(0, |machine| machine.cpus);
    let measured = ORDERS.into_iter().filter_map(|order| {
        let runs = record.up(order);
        let shortest = runs.iter().copied().reduce(f64::min)?;
        let longest = runs.iter().copied().reduce(f64::max)?;
        let middle = median(&runs);
        Some(Shown {
            order,
            at_least: middle,
            at_most: middle,
            ratio: of_sequential(order, &runs, &record.up("sequential")),
            spread: (runs.len() > 1).then_some((shortest, longest)),
        })
    });
    let mut machines = vec![Machine {
        name: format!("{here} CPUs"),
        note: "measured",
        shown: measured.collect(),
    }];
    if replays.is_empty() {
        return machines;
    }
    let row = |name: String, note, lower: &dyn Fn(&str) -> Vec<f64>, upper: &dyn Fn(&str) -> Vec<f64>| {
        let shown = ORDERS.map(|order| Shown {
            order,
            at_least: median(&lower(order)),
            at_most: median(&upper(order)),
            ratio: of_sequential(order, &upper(order), &upper("sequential")),
            spread: None,
        });
        Machine {
            name,
            note,
            shown: shown.into(),
        }
    };
    let replayed = |order: &str| page::each(replays, order, |replay| replay.replayed);
    machines.push(row(format!("{here} CPUs"), "replayed", &replayed, &replayed));
    for (index, cores) in CORES.into_iter().enumerate() {
        let lower = |order: &str| page::each(replays, order, |replay| page::at_least(replay, index));
        let upper = |order: &str| page::each(replays, order, |replay| page::at_most(replay, index));
        machines.push(row(format!("{cores} CPUs"), "forecast", &lower, &upper));
    }
    machines
}

fn of_sequential(order: &str, runs: &[f64], sequential: &[f64]) -> Option<f64> {
    let ratios = ratios(runs, sequential);
    (order != "sequential" && !ratios.is_empty()).then(|| median(&ratios))
}

fn picture(provider: ProviderName, machines: &[Machine]) -> Picture {
    let shown = machines.iter().flat_map(|machine| &machine.shown);
    let longest = shown
        .map(|bar| {
            bar.spread
                .map_or(bar.at_most, |(_, longest)| longest.max(bar.at_most))
        })
        .fold(0.001, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / longest;
    let mut y = TOP + GROUP_GAP / 2.0;
    let mut groups = Vec::new();
    for machine in machines {
        let bars: Vec<Bar> = machine
            .shown
            .iter()
            .enumerate()
            .map(|(index, shown)| bar(shown, y + index as f64 * ROW, scale))
            .collect();
        let height = bars.len() as f64 * ROW;
        groups.push(Group {
            name: machine.name.clone(),
            note: machine.note,
            y: round(y + height / 2.0 - 6.0),
            bars,
        });
        y += height + GROUP_GAP;
    }
    let bottom = y - GROUP_GAP / 2.0;
    Picture {
        title: format!("Seconds until the scenarios begin, on {provider}"),
        subtitle: "median, minimum and maximum of the runs; forecasts replay the sequential run by the runner's scheduler"
            .to_owned(),
        width: WIDTH,
        height: bottom + FOOT,
        left: LEFT,
        top: TOP,
        bottom,
        bar_height: BAR,
        orders: ORDERS,
        ticks: ticks(longest, scale),
        legend: legend(machines),
        groups,
    }
}

fn bar(shown: &Shown, y: f64, scale: f64) -> Bar {
    let x = |seconds: f64| round(LEFT + seconds * scale);
    let (min, max) = (x(shown.at_least), x(shown.at_most));
    let has_range = shown.at_most - shown.at_least >= 0.05;
    let spread = shown.spread.map(|(from, to)| Spread {
        from: x(from),
        to: x(to),
    });
    let end = spread.as_ref().map_or(max, |spread| spread.to.max(max));
    let seconds = if has_range {
        format!("{:.1} to {:.1} s", shown.at_least, shown.at_most)
    } else {
        format!("{:.1} s", shown.at_most)
    };
    let text = match shown.ratio {
        Some(ratio) => format!("{seconds}, {ratio:.2} of sequential"),
        None => seconds,
    };
    Bar {
        order: shown.order,
        y: round(y),
        middle: round(y + BAR / 2.0),
        width: round(min - LEFT),
        open: has_range.then_some(Open {
            x: min,
            width: round(max - min),
        }),
        spread,
        text,
        text_x: end + 8.0,
    }
}

/// Returns at most eight ticks at round numbers.
fn ticks(longest: f64, scale: f64) -> Vec<Tick> {
    const STEPS: [f64; 9] = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0];
    let step = STEPS.into_iter().find(|step| longest / step <= 8.0);
    let step = step.unwrap_or((longest / 8.0).ceil());
    let count = (longest / step).floor() as usize;
    let tick = |index: usize| {
        let at = index as f64 * step;
        Tick {
            x: round(LEFT + at * scale),
            label: if index == 0 {
                "0".to_owned()
            } else {
                format!("{at} s")
            },
        }
    };
    (0..=count).map(tick).collect()
}

fn legend(machines: &[Machine]) -> Vec<Legend> {
    let has_range = machines
        .iter()
        .flat_map(|machine| &machine.shown)
        .any(|shown| shown.at_most - shown.at_least >= 0.05);
    let mut entries: Vec<(String, String)> = ORDERS
        .map(|order| (format!("or-{order}"), order.to_owned()))
        .into();
    if has_range {
        let label = "unless tasks use more CPUs than here";
        entries.push((format!("or-open-{}", ORDERS[0]), label.to_owned()));
    }
    let mut x = LEFT;
    let mut legend = Vec::new();
    for (class, label) in entries {
        let width = 20.0 + label.len() as f64 * LETTER + 18.0;
        legend.push(Legend { x, class, label });
        x += width;
    }
    legend
}
