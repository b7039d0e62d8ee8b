//! PromQL items: the query, the server, and the evaluation of the answer.

mod bounds;
mod criterion;
mod demand;
mod endpoint;
mod evidence;
mod facts;
mod grade;
mod hints;
mod joining;
mod judge;
mod kept;
mod number;
mod operator;
mod refuse;
mod scan;
mod selecting;
mod shape;
mod syntax;
mod template;
mod unparsable;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use endpoint::Endpoint;
pub use joining::{JOINED, Shape, shape};
pub(super) use judge::listed;
pub(super) use number::short;
pub(crate) use selecting::selects_canary;
pub use template::Vars;

use serde_json::json;

use self::{
    criterion::Criterion, evidence::Evidence, hints::Hints, refuse::Wanted, scan::scan, syntax::Expr,
    template::Template,
};
use super::{
    Answer, Sample,
    terms::{Terms, Written},
};
use crate::{
    api::{OnNoData, PromQlItem},
    hash,
};

/// A valid PromQL item with defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct PromQl {
    /// When it is measured, and what decides.
    pub terms: Terms,
    /// The server for the query.
    pub endpoint: Endpoint,
    query: Template,
    evidence: Option<Evidence>,
    pod_key: String,
    all_pods: bool,
    criterion: Criterion,
    hints: Hints,
}

impl PromQl {
    /// Parses an item. `max_interval` is the maximum and default interval of measurements.
    ///
    /// # Errors
    ///
    /// Names the invalid field, relative to the item, and how to fix it.
    pub fn parse(item: &PromQlItem, max_interval: Duration) -> Result<Self, String> {
        let written = Written::from(item);
        let interval = written.interval(max_interval)?;
        let endpoint = Endpoint::parse(item)?;
        let criterion = Criterion::parse(item)?;
        let pod_key = present(item.pod_name_key.as_ref()).unwrap_or("pod").to_owned();
        let all_pods = item.all_pods_query.unwrap_or(false);
        let query = Template::parse("query", &item.query)?;
        let scan = scan(&item.query)?;
        unparsable::check("query", &scan)?;
        let own = present(item.evidence_query.as_ref());
        let exported = format!("exported_{pod_key}");
        if criterion.is_about_presence() && own.is_none() && !all_pods && selects_by(&item.query, &exported) {
            return Err(format!(
                "query selects by {exported}, and the evidence is looked for by {pod_key}, which names the pod that exports the \
                 series: set podNamekey: {exported}"
            ));
        }
        let expr = Expr::parse(&item.query, &scan.tokens);
        let evidence = match (criterion.is_about_presence(), own) {
            (true, own) => Some(Evidence::parse(own, expr.as_ref(), &scan, (&pod_key, all_pods))?),
            (false, None) => None,
            (false, Some(_)) => return Err("evidenceQuery is for noResult only: remove it".to_owned()),
        };
        if let Some(expr) = &expr {
            let wanted = Wanted {
                criterion: &criterion,
                pod_key: &pod_key,
                all_pods,
                fails_without_data: item.on_no_data == Some(OnNoData::Fail),
            };
            refuse::query(expr, &wanted)?;
        }
        let is_unproven = evidence.as_ref().is_some_and(|evidence| evidence.query().is_none());
        // The credentials may change, because Secrets are rotated. A header may select the tenant, so it is part of the
        // id.
        let headers = endpoint.auth.as_ref().and_then(|auth| auth.headers.as_ref());
        let id = hash::of(&json!({
            "url": endpoint.url, "headers": headers, "query": item.query, "evidence": own, "podKey": pod_key,
            "allPods": all_pods, "criterion": criterion.identity(),
        }));
        Ok(Self {
            terms: written.parse(id, max_interval)?,
            endpoint,
            hints: Hints::of(&scan, &criterion, is_unproven, all_pods).asking_every(interval, max_interval),
            query,
            evidence,
            pod_key,
            all_pods,
            criterion,
        })
    }

    /// The query with its variables replaced.
    #[must_use]
    pub fn render(&self, vars: &Vars<'_>) -> String {
        self.query.render(vars)
    }

    /// The evidence query with its variables replaced, if the item needs evidence.
    #[must_use]
    pub fn render_evidence(&self, vars: &Vars<'_>) -> Option<String> {
        self.evidence.as_ref()?.query().map(|query| query.render(vars))
    }

    /// Whether a query uses `{{ service.name }}`, which requires `serviceName`.
    #[must_use]
    pub fn needs_service(&self) -> bool {
        let evidence = self.evidence.as_ref().and_then(Evidence::query);
        evidence.into_iter().chain([&self.query]).any(Template::uses_service)
    }

    /// Warnings about a query that may not mean what the author intended, as sentences for the user.
    #[must_use]
    pub fn hints(&self, initial_delay: Duration) -> Vec<String> {
        self.hints.texts(self.terms.interval, initial_delay)
    }

    /// Whether `answer` passes only with evidence that Prometheus has data of the pods, so that the evidence query is
    /// needed.
    #[must_use]
    pub fn wants_evidence(&self, answer: &Answer, ready_pods: &[&str]) -> bool {
        judge::wants_evidence(self, answer, ready_pods)
    }

    /// Evaluates `answer` for the canary with the ready pods `ready_pods`. An answer passes only with finite values that
    /// meet the criterion for every pod, or, for `noResult`, without series and with `evidence`.
    #[must_use]
    pub fn judge(&self, answer: &Answer, evidence: Option<&Answer>, ready_pods: &[&str]) -> Sample {
        judge::judge(self, answer, evidence, ready_pods)
    }
}

/// Whether a query has a matcher for a label.
fn selects_by(query: &str, label: &str) -> bool {
    query.match_indices(label).any(|(at, _)| {
        let rest = query.get(at + label.len()..).unwrap_or_default().trim_start();
        rest.starts_with(['=', '!'])
    })
}

/// The text of an optional field. An empty one counts as absent.
fn present(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}
