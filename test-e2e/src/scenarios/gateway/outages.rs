//! What others' absence and its own restarts do to the Gateway: nothing that a sender would lose by.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::future::{try_join, try_join_all};
use tokio::time::MissedTickBehavior;

use crate::gateway::Alert;
use crate::harness::context::Context;
use crate::harness::scenario::Part::{DataStorage, Gateway, Kubernetes, PostgreSql, Redis};
use crate::harness::scenario::Requirement::{Control, Kubeconfig};
use crate::harness::scenario::Scenario;
use crate::wait::{Seen, until};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("g13_redis_away_does_not_touch_the_gateway", |c| {
        Box::pin(redis_away(c))
    })
    .shares(&[Gateway, Kubernetes])
    .alone(&[Redis])
    .requires(&[Kubeconfig, Control])
    .takes(5, 120),
    Scenario::new("g22_a_rolling_restart_under_load_fails_no_alert", |c| {
        Box::pin(rolling_restart(c))
    })
    .shares(&[Kubernetes])
    .alone(&[Gateway])
    .requires(&[Kubeconfig, Control])
    .takes(15, 240),
    Scenario::new(
        "g28_audit_events_survive_datastorage_away_and_a_kill_of_the_gateway",
        |c| Box::pin(spool(c)),
    )
    .shares(&[Kubernetes, PostgreSql])
    .alone(&[Gateway, DataStorage])
    .requires(&[Kubeconfig, Control])
    .takes(40, 300),
];

async fn redis_away(context: &Context) -> Result<()> {
    let namespace = context.namespace().await?;
    let gateway = context.gateway();
    context.control()?.stop(Redis).await?;
    for number in 0..5 {
        let alert = Alert::new("HighMemoryUsage", &namespace, &format!("worker-{number}"));
        gateway.alert(&alert).await?.expect(201)?;
        gateway
            .alert(&alert)
            .await?
            .expect(202)?
            .has("/metadata/count", 2)?;
        gateway.health("/readyz").await?.expect(200)?;
    }
    Ok(())
}

async fn rolling_restart(context: &Context) -> Result<()> {
    let alerts = Alerts::new(context, 8, 100).await?;
    let restart = async {
        alerts.more(50).await?;
        context.control()?.restart(Gateway).await?;
        alerts.more(50).await
    };
    alerts.during(restart).await?;
    let refused = alerts.refused.get();
    ensure!(
        refused == 0,
        "{refused} alerts failed beside {} that were taken",
        alerts.taken()
    );
    alerts.are_counted().await
}

async fn spool(context: &Context) -> Result<()> {
    let alerts = Alerts::new(context, 8, 20).await?;
    let faults = async {
        alerts.more(20).await?;
        context.control()?.stop(DataStorage).await?;
        alerts.more(200).await?;
        context.control()?.kill(Gateway).await?;
        context.control()?.start(Gateway).await?;
        alerts.more(200).await?;
        context.gateway().health("/readyz").await?.expect(200)?;
        context.control()?.start(DataStorage).await
    };
    alerts.during(faults).await?;
    alerts.are_counted().await?;
    alerts.are_audited().await
}

/// Senders of alerts that behave as AlertManager does: what was not taken is sent again.
struct Alerts<'a> {
    context: &'a Context,
    namespace: String,
    senders: u32,
    pause: Duration,
    /// By request: how often it was answered 201, and 202.
    taken: RefCell<BTreeMap<String, (usize, usize)>>,
    /// Tries that had no answer, or one that put them off.
    refused: Cell<usize>,
    over: Cell<bool>,
}

impl<'a> Alerts<'a> {
    async fn new(context: &'a Context, senders: u32, per_second: u32) -> Result<Self> {
        let pause = Duration::from_secs(1) * senders / per_second;
        let (taken, refused, over) = (RefCell::default(), Cell::new(0), Cell::new(false));
        Ok(Self {
            context,
            namespace: context.namespace().await?,
            senders,
            pause,
            taken,
            refused,
            over,
        })
    }

