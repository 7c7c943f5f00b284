//! Load that meets a fault: senders that behave as the real ones do, and send again what was not taken.

mod alerts;
mod events;

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Result, ensure};
use futures::future::{try_join, try_join_all};
use tokio::time::MissedTickBehavior;

pub(crate) use self::alerts::Alerts;
pub(crate) use self::events::Events;
use crate::http::{Answer, Http, Request};
use crate::wait::{Seen, until};

/// How long one thing may stay untaken.
const TAKEN: Duration = Duration::from_secs(90);

/// Several senders at once.
struct Senders {
    count: u32,
    /// Between two things of one sender.
    pause: Duration,
    /// Nothing is sent while there is no 200 here.
    readiness: Option<Request>,
    over: Cell<bool>,
    taken: Cell<usize>,
    tries: Tries,
}

/// Tries that were not taken.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    /// Nothing was reached, so that nothing can have been done.
    unreached: Cell<usize>,
    /// It was sent, and no answer came: it may have been done.
    unanswered: Cell<usize>,
    /// Answered with a 503.
    put_off: Cell<usize>,
}

impl Tries {
    /// All of them.
    pub(crate) fn total(&self) -> usize {
        self.unreached.get() + self.unanswered.get() + self.put_off.get()
    }

    /// Fails if there was any.
    pub(crate) fn none(&self) -> Result<()> {
        ensure!(
            self.total() == 0,
            "expected everything to be taken at the first try: {self:?}"
        );
        Ok(())
    }

    fn note(&self, tried: &Result<Answer>) {
        let counter = match tried {
            Ok(answer) if answer.status == 503 => &self.put_off,
            Ok(_) => return,
            Err(error) if error.downcast_ref().is_some_and(reqwest::Error::is_connect) => &self.unreached,
            Err(_) => &self.unanswered,
        };
        counter.set(counter.get() + 1);
    }
}

impl Senders {
    /// So many senders, that together send so much in a second.
    fn new(count: u32, per_second: u32) -> Self {
        let pause = Duration::from_secs(1) * count / per_second;
        Self {
            count,
            pause,
            readiness: None,
            over: Cell::new(false),
            taken: Cell::new(0),
            tries: Tries::default(),
        }
    }

    /// Has the senders send to a service only while it says that it is ready, as a Service of Kubernetes does with
    /// each of its pods. A process that is replaced by another has nobody who would do that for it.
    fn only_while_ready(&mut self, http: &Http, health: &str) {
        self.readiness = Some(http.get(format!("{health}/readyz")));
    }

    /// Every sender sends one thing after the other for as long as `meanwhile` lasts; what was begun by then is
    /// brought to its end. `send` is given the sender's number and its thing's.
    async fn during(
        &self,
        meanwhile: impl Future<Output = Result<()>>,
        send: impl AsyncFn(u32, usize) -> Result<()>,
    ) -> Result<()> {
        let sender = async |sender: u32| {
            let mut pace = tokio::time::interval(self.pause);
            // After an outage what was put off is not made up for: the rate is what a sender makes.
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

    /// Waits until so many more are taken.
    async fn more(&self, count: usize) -> Result<()> {
        let wanted = self.taken.get() + count;
        until(TAKEN, &format!("{wanted} to be taken"), async || {
            let taken = self.taken.get();
            Ok(if taken >= wanted {
                Seen::Yes(())
            } else {
                Seen::NotYet(taken.to_string())
            })
        })
        .await
    }

    /// Tries until it is taken, with a 201 or 202. An answer that is neither that nor a 503 is a failure at once.
    async fn until_taken(
        &self,
        what: &str,
        mut attempt: impl AsyncFnMut() -> Result<Answer>,
    ) -> Result<Answer> {
        let answer = until(TAKEN, &format!("{what} to be taken"), async || {
            if let Some(readiness) = &self.readiness {
                readiness.clone().send().await?.expect(200)?;
            }
            let tried = attempt().await;
            self.tries.note(&tried);
            let answer = tried?;
            Ok(match answer.status {
                201 | 202 => Seen::Yes(answer),
                503 => Seen::NotYet(answer.to_string()),
                _ => Seen::Never(answer.to_string()),
            })
        })
        .await?;
        self.taken.set(self.taken.get() + 1);
        Ok(answer)
    }
}
