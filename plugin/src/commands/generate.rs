//! `kubectl kanary generate`: a Kanary for a Deployment that exists.

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{PodSpec, ResourceRequirements, Service},
};
use kanary_core::api::{
    GoDuration, HpaScale, KanaryKind, KanarySpec, LabelMatch, LabelWatchItem, ManualItem, PercentScale, ScaleSpec,
    StaticScale, Template, TrafficSource, TrafficSpec, ValidationItem, ValidationSpec,
    names::{self, IS_KANARY},
};
use kube::Api;
use serde_json::{Value, json};

use crate::{
    check::Checker,
    cluster::{Cluster, is_not_found, said},
    exit::{Exit, Missing},
    istio::{self, Quantile, Success},
    manifests::{Format, template_metadata, tidy},
    selector,
    terminal::print,
};

/// Write a Kanary for a Deployment: its template, checked against the cluster and ready for `kubectl apply -f -`.
#[derive(Debug, clap::Args)]
pub(crate) struct Generate {
    /// Name of the Deployment, which is read from the cluster and becomes the target.
    #[arg(value_name = "NAME")]
    deployment: String,
    /// Name of the Kanary [default: the name of the Deployment].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The production Service, which has to select the pods of the Deployment.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// How many canary pods run: static[=REPLICAS], percent[=PERCENT] or hpa[=MAX-REPLICAS]. The defaults are 1 replica, 10 percent
    /// and the replicas of the Deployment.
    #[arg(long, default_value = "static", value_name = "SCALE", value_parser = scale)]
    scale: Scale,
    /// Which requests reach the canary.
    #[arg(long, default_value = "none", value_name = "SOURCE", value_parser = ["none", "service", "kanary-service", "both"])]
    traffic: String,
    /// How long the canary is judged.
    #[arg(long, default_value = "15m", value_name = "DURATION")]
    validation_period: GoDuration,
    /// Fail the canary if one of its pods gets these labels, like `monitoring-alert=high-cpu` or `alert in (cpu,memory)`.
    #[arg(long, value_name = "SELECTOR", value_parser = selector::parse)]
    validation_labelwatch_pod: Option<LabelMatch>,
    /// Fail the canary if its Deployment gets these labels, like `validation=failed`.
    #[arg(long, value_name = "SELECTOR", value_parser = selector::parse)]
    validation_labelwatch_dep: Option<LabelMatch>,
    /// Largest good latency by Istio's metrics, as a percentile and milliseconds, like "P99<310".
    #[arg(long, value_name = "QUANTILE")]
    validation_promql_istio_quantile: Option<Quantile>,
    /// Least good share of successful requests by Istio's metrics, like 0.95.
    #[arg(long, value_name = "SHARE")]
    validation_promql_istio_success: Option<Success>,
    /// Prometheus with Istio's metrics, as HOST:PORT or a URL.
    #[arg(long, default_value = istio::PROMETHEUS, value_name = "ADDRESS")]
    validation_promql_server: String,
    /// Make the run a dry-run: it ends at Succeeded and leaves the Deployment alone.
    #[arg(long)]
    dry_run: bool,
    /// Output format.
    #[arg(long, short = 'o', value_enum, default_value = "yaml", value_name = "FORMAT")]
    output: Format,
}

/// How many canary pods run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    Static(i32),
    Percent(i32),
    /// At most as many as this, or as the Deployment has.
    Hpa(Option<i32>),
}

fn scale(text: &str) -> Result<Scale, String> {
    let (kind, number) = match text.split_once('=') {
        Some((kind, number)) => (kind, Some(number)),
        None => (text, None),
    };
    let number = number.map(|number| number.parse::<i32>().ok().filter(|number| *number >= 1).ok_or(number));
    let number = number
        .transpose()
        .map_err(|number| format!("{number:?} is not a number above 0, as in {kind}=3"))?;
    match (kind, number) {
        ("static", number) => Ok(Scale::Static(number.unwrap_or(1))),
        ("percent", Some(101..)) => Err("a percentage is 1 to 100, as in percent=20".to_owned()),
        ("percent", number) => Ok(Scale::Percent(number.unwrap_or(10))),
        ("hpa", number) => Ok(Scale::Hpa(number)),
        _ => Err("write static, percent or hpa, with a number if you like, as in static=2 or percent=20".to_owned()),
    }
}

