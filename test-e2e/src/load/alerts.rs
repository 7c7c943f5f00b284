//! AlertManager under load.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Senders, Tries};
use crate::gateway::Alert;
use crate::harness::context::Context;
use crate::wait::{Seen, until};

/// How often each problem is sent: the first makes its request, the others are duplicates.
const EACH: usize = 4;
/// From the last fault's end to the last audit event.
const AUDITED: Duration = Duration::from_secs(60);

/// Alerts of a namespace, sent by several senders at once, each until it is taken.
pub(crate) struct Alerts<'a> {
    context: &'a Context,
    namespace: String,
    senders: Senders,
    /// By the request's name: how often it was answered 201, and 202.
    taken: RefCell<BTreeMap<String, (usize, usize)>>,
}

impl<'a> Alerts<'a> {
    /// So many senders, and so many alerts a second by all of them, in a namespace of their own.
    pub(crate) async fn new(context: &'a Context, senders: u32, per_second: u32) -> Result<Self> {
        let (namespace, senders) = (context.namespace().await?, Senders::new(senders, per_second));
        Ok(Self {
            context,
            namespace,
            senders,
            taken: RefCell::default(),
        })
    }

    /// Sends only while the Gateway says that it is ready.
    pub(crate) fn only_while_ready(mut self) -> Result<Self> {
        let health = self.context.stack.service("gateway", "health")?;
        self.senders.only_while_ready(&self.context.http, health);
        Ok(self)
    }

    /// Sends for as long as `meanwhile` lasts, and then until everything that was begun is taken.
    pub(crate) async fn during(&self, meanwhile: impl Future<Output = Result<()>>) -> Result<()> {
        let send = async |sender: u32, number: usize| {
            let pod = format!("worker-{sender}-{}", number / EACH);
            let alert = Alert::new("HighMemoryUsage", &self.namespace, &pod);
            let send = async || self.context.gateway().alert(&alert).await;
            let answer = self
                .senders
                .until_taken(&format!("an alert of {pod}"), send)
                .await?;
            let name = answer.text_at("/remediationRequestName")?;
            let mut taken = self.taken.borrow_mut();
            let (created, counted) = taken.entry(name).or_default();
            *(if answer.status == 201 { created } else { counted }) += 1;
            Ok(())
        };
        self.senders.during(meanwhile, send).await
    }

    /// Waits until so many more are taken.
    pub(crate) async fn more(&self, count: usize) -> Result<()> {
        self.senders.more(count).await
    }

    /// What was not taken at once.
    pub(crate) fn tries(&self) -> &Tries {
        &self.senders.tries
    }

    /// Each problem stands as one request, which counts at least what was answered, and at most what was sent.
    pub(crate) async fn are_counted(&self) -> Result<()> {
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
            let sent = created + counted..=created + counted + self.senders.tries.unanswered.get();
            ensure!(
                sent.contains(&count),
                "{name} counts {count}, and {sent:?} were sent"
            );
        }
        Ok(())
    }

    /// Each alert that was taken has left its audit events, each once; what was not answered may have left some.
    pub(crate) async fn are_audited(&self) -> Result<()> {
        let taken = self.taken.borrow().clone();
        for (name, (created, counted)) in taken {
            let most = counted + self.senders.tries.unanswered.get();
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
