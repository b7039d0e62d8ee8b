//! Checks of a Kanary without a cluster: an API server in memory with Kanary's definitions, and the parser of the controller.

use anyhow::Context;
use kanary_core::{
    ParsedKanary,
    api::{Kanary, KanaryKind, WorkloadRef},
};
use kanary_sim::{cluster::Options, stack::Stack};
use kube::{
    Client,
    api::{DynamicObject, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

/// An API server in memory, which accepts and refuses the same objects as one with Kanary installed.
pub(crate) struct Checker {
    client: Client,
}

/// What is wrong with a Kanary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Why it is refused, or not run.
    pub(crate) problems: Vec<String>,
    /// What it may not do as its author expects.
    pub(crate) warnings: Vec<String>,
}

impl Checker {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let stack = Stack::new(Options::default());
        let installed = stack.install(&kanary_core::api::crds(&KanaryKind::ALL));
        installed.context("Kanary's own definitions cannot be installed")?;
        Ok(Self {
            client: stack.server.client("kubernetes-admin"),
        })
    }

    /// Checks an object of a Kanary kind.
    pub(crate) async fn check(&self, kind: KanaryKind, object: &Value) -> Report {
        let mut report = Report::default();
        let version = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        let (expected, group) = (kind.api_version(), kind.api_group());
        if version != expected {
            report.problems.push(format!(
                "apiVersion is {version:?}: write {expected} ({group} is the group of {kind})"
            ));
            return report;
        }
        if KanaryKind::OPTIONAL.contains(&kind) {
            let warning = format!("the controller serves this kind only if it runs with --kinds {kind}");
            report.warnings.push(warning);
        }
        let mut object = object.clone();
        // The server in memory has no other namespace.
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("namespace".to_owned(), json!("default"));
        }
        // What the server accepts has the form that the controller reads.
        match self.create(kind, &object).await {
            Ok(stored) => self.parse(kind, &stored, &mut report).await,
            Err(why) => {
                report.problems.push(why);
                // The parser explains more than the schema, and finds problems that the schema hides.
                if let Ok(kanary) = serde_json::from_value::<Kanary>(object)
                    && let Ok(parsed) = ParsedKanary::parse(kind, &named(kanary))
                {
                    report
                        .problems
                        .extend(parsed.spec.problems.iter().map(|problem| problem.message.clone()));
                }
            }
        }
        report.problems.dedup();
        report
    }

    async fn create(&self, kind: KanaryKind, object: &Value) -> Result<Kanary, String> {
        let gvk = GroupVersionKind::gvk(kind.api_group(), kind.version(), kind.as_str());
        let stored = self
            .dry_run(&ApiResource::from_gvk_with_plural(&gvk, kind.plural()), object)
            .await?;
        let stored = serde_json::to_value(stored).and_then(serde_json::from_value);
        stored.map_err(|error| error.to_string())
    }

    /// Creates an object without storing it. Returns what would be stored, or why it is refused.
    async fn dry_run(&self, resource: &ApiResource, object: &Value) -> Result<DynamicObject, String> {
        let body = serde_json::to_vec(object).map_err(|error| error.to_string())?;
        let url = kube::core::Request::new(format!(
            "/apis/{}/{}/namespaces/default/{}",
            resource.group, resource.version, resource.plural
        ));
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let mut request = url.create(&params, body).map_err(|error| error.to_string())?;
        // Unknown fields are refused, as kubectl asks for.
        let uri = format!("{}&fieldValidation=Strict", request.uri());
        *request.uri_mut() = uri.parse().map_err(|_| "the request has no valid path".to_owned())?;
        match self.client.request(request).await {
            Ok(stored) => Ok(stored),
            Err(kube::Error::Api(status)) => Err(status.message),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What the controller says of a Kanary that the API server accepts.
    async fn parse(&self, kind: KanaryKind, stored: &Kanary, report: &mut Report) {
        let parsed = match ParsedKanary::parse(kind, &named(stored.clone())) {
            Ok(parsed) => parsed,
            Err(why) => return report.problems.push(why),
        };
        let spec = &parsed.spec;
        report
            .problems
            .extend(spec.problems.iter().map(|problem| problem.message.clone()));
        for (index, item) in spec.validation.items.iter().enumerate() {
            let hints = item.hints(spec.validation.initial_delay);
            let hints = hints
                .iter()
                .map(|hint| format!("spec.validation.items[{index}]: {hint}"));
            report.warnings.extend(hints);
        }
        if report.problems.is_empty() {
            report.problems.extend(self.template(&spec.target, &parsed).await.err());
        }
    }

    /// The template as a workload of the target's kind. What it may not have would show when the canary is created.
    async fn template(&self, target: &WorkloadRef, parsed: &ParsedKanary) -> Result<(), String> {
        let mut spec = parsed.spec.template.spec();
        let labels = spec.pointer("/template/metadata/labels").cloned().unwrap_or_default();
        if let Some(fields) = spec.as_object_mut() {
            fields
                .entry("selector")
                .or_insert_with(|| json!({"matchLabels": labels}));
        }
        let object = json!({
            "apiVersion": "apps/v1", "kind": target.kind.as_str(),
            "metadata": {"name": target.name, "namespace": "default"}, "spec": spec,
        });
        let kind = target.kind.as_str();
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("apps", "v1", kind), target.kind.plural());
        let refused = |why: String| format!("spec.template is no {kind} that can be created: {why}");
        self.dry_run(&resource, &object).await.map(|_| ()).map_err(refused)
    }
}

/// A Kanary in a file has no uid yet.
fn named(mut kanary: Kanary) -> Kanary {
    kanary.metadata.uid.get_or_insert_default();
    kanary.metadata.namespace.get_or_insert_with(|| "default".to_owned());
    kanary.status = None;
    kanary
}
