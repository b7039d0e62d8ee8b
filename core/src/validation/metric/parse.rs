//! Parsing of metric items.

use std::time::Duration;

use kube_core::Selector;
use serde_json::json;

use super::{Described, How, Metric, Named, Source, Target, quantity::number};
use crate::{
    api::{DescribedObject, MetricItem, MetricName, MetricQuantity, MetricSource, MetricTarget, TargetKind},
    hash,
    labels::is_domain,
    validation::terms::Written,
};

impl Metric {
    /// Parses an item. `max_interval` is the maximum and default interval of measurements.
    ///
    /// # Errors
    ///
    /// Names the invalid field, relative to the item, and how to fix it.
    pub fn parse(item: &MetricItem, max_interval: Duration) -> Result<Self, String> {
        let (source, target) = source(item)?;
        check(&source, &target)?;
        let asked = match &source {
            Source::Resource { name, container } => json!([name, container]),
            Source::Object(object, metric) => {
                json!([
                    object.api_version,
                    object.kind,
                    object.name,
                    metric.name,
                    metric.selector
                ])
            }
            Source::Pods(metric) | Source::External(metric) => json!([metric.name, metric.selector]),
        };
        let identity = json!({
            "metric": format!("{:?}", item.source), "asked": asked, "how": format!("{:?}", target.how),
            "limit": target.limit,
        });
        Ok(Self {
            terms: Written::from(item).parse(hash::of(&identity), max_interval)?,
            source,
            target,
        })
    }
}

/// The source and its target. The block must be that of the type.
fn source(item: &MetricItem) -> Result<(Source, Target), String> {
    let blocks = [
        (MetricSource::Resource, item.resource.is_some()),
        (MetricSource::ContainerResource, item.container_resource.is_some()),
        (MetricSource::Pods, item.pods.is_some()),
        (MetricSource::Object, item.object.is_some()),
        (MetricSource::External, item.external.is_some()),
    ];
    if blocks
        .iter()
        .any(|(source, is_set)| (*source == item.source) != *is_set)
    {
        return Err(
            "metric needs the block of its type and no other: resource for Resource, containerResource for ContainerResource, \
             pods for Pods, object for Object, external for External"
                .to_owned(),
        );
    }
    let MetricItem {
        resource: of_pod,
        container_resource,
        pods,
        object,
        external,
        ..
    } = item;
    let (block, source, written) = if let Some(metric) = of_pod {
        let name = resource("resource", &metric.name)?;
        ("resource", Source::Resource { name, container: None }, &metric.target)
    } else if let Some(metric) = container_resource {
        let source = Source::Resource {
            name: resource("containerResource", &metric.name)?,
            container: Some(metric.container.clone()),
        };
        ("containerResource", source, &metric.target)
    } else if let Some(metric) = pods {
        ("pods", Source::Pods(named("pods", &metric.metric)?), &metric.target)
    } else if let Some(metric) = object {
        let source = Source::Object(described(&metric.described_object)?, named("object", &metric.metric)?);
        ("object", source, &metric.target)
    } else if let Some(metric) = external {
        let source = Source::External(named("external", &metric.metric)?);
        ("external", source, &metric.target)
    } else {
        return Err("metric has no type".to_owned());
    };
    let target = target(written).map_err(|why| format!("{block}.{why}"))?;
    Ok((source, target))
}

fn described(object: &DescribedObject) -> Result<Described, String> {
    let version = object.api_version.clone().filter(|version| !version.is_empty());
    let version = version.unwrap_or_else(|| "v1".to_owned());
    // Each becomes a segment of a path, which API servers decode.
    if version.split('/').count() > 2 || !version.split('/').all(is_domain) {
        return Err(format!(
            "object.describedObject.apiVersion is {version}: write group/version, such as networking.k8s.io/v1, or v1"
        ));
    }
    Ok(Described {
        api_version: version,
        kind: object.kind.clone(),
        name: segment("object.describedObject.name", &object.name)?,
    })
}

/// What the schema checks with rules, too.
fn check(source: &Source, target: &Target) -> Result<(), String> {
    match (source, target.how) {
        (Source::Resource { .. }, How::Value) => {
            Err("a resource is measured per pod: set target.type to AverageValue or Utilization".to_owned())
        }
        (Source::Pods(_), How::Value | How::Utilization) => {
            Err("a metric of pods is measured per pod, and has no request: set target.type to AverageValue".to_owned())
        }
        (Source::Object(..) | Source::External(_), How::Utilization) => {
            Err("only resources of pods have a utilization: set target.type to Value or AverageValue".to_owned())
        }
        _ => Ok(()),
    }
}

fn resource(block: &str, name: &str) -> Result<String, String> {
    if ["cpu", "memory"].contains(&name) {
        return Ok(name.to_owned());
    }
    Err(format!(
        "{block}.name is {name:?}, and metrics.k8s.io has cpu and memory: use one of them"
    ))
}

fn named(block: &str, metric: &MetricName) -> Result<Named, String> {
    let selector = metric.selector.clone().map(Selector::try_from).transpose();
    let selector = selector.map_err(|why| format!("{block}.metric.selector: {why}"))?;
    Ok(Named {
        name: segment(&format!("{block}.metric.name"), &metric.name)?,
        selector: selector
            .filter(|selector| !selector.selects_all())
            .map(|selector| selector.to_string()),
    })
}

/// A name that is one segment of a path, as the API server asks for.
fn segment(field: &str, name: &str) -> Result<String, String> {
    let is_segment = !["", ".", ".."].contains(&name) && !name.contains(['/', '%']);
    if is_segment {
        return Ok(name.to_owned());
    }
    Err(format!(
        "{field} is {name:?}, which no metrics API can serve: use a name without `/` and `%`"
    ))
}

fn target(written: &MetricTarget) -> Result<Target, String> {
    let set = [
        written.value.is_some(),
        written.average_value.is_some(),
        written.average_utilization.is_some(),
    ];
    let wanted =
        [TargetKind::Value, TargetKind::AverageValue, TargetKind::Utilization].map(|kind| kind == written.kind);
    if set != wanted {
        return Err(
            "target needs the field of its type and no other: value for Value, averageValue for AverageValue, \
             averageUtilization for Utilization"
                .to_owned(),
        );
    }
    if let Some(percent) = written.average_utilization {
        if percent < 1 {
            return Err(format!("target.averageUtilization is {percent}: raise it to 1 or more"));
        }
        return Ok(Target {
            how: How::Utilization,
            limit: f64::from(percent),
            reaching_fails: false,
            shown: format!("{percent} %"),
        });
    }
    let (how, field, quantity) = match (&written.value, &written.average_value) {
        (Some(value), _) => (How::Value, "value", value),
        (None, Some(value)) => (How::PerPod, "averageValue", value),
        (None, None) => return Err("target has no value".to_owned()),
    };
    let limit = limit(quantity).ok_or_else(|| {
        format!("target.{field} is {quantity}: write a number that is not negative, like 10, \"250m\" or \"1.5Gi\"")
    })?;
    Ok(Target {
        how,
        limit,
        reaching_fails: false,
        shown: quantity.to_string(),
    })
}

fn limit(quantity: &MetricQuantity) -> Option<f64> {
    number(&quantity.to_string()).filter(|number| *number >= 0.0)
}
