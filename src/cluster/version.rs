//! The version of the API server.

use std::{future::pending, time::Duration};

use kube::Client;
use tokio::time::sleep;

use super::{
    client::{CALL_TIMEOUT, within},
    error::{describe, is_silence},
};

/// The oldest minor version of Kubernetes 1 that Kanary runs on. Older API servers may ignore the rules
/// of the CRDs. One of these rules refuses writes of a replica that was replaced.
const OLDEST: u32 = 29;

/// Pause before an API server that does not answer is asked again.
const PAUSE: Duration = Duration::from_secs(3);

/// The API server is too old.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the API server runs Kubernetes {0}, and Kanary needs 1.{OLDEST} or later: upgrade the cluster")]
pub struct TooOld(String);

/// Returns if the API server turns out to be too old, and otherwise never. It is asked until it answers.
pub async fn too_old(client: &Client) -> TooOld {
    loop {
        match within(CALL_TIMEOUT, client.apiserver_version()).await {
            Ok(info) if is_older(&info.major, &info.minor) => return TooOld(info.git_version),
            Ok(info) => tracing::info!(version = info.git_version, "the API server answers"),
            Err(error) if is_silence(&error) => {
                sleep(PAUSE).await;
                continue;
            }
            Err(error) => tracing::warn!(error = describe(&error), "the API server does not tell its version"),
        }
        return pending().await;
    }
}

/// Whether a version is too old. The minor version may end with a plus sign, and a version that is not a number counts as new.
fn is_older(major: &str, minor: &str) -> bool {
    let number = |text: &str| text.trim_end_matches('+').parse::<u32>();
    match (number(major), number(minor)) {
        (Ok(major), Ok(minor)) => (major, minor) < (1, OLDEST),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;
    use tokio::time::timeout;
    use tower::{BoxError, service_fn};

    use super::*;

    /// What comes of a server with this answer, which does not answer the first two times.
    async fn outcome(code: u16, minor: &str) -> Option<TooOld> {
        let asked = AtomicU32::new(0);
        let info = json!({
            "major": "1", "minor": minor, "gitVersion": format!("v1.{minor}.4"), "gitCommit": "", "gitTreeState": "",
            "buildDate": "", "goVersion": "", "compiler": "", "platform": "",
        });
        let service = service_fn(move |request: Request<Body>| {
            assert_eq!(request.uri().path(), "/version");
            let is_silent = asked.fetch_add(1, Ordering::Relaxed) < 2;
            let reply = Response::builder()
                .status(code)
                .body(Body::from(info.to_string().into_bytes()));
            async move {
                if is_silent {
                    Err(BoxError::from("down"))
                } else {
                    Ok(reply?)
                }
            }
        });
        let client = Client::new(service, "default");
        timeout(Duration::from_mins(1), too_old(&client)).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_that_is_too_old_is_refused_with_its_version() {
        let error = outcome(200, "28").await.unwrap();
        let message = "the API server runs Kubernetes v1.28.4, and Kanary needs 1.29 or later: upgrade the cluster";
        assert_eq!(error.to_string(), message);
        assert!(outcome(200, "28+").await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_that_is_new_enough_or_does_not_say_is_accepted() {
        for (code, minor) in [(200, "29"), (200, "36+"), (200, "main"), (403, "28")] {
            assert_eq!(outcome(code, minor).await, None, "{code} {minor}");
        }
    }
}
