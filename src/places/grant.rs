//! Who gets a place. Pure: the next content of the `ConfigMap` from the current one and what the leader sees.

use std::collections::HashMap;

use super::{
    book::{self, Book, Grant, LISTED, LineEntry},
    view::View,
};

/// Maximum number of places.
pub const MAX: u32 = 10_000;

/// Limits on canaries that run at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CanaryLimits {
    /// For all namespaces together.
    pub total: Option<u32>,
    /// For each namespace.
    pub per_namespace: Option<u32>,
}

impl CanaryLimits {
    /// Whether there is a limit.
    #[must_use]
    pub fn any(self) -> bool {
        self.total.is_some() || self.per_namespace.is_some()
    }
}

/// Places in use.
struct Used<'a> {
    limits: CanaryLimits,
    total: u32,
    namespaces: HashMap<&'a str, u32>,
}

impl<'a> Used<'a> {
    fn take(&mut self, namespace: &'a str) {
        self.total += 1;
        *self.namespaces.entry(namespace).or_default() += 1;
    }

    fn is_full(&self) -> bool {
        self.total >= self.limits.total.unwrap_or(MAX).min(MAX)
    }

    fn has_place(&self, namespace: &str) -> bool {
        let used = self.namespaces.get(namespace).copied().unwrap_or_default();
        !self.is_full() && self.limits.per_namespace.is_none_or(|limit| used < limit)
    }
}

/// The next content of the `ConfigMap`: places that are proved to be free are removed, and free places go to those who
/// wait, in order, if `grants`. A Kanary whose namespace is full does not keep others waiting.
///
/// `is_gone` proves that the Kanary of a granted place does not exist any more. A view that is out of date releases
/// nothing that is in use, because what releases a place stays true. It may count places that are free. So the limits hold
/// if the content is written only over the one that it was computed from.
#[must_use]
pub fn next(
    book: &Book,
    view: &View,
    is_gone: impl Fn(&str, &Grant) -> bool,
    limits: CanaryLimits,
    grants: bool,
) -> Book {
    let is_kept = |uid: &str, grant: &Grant| match view.get(uid) {
        Some(applicant) => !applicant.releases(grant),
        None => !is_gone(uid, grant),
    };
    let kept = book.granted.iter().filter(|(uid, grant)| is_kept(uid, grant));
    let mut next = Book {
        granted: kept.map(|(uid, grant)| (uid.clone(), grant.clone())).collect(),
        ..Book::default()
    };
    let mut used = Used {
        limits,
        total: 0,
        namespaces: HashMap::new(),
    };
    for (_, grant) in book.granted.iter().filter(|(uid, _)| next.granted.contains_key(*uid)) {
        used.take(&grant.namespace);
    }
    // Runs that started without a place count, and nothing stops them.
    for (key, uid) in view.active() {
        if !next.granted.contains_key(uid) {
            used.take(&key.namespace);
        }
    }
    let mut bytes = next.bytes();
    for (key, applicant) in view.line() {
        let uid = &applicant.uid;
        let Some((requested, _)) = applicant.request.filter(|_| !next.granted.contains_key(uid)) else {
            continue;
        };
        let namespace = &key.namespace;
        let size = book::size(uid, namespace);
        if grants && used.has_place(namespace) && bytes + size <= book::BYTES {
            used.take(namespace);
            bytes += size;
            let grant = Grant {
                namespace: namespace.clone(),
                requested,
            };
            next.granted.insert(uid.clone(), grant);
            continue;
        }
        next.waiting += 1;
        next.newest = next.newest.max(requested);
        if next.line.len() < LISTED {
            next.line.push(LineEntry {
                uid: uid.clone(),
                name: format!("{namespace}/{}", key.name),
            });
        }
    }
    next
}

#[cfg(test)]
mod tests;
