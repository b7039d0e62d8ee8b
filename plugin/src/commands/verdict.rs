//! `kubectl kanary promote` and `abort`: a person's verdict, as far as the API provides for one.

use anyhow::bail;
use kanary_core::{
    ParsedKanary,
    api::{ItemState, ManualVerdict},
    status::Phase,
};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, Found},
    edit::{self, Edit, Guard, Plan},
    exit::Exit,
    run::{self, Outcome, stale},
};

/// Say that the canary is good. Sets the manual items of the Kanary to `valid`; the other items still have to agree.
#[derive(Debug, clap::Args)]
pub(crate) struct Promote {
    /// Name of the Kanary.
    #[arg(value_name = "NAME")]
    name: String,
    /// Set `spec.verdict` to `valid` instead, which promotes the canary as soon as it is available, whatever its items say.
    #[arg(long)]
    overrule: bool,
    #[command(flatten)]
    guard: Guard,
}

/// Say that the canary is bad. Sets `spec.verdict` to `invalid`, which fails the run and removes the canary.
#[derive(Debug, clap::Args)]
pub(crate) struct Abort {
    /// Name of the Kanary.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    guard: Guard,
}

pub(crate) async fn promote(cluster: &Cluster, options: &Promote) -> anyhow::Result<Exit> {
    let plan = |found: &Found| {
        if options.overrule {
            overruling(found)
        } else {
            by_items(found)
        }
    };
    edit::apply(cluster, &options.name, &options.guard, plan).await
}

pub(crate) async fn abort(cluster: &Cluster, options: &Abort) -> anyhow::Result<Exit> {
    edit::apply(cluster, &options.name, &options.guard, aborting).await
}

/// Why a verdict for the canary has no effect on this Kanary, or that it has passed already.
fn promotable(kanary: &ParsedKanary) -> anyhow::Result<Option<String>> {
    let name = &kanary.key.name;
    match Outcome::of(kanary) {
        Outcome::UnderWay if Phase::of(&kanary.status) == Phase::Succeeded => Ok(Some(format!(
            "run {} has passed already, and {} is being updated",
            run::number(kanary),
            kanary.spec.target
        ))),
        Outcome::UnderWay => Ok(None),
        Outcome::Promoted => Ok(Some(format!("run {} was promoted already", run::number(kanary)))),
        Outcome::Unseen if run::is_new(kanary) && kanary.spec.is_sound() => Ok(None),
        Outcome::Unseen => bail!(
            "{}; try again once it has, and see whether the controller runs (`kubectl kanary shards`)",
            run::why(kanary)
        ),
        Outcome::Invalid(why) => bail!("the spec of {name} cannot be run: {why}"),
        Outcome::Deleting => bail!("{name} is being deleted"),
        Outcome::DryRunPassed => bail!(
            "the dry-run of {name} has ended and passed; to promote, remove rollout.mode: dry-run (or validation.noUpdate) from \
             its spec and run `kubectl kanary retry {name}`, which judges the template again"
        ),
        Outcome::Failed | Outcome::Otherwise(_) => bail!(
            "run {} of {name} is over, and a verdict has no effect on it: {}; `kubectl kanary retry {name}` runs the template once \
             more",
            run::number(kanary),
            run::why(kanary)
        ),
    }
}

/// The items as the user wrote them, with the name of their block.
fn items(found: &Found) -> (&'static str, Vec<Value>) {
    let spec = &found.object.spec;
    let block = if spec.get("validations").is_some() {
        "validations"
    } else {
        "validation"
    };
    let items = spec.pointer(&format!("/{block}/items")).and_then(Value::as_array);
    (block, items.cloned().unwrap_or_default())
}

/// `valid` in every manual item.
fn by_items(found: &Found) -> anyhow::Result<Plan> {
    let kanary = &found.parsed;
    if let Some(nothing) = promotable(kanary)? {
        return Ok(Plan::Nothing(nothing));
    }
    let (block, items) = items(found);
    let name = found.name();
    if items.is_empty() {
        return Ok(Plan::Edit(Edit {
            operations: default_item(found, block),
            done: format!("its manual item is `valid`; {}", next(kanary)),
        }));
    }
    let manual = items
        .iter()
        .enumerate()
        .filter(|(_, item)| item.get("manual").is_some());
    let manual: Vec<_> = manual.collect();
    if manual.is_empty() {
        let judges: Vec<_> = kanary.status.items.iter().map(|item| item.name.as_str()).collect();
        bail!(
            "{name} has no manual item, so a manual verdict does not count: {} decide. Wait for them with `kubectl kanary status {name} \
             --wait`. To promote it in spite of them, use `kubectl kanary promote {name} --overrule`",
            if judges.is_empty() {
                "its items".to_owned()
            } else {
                judges.join(", ")
            }
        );
    }
    Ok(valid_in(kanary, block, &manual))
}

