//! Waiting: for what a watch tells, and, in one place, for what has to be asked for again and again.

use std::{fmt::Display, time::Duration};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Awaits `future`, but not for ever; what was seen last is told if it takes too long.
pub(crate) async fn waited<T>(what: &str, last: impl Fn() -> String, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(elapsed) => panic!(
            "waited {PATIENCE:?} for this ({elapsed}): {what}\nseen last: {}",
            last()
        ),
    }
}

/// Asks until there is an answer: for files and HTTP, which cannot be watched.
pub(crate) async fn poll<T, E: Display>(what: &str, mut ask: impl AsyncFnMut() -> Result<T, E>) -> T {
    let last = std::sync::Mutex::new(String::new());
    let show = || last.lock().unwrap().clone();
    waited(what, show, async {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            match ask().await {
                Ok(value) => return value,
                Err(error) => *last.lock().unwrap() = error.to_string(),
            }
        }
    })
    .await
}
