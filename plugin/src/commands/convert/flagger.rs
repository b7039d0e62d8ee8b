//! Flagger's `Canary` (`flagger.app/v1beta1`).

use anyhow::{Context, ensure};
use kanary_core::api::GoDuration;
use serde_json::{Value, json};

use super::{Converted, Lost, UNLIMITED, duration, fill, kanary, named, number, others, text, whole};
use crate::{
    istio::{self, Quantile, Success},
    manifests::{Manifest, template_metadata},
};

/// Flagger's defaults.
const INTERVAL: GoDuration = GoDuration::from_secs(60);

/// A Kanary for a Canary. The template is that of the Deployment, which has to be among the files.
pub(super) fn convert(canary: &Value, all: &[Manifest]) -> anyhow::Result<Converted> {
    let name = text(canary, "/metadata/name").context("the Canary has no name")?;
    let kind = text(canary, "/spec/targetRef/kind").unwrap_or("Deployment");
    let target =
        text(canary, "/spec/targetRef/name").with_context(|| format!("Canary {name} has no spec.targetRef.name"))?;
    ensure!(
        kind == "Deployment",
        "Canary {name} is about a {kind}, and Kanary works on Deployments"
    );
    let deployment = named(all, "Deployment", target).with_context(|| {
        format!("a Kanary has the template of its Deployment: add the manifest of Deployment {target} with another -f")
    })?;
    let mut lost = Vec::new();
    let interval = duration(canary, "/spec/analysis/interval").unwrap_or(INTERVAL);
    let source = Source { canary, all, interval };
    let service = text(canary, "/spec/service/name").unwrap_or(target);
    let spec = json!({
        "deploymentName": target,
        "serviceName": service,
        "template": {
            "metadata": template_metadata(deployment.pointer("/metadata").unwrap_or(&Value::Null)),
            "spec": deployment.pointer("/spec"),
        },
        "traffic": {"source": "service"},
        "paused": canary.pointer("/spec/suspend").filter(|suspend| **suspend == json!(true)),
        "validation": {
            "validationPeriod": source.period(&mut lost),
            "maxIntervalPeriod": interval,
            "items": source.items(&mut lost),
        },
        "rollout": {"progressDeadline": duration(canary, "/spec/progressDeadlineSeconds")},
    });
    source.rest(&mut lost);
    lost.push(Lost::new(
        "spec.targetRef",
        format!(
            "Flagger serves from Deployment {target}-primary and scales {target} to 0; Kanary promotes to {target} itself, so scale it \
             up and let Service {service} select its pods before you delete the Canary"
        ),
    ));
    Ok(Converted {
        kanary: kanary(canary, spec),
        lost,
    })
}

struct Source<'a> {
    canary: &'a Value,
    all: &'a [Manifest],
    interval: GoDuration,
}

