//! `kubectl kanary generate`: a Kanary for a workload that exists.

mod source;

use anyhow::{bail, ensure};
use k8s_openapi::api::core::v1::ResourceRequirements;
use kanary_core::{
    api::{
        GoDuration, HpaScale, KanaryKind, KanarySpec, LabelMatch, LabelWatchItem, ManualItem, PercentScale, ScaleSpec,
        StaticScale, TargetRef, Template, TrafficSource, TrafficSpec, ValidationItem, ValidationSpec, WorkloadKind,
        WorkloadRef,
    },
    workload::host_ports,
};
use serde_json::{Value, json};

use self::source::Source;
use crate::{
    check::Checker,
    cluster::Cluster,
    exit::Exit,
    istio::{self, Quantile, Success},
    manifests::{Format, template_metadata, tidy},
    selector,
    terminal::print,
};

/// Write a Kanary for a Deployment, a StatefulSet or a DaemonSet: its template, checked against the cluster and ready for
/// `kubectl apply -f -`.
#[derive(Debug, clap::Args)]
pub(crate) struct Generate {
    /// The workload that is read from the cluster and becomes the target: a Deployment by its name, or statefulset/NAME or
    /// daemonset/NAME.
    #[arg(value_name = "[KIND/]NAME", value_parser = source::named)]
    target: WorkloadRef,
    /// Name of the Kanary [default: the name of the target].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The production Service, which has to select the pods of the target.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// How many canary pods run: static[=REPLICAS], percent[=PERCENT] or hpa[=MAX-REPLICAS]. The defaults are 1 replica, 10 percent
    /// and the replicas of the target. For a DaemonSet, they are numbers of nodes.
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
    /// Fail the canary if its Deployment, StatefulSet or DaemonSet gets these labels, like `validation=failed`.
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
    /// Make the run a dry-run: it ends at Succeeded and leaves the target alone.
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
    /// At most as many as this, or as the target has.
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
    let source = Source::read(cluster, &options.target).await?;
    if let Some(name) = &options.service {
        source.is_selected_by(name, &source::service(cluster, name).await?)?;
    } else {
        ensure!(
            options.traffic == "none",
            "--traffic {} needs --service, the production Service",
            options.traffic
        );
    }
    let (kanary, notes) = build(options, &cluster.namespace, &source)?;
    let report = Checker::new()?.check(kind(options), &kanary).await;
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

/// The Kanary, and notes for its author.
fn build(options: &Generate, namespace: &str, source: &Source) -> anyhow::Result<(Value, Vec<String>)> {
    let (target, kind) = (&options.target, kind(options));
    let named = |of: WorkloadKind| (target.kind == of).then(|| target.name.clone());
    let traffic: TrafficSource = serde_json::from_value(json!(options.traffic))?;
    let items = items(options);
    let is_measured = items.iter().any(|item| item.prom_ql.is_some());
    let mut notes = vec![format!(
        "the template is the one that {target} has now: put the new image into it before you apply the Kanary"
    )];
    notes.extend(needs(target, source));
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
        deployment_name: named(WorkloadKind::Deployment),
        stateful_set_name: named(WorkloadKind::StatefulSet),
        // Every controller serves a Kanary of this kind, and a KanaryDaemonset only one that was told to.
        target_ref: named(WorkloadKind::DaemonSet).map(|name| TargetRef {
            kind: WorkloadKind::DaemonSet,
            name,
        }),
        service_name: options.service.clone(),
        template: Template {
            metadata: template_metadata(&source.metadata),
            spec: tidy(source.spec.clone()),
        },
        scale: Some(scale_spec(options.scale, target, source)?),
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
        "apiVersion": kind.api_version(),
        "kind": kind.as_str(),
        "metadata": {"name": options.name.as_ref().unwrap_or(&target.name), "namespace": namespace},
        "spec": kanary,
    });
    Ok((kanary, notes))
}

/// The kind of the Kanary.
fn kind(options: &Generate) -> KanaryKind {
    match options.target.kind {
        WorkloadKind::StatefulSet => KanaryKind::Statefulset,
        WorkloadKind::Deployment | WorkloadKind::DaemonSet => KanaryKind::Deployment,
    }
}

/// What a target of another kind than a Deployment needs before the Kanary runs.
fn needs(target: &WorkloadRef, source: &Source) -> Vec<String> {
    if target.kind == WorkloadKind::Deployment {
        return Vec::new();
    }
    let mut needs = vec![format!(
        "targets of this kind are off unless the controller runs with --target-kinds={}",
        target.kind
    )];
    let ports = source.spec.pointer("/template/spec").map(host_ports);
    let port = ports.as_ref().and_then(|ports| ports.first());
    needs.extend(port.filter(|_| target.kind == WorkloadKind::DaemonSet).map(|port| {
        format!(
            "the pods of {target} have port {}/{} of each node, beside which the canary's pods run: give the template another host port \
             or none, and no hostNetwork with this port, or nothing is created",
            port.port, port.protocol
        )
    }));
    needs
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

fn scale_spec(scale: Scale, target: &WorkloadRef, source: &Source) -> anyhow::Result<ScaleSpec> {
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
            ensure!(
                target.kind.has_replicas(),
                "--scale hpa sets a number of replicas, and a DaemonSet has a pod on each of its nodes: use --scale static or percent"
            );
            let containers = source.pods.spec.as_ref().map(|pods| pods.containers.as_slice());
            let containers = containers.unwrap_or_default();
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
                    "--scale hpa follows the share of the requested CPU, and container {} of {target} requests none: set \
                     resources.requests.cpu, or use --scale static or percent",
                    container.name
                );
            }
            spec.hpa = Some(HpaScale {
                max_replicas: max.unwrap_or_else(|| source.replicas().max(1)),
                ..HpaScale::default()
            });
        }
    }
    Ok(spec)
}

#[cfg(test)]
mod tests;
