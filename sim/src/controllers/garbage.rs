//! The garbage collector: deletes or releases objects whose owners are deleted.

use std::{collections::HashMap, sync::Arc};

use serde_json::Value;

use super::{claim::unless_gone, index::place_of};
use crate::{
    cluster::Cluster,
    failure::Failure,
    object::Object,
    resource::Resource,
    store::{Place, ResourceName},
    write::{DeleteOptions, Part, WriteOptions},
};

const ACTOR: &str = "system:serviceaccount:kube-system:generic-garbage-collector";
const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// Location of each object by uid.
#[derive(Debug, Default)]
pub(super) struct Live(HashMap<String, (ResourceName, Place)>);

impl Live {
    pub(super) fn change(&mut self, resource: &ResourceName, old: Option<&Object>, new: Option<&Object>) {
        if let Some(old) = old.filter(|old| new.is_none_or(|new| new.meta.uid != old.meta.uid)) {
            self.0.remove(&old.meta.uid);
        }
        if let Some(new) = new.filter(|_| old.is_none()) {
            self.0
                .insert(new.meta.uid.clone(), (resource.clone(), place_of(&new.meta)));
        }
    }

    pub(super) fn get(&self, uid: &str) -> Option<&(ResourceName, Place)> {
        self.0.get(uid)
    }

    /// The owner of an object in `namespace`. References to owners in another namespace are invalid.
    fn owner(&self, uid: &str, namespace: &str) -> Option<&(ResourceName, Place)> {
        self.get(uid)
            .filter(|(_, place)| place.0.is_empty() || place.0 == namespace)
    }
}

fn has(object: &Object, finalizer: &str) -> bool {
    object.meta.finalizers.iter().any(|known| known == finalizer)
}

/// Whether it waits for its dependants (foreground deletion).
pub(super) fn waits(object: &Object) -> bool {
    object.meta.deleting && has(object, FOREGROUND)
}

/// Whether the garbage collector has something to do for an object.
pub(super) fn concerns(live: &Live, object: &Object) -> bool {
    let meta = &object.meta;
    let going = meta.deleting && (has(object, FOREGROUND) || has(object, ORPHAN));
    going
        || meta
            .owners
            .iter()
            .any(|owner| live.owner(&owner.uid, &meta.namespace).is_none())
}

/// An object, with its kind.
struct Item<'a> {
    cluster: &'a Cluster,
    resource: Arc<Resource>,
    place: &'a Place,
    object: Arc<Object>,
}

/// Processes an object and returns the other objects to process as a result.
pub(super) fn sync(
    cluster: &Cluster,
    live: &Live,
    resource: &ResourceName,
    place: &Place,
) -> Result<Vec<(ResourceName, Place)>, Failure> {
    let known = cluster.lock().registry.named(resource).cloned();
    let (Some(known), Some(object)) = (known, cluster.object(resource, place)) else {
        return Ok(Vec::new());
    };
    let item = Item {
        cluster,
        resource: known,
        place,
        object,
    };
    if item.object.meta.deleting {
        if has(&item.object, ORPHAN) {
            return item.orphan().map(|()| Vec::new());
        }
        return if waits(&item.object) {
            item.wait()
        } else {
            Ok(Vec::new())
        };
    }
    item.judge(live).map(|()| Vec::new())
}