pub(crate) async fn generate(cluster: &Cluster, options: &Generate) -> anyhow::Result<Exit> {
    let deployment = target(cluster, &options.deployment).await?;
    if let Some(name) = &options.service {
        let service = service(cluster, name).await?;
        selects(name, &service, &deployment)?;
    } else {
        ensure!(
            options.traffic == "none",
            "--traffic {} needs --service, the production Service",
            options.traffic
        );
    }
    let (kanary, notes) = build(options, &cluster.namespace, &deployment)?;
    let report = Checker::new()?.check(KanaryKind::Deployment, &kanary).await;
    ensure!(
        report.problems.is_empty(),
        "Kanary would not run this: {}",
        report.problems.join("; ")
    );
    for note in notes.iter().chain(&report.warnings) {
        eprintln!("note: {note}");
    }
    print(&options.output.write(&kanary)?)?;
    Ok(Exit::Done)
}

async fn target(cluster: &Cluster, name: &str) -> anyhow::Result<Deployment> {
    let api: Api<Deployment> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let namespace = &cluster.namespace;
    match api.get(name).await {
        Ok(deployment) => {
            let labels = deployment.metadata.labels.as_ref();
            if let Some(kanary) = labels.filter(|labels| labels.contains_key(IS_KANARY)) {
                let owner = kanary.get(names::KANARY_NAME).map(String::as_str).unwrap_or_default();
                bail!(
                    "Deployment {name} is the canary of Kanary {owner}: name the Deployment that a canary is to be promoted to"
                );
            }
            Ok(deployment)
        }
        Err(error) if is_not_found(&error) => Err(Missing(format!(
            "there is no Deployment {name} in namespace {namespace}: `kubectl get deployments -A` lists all"
        ))
        .into()),
        Err(error) => Err(said(error, &format!("could not read Deployment {name}"))),
    }
}

async fn service(cluster: &Cluster, name: &str) -> anyhow::Result<Service> {
    let api: Api<Service> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    api.get(name).await.map_err(|error| {
        if is_not_found(&error) {
            return Missing(format!(
                "there is no Service {name} in namespace {}: `kubectl get services -A` lists all",
                cluster.namespace
            ))
            .into();
        }
        said(error, &format!("could not read Service {name}"))
    })
}

/// A production Service sends its requests to the pods of the target.
fn selects(name: &str, service: &Service, deployment: &Deployment) -> anyhow::Result<()> {
    let selector = service
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.clone())
        .unwrap_or_default();
    ensure!(
        !selector.is_empty(),
        "Service {name} has no selector, so no canary can join it: name another Service"
    );
    let template = deployment.spec.as_ref().map(|spec| &spec.template);
    let labels = template
        .and_then(|template| template.metadata.as_ref()?.labels.clone())
        .unwrap_or_default();
    let missing = selector.iter().filter(|(key, value)| labels.get(*key) != Some(value));
    let missing: Vec<_> = missing.map(|(key, value)| format!("{key}={value}")).collect();
    ensure!(
        missing.is_empty(),
        "Service {name} does not select the pods of Deployment {}: they have no label {}; name the Service of this Deployment",
        deployment.metadata.name.as_deref().unwrap_or_default(),
        missing.join(", ")
    );
    let has_ports = service
        .spec
        .as_ref()
        .and_then(|spec| spec.ports.as_ref())
        .is_some_and(|ports| !ports.is_empty());
    ensure!(has_ports, "Service {name} has no ports: name another Service");
    Ok(())
}