/// `valid` in these manual items of a block. One that is left over from an earlier run has to be removed before it can be given
/// again.
fn valid_in(kanary: &ParsedKanary, block: &str, manual: &[(usize, &Value)]) -> Plan {
    let is_valid = |item: &Value| item.pointer("/manual/status").and_then(Value::as_str) == Some("valid");
    let status = |index: usize| format!("/spec/{block}/items/{index}/manual/status");
    let set = |(index, item): &(usize, &Value)| {
        // An item may be written as `manual: null`.
        if item.get("manual").is_some_and(Value::is_object) {
            json!({"op": "add", "path": status(*index), "value": "valid"})
        } else {
            let path = format!("/spec/{block}/items/{index}/manual");
            json!({"op": "add", "path": path, "value": {"status": "valid"}})
        }
    };
    let names = |of: &[&(usize, &Value)]| {
        let names: Vec<_> = of.iter().map(|(index, _)| format!("manual[{index}]")).collect();
        names.join(", ")
    };
    let all = are(&names(&manual.iter().collect::<Vec<_>>()));
    let done = format!("{all} `valid`; {}", next(kanary));
    let (given, open): (Vec<&(usize, &Value)>, Vec<_>) = manual.iter().partition(|(_, item)| is_valid(item));
    if stale(kanary).valid > 0 {
        let remove = given
            .iter()
            .map(|(index, _)| json!({"op": "remove", "path": status(*index)}));
        let first = Edit {
            operations: remove.collect(),
            done: format!("the `valid` of an earlier run was removed from {}", names(&given)),
        };
        let operations = manual.iter().map(set).collect();
        return Plan::Renew(first, Edit { operations, done });
    }
    if open.is_empty() {
        return Plan::Nothing(format!("{all} `valid` already; {}", next(kanary)));
    }
    let operations = open.into_iter().map(set).collect();
    Plan::Edit(Edit { operations, done })
}

fn are(names: &str) -> String {
    let verb = if names.contains(',') { "are" } else { "is" };
    format!("{names} {verb}")
}

/// Writes down the item that a Kanary without items has by default, with a verdict.
fn default_item(found: &Found, block: &str) -> Vec<Value> {
    let item = json!([{"manual": {"status": "valid"}}]);
    let written = found.object.spec.get(block).filter(|written| written.is_object());
    vec![match written {
        Some(_) => json!({"op": "add", "path": format!("/spec/{block}/items"), "value": item}),
        None => json!({"op": "add", "path": format!("/spec/{block}"), "value": {"items": item}}),
    }]
}

/// `spec.verdict: valid`.
fn overruling(found: &Found) -> anyhow::Result<Plan> {
    let kanary = &found.parsed;
    if let Some(nothing) = promotable(kanary)? {
        return Ok(Plan::Nothing(nothing));
    }
    let against = kanary.status.items.iter().filter(|item| item.state != ItemState::Good);
    let against: Vec<_> = against
        .map(|item| format!("{} is {:?}", item.name, item.state))
        .collect();
    let overruled = match against.as_slice() {
        [] => String::new(),
        against => format!(", although {}", against.join(", ")),
    };
    let done = format!(
        "spec.verdict is `valid`: Kanary {} once its canary is available{overruled}{}",
        promotes(kanary),
        waits(kanary)
    );
    Ok(verdict(kanary, ManualVerdict::Valid, done))
}

