//! Parsing of `spec.traffic`.

use std::time::Duration;

use serde_json::json;

use super::{given, regex};
use crate::{
    Key,
    api::{GoDuration, MirrorSpec, TagSpec, TaggedSpec, TrafficSource, TrafficSpec},
    hash,
    invalid::Invalid,
    named,
    route::{Affinity, Desired, Tag},
    spec::Routing,
};

/// The source, with the short form of `source: mirror`.
pub(super) fn source(traffic: &TrafficSpec) -> TrafficSource {
    let is_mirror = traffic
        .mirror
        .as_ref()
        .is_some_and(|mirror| mirror.activate == Some(true));
    match traffic.source {
        TrafficSource::None if is_mirror => TrafficSource::Mirror,
        source => source,
    }
}

/// `none`, `service shop`, `both shop shop-kanary-batman`, `weighted shop shop-kanary-batman 0123456789abcdef`. Without traffic the
/// production Service matters only for queries. The last word stands for the route and what it does.
pub(super) fn key(traffic: &TrafficSpec, service: Option<&str>, kanary_service: Option<&str>) -> String {
    let source = source(traffic);
    let service = service.filter(|_| source != TrafficSource::None);
    let names = [service, kanary_service].into_iter().flatten();
    let key = names.fold(source.to_string(), |key, name| format!("{key} {name}"));
    if source.needs_route() {
        // `activate` is only another way to write the source.
        let mirror = traffic.mirror.clone().map(|mirror| MirrorSpec {
            activate: None,
            ..mirror
        });
        let details = json!({
            "route": traffic.route, "weighted": traffic.weighted, "tagged": traffic.tagged, "mirror": mirror,
            "affinity": traffic.session_affinity,
        });
        return format!("{key} {}", hash::of(&details));
    }
    key
}

/// Name of the canary's own Service, if the source needs one.
///
/// # Errors
///
/// The production Service is missing, or the name is invalid.
pub(super) fn kanary_service(
    key: &Key,
    traffic: &TrafficSpec,
    service: Option<&str>,
) -> Result<Option<String>, Invalid> {
    let source = source(traffic);
    if source == TrafficSource::None {
        return Ok(None);
    }
    let Some(service) = service else {
        return Err(Invalid::spec(format!(
            "spec.traffic.source {source} needs spec.serviceName, the production Service: set it, or use source none"
        )));
    };
    if source == TrafficSource::Service {
        return Ok(None);
    }
    named::own_service(key, given(traffic.kanary_service.clone()), service).map(Some)
}

/// What a route does for the canary, if the source needs one.
///
/// # Errors
///
/// A block is missing, does not fit the source, or has an invalid value.
pub(super) fn routing(traffic: &TrafficSpec) -> Result<Option<Routing>, Invalid> {
    let source = source(traffic);
    misplaced(traffic, source)?;
    if !source.needs_route() {
        return Ok(None);
    }
    let base = Desired {
        tags: tags(traffic.tagged.as_ref(), source)?,
        affinity: affinity(traffic)?,
        ..Desired::default()
    };
    let (steps, interval) = match source {
        TrafficSource::Weighted => steps(traffic, &base)?,
        TrafficSource::Mirror => {
            let mirror = traffic.mirror.as_ref().and_then(|mirror| mirror.percent);
            let percent = percent("spec.traffic.mirror.percent", mirror.unwrap_or(100))?;
            let mirrored = Desired {
                mirror: Some(percent),
                ..base
            };
            (vec![mirrored], Duration::ZERO)
        }
        _ => (vec![base], Duration::ZERO),
    };
    Ok(Some(Routing {
        kind: traffic.route.as_ref().map(|route| route.kind),
        name: traffic.route.as_ref().and_then(|route| given(route.name.clone())),
        steps,
        interval,
    }))
}

/// A block that belongs to another source would be ignored, so it is refused.
fn misplaced(traffic: &TrafficSpec, source: TrafficSource) -> Result<(), Invalid> {
    use TrafficSource::{Mirror, Tagged, Weighted};
    let percent = traffic.mirror.as_ref().and_then(|mirror| mirror.percent);
    let activates = traffic
        .mirror
        .as_ref()
        .is_some_and(|mirror| mirror.activate == Some(true));
    let misplaced = [
        (traffic.weighted.is_some(), "weighted", &[Weighted][..]),
        (traffic.tagged.is_some(), "tagged", &[Tagged, Weighted]),
        (percent.is_some(), "mirror.percent", &[Mirror]),
        (activates, "mirror.activate", &[Mirror]),
        (traffic.session_affinity.is_some(), "sessionAffinity", &[Weighted]),
        (traffic.route.is_some(), "route", &[Weighted, Tagged, Mirror]),
    ];
    let found = misplaced
        .iter()
        .find(|(is_set, _, sources)| *is_set && !sources.contains(&source));
    let Some((_, field, sources)) = found else {
        return Ok(());
    };
    let sources = sources.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
    Err(Invalid::spec(format!(
        "spec.traffic.{field} is for source {sources}, and the source is {source}: change the source, or remove it"
    )))
}