impl Source<'_> {
    /// The time that the steps or iterations take.
    fn period(&self, lost: &mut Vec<Lost>) -> GoDuration {
        let canary = self.canary;
        let max = whole(canary, "/spec/analysis/maxWeight").unwrap_or(100);
        let step = whole(canary, "/spec/analysis/stepWeight").filter(|step| *step > 0);
        let weights = canary.pointer("/spec/analysis/stepWeights").and_then(Value::as_array);
        let steps = match (
            whole(canary, "/spec/analysis/iterations").filter(|steps| *steps > 0),
            step,
            weights,
        ) {
            (Some(iterations), ..) => iterations,
            (None, Some(step), _) => max.div_ceil(step),
            (None, None, Some(weights)) => u64::try_from(weights.len()).unwrap_or(1),
            (None, None, None) => 1,
        };
        if step.is_some() || weights.is_some() {
            lost.push(Lost::new(
                "spec.analysis.stepWeight",
                "the canary shares the Service with the target by the number of pods, for the whole validation (set spec.scale, or \
                 write the steps in spec.traffic.weighted, which needs a route)",
            ));
        }
        GoDuration(
            self.interval
                .0
                .saturating_mul(u32::try_from(steps.max(1)).unwrap_or(u32::MAX)),
        )
    }

    fn items(&self, lost: &mut Vec<Lost>) -> Vec<Value> {
        let metrics = self.canary.pointer("/spec/analysis/metrics").and_then(Value::as_array);
        let metrics = metrics.into_iter().flatten().enumerate();
        let mut items: Vec<_> = metrics
            .filter_map(|(index, metric)| self.item(index, metric, lost))
            .collect();
        if self.canary.pointer("/spec/skipAnalysis") == Some(&json!(true)) || items.is_empty() {
            lost.push(Lost::new(
                "spec.analysis.metrics",
                "without a metric that Kanary can measure, somebody has to give the verdict: a manual item waits for it",
            ));
            items.push(json!({"manual": {}}));
        }
        items
    }

    fn item(&self, index: usize, metric: &Value, lost: &mut Vec<Lost>) -> Option<Value> {
        let path = format!("spec.analysis.metrics[{index}]");
        let prometheus = text(self.canary, "/spec/metricsServer").unwrap_or(istio::PROMETHEUS);
        let (min, max) = (
            number(metric, "/thresholdRange/min"),
            number(metric, "/thresholdRange/max"),
        );
        let is_templated = metric.get("templateRef").is_some() || metric.get("query").is_some();
        let mut item = match text(metric, "/name") {
            Some("request-success-rate") if !is_templated => {
                let percent = min.or_else(|| number(metric, "/threshold")).unwrap_or(99.0);
                self.built_in(&path, metric, lost);
                serde_json::to_value(istio::success(Success((percent / 100.0).clamp(0.0, 1.0)), prometheus)).ok()?
            }
            Some("request-duration") if !is_templated => {
                let milliseconds = max.or_else(|| number(metric, "/threshold")).unwrap_or(500.0);
                self.built_in(&path, metric, lost);
                let quantile = Quantile {
                    quantile: 0.99,
                    milliseconds,
                };
                serde_json::to_value(istio::quantile(quantile, prometheus)).ok()?
            }
            _ => self.templated(&path, metric, (min, max), lost)?,
        };
        let query = item.get_mut("promQL")?.as_object_mut()?;
        query.insert("interval".to_owned(), json!(self.interval));
        // Flagger rolls back at this number of failed checks, of all metrics together.
        let failures = whole(self.canary, "/spec/analysis/threshold")
            .unwrap_or(0)
            .saturating_sub(1);
        if failures > 0 {
            query.insert("failureLimit".to_owned(), json!(failures));
        }
        Some(item)
    }

    /// A built-in metric has the query of the mesh.
    fn built_in(&self, path: &str, metric: &Value, lost: &mut Vec<Lost>) {
        if let Some(window) = text(metric, "/interval").filter(|window| *window != istio::RANGE) {
            lost.push(Lost::new(
                format!("{path}.interval"),
                format!("the query looks back {}, and not {window}: edit it", istio::RANGE),
            ));
        }
        let provider = text(self.canary, "/spec/provider").unwrap_or("istio");
        if provider != "istio" {
            lost.push(Lost::new(
                path,
                format!("the query is for Istio, and the provider is {provider}: replace the query"),
            ));
        }
    }

    /// A metric of a `MetricTemplate`, or with a query of its own.
    fn templated(
        &self,
        path: &str,
        metric: &Value,
        (min, max): (Option<f64>, Option<f64>),
        lost: &mut Vec<Lost>,
    ) -> Option<Value> {
        let mut skip = |why: String| {
            lost.push(Lost::new(path, why));
            None
        };
        let template = text(metric, "/templateRef/name");
        let found = template.and_then(|name| named(self.all, "MetricTemplate", name));
        let (query, address) = match (found, text(metric, "/query")) {
            (Some(template), _) => {
                let provider = text(template, "/spec/provider/type").unwrap_or("prometheus");
                if provider != "prometheus" {
                    return skip(format!(
                        "the provider {provider} is not there in Kanary: only Prometheus is"
                    ));
                }
                (text(template, "/spec/query")?, text(template, "/spec/provider/address"))
            }
            (None, Some(query)) => (query, text(self.canary, "/spec/metricsServer")),
            (None, None) => {
                let name = template.unwrap_or("");
                return skip(format!(
                    "the MetricTemplate {name} is not among the files: add it with another -f"
                ));
            }
        };
        let secret = found.and_then(|template| text(template, "/spec/provider/secretRef/name"));
        let (query, unknown) = fill(query, |name| self.variable(name, metric));
        if !unknown.is_empty() {
            return skip(format!(
                "the query uses {}, which Kanary does not know",
                unknown.join(", ")
            ));
        }
        if let Some(secret) = secret {
            lost.push(Lost::new(
                path,
                format!("set prometheusAuth for the credentials in Secret {secret}"),
            ));
        }
        if min.is_none() && max.is_none() {
            lost.push(Lost::new(
                path,
                "there is no thresholdRange: values from 0 to 1 are good",
            ));
        }
        // A bound that is not there does not limit.
        let (low, high) = (min.unwrap_or(-UNLIMITED), max.unwrap_or(UNLIMITED));
        let range = if min.is_none() && max.is_none() {
            json!({})
        } else {
            json!({"min": low, "max": high})
        };
        Some(json!({"promQL": {
            "prometheusURL": address.unwrap_or("http://prometheus.istio-system:9090"),
            "query": query, "allPodsQuery": true, "valueInRange": range,
        }}))
    }

    fn variable(&self, name: &str, metric: &Value) -> Option<String> {
        // In Flagger the target is the canary.
        match name {
            "namespace" => Some("{{ namespace }}".to_owned()),
            "name" => Some("{{ kanary.name }}".to_owned()),
            "target" => Some("{{ canary.name }}".to_owned()),
            "service" => Some("{{ service.name }}".to_owned()),
            "interval" => Some(text(metric, "/interval").map_or_else(|| self.interval.to_string(), str::to_owned)),
            other => {
                let name = other.strip_prefix("variables.")?;
                text(metric, &format!("/templateVariables/{name}")).map(str::to_owned)
            }
        }
    }

    /// Everything else.
    fn rest(&self, lost: &mut Vec<Lost>) {
        let known = [
            "targetRef",
            "service",
            "analysis",
            "suspend",
            "progressDeadlineSeconds",
            "provider",
            "metricsServer",
        ];
        others("spec", self.canary.pointer("/spec"), &known, why, lost);
        let analysis = self.canary.pointer("/spec/analysis");
        let known = [
            "interval",
            "threshold",
            "maxWeight",
            "stepWeight",
            "stepWeights",
            "iterations",
            "metrics",
        ];
        others("spec.analysis", analysis, &known, why, lost);
        others(
            "spec.service",
            self.canary.pointer("/spec/service"),
            &["name", "port"],
            why,
            lost,
        );
    }
}

