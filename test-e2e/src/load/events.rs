//! Services that write audit events under load.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{Senders, Tries};
use crate::datastorage::{chained, event, stored_whole};
use crate::harness::context::Context;

/// Events written by several writers at once, each repeated until it is acknowledged.
pub(crate) struct Events<'a> {
    context: &'a Context,
    writers: Senders,
    acknowledged: RefCell<Vec<Value>>,
}

impl<'a> Events<'a> {
    /// Creates `writers` writers, each with its own correlation, with a total rate of events per second.
    pub(crate) fn new(context: &'a Context, writers: u32, per_second: u32) -> Self {
        Self {
            context,
            writers: Senders::new(writers, per_second),
            acknowledged: RefCell::default(),
        }
    }

    /// Writes only while DataStorage reports that it is ready.
    pub(crate) fn only_while_ready(mut self) -> Result<Self> {
        let health = self.context.stack.service("datastorage", "health")?;
        self.writers.only_while_ready(&self.context.http, health);
        Ok(self)
    }

    /// Writes while `meanwhile` runs, and then until every started event is acknowledged.
    pub(crate) async fn during(&self, meanwhile: impl Future<Output = Result<()>>) -> Result<()> {
        let write = async |writer: u32, number: usize| {
            let mut event = event(
                &self.correlation(writer),
                "execution.step.completed",
                Duration::from_secs(1),
            );
            event["event_data"] = json!({"number": number});
            let write = async || self.context.datastorage().write(&event).await;
            self.writers
                .until_accepted(&format!("event {number} of writer {writer}"), write)
                .await?;
            self.acknowledged.borrow_mut().push(event);
            Ok(())
        };
        self.writers.during(meanwhile, write).await
    }

    /// Waits for this many more acknowledgements.
    pub(crate) async fn more(&self, count: usize) -> Result<()> {
        self.writers.more(count).await
    }

    /// The attempts that were not acknowledged.
    pub(crate) fn tries(&self) -> &Tries {
        &self.writers.tries
    }

    /// Waits until every acknowledged event is stored exactly once, complete, in a chain that verifies.
    pub(crate) async fn are_stored(&self, deadline: Duration) -> Result<()> {
        let datastorage = self.context.datastorage();
        let acknowledged = self.acknowledged.borrow().clone();
        for writer in 0..self.writers.count {
            let correlation = self.correlation(writer);
            let sent: Vec<_> = acknowledged
                .iter()
                .filter(|event| event["correlation_id"] == *correlation)
                .collect();
            let stored = datastorage
                .events_when(sent.len(), &correlation, deadline)
                .await?;
            chained(&stored)?;
            let stored: BTreeMap<_, _> = stored
                .iter()
                .map(|event| (event["event_id"].as_str(), event))
                .collect();
            for sent in &sent {
                let stored = stored.get(&sent["event_id"].as_str());
                stored_whole(
                    sent,
                    stored.with_context(|| format!("acknowledged but not stored: {sent}"))?,
                )?;
            }
        }
        Ok(())
    }

    fn correlation(&self, writer: u32) -> String {
        self.context.named(&format!("writer-{writer}"))
    }
}
