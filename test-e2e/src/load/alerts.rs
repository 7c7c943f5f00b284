//! Alertmanager under load.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Senders, Tries};
use crate::gateway::Alert;
use crate::harness::context::Context;
use crate::wait::{Seen, until};

/// Alerts per incident: the first creates its request, the others are duplicates.
const EACH: usize = 4;
/// Maximum time from the end of the last fault to the last audit event.
const AUDITED: Duration = Duration::from_secs(60);

/// Alerts of a namespace, sent by several senders at once, each repeated until it is accepted.
pub(crate) struct Alerts<'a> {
    context: &'a Context,
    namespace: String,
    senders: Senders,
    /// By the request's name: number of 201 and of 202 responses.
    accepted: RefCell<BTreeMap<String, (usize, usize)>>,
}

impl<'a> Alerts<'a> {
    /// Creates `senders` senders with a total rate of alerts per second, in a namespace of their own.
    pub(crate) async fn new(context: &'a Context, senders: u32, per_second: u32) -> Result<Self> {
        let (namespace, senders) = (context.namespace().await?, Senders::new(senders, per_second));
        Ok(Self {
            context,
            namespace,
            senders,
            accepted: RefCell::default(),
        })
    }

    /// Sends only while the Gateway reports that it is ready.
    pub(crate) fn only_while_ready(mut self) -> Result<Self> {
        let health = self.context.stack.service("gateway", "health")?;
        self.senders.only_while_ready(&self.context.http, health);
        Ok(self)
    }

    /// Sends while `meanwhile` runs, and then until every started alert is accepted.
    pub(crate) async fn during(&self, meanwhile: impl Future<Output = Result<()>>) -> Result<()> {
        let send = async |sender: u32, number: usize| {
            let pod = format!("worker-{sender}-{}", number / EACH);
            let alert = Alert::new("HighMemoryUsage", &self.namespace, &pod);
            let send = async || self.context.gateway().alert(&alert).await;
            let response = self
                .senders
                .until_accepted(&format!("an alert of {pod}"), send)
                .await?;
            let name = response.text_at("/remediationRequestName")?;
            let mut accepted = self.accepted.borrow_mut();
            let (created, counted) = accepted.entry(name).or_default();
            *(if response.status == 201 { created } else { counted }) += 1;
            Ok(())
        };
        self.senders.during(meanwhile, send).await
    }

    /// Waits until this many more are accepted.
    pub(crate) async fn more(&self, count: usize) -> Result<()> {
        self.senders.more(count).await
    }

    /// The attempts that were not accepted.
    pub(crate) fn tries(&self) -> &Tries {
        &self.senders.tries
    }

    /// Checks that each incident is one request whose count is between the acknowledged and the sent alerts.
    pub(crate) async fn are_counted(&self) -> Result<()> {
        let accepted = self.accepted.borrow().clone();
        let requests = self.context.cluster().await?.requests(&self.namespace).await?;
        ensure!(
            requests.len() == accepted.len(),
            "{} requests were acknowledged, {} exist",
            accepted.len(),
            requests.len()
        );
        for request in &requests {
            let name = request["metadata"]["name"].as_str().unwrap_or_default();
            let (created, counted) = accepted
                .get(name)
                .with_context(|| format!("{name} was never acknowledged"))?;
            let count = request["status"]["deduplication"]["occurrenceCount"]
                .as_u64()
                .unwrap_or(1) as usize;
            let sent = created + counted..=created + counted + self.senders.tries.without_response.get();
            ensure!(sent.contains(&count), "{name} counts {count}, of {sent:?} sent");
        }
        Ok(())
    }

    /// Checks that each accepted alert has its audit events exactly once; unacknowledged ones may have some.
    pub(crate) async fn are_audited(&self) -> Result<()> {
        let accepted = self.accepted.borrow().clone();
        for (name, (created, counted)) in accepted {
            let most = counted + self.senders.tries.without_response.get();
            let what = format!("{created} created and {counted} deduplicated events of {name}");
            until(AUDITED, &what, async || {
                let events = self.context.datastorage().events(&name).await?;
                let number = |kind: &str| events.iter().filter(|event| event["event_type"] == kind).count();
                let (made, repeats) = (
                    number("gateway.crd.created"),
                    number("gateway.signal.deduplicated"),
                );
                let (received, state) = (
                    number("gateway.signal.received"),
                    format!("{made} created and {repeats} deduplicated"),
                );
                Ok(if made > 1 || received > 1 || repeats > most {
                    Seen::Never(state)
                } else if made >= created && received == made && repeats >= counted {
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