fn steps(traffic: &TrafficSpec, base: &Desired) -> Result<(Vec<Desired>, Duration), Invalid> {
    let weighted = traffic.weighted.as_ref().filter(|weighted| !weighted.steps.is_empty());
    let Some(weighted) = weighted else {
        return Err(Invalid::spec(
            "spec.traffic.source weighted needs spec.traffic.weighted.steps, the shares in percent: set it, for example to [5, 25, 50]",
        ));
    };
    if !weighted.steps.is_sorted_by(|one, next| one < next) || weighted.steps.len() > 20 {
        return Err(Invalid::spec(
            "spec.traffic.weighted.steps has to be at most 20 numbers in ascending order, each once, like [5, 25, 50]",
        ));
    }
    let above = weighted.promote_above.unwrap_or(u8::MAX);
    let last = weighted.steps.iter().position(|step| *step >= above);
    if last.is_none() && weighted.promote_above.is_some() {
        return Err(Invalid::spec(format!(
            "no step of spec.traffic.weighted.steps reaches promoteAbove {above}: lower it, or add a step"
        )));
    }
    let count = last.map_or(weighted.steps.len(), |last| last + 1);
    let mut steps = Vec::new();
    for step in weighted.steps.iter().take(count) {
        steps.push(Desired {
            weight: percent("a step of spec.traffic.weighted.steps", *step)?,
            ..base.clone()
        });
    }
    let interval = weighted.interval.unwrap_or(GoDuration::from_secs(60)).0;
    if interval < Duration::from_secs(1) {
        return Err(Invalid::spec(
            "spec.traffic.weighted.interval is shorter than 1s: raise it",
        ));
    }
    Ok((steps, interval))
}

fn percent(field: &str, percent: u8) -> Result<u8, Invalid> {
    if (1..=100).contains(&percent) {
        return Ok(percent);
    }
    Err(Invalid::spec(format!(
        "{field} is {percent}: use a number from 1 to 100"
    )))
}

fn tags(tagged: Option<&TaggedSpec>, source: TrafficSource) -> Result<Vec<Tag>, Invalid> {
    let nothing = TaggedSpec::default();
    let asked = tagged.unwrap_or(&nothing);
    let headers = asked.headers.iter().map(|header| (false, header));
    let cookies = asked.cookies.iter().map(|cookie| (true, cookie));
    let tags: Result<Vec<_>, _> = headers.chain(cookies).map(|(cookie, spec)| tag(cookie, spec)).collect();
    let tags = tags?;
    if tags.is_empty() && (tagged.is_some() || source == TrafficSource::Tagged) {
        return Err(Invalid::spec(
            "spec.traffic.tagged needs a header or a cookie, for example headers: [{name: x-canary, value: always}]",
        ));
    }
    Ok(tags)
}

fn tag(cookie: bool, spec: &TagSpec) -> Result<Tag, Invalid> {
    let kind = if cookie { "cookie" } else { "header" };
    let name = given(Some(spec.name.clone()));
    let name = name.ok_or_else(|| Invalid::spec(format!("a {kind} of spec.traffic.tagged has no name: set it")))?;
    let (value, is_regex) = match (given(spec.value.clone()), given(spec.regex.clone())) {
        (Some(value), None) => (value, false),
        (None, Some(pattern)) => {
            regex::check(&pattern).map_err(|why| {
                Invalid::spec(format!(
                    "the regex of the {kind} {name} of spec.traffic.tagged is not one that every proxy accepts (RE2): {why}; change it, \
                     or use value"
                ))
            })?;
            (pattern, true)
        }
        _ => {
            return Err(Invalid::spec(format!(
                "the {kind} {name} of spec.traffic.tagged needs one of value and regex: set one of them"
            )));
        }
    };
    Ok(Tag {
        cookie,
        name,
        value,
        regex: is_regex,
    })
}

fn affinity(traffic: &TrafficSpec) -> Result<Option<Affinity>, Invalid> {
    let Some(affinity) = &traffic.session_affinity else {
        return Ok(None);
    };
    let seconds = affinity.max_age.map(|age| age.0.as_secs());
    if seconds == Some(0) {
        return Err(Invalid::spec(
            "spec.traffic.sessionAffinity.maxAge is shorter than 1s: raise it",
        ));
    }
    Ok(Some(Affinity {
        cookie: given(affinity.cookie_name.clone()).unwrap_or_else(|| "kanary".to_owned()),
        seconds,
    }))
}
