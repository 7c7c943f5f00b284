use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::bail;
use serde_json::Value;

use super::super::report::Format;
use super::super::scenario::Requirement;
use super::*;
use crate::wait::{Seen, until};

/// A stack without services: scenarios that hold no component exclusively need none.
fn stack() -> Stack {
    Stack {
        provider: "local".into(),
        namespace: "n".into(),
        ..Stack::default()
    }
}

async fn run_all(stack: Stack, scenarios: Vec<Scenario>, jobs: usize) -> (Ran, Vec<Value>) {
    let (_keep, interrupted) = watch::channel(false);
    run_until(stack, scenarios, jobs, interrupted).await
}

async fn run_until(
    stack: Stack,
    scenarios: Vec<Scenario>,
    jobs: usize,
    interrupted: watch::Receiver<bool>,
) -> (Ran, Vec<Value>) {
    let mut out = Vec::new();
    let ran = run(
        stack,
        scenarios,
        jobs,
        &mut Report::new(&mut out, Format::Json),
        interrupted,
    )
    .await
    .unwrap();
    let lines = String::from_utf8(out).unwrap();
    (
        ran,
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    )
}

fn ended<'a>(events: &'a [Value], id: &str) -> &'a Value {
    events
        .iter()
        .find(|event| event["event"] == "finished" && event["id"] == id)
        .unwrap()
}

#[tokio::test]
async fn distinguishes_pass_error_panic_and_hang() {
    let scenarios = vec![
        Scenario::new("a_passes", |_| Box::pin(async { Ok(()) })),
        Scenario::new("b_fails", |_| Box::pin(async { bail!("two rows") })),
        Scenario::new("c_panics", |_| Box::pin(async { panic!("index {}", 7) })),
        Scenario {
            deadline: Duration::from_millis(50),
            ..Scenario::new("d_hangs", |_| Box::pin(std::future::pending()))
        },
    ];
    let (ran, events) = run_all(stack(), scenarios, 4).await;
    assert_eq!(
        ran.counts,
        Counts {
            passed: 1,
            failed: 3,
            skipped: 0
        }
    );
    assert_eq!(ended(&events, "a")["outcome"], "passed");
    for (id, part) in [
        ("b", "two rows"),
        ("c", "the scenario panicked: index 7"),
        ("d", "exceeded its deadline of 50ms"),
    ] {
        let event = ended(&events, id);
        assert_eq!(event["outcome"], "failed");
        assert!(event["detail"].as_str().unwrap().contains(part), "{event}");
    }
    assert_eq!(events.last().unwrap()["event"], "summary");
}

#[tokio::test]
async fn skips_and_counts_scenarios_with_unmet_requirements() {
    let scenario = |name, requirement: &'static [Requirement]| {
        Scenario::new(name, |_| Box::pin(async { Ok(()) })).requires(requirement)
    };
    let scenarios = vec![
        scenario("a_control", &[Requirement::Control]),
        scenario("b_cluster", &[Requirement::Kubeconfig]),
        scenario("c_sql", &[Requirement::SqlAdmin]),
        scenario("d_runner", &[Requirement::Runner]),
        scenario("e_nothing", &[]),
    ];
    let (ran, events) = run_all(stack(), scenarios, 4).await;
    assert_eq!(
        ran.counts,
        Counts {
            passed: 1,
            failed: 0,
            skipped: 4
        }
    );
    for (id, part) in [
        ("a", "no control"),
        ("b", "no kubeconfig"),
        ("c", "postgresql.admin"),
        ("d", "no runner"),
    ] {
        let event = ended(&events, id);
        assert_eq!(event["outcome"], "skipped");
        assert!(event["reason"].as_str().unwrap().contains(part), "{event}");
    }
}

#[tokio::test]
async fn runs_up_to_jobs_scenarios_in_parallel() {
    static RUNNING: AtomicUsize = AtomicUsize::new(0);
    let together = |name| {
        Scenario::new(name, |_| {
            Box::pin(async {
                RUNNING.fetch_add(1, Ordering::SeqCst);
                until(Duration::from_secs(10), "three at once", async || {
                    let running = RUNNING.load(Ordering::SeqCst);
                    Ok(if running == 3 {
                        Seen::Yes(())
                    } else {
                        Seen::NotYet(format!("{running}"))
                    })
                })
                .await
            })
        })
    };
    let (ran, _) = run_all(
        stack(),
        vec![together("a_a"), together("b_b"), together("c_c")],
        3,
    )
    .await;
    assert_eq!(ran.counts.passed, 3);
}

#[tokio::test]
async fn unrecovered_component_fails_its_scenario_and_dependents() {
    // No control command can run, so the stopped component stays stopped.
    let stack = Stack {
        control: vec!["/nonexistent/control".into()],
        ..stack()
    };
    let scenarios = vec![
        Scenario::new("a_fault", |context| {
            Box::pin(async {
                let _ = context.control()?.stop(Part::PostgreSql).await;
                Ok(())
            })
        })
        .alone(&[Part::PostgreSql]),
        Scenario::new("b_reader", |_| Box::pin(async { Ok(()) })).shares(&[Part::PostgreSql]),
        Scenario::new("c_other", |_| Box::pin(async { Ok(()) })).shares(&[Part::Gateway]),
    ];
    let (ran, events) = run_all(stack, scenarios, 4).await;
    assert_eq!(
        ran.counts,
        Counts {
            passed: 1,
            failed: 2,
            skipped: 0
        }
    );
    let fault = ended(&events, "a")["detail"].as_str().unwrap();
    assert!(fault.contains("cannot start postgresql again"), "{fault}");
    let reader = ended(&events, "b")["detail"].as_str().unwrap();
    assert!(
        reader.contains("postgresql did not recover after a_fault"),
        "{reader}"
    );
    assert_eq!(ended(&events, "c")["outcome"], "passed");
}

#[tokio::test]
async fn interruption_cancels_running_and_starts_no_further_scenarios() {
    let (sender, interrupted) = watch::channel(false);
    let scenarios = vec![
        Scenario::new("a_hangs", |_| Box::pin(std::future::pending())).takes(9, 60),
        Scenario::new("b_waits", |_| Box::pin(async { Ok(()) })),
    ];
    let stop = async {
        sender.send_replace(true);
    };
    let ((ran, events), ()) = tokio::join!(run_until(stack(), scenarios, 1, interrupted), stop);
    assert!(ran.interrupted);
    assert_eq!(
        ended(&events, "a")["detail"].as_str().unwrap().trim(),
        "interrupted"
    );
    assert_eq!(ended(&events, "b")["reason"], "interrupted");
}