    fn taken(&self) -> usize {
        self.taken
            .borrow()
            .values()
            .map(|(created, counted)| created + counted)
            .sum()
    }

    async fn more(&self, count: usize) -> Result<()> {
        let wanted = self.taken() + count;
        until(
            Duration::from_secs(90),
            &format!("{wanted} taken alerts"),
            async || {
                let taken = self.taken();
                Ok(if taken >= wanted {
                    Seen::Yes(())
                } else {
                    Seen::NotYet(taken.to_string())
                })
            },
        )
        .await
    }

    async fn during(&self, meanwhile: impl Future<Output = Result<()>>) -> Result<()> {
        let meanwhile = async {
            let done = meanwhile.await;
            self.over.set(true);
            done
        };
        try_join(
            try_join_all((0..self.senders).map(|sender| self.send(sender))),
            meanwhile,
        )
        .await
        .map(drop)
    }

    async fn send(&self, sender: u32) -> Result<()> {
        let mut pace = tokio::time::interval(self.pause);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 0.. {
            pace.tick().await;
            if self.over.get() {
                break;
            }
            // Each problem a few times: half of what is sent are duplicates and more.
            let alert = Alert::new(
                "HighMemoryUsage",
                &self.namespace,
                &format!("worker-{sender}-{}", number / 4),
            );
            let answer = until(Duration::from_secs(60), "an alert to be taken", async || {
                let put_off = |_: &_| self.refused.set(self.refused.get() + 1);
                let answer = self.context.gateway().alert(&alert).await.inspect_err(put_off)?;
                Ok(match answer.status {
                    201 | 202 => Seen::Yes(answer),
                    503 => {
                        put_off(&anyhow::anyhow!("503"));
                        Seen::NotYet(answer.to_string())
                    }
                    _ => Seen::Never(answer.to_string()),
                })
            })
            .await?;
            let name = answer.text_at("/remediationRequestName")?;
            let mut taken = self.taken.borrow_mut();
            let (created, counted) = taken.entry(name).or_default();
            *(if answer.status == 201 { created } else { counted }) += 1;
        }
        Ok(())
    }

    /// Each request stands once, and counts at least what was acknowledged, and at most what was sent.
    async fn are_counted(&self) -> Result<()> {
        let taken = self.taken.borrow().clone();
        let requests = self.context.cluster().await?.requests(&self.namespace).await?;
        ensure!(
            requests.len() == taken.len(),
            "{} requests were answered, {} stand",
            taken.len(),
            requests.len()
        );
        for request in &requests {
            let name = request["metadata"]["name"].as_str().unwrap_or_default();
            let (created, counted) = taken
                .get(name)
                .with_context(|| format!("{name} was never answered"))?;
            let count = request["status"]["deduplication"]["occurrenceCount"]
                .as_u64()
                .unwrap_or(1) as usize;
            let most = created + counted + self.refused.get();
            let range = created + counted..=most;
            ensure!(
                range.contains(&count),
                "{name} counts {count}, and {range:?} were sent"
            );
        }
        Ok(())
    }

    /// Each acknowledged alert has left its events, each once; what was not acknowledged may have left some.
    async fn are_audited(&self) -> Result<()> {
        let taken = self.taken.borrow().clone();
        for (name, (created, counted)) in taken {
            let what = format!("{created} created and {counted} deduplicated events of {name}");
            until(Duration::from_secs(60), &what, async || {
                let events = self.context.datastorage().events(&name).await?;
                let number = |kind: &str| events.iter().filter(|event| event["event_type"] == kind).count();
                let (made, repeats) = (
                    number("gateway.crd.created"),
                    number("gateway.signal.deduplicated"),
                );
                let state = format!("{made} created and {repeats} deduplicated");
                let most = counted + self.refused.get();
                Ok(if made > 1 || repeats > most {
                    Seen::Never(state)
                } else if made >= created && repeats >= counted && number("gateway.signal.received") == made {
                    Seen::Yes(())
                } else {
                    Seen::NotYet(state)
                })
            })
            .await?;
        }
        Ok(())
    }
}
