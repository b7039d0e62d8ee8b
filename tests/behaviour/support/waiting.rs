//! Waiting for watch events, and polling for files and HTTP.

use std::{fmt::Display, time::Duration};

/// Maximum time for any step on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Awaits `future` with a time limit. If it is exceeded, the panic contains `last`, the last observed state.
pub(crate) async fn waited<T>(what: &str, last: impl Fn() -> String, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(elapsed) => panic!(
            "waited {PATIENCE:?} for this ({elapsed}): {what}\nseen last: {}",
            last()
        ),
    }
}

/// Polls until there is a result, for files and HTTP, which cannot be watched.
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
