//! Conversion of Kanaries between the versions of [`GROUP`], in both directions and without loss.
//!
//! `v1` says the same as `v1alpha1` with fewer words: it has one name where `v1alpha1` has several. So a spec of `v1alpha1` can be
//! written in `v1`, but the words that its author chose would be lost on the way back. An annotation on the converted object keeps
//! them, as JSON Patches that bring them back. A patch is applied only if the spec then still means the same. Therefore an edit in
//! the other version always wins, and an annotation that somebody forged can't change what a spec means.

mod crd;
mod rules;
#[cfg(test)]
mod tests;

use json_patch::{Patch, PatchOperation};
use serde_json::{Map, Value};

pub use self::crd::{Conversion, crds};
use self::rules::{Names, Undo};
use crate::api::{
    KanaryKind,
    names::{AS_V1, AS_V1ALPHA1, GROUP},
};

/// A version of the Kanary kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// The version that the controller reads and writes.
    V1Alpha1,
    /// The version with one name for each thing.
    V1,
}

impl Version {
    /// Every version.
    pub const ALL: [Self; 2] = [Self::V1Alpha1, Self::V1];

    /// As in `apiVersion`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1Alpha1 => crate::api::names::VERSION,
            Self::V1 => "v1",
        }
    }

    /// The annotation that keeps what only this version can say, on an object in the other one.
    const fn annotation(self) -> &'static str {
        match self {
            Self::V1Alpha1 => AS_V1ALPHA1,
            Self::V1 => AS_V1,
        }
    }

    /// The version that `api_version` names, if it is one of [`GROUP`].
    #[must_use]
    pub fn of(api_version: &str) -> Option<Self> {
        let (group, version) = api_version.split_once('/')?;
        let mut all = Self::ALL.into_iter().filter(|_| group == GROUP);
        all.find(|known| known.as_str() == version)
    }
}

/// Converts a Kanary of [`GROUP`] to another version. An invalid spec is converted as far as it can be, and the rest is kept for the
/// way back. Of the metadata, only an annotation changes.
///
/// # Errors
///
/// The object is no Kanary of a known version. The message names what was found.
pub fn convert(mut object: Value, to: Version) -> Result<Value, String> {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let found = Version::of(api_version).zip(KanaryKind::of(api_version, kind));
    let Some((from, kind)) = found else {
        return Err(format!(
            "{kind:?} of {api_version:?} is no Kanary of {GROUP} in the versions v1alpha1 and v1"
        ));
    };
    let Some(fields) = object.as_object_mut().filter(|_| from != to) else {
        return Ok(object);
    };
    fields.insert("apiVersion".to_owned(), format!("{GROUP}/{}", to.as_str()).into());
    let kept = annotation(fields, to).map(patches).unwrap_or_default();
    let name = fields.get("metadata").and_then(|metadata| metadata.get("name"));
    let name = name.and_then(Value::as_str).unwrap_or_default().to_owned();
    let spec = fields.get_mut("spec").and_then(Value::as_object_mut);
    let undo = spec.map_or_else(Undo::default, |spec| convert_spec(spec, to, (kind, &name), &kept));
    annotate(fields, from, &undo);
    Ok(object)
}

/// How many patches an annotation of ours has at most, and how many operations each of them.
const PATCHES: usize = 12;
const OPERATIONS: usize = 4;

/// The patches of an annotation. One that somebody forged must not cost more than one of ours: `copy` could double a spec with each
/// operation.
fn patches(text: &str) -> Vec<Patch> {
    let mut patches: Vec<Patch> = serde_json::from_str(text).unwrap_or_default();
    patches.truncate(PATCHES);
    patches.retain(|Patch(operations)| {
        let is_small = |operation| {
            use PatchOperation::{Add, Move, Remove};
            matches!(operation, &(Add(_) | Move(_) | Remove(_)))
        };
        operations.len() <= OPERATIONS && operations.iter().all(is_small)
    });
    patches
}

/// Returns what brings the former spec back. The template is the same in both versions, and most of a Kanary: nothing below looks
/// at it.
fn convert_spec(
    spec: &mut Map<String, Value>,
    to: Version,
    (kind, kanary): (KanaryKind, &str),
    kept: &[Patch],
) -> Undo {
    let template = spec.remove("template");
    let names = Names::new(kind.target_kind(), template.as_ref(), kanary);
    let mut rest = Value::Object(std::mem::take(spec));
    let undo = rules::translate(&mut rest, to, &names);
    let meaning = (!kept.is_empty()).then(|| rules::meaning(&rest, to, &names));
    for patch in kept {
        let mut candidate = rest.clone();
        let applies = json_patch::patch(&mut candidate, patch).is_ok() && candidate.is_object();
        if applies && meaning.as_ref() == Some(&rules::meaning(&candidate, to, &names)) {
            rest = candidate;
        }
    }
    if let Value::Object(rest) = rest {
        *spec = rest;
    }
    if let Some(template) = template {
        spec.insert("template".to_owned(), template);
    }
    undo
}

/// The annotation of a version on an object.
///
/// It stays when the words are back. If somebody applies first one version and then the other by server-side apply, the API server
/// takes away what was applied first, converts the rest, and compares that with the object as it was. Without the annotation, the rest
/// would say the same in other words, and the API server would take those for fields that nobody applies any more.
fn annotation(object: &Map<String, Value>, version: Version) -> Option<&str> {
    object
        .get("metadata")?
        .get("annotations")?
        .get(version.annotation())?
        .as_str()
}

/// Keeps what only `version` can say, and what was kept before.
fn annotate(object: &mut Map<String, Value>, version: Version, undo: &Undo) {
    if undo.is_empty() {
        return;
    }
    let former: Vec<Value> = annotation(object, version)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    let annotations = metadata.entry("annotations").or_insert_with(|| Map::new().into());
    if annotations.is_null() {
        *annotations = Map::new().into();
    }
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.insert(version.annotation().to_owned(), undo.with(former).into());
    }
}