/// `spec.verdict: invalid`.
fn aborting(found: &Found) -> anyhow::Result<Plan> {
    let kanary = &found.parsed;
    let (name, target, number) = (found.name(), &kanary.spec.target, run::number(kanary));
    let undo = run::undo(kanary);
    let gone = match kanary.spec.scale.in_place() {
        Some(_) => format!("the run fails, and the pods of {target} that run the template get the former one back"),
        None => "the run fails, and the canary leaves its Services and is deleted".to_owned(),
    };
    let next = match Outcome::of(kanary) {
        Outcome::Deleting => {
            bail!("{name} is being deleted, which removes the canary and leaves {target} as it is")
        }
        Outcome::Failed => {
            return Ok(Plan::Nothing(format!(
                "run {number} failed already: {}",
                run::why(kanary)
            )));
        }
        Outcome::Promoted | Outcome::Otherwise(_) => {
            bail!("run {number} of {name} is over, and a verdict has no effect on it; {undo} takes a promotion back")
        }
        Outcome::DryRunPassed => {
            bail!("the dry-run of {name} is over, and left {target} alone: there is nothing to abort")
        }
        Outcome::Unseen if kanary.spec.verdict == Some(ManualVerdict::Invalid) => {
            bail!(
                "{}, and its verdict `invalid` may be from an earlier run; try again once it has",
                run::why(kanary)
            )
        }
        Outcome::Unseen => format!("{}; the verdict counts for the run that it starts", run::why(kanary)),
        Outcome::UnderWay if Phase::of(&kanary.status) == Phase::Succeeded && kanary.spec.rollback => format!(
            "the canary is removed, and {target} gets its former template back unless it has rolled out by then"
        ),
        Outcome::UnderWay if Phase::of(&kanary.status) == Phase::Succeeded => format!(
            "the canary is removed; if {target} was updated already, it keeps the template: {undo} takes it back"
        ),
        Outcome::UnderWay | Outcome::Invalid(_) if kanary.spec.retain_failed => {
            "the run fails, and the canary leaves its Services and is kept (onFailure: retain)".to_owned()
        }
        Outcome::UnderWay | Outcome::Invalid(_) => gone,
    };
    Ok(verdict(
        kanary,
        ManualVerdict::Invalid,
        format!("spec.verdict is `invalid`: {next}"),
    ))
}

/// Sets `spec.verdict`. One that is left over from an earlier run has to be removed before it can be given again.
fn verdict(kanary: &ParsedKanary, wanted: ManualVerdict, done: String) -> Plan {
    let set = Edit {
        operations: vec![json!({"op": "add", "path": "/spec/verdict", "value": wanted})],
        done,
    };
    if kanary.spec.verdict != Some(wanted) {
        return Plan::Edit(set);
    }
    if stale(kanary).verdict != Some(wanted) {
        return Plan::Nothing(set.done.replace("spec.verdict is", "spec.verdict is already"));
    }
    let first = Edit {
        operations: vec![json!({"op": "remove", "path": "/spec/verdict"})],
        done: format!("the verdict `{wanted}` of an earlier run was removed"),
    };
    Plan::Renew(first, set)
}

/// What follows a manual `valid`.
fn next(kanary: &ParsedKanary) -> String {
    let others = kanary
        .status
        .items
        .iter()
        .filter(|item| !item.name.starts_with("manual"));
    let others = others.filter(|item| item.state != ItemState::Good && !item.name.starts_with("labelWatch"));
    let others: Vec<_> = others
        .map(|item| format!("{} is {:?}", item.name, item.state))
        .collect();
    let unmeasured = kanary.status.items.is_empty() && kanary.spec.validation.items.len() > 1;
    let when = match others.as_slice() {
        [] if unmeasured => "once the canary is available and every other item agrees".to_owned(),
        [] if Phase::of(&kanary.status) == Phase::Scheduled => "once the canary is available".to_owned(),
        [] => "now, if every other item agrees".to_owned(),
        others => format!("once every other item agrees ({})", others.join(", ")),
    };
    format!("Kanary {} {when}{}", promotes(kanary), waits(kanary))
}

fn promotes(kanary: &ParsedKanary) -> String {
    if kanary.spec.dry_run {
        return "ends the dry-run".to_owned();
    }
    format!("updates {}", kanary.spec.target)
}

/// What holds the run all the same.
fn waits(kanary: &ParsedKanary) -> String {
    if kanary.spec.paused {
        return format!(
            ". The run is paused, so nothing is promoted before `kubectl kanary resume {}`",
            kanary.key.name
        );
    }
    String::new()
}

#[cfg(test)]
mod tests;
