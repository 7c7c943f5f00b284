//! Load during a fault: senders that retry like the real ones.

mod alerts;
mod events;

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Result, ensure};
use futures::future::{try_join, try_join_all};
use tokio::time::MissedTickBehavior;

pub(crate) use self::alerts::Alerts;
pub(crate) use self::events::Events;
use crate::http::{Http, Request, Response};
use crate::wait::{Seen, until};

/// Maximum time until one item is accepted.
const ACCEPTED: Duration = Duration::from_secs(90);

/// Several concurrent senders.
struct Senders {
    count: u32,
    /// Pause between two items of one sender.
    pause: Duration,
    /// Nothing is sent while this URL does not return 200.
    readiness: Option<Request>,
    over: Cell<bool>,
    accepted: Cell<usize>,
    tries: Tries,
}

/// Attempts that were not accepted.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    /// No connection, so the server did nothing.
    unconnected: Cell<usize>,
    /// Sent without a response: the server may have processed it.
    without_response: Cell<usize>,
    /// 503 responses.
    unavailable: Cell<usize>,
}

impl Tries {
    /// Their sum.
    fn total(&self) -> usize {
        self.unconnected.get() + self.without_response.get() + self.unavailable.get()
    }

    /// Sent without a response.
    pub(crate) fn without_response(&self) -> usize {
        self.without_response.get()
    }

    /// Fails if there was any.
    pub(crate) fn none(&self) -> Result<()> {
        ensure!(
            self.total() == 0,
            "expected every first attempt to be accepted: {self:?}"
        );
        Ok(())
    }

    fn note(&self, tried: &Result<Response>) {
        let counter = match tried {
            Ok(response) if response.status == 503 => &self.unavailable,
            Ok(_) => return,
            Err(error) if error.downcast_ref().is_some_and(reqwest::Error::is_connect) => &self.unconnected,
            Err(_) => &self.without_response,
        };
        counter.set(counter.get() + 1);
    }
}

impl Senders {
    /// Creates `senders` senders with a total rate of items per second.
    fn new(count: u32, per_second: u32) -> Self {
        let pause = Duration::from_secs(1) * count / per_second;
        Self {
            count,
            pause,
            readiness: None,
            over: Cell::new(false),
            accepted: Cell::new(0),
            tries: Tries::default(),
        }
    }

    /// Makes the senders wait for a ready service, as a Kubernetes Service does with each of its pods. A single
    /// process that is replaced has no such load balancer.
    fn only_while_ready(&mut self, http: &Http, health: &str) {
        self.readiness = Some(http.get(format!("{health}/readyz")));
    }

    /// Every sender sends one item after the other while `meanwhile` runs, and then completes the current one. `send`
    /// gets the numbers of the sender and of its item.
    async fn during(
        &self,
        meanwhile: impl Future<Output = Result<()>>,
        send: impl AsyncFn(u32, usize) -> Result<()>,
    ) -> Result<()> {
        let sender = async |sender: u32| {
            let mut pace = tokio::time::interval(self.pause);
            // Items that were delayed by an outage are not sent in a burst: the rate is a sender's maximum.
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for number in 0.. {
                pace.tick().await;
                if self.over.get() {
                    break;
                }
                send(sender, number).await?;
            }
            anyhow::Ok(())
        };
        let meanwhile = async {
            let done = meanwhile.await;
            self.over.set(true);
            done
        };
        try_join(try_join_all((0..self.count).map(sender)), meanwhile)
            .await
            .map(drop)
    }

    /// Waits until this many more are accepted.
    async fn more(&self, count: usize) -> Result<()> {
        let wanted = self.accepted.get() + count;
        until(ACCEPTED, &format!("{wanted} to be accepted"), async || {
            let accepted = self.accepted.get();
            Ok(if accepted >= wanted {
                Seen::Yes(())
            } else {
                Seen::NotYet(accepted.to_string())
            })
        })
        .await
    }

    /// Retries until a 201 or 202. A response that is neither that nor a 503 is an error at once.
    async fn until_accepted(
        &self,
        what: &str,
        mut attempt: impl AsyncFnMut() -> Result<Response>,
    ) -> Result<Response> {
        let response = until(ACCEPTED, &format!("{what} to be accepted"), async || {
            if let Some(readiness) = &self.readiness {
                readiness.clone().send().await?.expect(200)?;
            }
            let tried = attempt().await;
            self.tries.note(&tried);
            let response = tried?;
            Ok(match response.status {
                201 | 202 => Seen::Yes(response),
                503 => Seen::NotYet(response.to_string()),
                _ => Seen::Never(response.to_string()),
            })
        })
        .await?;
        self.accepted.set(self.accepted.get() + 1);
        Ok(response)
    }
}