/// The Kanary, and notes for its author.
fn build(options: &Generate, namespace: &str, deployment: &Deployment) -> anyhow::Result<(Value, Vec<String>)> {
    let target = &options.deployment;
    let name = options.name.as_ref().unwrap_or(target);
    let spec = deployment.spec.as_ref().context("the Deployment has no spec")?;
    let traffic: TrafficSource = serde_json::from_value(json!(options.traffic))?;
    let items = items(options);
    let is_measured = items.iter().any(|item| item.prom_ql.is_some());
    let mut notes = vec![format!(
        "the template is the one that Deployment {target} has now: put the new image into it before you apply the Kanary"
    )];
    if is_measured {
        ensure!(
            traffic != TrafficSource::None,
            "with --traffic none the canary gets no requests, so Istio's metrics have no data about it and it would never pass: use \
             --traffic service --service NAME"
        );
        if traffic == TrafficSource::KanaryService {
            notes.push(
                "the canary gets only the requests that you send to its own Service: without them it never passes"
                    .to_owned(),
            );
        }
    }
    let kanary = KanarySpec {
        deployment_name: Some(target.clone()),
        service_name: options.service.clone(),
        template: Template {
            metadata: template_metadata(&serde_json::to_value(&deployment.metadata)?),
            spec: tidy(serde_json::to_value(spec)?),
        },
        scale: Some(scale_spec(
            options.scale,
            spec.replicas,
            spec.template.spec.as_ref(),
            target,
        )?),
        traffic: Some(TrafficSpec {
            source: traffic,
            ..TrafficSpec::default()
        }),
        validation: Some(ValidationSpec {
            initial_delay: is_measured
                .then(|| istio::WARM_UP.parse())
                .transpose()
                .map_err(anyhow::Error::msg)?,
            validation_period: Some(options.validation_period),
            no_update: options.dry_run.then_some(true),
            items: Some(items),
            ..ValidationSpec::default()
        }),
        ..KanarySpec::default()
    };
    let kanary = json!({
        "apiVersion": KanaryKind::Deployment.api_version(),
        "kind": KanaryKind::Deployment.as_str(),
        "metadata": {"name": name, "namespace": namespace},
        "spec": kanary,
    });
    Ok((kanary, notes))
}

fn items(options: &Generate) -> Vec<ValidationItem> {
    let mut items = Vec::new();
    let (pods, deployment) = (&options.validation_labelwatch_pod, &options.validation_labelwatch_dep);
    if pods.is_some() || deployment.is_some() {
        items.push(ValidationItem {
            label_watch: Some(LabelWatchItem {
                pod_invalidation_labels: pods.clone(),
                deployment_invalidation_labels: deployment.clone(),
            }),
            ..ValidationItem::default()
        });
    }
    let server = &options.validation_promql_server;
    items.extend(
        options
            .validation_promql_istio_quantile
            .map(|wanted| istio::quantile(wanted, server)),
    );
    items.extend(
        options
            .validation_promql_istio_success
            .map(|wanted| istio::success(wanted, server)),
    );
    if items.is_empty() {
        items.push(ValidationItem {
            manual: Some(ManualItem::default()),
            ..ValidationItem::default()
        });
    }
    items
}

fn scale_spec(scale: Scale, replicas: Option<i32>, pods: Option<&PodSpec>, target: &str) -> anyhow::Result<ScaleSpec> {
    let mut spec = ScaleSpec::default();
    match scale {
        Scale::Static(replicas) => {
            spec.fixed = Some(StaticScale {
                replicas: Some(replicas),
            });
        }
        Scale::Percent(value) => {
            spec.percent = Some(PercentScale {
                value,
                ..PercentScale::default()
            });
        }
        Scale::Hpa(max) => {
            let containers = pods.map(|pods| pods.containers.as_slice()).unwrap_or_default();
            let requests_cpu = |resources: &ResourceRequirements| {
                [&resources.requests, &resources.limits]
                    .into_iter()
                    .flatten()
                    .any(|asked| asked.contains_key("cpu"))
            };
            let without = containers
                .iter()
                .find(|container| !container.resources.as_ref().is_some_and(requests_cpu));
            if let Some(container) = without {
                bail!(
                    "--scale hpa follows the share of the requested CPU, and container {} of Deployment {target} requests none: set \
                     resources.requests.cpu, or use --scale static or percent",
                    container.name
                );
            }
            spec.hpa = Some(HpaScale {
                max_replicas: max.unwrap_or_else(|| replicas.unwrap_or(1).max(1)),
                ..HpaScale::default()
            });
        }
    }
    Ok(spec)
}

#[cfg(test)]
mod tests;
