//! The cluster, its Prometheus, and the script's actions.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
use kanary::{
    cluster::clock::Clock,
    controller,
    prometheus::{Local, Transport},
};
use kanary_core::api::{
    Kanary, KanaryKind, ManualVerdict,
    names::{KANARY_NAME, canary_name},
};
use kanary_sim::{
    cluster::{Event, Options},
    controllers::{Behaviour, Fate},
    prometheus::Prometheus,
    stack::Stack,
};
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, TypeMeta, gvk::GroupVersionKind},
};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, sleep_until},
};
use tower::service_fn;

use super::{
    costs,
    manifests::{self, ALERT, NAMESPACE},
    model::News,
    script::{Cue, Deed, Part, Script, Start},
};

/// How long proxies may need to follow a route: the default of the controller.
const SETTLING_TIME: Duration = Duration::from_secs(5);

/// A measurement of the canary with this name.
pub(super) type Measurement = (String, Option<f64>);

/// Everything that a controller needs.
pub(super) struct Stage {
    pub(super) stack: Stack,
    start: Start,
    began: Instant,
    heard: UnboundedSender<Measurement>,
    news: UnboundedSender<News>,
}

/// Receivers of everything that happens in the cluster.
pub(super) struct Receivers {
    pub(super) changes: UnboundedReceiver<Event>,
    pub(super) measurements: UnboundedReceiver<Measurement>,
    /// Actions of users.
    pub(super) deeds: UnboundedReceiver<News>,
    /// Prometheus, which counts the queries.
    pub(super) prometheus: Prometheus,
}

impl Stage {
    /// An empty cluster, and a Prometheus with the script's data.
    pub(super) fn new(script: &Script, start: Start, seed: u64) -> anyhow::Result<(Self, Receivers)> {
        let stack = Stack::new(Options {
            start: start.0,
            seed,
            ..Options::default()
        });
        stack.install(&kanary_core::api::crds(&KanaryKind::ALWAYS))?;
        stack.gateway.install_gateway_api()?;
        for course in script.parts.iter().flat_map(|part| &part.courses) {
            course.record(&stack.prometheus, start)?;
        }
        let (heard, measurements) = unbounded_channel();
        let (news, deeds) = unbounded_channel();
        let receivers = Receivers {
            changes: stack.cluster.events(),
            measurements,
            deeds,
            prometheus: stack.prometheus.clone(),
        };
        let stage = Self {
            stack,
            start,
            began: Instant::now(),
            heard,
            news,
        };
        Ok((stage, receivers))
    }

    /// Behaviour of pods: realistic, except for the images that the script breaks.
    pub(super) fn behaviour(script: &Script) -> Behaviour {
        let broken: BTreeSet<_> = script.broken_images().into_iter().collect();
        let behaviour = Behaviour {
            start: Duration::from_secs(1)..=Duration::from_secs(3),
            ready: Duration::from_secs(4)..=Duration::from_secs(10),
            ..Behaviour::default()
        };
        behaviour.image(move |image| broken.contains(image).then_some(Fate::NeverReady))
    }

    /// The client and options of the controller.
    pub(super) fn controller(&self) -> (Client, controller::Options) {
        let cluster = self.stack.cluster.clone();
        let options = controller::Options {
            clock: Clock::from_source(move || cluster.now()),
            instance: "kanary-demo".to_owned(),
            prometheus: listening(self.stack.clone(), self.heard.clone()),
            routes: Some(SETTLING_TIME),
            ..controller::Options::default()
        };
        (self.stack.server.client(costs::USER), options)
    }

    /// Executes the script's actions on time, and reports them.
    pub(super) async fn play(self, script: Script) -> anyhow::Result<()> {
        let developer = self.stack.server.client("developer");
        create(&developer, &manifests::gateway()).await?;
        let mut taken = BTreeSet::new();
        for (at, cue) in script.cues() {
            sleep_until(self.began + at).await;
            match cue {
                Cue::Target(part) => {
                    for object in manifests::target(&part.target, if part.is_extra { 1 } else { 3 }) {
                        self.apply(&developer, part, &object).await?;
                    }
                    if part.has_steps() {
                        self.apply(&developer, part, &manifests::route(&part.target)).await?;
                    }
                }
                Cue::Kanary(part) => {
                    if !self.apply(&developer, part, &part.manifest(self.start)).await? {
                        taken.insert(part.name.as_str());
                    }
                }
                // The Kanary belongs to the user at the keyboard.
                Cue::Deed(part, _) if taken.contains(part.name.as_str()) => {}
                Cue::Deed(part, deed) => {
                    self.act(part, deed).await?;
                    let (text, brief) = described(part, deed);
                    self.report(part, text, brief);
                }
            }
        }
        Ok(())
    }

    /// Creates an object. If the user has created one with the same name, reports it and returns `false`.
    async fn apply(&self, client: &Client, part: &Part, object: &Value) -> anyhow::Result<bool> {
        let created = create(client, object).await?;
        if !created {
            let of = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let (kind, name) = (of("/kind"), of("/metadata/name"));
            let text = format!("{kind} {name} already exists and is not changed");
            self.report(part, text, "exists already");
        }
        Ok(created)
    }

    fn report(&self, part: &Part, text: String, brief: &str) {
        let news = News {
            at: self.stack.cluster.now(),
            who: part.name.clone(),
            state: None,
            text,
            brief: brief.to_owned(),
        };
        // The send fails only after the receiver has ended.
        let _ended = self.news.send(news);
    }