fn why(field: &str) -> Option<&'static str> {
    Some(match field {
        "autoscalerRef" => "an autoscaler of the target stays as it is; for one of the canary set spec.scale.hpa",
        "skipAnalysis" => "Kanary promotes nothing without a verdict",
        "webhooks" => "Kanary calls no webhooks: give a verdict with `kubectl kanary promote` or `abort`",
        "alerts" => "Kanary sends no alerts: alert on its Events or metrics",
        "match" | "sessionAffinity" | "mirror" | "mirrorWeight" | "stepWeightPromotion" => {
            "Kanary does not route requests by content or weight yet"
        }
        "revertOnDeletion" => "Kanary never replaces the target, so there is nothing to revert",
        "canaryReadyThreshold" | "primaryReadyThreshold" => "the canary has to be available as a whole",
        "gatewayRefs" | "ingressRef" | "routeRef" | "upstreamRef" | "hosts" | "gateways" | "trafficPolicy"
        | "retries" | "timeout" | "headers" | "corsPolicy" | "delegation" | "rewrite" | "apex" | "primary"
        | "canary" => "Kanary does not write routes: those that exist stay as they are",
        "targetPort" | "portName" | "portDiscovery" | "appProtocol" => {
            "the production Service is yours: Kanary does not write it"
        }
        _ => return None,
    })
}
