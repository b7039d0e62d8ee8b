//! The rules of a route: with everything that Kanaries want, and as the user wrote them.

use serde_json::{Map, Value, json};

use super::{
    dialect::Dialect,
    give_back::give_back,
    patch::Own,
    record::{Record, Share, Touched, Weight},
    weights,
};

type Rule = Map<String, Value>;

/// The rules of a route.
pub(super) fn of(dialect: &dyn Dialect, route: &Value) -> Vec<Rule> {
    let rules = route
        .get("spec")
        .and_then(|spec| spec.get(dialect.rules()))
        .and_then(Value::as_array);
    rules
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .cloned()
        .collect()
}

/// Whether this build can read all rules of a route.
pub(super) fn are_readable(dialect: &dyn Dialect, route: &Value) -> bool {
    let rules = route.get("spec").and_then(|spec| spec.get(dialect.rules()));
    rules.is_some_and(|rules| rules.as_array().is_some_and(|rules| rules.iter().all(Value::is_object)))
}

/// The backends of a rule.
pub(super) fn backends<'a>(dialect: &dyn Dialect, rule: &'a Rule) -> impl Iterator<Item = &'a Value> + use<'a> {
    rule.get(dialect.backends())
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// Weights are 1 by default, in Gateway API as well as for the only destination of Istio.
pub(super) fn weight(backend: &Value) -> u64 {
    backend.get("weight").and_then(Value::as_u64).unwrap_or(1)
}

pub(super) fn set_weight(backend: &mut Value, weight: Option<u64>) {
    if let Some(fields) = backend.as_object_mut() {
        match weight {
            Some(weight) => fields.insert("weight".to_owned(), json!(weight)),
            None => fields.remove("weight"),
        };
    }
}

/// Where a backend leads to, for the record.
pub(super) fn label(backend: &Value) -> String {
    let at = |path: &str| backend.pointer(path).and_then(Value::as_str);
    let parts = [
        at("/kind"),
        at("/namespace"),
        at("/name"),
        at("/destination/host"),
        at("/destination/subset"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("/")
}

/// The rules of one route with what Kanaries want.
pub(super) struct Builder<'a> {
    pub(super) dialect: &'a dyn Dialect,
    pub(super) namespace: &'a str,
    pub(super) shares: &'a [Share],
}

impl Builder<'_> {
    /// Puts what every Kanary wants into the user's rules. Returns the rules, and what has to be recorded.
    ///
    /// # Errors
    ///
    /// A rule cannot be changed in this way.
    pub(super) fn build(&self, former: &[Rule]) -> Result<(Vec<Rule>, Vec<Touched>), String> {
        let (mut rules, mut touched) = (Vec::new(), Vec::new());
        for rule in former {
            let shares: Vec<_> = self.shares.iter().filter(|share| self.concerns(share, rule)).collect();
            if shares.is_empty() {
                rules.push(rule.clone());
                continue;
            }
            for share in &shares {
                rules.extend(self.tagged(rule, share)?);
            }
            let (rule, record) = self.shared(rule, &shares)?;
            rules.push(rule);
            touched.push(record);
        }
        let most = self.dialect.most_rules();
        if rules.len() > most {
            return Err(format!(
                "the route would have {} rules, and {most} are possible: split the route, or leave out spec.traffic.tagged",
                rules.len()
            ));
        }
        Ok((rules, touched))
    }

    /// Whether a share asks for something in a rule, which leads to the production Service and gets requests for it.
    pub(super) fn concerns(&self, share: &Share, rule: &Rule) -> bool {
        let desired = &share.desired;
        let asks =
            desired.weight > 0 || !desired.tags.is_empty() || desired.mirror.is_some() || desired.affinity.is_some();
        asks && backends(self.dialect, rule).any(|backend| self.leads(backend, &share.service) && weight(backend) > 0)
    }

    fn leads(&self, backend: &Value, service: &str) -> bool {
        self.dialect.leads(backend, self.namespace, service)
    }

    /// Copies of a rule in front of it, one for each tag.
    fn tagged(&self, rule: &Rule, share: &Share) -> Result<Vec<Rule>, String> {
        let tags = share.desired.tags.iter();
        tags.map(|tag| {
            let mut copy = rule.clone();
            // Names are unique.
            copy.remove("name");
            let production = backends(self.dialect, rule).filter(|backend| self.leads(backend, &share.service));
            let canaries = production.map(|backend| self.dialect.leading_to(backend, &share.canary));
            copy.insert(self.dialect.backends().to_owned(), canaries.collect());
            let matches = self.dialect.tagged(rule, tag)?;
            copy.insert(self.dialect.matches().to_owned(), Value::Array(matches));
            Ok(copy)
        })
        .collect()
    }

    /// The rule itself: split, mirrored and sticky as the shares ask for.
    fn shared(&self, rule: &Rule, shares: &[&Share]) -> Result<(Rule, Touched), String> {
        let mut next = rule.clone();
        let former: Vec<_> = backends(self.dialect, rule).cloned().collect();
        let split = self.split(&former, shares)?;
        let record = Touched {
            backends: former
                .iter()
                .zip(&split.users)
                .map(|(former, now)| Weight {
                    to: label(former),
                    former: former.get("weight").and_then(Value::as_u64),
                    now: now.get("weight").and_then(Value::as_u64),
                })
                .collect(),
            no_extras: rule
                .get(self.dialect.extras())
                .and_then(Value::as_array)
                .is_some_and(Vec::is_empty),
        };
        let all = split.users.into_iter().chain(split.canaries).collect();
        next.insert(self.dialect.backends().to_owned(), Value::Array(all));
        for share in shares {
            self.add_mirror(&mut next, rule, &former, share)?;
            if let Some(affinity) = &share.desired.affinity {
                let (field, value) = self.dialect.affinity(affinity)?;
                if rule.contains_key(field) {
                    return Err(format!(
                        "a rule of the route has the field {field} already, which keeps users on one pod: remove \
                         spec.traffic.sessionAffinity, or that field"
                    ));
                }
                next.insert(field.to_owned(), value);
            }
        }
        Ok((next, record))
    }

    fn add_mirror(&self, next: &mut Rule, rule: &Rule, former: &[Value], share: &Share) -> Result<(), String> {
        let production = former.iter().find(|backend| self.leads(backend, &share.service));
        let (Some(percent), Some(production)) = (share.desired.mirror, production) else {
            return Ok(());
        };
        if let Some(why) = self.dialect.refuses_mirror(rule) {
            return Err(why);
        }
        let canary = self.dialect.leading_to(production, &share.canary);
        let extras = next.entry(self.dialect.extras()).or_insert_with(|| json!([]));
        if let Some(extras) = extras.as_array_mut() {
            extras.push(self.dialect.mirror(&canary, percent));
        }
        Ok(())
    }

    fn split(&self, former: &[Value], shares: &[&Share]) -> Result<Split, String> {
        let mut split = Split {
            users: former.to_vec(),
            canaries: Vec::new(),
        };
        if shares.iter().all(|share| share.desired.weight == 0) {
            return Ok(split);
        }
        let weights: Vec<_> = former.iter().map(weight).collect();
        let factors = weights::factors(&weights)?;
        for ((backend, user), factor) in former.iter().zip(&mut split.users).zip(factors) {
            let mut left = 100_u64;
            for share in shares.iter().filter(|share| self.leads(backend, &share.service)) {
                let percent = u64::from(share.desired.weight);
                left = left.checked_sub(percent).ok_or_else(|| {
                    format!(
                        "the shares of all Kanaries of Service {} add up to more than 100 percent: let one end before the next",
                        share.service
                    )
                })?;
                if percent > 0 && factor > 0 {
                    let mut canary = self.dialect.leading_to(backend, &share.canary);
                    set_weight(&mut canary, Some(percent * factor));
                    split.canaries.push(canary);
                }
            }
            set_weight(user, Some(left * factor));
        }
        Ok(split)
    }
}

struct Split {
    users: Vec<Value>,
    canaries: Vec<Value>,
}

/// The user's rules: without backends, rules, mirrors and session fields of canaries, and with the weights that the user wrote. A
/// weight that somebody changed since stays, unless production would get nothing. The record may lack `own`.
pub(super) fn without_canaries(
    dialect: &dyn Dialect,
    (route, namespace): (&Value, &str),
    record: &Record,
    own: Own<'_>,
) -> Vec<Rule> {
    let recorded = record.shares.iter();
    let recorded = recorded.map(|share| (share.canary.as_str(), share.service.as_str()));
    let canaries: Vec<_> = recorded.chain([(own.canary, own.service)]).collect();
    let leads = |backend: &Value| {
        canaries
            .iter()
            .any(|(canary, _)| dialect.leads(backend, namespace, canary))
    };
    let mirrors = |extra: &Value| {
        let service = dialect.mirrors_to(extra, namespace);
        canaries.iter().any(|(canary, _)| service == Some(canary))
    };
    let session: Vec<_> = record
        .shares
        .iter()
        .filter_map(|share| dialect.affinity(share.desired.affinity.as_ref()?).ok())
        .collect();
    let mut left: Vec<_> = record.rules.iter().collect();
    let mut rules = Vec::new();
    for mut rule in of(dialect, route) {
        let all = backends(dialect, &rule).count();
        let ours = backends(dialect, &rule).filter(|backend| leads(backend)).count();
        if all > 0 && ours == all {
            // The rule for tagged requests.
            continue;
        }
        let extras = rule.get(dialect.extras()).and_then(Value::as_array);
        let is_mirrored = extras.is_some_and(|extras| extras.iter().any(mirrors));
        let is_sticky = session.iter().any(|(field, value)| has(&rule, field, value));
        // A record is about a rule by its backends, so it is also found for a rule that only was tagged.
        let known = take(dialect, &mut left, &rule, &leads, ours > 0 || is_mirrored || is_sticky);
        if let Some(Value::Array(backends)) = rule.get_mut(dialect.backends()) {
            let (ours, mut users): (Vec<_>, Vec<_>) =
                std::mem::take(backends).into_iter().partition(|backend| leads(backend));
            if !ours.is_empty() {
                give_back(&canaries, (dialect, namespace), (&mut users, ours), known);
            }
            *backends = users;
        }
        if let Some(Value::Array(extras)) = rule.get_mut(dialect.extras()).filter(|_| is_mirrored) {
            extras.retain(|extra| !mirrors(extra));
            if extras.is_empty() && !known.is_some_and(|known| known.no_extras) {
                rule.remove(dialect.extras());
            }
        }
        for (field, value) in &session {
            if has(&rule, field, value) {
                rule.remove(*field);
            }
        }
        rules.push(rule);
    }
    rules
}

/// Whether a rule has a field as it was written, without what the API server does not know of it.
fn has(rule: &Rule, field: &str, value: &Value) -> bool {
    rule.get(field).is_some_and(|stored| is_within(stored, value))
}

/// Whether everything in `stored` is in `written`, and not nothing.
pub(super) fn is_within(stored: &Value, written: &Value) -> bool {
    match (stored, written) {
        (Value::Object(stored), Value::Object(written)) => {
            let all = |(name, value): (&String, &Value)| written.get(name).is_some_and(|other| is_within(value, other));
            !stored.is_empty() && stored.iter().all(all)
        }
        (stored, written) => stored == written,
    }
}

/// The record of a rule: the next one with the same backends and weights, else with the same backends, else, for a rule that was
/// certainly changed, the next one.
fn take<'a>(
    dialect: &dyn Dialect,
    left: &mut Vec<&'a Touched>,
    rule: &Rule,
    is_ours: &impl Fn(&Value) -> bool,
    is_changed: bool,
) -> Option<&'a Touched> {
    if !is_changed {
        return None;
    }
    let users: Vec<_> = backends(dialect, rule).filter(|backend| !is_ours(backend)).collect();
    let same = |known: &Touched, with_weights: bool| {
        known.backends.len() == users.len()
            && known.backends.iter().zip(&users).all(|(known, user)| {
                let weight = user.get("weight").and_then(Value::as_u64);
                known.to == label(user) && (!with_weights || known.now == weight)
            })
    };
    let place = left.iter().position(|known| same(known, true));
    let place = place.or_else(|| left.iter().position(|known| same(known, false)));
    let place = place.or((!left.is_empty()).then_some(0))?;
    Some(left.remove(place))
}
