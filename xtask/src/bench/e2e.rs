//! `cargo xtask bench e2e`: the three orders of the same run, one after the other in turn, several times.
//!
//! The cluster is cold each time, the compile cache warm: what differs is the order alone. Each run is a run of
//! `cargo xtask e2e` as anyone calls it; the figures are read from its report.json. One quick scenario runs at the
//! end, so that "up" is proved and the scenarios' own time does not thin the ratio.

use std::{
    collections::BTreeMap, fmt::Write as _, fs, io::Write as _, path::PathBuf, process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;
use report::Document;
use serde_json::json;
use subprocess::Cancel;

use super::figures::{self, Figure, Format, median};
use crate::run_folder::{self, Provider};

/// The scenario that proves that the stack is up.
const SCENARIO: &str = "g16";

/// The order that the others are compared with comes last.
const ORDERS: [&str; 3] = ["graph", "phased", "sequential"];

/// What docs/e2e.md promises of the orders where the machine has the cores for it.
const AGAINST_SEQUENTIAL: f64 = 0.60;
const AGAINST_PHASED: f64 = 0.80;
const AGAINST_LONGEST_CHAIN: f64 = 1.10;

/// A run on a machine that others use too.
const LONGEST_RUN: Duration = Duration::from_secs(3600);

/// Measure a run in its three orders: cold cluster, warm compile cache
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Runs of each order
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Where the stack runs
    #[arg(long, value_enum, default_value = "local")]
    provider: Provider,
    /// A look: one run of each order
    #[arg(long)]
    quick: bool,
    /// Go on after a run that failed: those before it count
    #[arg(long)]
    resume: bool,
    /// Renew this bench's part of docs/benchmarks.md
    #[arg(long, conflicts_with = "quick")]
    write: bool,
    /// What stdout gets
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// One measured run.
#[derive(Debug, Clone)]
struct Measured {
    /// Seconds until the scenarios began: everything is built, deployed and ready.
    up: f64,
    document: Document,
}

type Runs = BTreeMap<&'static str, Vec<Measured>>;

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options {
        runs,
        provider,
        quick,
        resume,
        write,
        format,
    } = options;
    let rounds = if quick { 1 } else { runs };
    if rounds == 0 {
        bail!("--runs must be at least 1");
    }
    let done = Done::open(provider, resume)?;
    let mut measured = done.runs()?;
    // Once before, uncounted: afterwards the compile cache and the images are warm for all alike.
    if measured.is_empty() {
        eprintln!("a run before, to warm the compile cache");
        measure(provider, ORDERS[0])?;
    }
    for round in 1..=rounds {
        for order in ORDERS {
            let runs = measured.entry(order).or_default();
            if runs.len() >= round {
                continue;
            }
            eprintln!("round {round} of {rounds}: {order}");
            let run = measure(provider, order)?;
            done.add(order, &run)?;
            runs.push(run);
        }
    }
    done.forget()?;
    let figures = figures(provider, &measured);
    let text = match format {
        Format::Text => markdown(provider, rounds, &measured, &figures),
        Format::Json => {
            let machine = measured
                .values()
                .flatten()
                .next()
                .map(|run| &run.document.machine);
            let machine = json!({
                "system": machine.map(|machine| &machine.system), "cpus": machine.map(|machine| machine.cpus),
                "memory_bytes": machine.map(|machine| machine.memory_bytes),
            });
            format!("{}\n", figures::document("e2e", &machine, &figures))
        }
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    if write {
        let text = markdown(provider, rounds, &measured, &figures);
        let heading = format!("The runner's three orders, on {provider}");
        figures::renew(&format!("e2e {provider}"), &heading, &text)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(provider: Provider, order: &str) -> anyhow::Result<Measured> {
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.args([
        "e2e",
        SCENARIO,
        "--provider",
        &provider.to_string(),
        "--order",
        order,
        "--format",
        "json",
    ]);
    // A failed run must not leave a cluster to the next one.
    command.env("CI", "true");
    let command = subprocess::Command::new(command).name(format!("a run in the order {order}"));
    let output = command
        .deadline(LONGEST_RUN)
        .capture(&Cancel::never())
        .context("the runs before it are kept: --resume goes on from here")?;
    Measured::read(&output.stdout)
}

impl Measured {
    fn read(report: &[u8]) -> anyhow::Result<Self> {
        let document: Document = serde_json::from_slice(report).context("the run's report can't be read")?;
        let test = document.tasks.iter().find(|task| task.name == "test");
        let up = test
            .and_then(|task| task.start)
            .context("the scenarios never began")?;
        Ok(Self { up, document })
    }
}

/// The runs that were measured so far, by their reports: a line each, order and run.
struct Done(PathBuf);

impl Done {
    /// Those of the bench that is gone on with, or none.
    fn open(provider: Provider, resume: bool) -> anyhow::Result<Self> {
        let done = Self(run_folder::target().join(format!("bench/e2e-{provider}")));
        if !resume {
            done.forget()?;
        }
        Ok(done)
    }

    fn runs(&self) -> anyhow::Result<Runs> {
        let mut runs = Runs::new();
        let lines = fs::read_to_string(&self.0).unwrap_or_default();
        for (order, run) in lines.lines().filter_map(|line| line.split_once(' ')) {
            let Some(order) = ORDERS.iter().find(|known| **known == order) else {
                bail!("{}: {order:?} is no order", self.0.display());
            };
            let report = run_folder::runs().join(run).join("report.json");
            let report = fs::read(&report).with_context(|| format!("can't read {}", report.display()))?;
            runs.entry(order).or_default().push(Measured::read(&report)?);
        }
        Ok(runs)
    }

    fn add(&self, order: &str, run: &Measured) -> anyhow::Result<()> {
        let folder = self.0.parent().context("no folder")?;
        fs::create_dir_all(folder)?;
        let mut file = fs::File::options().create(true).append(true).open(&self.0)?;
        writeln!(file, "{order} {}", run.document.run.id)?;
        Ok(())
    }

    fn forget(&self) -> anyhow::Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// Until the scenarios began, of each run of an order.
fn up(measured: &Runs, order: &str) -> Vec<f64> {
    let runs = measured.get(order).into_iter().flatten();
    runs.map(|run| run.up).collect()
}

fn figures(provider: Provider, measured: &Runs) -> Vec<Figure> {
    let ratio = |name: &str, at_most: f64, runs: Vec<f64>| Figure {
        name: format!("{provider}: {name}"),
        unit: "ratio",
        // The embedded default has nothing that takes long beside the compile: no order can gain there.
        at_most: (provider != Provider::Local).then_some(at_most),
        runs,
    };
    // Round by round: what slows the machine for a while slows both sides.
    let against = |other: &str| -> Vec<f64> {
        let pairs = up(measured, "graph").into_iter().zip(up(measured, other));
        pairs.map(|(graph, other)| graph / other).collect()
    };
    let chains = measured.get("graph").into_iter().flatten().map(|run| {
        let longest: f64 = run.document.longest_chain.iter().map(|link| link.cost).sum();
        run.document.seconds / longest
    });
    let mut all: Vec<Figure> = ORDERS
        .iter()
        .map(|order| Figure {
            name: format!("{provider}: order {order}, until the scenarios begin"),
            unit: "s",
            at_most: None,
            runs: up(measured, order),
        })
        .collect();
    all.extend([
        ratio(
            "graph against sequential",
            AGAINST_SEQUENTIAL,
            against("sequential"),
        ),
        ratio("graph against phased", AGAINST_PHASED, against("phased")),
        ratio(
            "graph's wall time against its longest chain",
            AGAINST_LONGEST_CHAIN,
            chains.collect(),
        ),
    ]);
    all
}

fn markdown(provider: Provider, rounds: usize, measured: &Runs, figures: &[Figure]) -> String {
    let mut text = String::new();
    let mut all = measured.values().flatten();
    if let Some(machine) = all.next().map(|run| &run.document.machine) {
        let gib = machine.memory_bytes as f64 / f64::from(1 << 30);
        let _ = writeln!(
            text,
            "{}, {} CPUs, {gib:.0} GiB; {rounds} runs of each order in turn, cold cluster, warm compile cache.\n\n\
             ```console\ncargo xtask bench e2e --provider {provider} --runs {rounds} --write\n```\n",
            machine.system, machine.cpus
        );
    }
    text + &figures::table(figures) + &chain(measured.get("graph").map_or(&[][..], Vec::as_slice))
}

/// The chain that bounded the graph's median run, and how busy the machine was meanwhile.
fn chain(runs: &[Measured]) -> String {
    let middle = median(&runs.iter().map(|run| run.up).collect::<Vec<_>>());
    let distance = |run: &&Measured| (run.up - middle).abs();
    let nearest = runs
        .iter()
        .min_by(|one, other| distance(one).total_cmp(&distance(other)));
    let Some(run) = nearest else {
        return String::new();
    };
    let busy: Vec<f64> = run
        .document
        .samples
        .iter()
        .filter(|sample| sample.at <= run.up)
        .map(|sample| sample.cpus)
        .collect();
    let mean = busy.iter().sum::<f64>() / busy.len().max(1) as f64;
    let mut text = format!(
        "\nUntil the scenarios of the graph's median run began, {mean:.2} of {} CPUs were busy on average. The chain \
         that bounded that run:\n\n| task | seconds |\n|---|---|\n",
        run.document.machine.cpus
    );
    for link in &run.document.bounding_chain {
        let _ = writeln!(text, "| {} | {:.1} |", link.task, link.cost);
    }
    text
}
