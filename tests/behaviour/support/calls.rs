//! API calls of the user. They are retried if the API server does not answer, because that is no failure of the
//! controller.

use std::fmt::Debug;

use kube::{
    Api,
    api::{DeleteParams, DynamicObject, PostParams},
};
use serde::de::DeserializeOwned;

use super::poll;

/// Makes a call until the API server answers it.
pub(crate) async fn again<T>(call: impl AsyncFn() -> kube::Result<T>) -> kube::Result<T> {
    repeated(call).await.0
}

/// The answer to a call, and the number of attempts. Each attempt except the last may have been executed as well.
async fn repeated<T>(call: impl AsyncFn() -> kube::Result<T>) -> (kube::Result<T>, usize) {
    let mut calls = 0;
    let answer = poll("the API server answers a call", async || {
        calls += 1;
        // Boxed because the future is large.
        match Box::pin(call()).await {
            Err(error) if is_no_answer(&error) => Err(error),
            answer => Ok(answer),
        }
    })
    .await;
    (answer, calls)
}

/// A broken connection, or a server error that allows a retry.
fn is_no_answer(error: &kube::Error) -> bool {
    match error {
        kube::Error::HyperError(_) | kube::Error::Service(_) => true,
        kube::Error::Api(status) => status.code >= 500,
        _ => false,
    }
}

/// Creates an object.
pub(super) async fn create(api: &Api<DynamicObject>, object: &DynamicObject) -> kube::Result<DynamicObject> {
    let (created, calls) = repeated(async || api.create(&PostParams::default(), object).await).await;
    match created {
        Err(kube::Error::Api(refusal)) if calls > 1 && refusal.reason == "AlreadyExists" => {
            let name = object.metadata.name.clone().unwrap_or_default();
            again(async || api.get(&name).await).await
        }
        created => created,
    }
}

/// Deletes an object.
pub(super) async fn delete<K>(api: &Api<K>, name: &str, params: &DeleteParams) -> kube::Result<()>
where
    K: Clone + DeserializeOwned + Debug,
{
    let (deleted, calls) = repeated(async || api.delete(name, params).await).await;
    match deleted {
        // The object is already deleted, or the namespace is terminating.
        Err(kube::Error::Api(refusal)) if calls > 1 && matches!(refusal.code, 404 | 409) => Ok(()),
        deleted => deleted.map(drop),
    }
}