impl Item<'_> {
    fn children(&self) -> Vec<(ResourceName, Arc<Object>)> {
        self.cluster.children(&self.object.meta.uid)
    }

    /// Removes the owner reference from its dependants and lets it go.
    fn orphan(&self) -> Result<(), Failure> {
        let uids = [self.object.meta.uid.as_str()];
        for (resource, child) in self.children() {
            let known = self.cluster.lock().registry.named(&resource).cloned();
            if let Some(known) = known {
                let place = place_of(&child.meta);
                drop_owners(self.cluster, &known, &place, &child, &uids)?;
            }
        }
        self.drop_finalizer(ORPHAN)
    }

    /// Deletes the dependants that block it, and lets it go after they are gone.
    fn wait(&self) -> Result<Vec<(ResourceName, Place)>, Failure> {
        let uid = &self.object.meta.uid;
        let blocks = |child: &Object| child.meta.owners.iter().any(|owner| owner.uid == *uid && owner.blocks);
        let blocking: Vec<_> = self.children().into_iter().filter(|(_, child)| blocks(child)).collect();
        if blocking.is_empty() {
            return self.drop_finalizer(FOREGROUND).map(|()| Vec::new());
        }
        let going = blocking.into_iter().filter(|(_, child)| !child.meta.deleting);
        Ok(going
            .map(|(resource, child)| (resource, place_of(&child.meta)))
            .collect())
    }

    /// Whether the cluster serves this kind. Owners of unknown kinds cannot be checked.
    fn is_served(&self, kind: &str) -> bool {
        self.cluster
            .lock()
            .registry
            .iter()
            .any(|resource| resource.kind == kind)
    }

    /// Deletes it if all its owners are gone or are waiting for it.
    fn judge(&self, live: &Live) -> Result<(), Failure> {
        let meta = &self.object.meta;
        let (mut solid, mut others, mut waited_for) = (0, Vec::new(), false);
        for owner in &meta.owners {
            let found = live.owner(&owner.uid, &meta.namespace);
            let found = found.and_then(|(resource, place)| self.cluster.object(resource, place));
            match found.filter(|found| found.meta.uid == owner.uid) {
                None if !self.is_served(&owner.kind) => return Ok(()),
                None => others.push(owner.uid.as_str()),
                Some(found) if waits(&found) => {
                    others.push(owner.uid.as_str());
                    waited_for = true;
                }
                Some(_) => solid += 1,
            }
        }
        if others.is_empty() {
            return Ok(());
        }
        if solid > 0 {
            return drop_owners(self.cluster, &self.resource, self.place, &self.object, &others);
        }
        let propagation = if has(&self.object, ORPHAN) {
            "Orphan"
        } else if has(&self.object, FOREGROUND) || waited_for && !self.children().is_empty() {
            "Foreground"
        } else {
            "Background"
        };
        let options = DeleteOptions {
            uid: Some(meta.uid.clone()),
            propagation: Some(propagation.to_owned()),
            ..DeleteOptions::default()
        };
        unless_gone(self.cluster.delete(ACTOR, &self.resource.name, self.place, &options)).map(|_| ())
    }

    fn drop_finalizer(&self, finalizer: &str) -> Result<(), Failure> {
        rewrite(self.cluster, &self.resource, self.place, &self.object, |metadata| {
            if let Some(finalizers) = metadata["finalizers"].as_array_mut() {
                finalizers.retain(|known| known != finalizer);
            }
        })
    }
}

fn drop_owners(
    cluster: &Cluster,
    resource: &Arc<Resource>,
    place: &Place,
    object: &Object,
    uids: &[&str],
) -> Result<(), Failure> {
    rewrite(cluster, resource, place, object, |metadata| {
        let Some(metadata) = metadata.as_object_mut() else {
            return;
        };
        let owners = metadata.get_mut("ownerReferences").and_then(Value::as_array_mut);
        let left = owners.map_or(0, |owners| {
            owners.retain(|owner| !uids.iter().any(|uid| owner["uid"] == **uid));
            owners.len()
        });
        if left == 0 {
            metadata.remove("ownerReferences");
        }
    })
}

/// Replaces the metadata of an object of any kind.
fn rewrite(
    cluster: &Cluster,
    resource: &Arc<Resource>,
    place: &Place,
    object: &Object,
    edit: impl FnOnce(&mut Value),
) -> Result<(), Failure> {
    let mut value = object.value();
    edit(&mut value["metadata"]);
    let written = cluster.transact(ACTOR, |txn| {
        txn.update(resource, place, Part::Whole, value, WriteOptions::default())
    });
    unless_gone(written).map(|_| ())
}
