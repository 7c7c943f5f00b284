//! Writers that behave as services do: what is not acknowledged is sent again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::future::{try_join, try_join_all};
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use crate::datastorage::{event, stored_whole};
use crate::harness::context::Context;
use crate::wait::{Seen, until};

/// How long one event may stay unacknowledged.
const ACKNOWLEDGED: Duration = Duration::from_secs(90);

/// Events written over several connections at once, each until it is acknowledged.
pub(crate) struct Load<'a> {
    context: &'a Context,
    correlations: Vec<String>,
    /// Between two events of one writer.
    pause: Duration,
    acknowledged: RefCell<Vec<Value>>,
    refused: Cell<usize>,
    over: Cell<bool>,
}

impl<'a> Load<'a> {
    /// So many writers, each with a correlation of its own, and so many events a second by all of them.
    pub(crate) fn new(context: &'a Context, writers: u32, per_second: u32) -> Self {
        Self {
            context,
            correlations: (0..writers)
                .map(|writer| context.named(&format!("writer-{writer}")))
                .collect(),
            pause: Duration::from_secs(1) * writers / per_second,
            acknowledged: RefCell::default(),
            refused: Cell::new(0),
            over: Cell::new(false),
        }
    }

    /// Writes for as long as `meanwhile` lasts, and then until everything that was begun is acknowledged. An answer
    /// that is neither an acknowledgement nor a 503 is a failure at once.
    pub(crate) async fn during(&self, meanwhile: impl Future<Output = Result<()>>) -> Result<()> {
        let writers = try_join_all(
            self.correlations
                .iter()
                .map(|correlation| self.write(correlation)),
        );
        let meanwhile = async {
            let done = meanwhile.await;
            self.over.set(true);
            done
        };
        try_join(writers, meanwhile).await.map(drop)
    }

    /// Waits for so many acknowledgements more.
    pub(crate) async fn more(&self, count: usize) -> Result<()> {
        let wanted = self.acknowledged.borrow().len() + count;
        until(
            ACKNOWLEDGED,
            &format!("{wanted} acknowledged events"),
            async || {
                let acknowledged = self.acknowledged.borrow().len();
                Ok(if acknowledged >= wanted {
                    Seen::Yes(())
                } else {
                    Seen::NotYet(acknowledged.to_string())
                })
            },
        )
        .await
    }

    /// How many tries had no answer or were put off with a 503.
    pub(crate) fn refused(&self) -> usize {
        self.refused.get()
    }

    /// Fails if any write was put off or unanswered.
    pub(crate) fn none_refused(&self) -> Result<()> {
        let (refused, acknowledged) = (self.refused.get(), self.acknowledged.borrow().len());
        ensure!(
            refused == 0,
            "{refused} writes were refused or unanswered beside {acknowledged} acknowledged ones"
        );
        Ok(())
    }

    /// Waits until everything is stored, once and whole, in chains that verify.
    pub(crate) async fn is_stored(&self, deadline: Duration) -> Result<()> {
        let acknowledged = self.acknowledged.borrow().clone();
        for correlation in &self.correlations {
            let sent = acknowledged
                .iter()
                .filter(|event| event["correlation_id"] == **correlation);
            let sent: Vec<_> = sent.collect();
            let stored = self
                .context
                .datastorage()
                .events_when(sent.len(), correlation, deadline)
                .await?;
            let stored: BTreeMap<_, _> = stored
                .iter()
                .map(|event| (event["event_id"].as_str(), event))
                .collect();
            for sent in &sent {
                let stored = stored.get(&sent["event_id"].as_str());
                stored_whole(
                    sent,
                    stored.with_context(|| format!("acknowledged and not stored: {sent}"))?,
                )?;
            }
            let verified = self.context.datastorage().verify_chain(correlation).await?;
            verified
                .has("/is_valid", true)?
                .has("/total_events", sent.len())?;
        }
        Ok(())
    }

    async fn write(&self, correlation: &str) -> Result<()> {
        let mut pace = tokio::time::interval(self.pause);
        // After an outage what was put off is not made up for: the rate is what a service makes.
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 0.. {
            pace.tick().await;
            if self.over.get() {
                break;
            }
            let mut event = event(correlation, "execution.step.completed", Duration::from_secs(1));
            event["event_data"] = json!({"number": number});
            until(
                ACKNOWLEDGED,
                &format!("event {number} of {correlation} to be acknowledged"),
                async || {
                    let answer = self
                        .context
                        .datastorage()
                        .write(&event)
                        .await
                        .inspect_err(|_| self.count_refused())?;
                    Ok(match answer.status {
                        201 | 202 => Seen::Yes(()),
                        503 => {
                            self.count_refused();
                            Seen::NotYet(answer.to_string())
                        }
                        _ => Seen::Never(answer.to_string()),
                    })
                },
            )
            .await?;
            self.acknowledged.borrow_mut().push(event);
        }
        Ok(())
    }

    fn count_refused(&self) {
        self.refused.set(self.refused.get() + 1);
    }
}