    async fn act(&self, part: &Part, deed: Deed) -> anyhow::Result<()> {
        let verdict = match deed {
            Deed::Alert => return self.alert(part).await,
            Deed::Verdict(ManualVerdict::Valid) => "valid",
            Deed::Verdict(ManualVerdict::Invalid) => "invalid",
        };
        let field = "/spec/validation/items/0/manual/status";
        let patch = serde_json::from_value(json!([{"op": "add", "path": field, "value": verdict}]))?;
        let kind = KanaryKind::Deployment;
        let api: Api<Kanary> = Api::namespaced_with(self.stack.server.client("person"), NAMESPACE, &kind);
        let patch: Patch<Value> = Patch::Json(patch);
        unless_gone(
            part,
            api.patch(&part.name, &PatchParams::default(), &patch).await.map(|_| ()),
        )
    }

    async fn alert(&self, part: &Part) -> anyhow::Result<()> {
        let api: Api<Pod> = Api::namespaced(self.stack.server.client("alertmanager"), NAMESPACE);
        let labels = format!("{KANARY_NAME}={}", part.name);
        let pods = api.list(&ListParams::default().labels(&labels)).await?;
        for pod in pods {
            let name = pod.metadata.name.unwrap_or_default();
            let patch = Patch::Merge(json!({"metadata": {"labels": {ALERT.0: ALERT.1}}}));
            unless_gone(
                part,
                api.patch(&name, &PatchParams::default(), &patch).await.map(|_| ()),
            )?;
        }
        Ok(())
    }
}

/// Ignores an object that the user at the keyboard has deleted.
fn unless_gone(part: &Part, done: kube::Result<()>) -> anyhow::Result<()> {
    match done {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        done => done.with_context(|| format!("could not change {}", part.name)),
    }
}

/// The long and the short text for an action.
fn described(part: &Part, deed: Deed) -> (String, &'static str) {
    let canary = canary_name(&part.target, &part.name);
    match deed {
        Deed::Alert => (
            format!("an alert labels the pods of {canary} {}={}", ALERT.0, ALERT.1),
            "an alert labels its pods",
        ),
        Deed::Verdict(ManualVerdict::Valid) => ("a user sets status: valid".to_owned(), "manual verdict: valid"),
        Deed::Verdict(ManualVerdict::Invalid) => ("a user sets status: invalid".to_owned(), "manual verdict: invalid"),
    }
}

/// Creates an object; `false` if it already exists.
async fn create(client: &Client, object: &Value) -> anyhow::Result<bool> {
    let types: TypeMeta = serde_json::from_value(object.clone())?;
    let kind = GroupVersionKind::try_from(&types)?;
    let object: DynamicObject = serde_json::from_value(object.clone())?;
    let name = object.metadata.name.clone().unwrap_or_default();
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    match api.create(&PostParams::default(), &object).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(false),
        created => {
            created.with_context(|| format!("could not create {} {name}", kind.kind))?;
            Ok(true)
        }
    }
}

/// A transport to the Prometheus that also reports the result of each query.
fn listening(stack: Stack, heard: UnboundedSender<Measurement>) -> Transport {
    Transport::Local(Local::new(service_fn(move |request: http::Request<Vec<u8>>| {
        let (stack, heard) = (stack.clone(), heard.clone());
        async move {
            let response = stack.query(&stack.prometheus, &request).await?;
            if let Some(canary) = canary_of(&String::from_utf8_lossy(request.body())) {
                // The send fails only after the receiver has ended.
                let _ended = heard.send((canary.to_owned(), value(response.body())));
            }
            Ok(response)
        }
    })))
}

/// The canary in a form-encoded query: `deployment="…"`.
fn canary_of(form: &str) -> Option<&str> {
    let (_, rest) = form.split_once("deployment%3D%22")?;
    Some(rest.split_once("%22")?.0)
}

/// The single number in a response.
fn value(body: &[u8]) -> Option<f64> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let text = answer.pointer("/data/result/0/value/1")?.as_str()?;
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        on_paused_time,
        script::{Gauge, minutes},
    };

    #[test]
    fn an_object_that_exists_already_is_reported_and_left_as_it_is() {
        let name = "billing-manual";
        let mut script = Script::new(1, 0);
        script.parts.retain(|part| part.name == name);
        let start = Start("2026-11-22T08:00:00Z".parse().unwrap());
        let news = on_paused_time(async {
            let (stage, mut receivers) = Stage::new(&script, start, 1)?;
            let user = stage.stack.server.client("you");
            let [target, _] = manifests::target("billing", 1);
            create(&user, &target).await?;
            // The script's manual verdict does not apply to this Kanary.
            let kanary = Part::measured(name, "billing", minutes(10), Gauge::ErrorRate);
            create(&user, &kanary.manifest(start)).await?;
            stage.play(script).await?;
            let mut news = Vec::new();
            while let Ok(News { who, text, .. }) = receivers.deeds.try_recv() {
                news.push(format!("{who}: {text}"));
            }
            anyhow::Ok(news)
        });
        assert_eq!(
            news.unwrap(),
            [
                "billing-manual: Deployment billing already exists and is not changed",
                "billing-manual: KanaryDeployment billing-manual already exists and is not changed",
            ]
        );
    }
}
