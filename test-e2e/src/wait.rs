//! Waits for conditions, never for a fixed time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The state of a condition.
pub(crate) enum Seen<T> {
    /// It is met.
    Yes(T),
    /// Not yet; the text is the observed state.
    NotYet(String),
    /// It can no longer be met: waiting longer would only hide that.
    Never(String),
}

/// Checks until the condition is met, and returns its value. An error of a check counts as an observed state, since
/// the condition is often that a server responds at all.
///
/// # Errors
/// After `deadline`, or at once on [`Seen::Never`], with `what` was awaited and the last observed state.
pub(crate) async fn until<T>(
    deadline: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Seen<T>>,
) -> Result<T> {
    const FIRST_INTERVAL: Duration = Duration::from_millis(20);
    const LONGEST_INTERVAL: Duration = Duration::from_millis(500);
    let began = Instant::now();
    let mut interval = FIRST_INTERVAL;
    let mut last = String::from("nothing: the first check did not end");
    while began.elapsed() < deadline {
        let left = deadline.saturating_sub(began.elapsed());
        match tokio::time::timeout(left, look()).await {
            Ok(Ok(Seen::Yes(value))) => return Ok(value),
            Ok(Ok(Seen::NotYet(state))) => last = state,
            Ok(Ok(Seen::Never(state))) => bail!("waited for {what}, which is no longer possible: {state}"),
            Ok(Err(error)) => last = format!("{error:#}"),
            Err(_) => break,
        }
        tokio::time::sleep(interval.min(deadline.saturating_sub(began.elapsed()))).await;
        interval = (interval * 3 / 2).min(LONGEST_INTERVAL);
    }
    bail!("waited {:.0?} for {what}; last seen: {last}", began.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn returns_the_value_as_soon_as_the_condition_is_met() {
        let mut looks = 0;
        let value = until(Duration::from_secs(5), "three looks", async || {
            looks += 1;
            Ok(if looks < 3 {
                Seen::NotYet(format!("{looks} looks"))
            } else {
                Seen::Yes(looks)
            })
        })
        .await
        .unwrap();
        assert_eq!(value, 3);
    }

    #[tokio::test]
    async fn deadline_error_has_the_last_state_and_the_last_error() {
        let none: Result<()> = until(Duration::from_millis(50), "the moon", async || {
            Ok(Seen::NotYet("clouds".into()))
        })
        .await;
        let text = none.unwrap_err().to_string();
        assert!(
            text.contains("the moon") && text.contains("last seen: clouds"),
            "{text}"
        );

        let none: Result<()> = until(Duration::from_millis(50), "the moon", async || {
            bail!("connection refused")
        })
        .await;
        assert!(
            none.unwrap_err()
                .to_string()
                .contains("last seen: connection refused")
        );
    }

    #[tokio::test]
    async fn hanging_check_ends_at_the_deadline() {
        let none: Result<()> = until(Duration::from_millis(50), "a response", async || {
            std::future::pending::<()>().await;
            Ok(Seen::Yes(()))
        })
        .await;
        assert!(
            none.unwrap_err()
                .to_string()
                .contains("the first check did not end")
        );
    }

    #[tokio::test]
    async fn impossible_condition_ends_the_wait_at_once() {
        let began = Instant::now();
        let none: Result<()> = until(Duration::from_secs(60), "one row", async || {
            Ok(Seen::Never("two rows".into()))
        })
        .await;
        assert!(none.unwrap_err().to_string().contains("two rows"));
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}
