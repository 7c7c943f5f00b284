//! Plot of the orders: bars of the measured and forecast times.

use serde_json::{Value, json};

use super::{
    ORDERS,
    provider::ProviderName,
    record::Record,
    replay::{self, Replays, Times},
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

/// Values of a bar, in seconds.
struct Shown {
    order: &'static str,
    at_least: f64,
    at_most: f64,
    /// Ratio to the sequential order, except for that itself.
    ratio: Option<f64>,
    spread: Option<(f64, f64)>,
}

impl Shown {
    /// Whether both ends of the forecast are distinguishable.
    fn has_range(&self) -> bool {
        self.at_most - self.at_least >= 0.05
    }
}

/// Values of a group: the orders on one machine.
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
    let times = replay::times(here, replays);
    let unmeasured = times.iter().filter(|times| times.origin != "measured");
    machines.extend(unmeasured.map(|times| Machine {
        name: format!("{} CPUs", times.cpus),
        note: times.origin,
        shown: ORDERS.map(|order| shown(times, order)).into(),
    }));
    machines
}

fn shown(times: &Times, order: &'static str) -> Shown {
    Shown {
        order,
        at_least: median(times.at_least(order)),
        at_most: median(times.at_most(order)),
        ratio: of_sequential(order, times.at_most(order), times.at_most("sequential")),
        spread: None,
    }
}

fn of_sequential(order: &str, runs: &[f64], sequential: &[f64]) -> Option<f64> {
    let ratios = ratios(runs, sequential);
    (order != "sequential" && !ratios.is_empty()).then(|| median(&ratios))
}

/// Returns the values of the template.
fn picture(provider: ProviderName, machines: &[Machine]) -> Value {
    let shown = machines.iter().flat_map(|machine| &machine.shown);
    let ends = shown.map(|bar| {
        bar.spread
            .map_or(bar.at_most, |(_, longest)| longest.max(bar.at_most))
    });
    let longest = ends.fold(0.001, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / longest;
    let mut y = TOP + GROUP_GAP / 2.0;
    let mut groups = Vec::new();
    for machine in machines {
        let bars = machine.shown.iter().enumerate();
        let bars: Vec<_> = bars
            .map(|(index, shown)| bar(shown, y + index as f64 * ROW, scale))
            .collect();
        let height = bars.len() as f64 * ROW;
        let middle = round(y + height / 2.0 - 6.0);
        groups.push(json!({"name": machine.name, "note": machine.note, "y": middle, "bars": bars}));
        y += height + GROUP_GAP;
    }
    let bottom = y - GROUP_GAP / 2.0;
    json!({
        "title": format!("Seconds until the scenarios begin, on {provider}"),
        "subtitle": "median, minimum and maximum of the runs; forecasts replay the sequential run by the runner's scheduler",
        "width": WIDTH,
        "height": bottom + FOOT,
        "left": LEFT,
        "top": TOP,
        "bottom": bottom,
        "bar_height": BAR,
        "orders": ORDERS,
        "ticks": ticks(longest, scale),
        "legend": legend(machines),
        "groups": groups,
    })
}

/// Returns a bar with a hatched end for the range of a forecast (`open`) and a line for that of the runs (`spread`).
fn bar(shown: &Shown, y: f64, scale: f64) -> Value {
    let x = |seconds: f64| round(LEFT + seconds * scale);
    let (min, max) = (x(shown.at_least), x(shown.at_most));
    let spread = shown.spread.map(|(from, to)| (x(from), x(to)));
    let end = spread.map_or(max, |(_, to)| to.max(max));
    let seconds = if shown.has_range() {
        format!("{:.1} to {:.1} s", shown.at_least, shown.at_most)
    } else {
        format!("{:.1} s", shown.at_most)
    };
    let text = match shown.ratio {
        Some(ratio) => format!("{seconds}, {ratio:.2} of sequential"),
        None => seconds,
    };
    json!({
        "order": shown.order,
        "y": round(y),
        "middle": round(y + BAR / 2.0),
        "width": round(min - LEFT),
        "open": shown.has_range().then(|| json!({"x": min, "width": round(max - min)})),
        "spread": spread.map(|(from, to)| json!({"from": from, "to": to})),
        "text": text,
        "text_x": end + 8.0,
    })
}

/// Returns at most eight ticks at round numbers.
fn ticks(longest: f64, scale: f64) -> Vec<Value> {
    const STEPS: [f64; 9] = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0];
    let step = STEPS.into_iter().find(|step| longest / step <= 8.0);
    let step = step.unwrap_or((longest / 8.0).ceil());
    let count = (longest / step).floor() as usize;
    let tick = |index: usize| {
        let at = index as f64 * step;
        let label = if index == 0 {
            "0".to_owned()
        } else {
            format!("{at} s")
        };
        json!({"x": round(LEFT + at * scale), "label": label})
    };
    (0..=count).map(tick).collect()
}

fn legend(machines: &[Machine]) -> Vec<Value> {
    let mut entries = ORDERS.map(|order| (format!("or-{order}"), order)).to_vec();
    if machines
        .iter()
        .flat_map(|machine| &machine.shown)
        .any(Shown::has_range)
    {
        entries.push((
            format!("or-open-{}", ORDERS[0]),
            "unless tasks use more CPUs than here",
        ));
    }
    let mut x = LEFT;
    let mut legend = Vec::new();
    for (class, label) in entries {
        legend.push(json!({"x": x, "class": class, "label": label}));
        x += 20.0 + label.len() as f64 * LETTER + 18.0;
    }
    legend
}
