//! Checks of a Kanary without a cluster: an API server in memory with Kanary's definitions, and the parser of the controller.

use anyhow::Context;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kanary_core::{
    ParsedKanary,
    api::{Kanary, KanaryKind, WorkloadRef, names::GROUP},
    convert::{Conversion, Version, convert, crds},
    in_words_of,
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

/// An API server with these definitions.
fn server(definitions: &[CustomResourceDefinition]) -> anyhow::Result<Client> {
    let stack = Stack::new(Options::default());
    let installed = stack.install(definitions);
    installed.context("Kanary's own definitions cannot be installed")?;
    Ok(stack.server.client("kubernetes-admin"))
}

/// The object in the only namespace of the server in memory.
fn in_default(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("namespace".to_owned(), json!("default"));
    }
    object
}

impl Checker {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let client = server(&kanary_core::api::crds(&KanaryKind::ALL))?;
        Ok(Self { client })
    }

    /// Checks an object of a Kanary kind in the version `v1`.
    async fn check_v1(&self, kind: KanaryKind, object: &Value) -> anyhow::Result<Report> {
        let conversion = Conversion::by_service("default", "conversion", "/", Version::V1);
        let mut definitions = crds(&[kind], &conversion);
        for definition in &mut definitions {
            definition.spec.versions.retain(|version| version.storage);
            definition.spec.conversion = None;
        }
        let server = Self {
            client: server(&definitions)?,
        };
        let mut report = Report::default();
        match server.create(kind, Version::V1.as_str(), object).await {
            Ok(stored) => {
                let stored = convert(stored, Version::V1Alpha1).map_err(anyhow::Error::msg)?;
                self.parse(kind, &serde_json::from_value(stored)?, &mut report).await;
            }
            Err(why) => report.problems.push(why),
        }
        report
            .warnings
            .push("the cluster serves v1 only if Kanary runs with its conversion webhook".to_owned());
        Ok(report)
    }

    /// Checks an object of a Kanary kind.
    pub(crate) async fn check(&self, kind: KanaryKind, object: &Value) -> Report {
        let mut report = Report::default();
        let version = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        if Version::of(version) == Some(Version::V1) && kind.api_group() == GROUP {
            let checked = self.check_v1(kind, &in_default(object)).await;
            return checked.unwrap_or_else(|error| Report {
                problems: vec![format!("{error:#}")],
                warnings: Vec::new(),
            });
        }
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
        let object = in_default(object);
        // What the server accepts has the form that the controller reads.
        let created = self.create(kind, kind.version(), &object).await;
        let created = created.and_then(|stored| serde_json::from_value(stored).map_err(|error| error.to_string()));
        match created {
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

    async fn create(&self, kind: KanaryKind, version: &str, object: &Value) -> Result<Value, String> {
        let gvk = GroupVersionKind::gvk(kind.api_group(), version, kind.as_str());
        let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural());
        let stored = self.dry_run(&resource, object).await?;
        serde_json::to_value(stored).map_err(|error| error.to_string())
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
                .map(|hint| in_words_of(kind, format!("spec.validation.items[{index}]: {hint}")));
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

#[cfg(test)]
mod tests {
    use super::*;

    async fn checked(version: &str, spec: Value) -> Report {
        let kanary = json!({
            "apiVersion": format!("{GROUP}/{version}"), "kind": "KanaryDeployment", "metadata": {"name": "batman"}, "spec": spec,
        });
        Checker::new().unwrap().check(KanaryKind::Deployment, &kanary).await
    }

    fn spec(fields: &Value) -> Value {
        let pod = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
        let mut spec = json!({"template": {"spec": {"template": pod}}});
        kanary_sim::patch::merge(&mut spec, fields);
        spec
    }

    #[tokio::test]
    async fn each_version_is_checked_by_its_own_definition() {
        let target = json!({"targetRef": {"kind": "Deployment", "name": "a"}});
        let report = checked("v1", spec(&target)).await;
        assert_eq!(report.problems, Vec::<String>::new());
        assert!(report.warnings[0].contains("conversion webhook"), "{report:?}");
        assert_eq!(checked("v1alpha1", spec(&target)).await, Report::default());
        for (fields, why) in [
            (json!({}), "spec.targetRef: Required value"),
            (json!({"deploymentName": "a"}), "unknown field \"spec.deploymentName\""),
        ] {
            let report = checked("v1", spec(&fields)).await;
            assert!(report.problems[0].contains(why), "{report:?}");
        }
        let report = checked("v2", spec(&json!({}))).await;
        assert!(report.problems[0].contains("apiVersion is"), "{report:?}");
    }

    #[tokio::test]
    async fn a_kanary_of_v1_is_parsed_as_the_controller_reads_it() {
        let scale = json!({"targetRef": {"kind": "Deployment", "name": "a"}, "validation": {"items": [
            {"promQL": {"prometheusService": "p:9090", "query": "up", "podNameKey": "pod", "boolean": {}, "minSamples": 10_000}},
        ]}});
        let report = checked("v1", spec(&scale)).await;
        assert!(report.problems[0].contains("minSamples"), "{report:?}");
    }
}
