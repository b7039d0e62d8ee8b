//! Messages of the engine, as users of an application know its terms.

/// Terms of the engine, and what stands for them. The first one that occurs counts.
pub(super) const WORDS: &[(&str, &str)] = &[
    (", or spec.rollout.onTargetChange to promote", ""),
    ("; set spec.rollout.onTargetMissing to wait to prevent that", ""),
    ("; a higher spec.priority starts earlier", ""),
    ("; labelWatch items still apply to it: delete it", ": delete it"),
    (
        "create another Kanary whose spec.deploymentName is the Deployment that serves production",
        "give this CanaryApp another name",
    ),
    (
        "set spec.traffic.kanaryService to a shorter one",
        "give this CanaryApp a shorter name",
    ),
    ("the name of a Kanary", "the name of a CanaryApp"),
    (", or use spec.traffic.source service", ""),
    (
        ", and spec.traffic.source weighted asks for no such requests: narrow the selector of the Service, or set spec.retry to \
             another number to run again without these labels",
        ", and it has to get its requests by the route alone: narrow the selector of the Service",
    ),
    (
        "spec.traffic.source weighted needs a route",
        "a CanaryApp needs a route",
    ),
    (": install it, or use another source", ": install it"),
    (", or set spec.traffic.kanaryService to another name", ""),
    (
        "the labels of spec.template.spec.template.metadata",
        "the labels of the primary",
    ),
    (
        ": set that label in the template, or remove it from the selector of the Service",
        ": remove it from the selector of the Service",
    ),
    ("spec.template changed", "spec.image changed"),
    ("change spec.template", "change spec.image"),
    ("change the template", "change spec.image"),
    ("this template failed before", "this image failed before"),
    ("to run the template again", "to try the image again"),
    ("longer runs spec.template", "longer runs spec.image"),
    (": create it, or change spec.serviceName", ": Kanary creates it again"),
    (
        ": create it again, or change spec.serviceName",
        ": Kanary creates it again",
    ),
    (": create it, or change spec.traffic.route", ": Kanary creates it again"),
    ("set initialDelay to", "set deploymentReadyWaitTime to"),
    ("so set interval to", "so set trafficShiftUpdateInterval to"),
    ("spec.validation.items[0].promQL: query", "spec.prometheusQuery"),
    ("spec.validation.items[0].promQL: prometheusURL", "spec.prometheusURL"),
    ("spec.validation.items[0].promQL: ", ""),
    (
        ": set podNamekey to the label that names pods, or write an evidenceQuery",
        ": see that Prometheus scrapes the pods, and that its series name them by that label",
    ),
    (
        "write an evidenceQuery that yields a value above 0 where there is, or use valueInRange",
        "simplify spec.prometheusQuery",
    ),
    (", or write an evidenceQuery", ""),
    (
        ": if another label names the pod, set podNamekey to it; otherwise select",
        ": select",
    ),
    (
        "keep it in the query, set podNamekey to the label that names the pod",
        "keep it in the query",
    ),
    (
        "set podNamekey to ",
        "have Prometheus name the pod by the label pod instead of ",
    ),
    ("leave the comparison to valueInRange, or add", "add"),
    (" (write evidenceQuery to ask another)", ""),
    (", so with noResult it could never fail", ", so it could never fail"),
    (", and onNoData says what missing data comes to", ""),
    (
        "allPodsQuery judges all of the result, and the query names",
        "all of the result counts, and spec.prometheusQuery names",
    ),
    (" (spec.rollout.progressDeadline)", ""),
    (
        "spec.traffic or spec.serviceName changed",
        "spec.parentRefs was set or removed",
    ),
    ("this Kanary", "this CanaryApp"),
];
