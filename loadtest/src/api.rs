//! Requests to the API server. Replies are parsed as far as needed only, because the load generator shares the machine with
//! what it measures.

use std::{path::Path, time::Duration};

use anyhow::Context;
use http::{Method, Request};
use jiff::Timestamp;
use kanary_core::api::names::{GROUP, VERSION};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::{Deserialize, de::DeserializeOwned, de::IgnoredAny};
use serde_json::Value;
use tokio::time::sleep;

/// Path of the Deployments of `namespace`.
pub(crate) fn deployments(namespace: &str) -> String {
    format!("/apis/apps/v1/namespaces/{namespace}/deployments")
}

/// Path of the Kanaries of `namespace`.
pub(crate) fn kanaries(namespace: &str) -> String {
    format!("/apis/{GROUP}/{VERSION}/namespaces/{namespace}/kanarydeployments")
}

/// The parts of an object that are measured.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Object {
    pub(crate) metadata: Metadata,
    #[serde(default)]
    pub(crate) spec: Spec,
    #[serde(default)]
    pub(crate) status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Metadata {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) resource_version: String,
    pub(crate) uid: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Spec {
    pub(crate) template: Option<Template>,
}

/// A pod template. A Kanary's `spec.template` is a Deployment and has no containers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Template {
    pub(crate) spec: PodSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PodSpec {
    pub(crate) containers: Vec<Container>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Container {
    pub(crate) image: String,
}

impl Object {
    /// The image of the first container.
    pub(crate) fn image(&self) -> Option<&str> {
        let template = self.spec.template.as_ref()?;
        Some(&template.spec.containers.first()?.image)
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    pub(crate) available_replicas: u32,
    pub(crate) deadline: Option<Timestamp>,
    /// Null in a definition that was just created.
    pub(crate) conditions: Option<Vec<Condition>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Condition {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Status {
    /// The condition `kind` if it is true.
    pub(crate) fn holds(&self, kind: &str) -> Option<&Condition> {
        let mut conditions = self.conditions.iter().flatten();
        conditions.find(|condition| condition.kind == kind && condition.status == "True")
    }
}

/// A client of one user of the plane.
#[derive(Clone)]
pub(crate) struct Api(Client);

impl Api {
    /// Reads a kubeconfig.
    pub(crate) async fn connect(kubeconfig: &Path) -> anyhow::Result<Self> {
        let shown = || kubeconfig.display().to_string();
        let read = Kubeconfig::read_from(kubeconfig).with_context(shown)?;
        let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
        Ok(Self(Client::try_from(config.with_context(shown)?).with_context(shown)?))
    }

    /// The client, for watches.
    pub(crate) fn client(&self) -> &Client {
        &self.0
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        content: &str,
        body: Option<&Value>,
    ) -> kube::Result<T> {
        let body = body
            .map(serde_json::to_vec)
            .transpose()
            .map_err(kube::Error::SerdeError)?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content);
        let request = request.body(body.unwrap_or_default()).map_err(kube::Error::HttpError)?;
        self.0.request(request).await
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> kube::Result<T> {
        self.send(&Method::GET, path, "application/json", None).await
    }

    /// The text of a page that is not JSON.
    pub(crate) async fn text(&self, path: &str) -> kube::Result<String> {
        let request = Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
        self.0.request_text(request).await
    }

    /// Applies an object by server-side apply.
    pub(crate) async fn apply(&self, path: &str, object: &Value) -> kube::Result<()> {
        let path = format!("{path}?fieldManager=kanary-loadtest&force=true");
        let applied: IgnoredAny = self
            .send(&Method::PATCH, &path, "application/apply-patch+yaml", Some(object))
            .await?;
        let IgnoredAny = applied;
        Ok(())
    }

    /// Repeats a request that the API server did not answer, or did not have the time to process, for half a minute.
    async fn persist<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        content: &str,
        body: Option<&Value>,
    ) -> kube::Result<T> {
        for _ in 0..60 {
            match self.send(method, path, content, body).await {
                Err(kube::Error::Api(status)) if status.code < 500 && status.code != 429 => {
                    return Err(kube::Error::Api(status));
                }
                Err(kube::Error::Api(_) | kube::Error::Service(_) | kube::Error::HyperError(_)) => {
                    sleep(Duration::from_millis(500)).await;
                }
                answered => return answered,
            }
        }
        self.send(method, path, content, body).await
    }

    /// Creates an object. A retry after a lost reply finds it and reads it.
    pub(crate) async fn create(&self, path: &str, object: &Value) -> kube::Result<Object> {
        let created = self
            .persist(&Method::POST, path, "application/json", Some(object))
            .await;
        let name = object.pointer("/metadata/name").and_then(Value::as_str);
        match (created, name) {
            (Err(kube::Error::Api(refused)), Some(name)) if refused.code == 409 => {
                self.get(&format!("{path}/{name}")).await
            }
            (created, _) => created,
        }
    }

    /// Changes an object by a JSON merge patch.
    pub(crate) async fn merge(&self, path: &str, change: &Value) -> kube::Result<Object> {
        let content = "application/merge-patch+json";
        self.persist(&Method::PATCH, path, content, Some(change)).await
    }

    /// Deletes an object, which may be gone already.
    pub(crate) async fn delete(&self, path: &str) -> kube::Result<()> {
        let deleted = self.persist(&Method::DELETE, path, "application/json", None).await;
        match deleted {
            Err(kube::Error::Api(refused)) if refused.code == 404 => Ok(()),
            deleted => deleted.map(|IgnoredAny| ()),
        }
    }
}
