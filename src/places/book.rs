//! The `ConfigMap` with the places that were granted and the line.

use std::{collections::BTreeMap, fmt::Write};

/// Name of the `ConfigMap`.
pub const NAME: &str = "kanary-places";

/// Number of waiting Kanaries that are listed in order.
pub const LISTED: usize = 100;

/// Maximum size of the granted places. A `ConfigMap` has at most 1 MiB.
pub(super) const BYTES: usize = 900_000;

const GRANTED: &str = "granted";
const WAITING: &str = "waiting";
const NEWEST: &str = "newestRequest";
const LINE: &str = "line";

/// The places that were granted, and the line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book {
    /// Granted requests, by the uid of the Kanary.
    pub granted: BTreeMap<String, Grant>,
    /// Number of Kanaries that wait.
    pub waiting: u32,
    /// The newest request among those that wait, in milliseconds since 1970.
    pub newest: i64,
    /// The first [`LISTED`] Kanaries that wait, in order.
    pub line: Vec<LineEntry>,
}

/// A granted request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Namespace of the Kanary.
    pub namespace: String,
    /// The request: `status.place.requestedAt`, in milliseconds since 1970.
    pub requested: i64,
}

/// A Kanary in the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineEntry {
    /// Its uid.
    pub uid: String,
    /// Namespace and name, for people who read the `ConfigMap`.
    pub name: String,
}

impl Book {
    /// Size of the granted places in the `ConfigMap`, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.granted
            .iter()
            .map(|(uid, grant)| size(uid, &grant.namespace))
            .sum()
    }

    /// The data of the `ConfigMap`.
    #[must_use]
    pub fn encode(&self) -> BTreeMap<String, String> {
        let mut granted = String::new();
        for (uid, grant) in &self.granted {
            let _infallible = writeln!(granted, "{uid} {} {}", grant.requested, grant.namespace);
        }
        let mut line = String::new();
        for next in &self.line {
            let _infallible = writeln!(line, "{} {}", next.uid, next.name);
        }
        BTreeMap::from([
            (GRANTED.to_owned(), granted),
            (WAITING.to_owned(), self.waiting.to_string()),
            (NEWEST.to_owned(), self.newest.to_string()),
            (LINE.to_owned(), line),
        ])
    }

    /// Parses the data of the `ConfigMap`.
    ///
    /// # Errors
    ///
    /// Somebody changed it: the text names the entry.
    pub fn decode(data: &BTreeMap<String, String>) -> Result<Self, String> {
        let text = |name: &str| data.get(name).map(String::as_str).unwrap_or_default();
        let mut book = Self {
            waiting: text(WAITING).parse().map_err(|_| unreadable(WAITING, text(WAITING)))?,
            newest: text(NEWEST).parse().map_err(|_| unreadable(NEWEST, text(NEWEST)))?,
            ..Self::default()
        };
        for entry in text(GRANTED).lines() {
            let mut words = entry.split(' ');
            let (Some(uid), Some(Ok(requested)), Some(namespace)) =
                (words.next(), words.next().map(str::parse), words.next())
            else {
                return Err(unreadable(GRANTED, entry));
            };
            let namespace = namespace.to_owned();
            book.granted.insert(uid.to_owned(), Grant { namespace, requested });
        }
        for entry in text(LINE).lines() {
            let (uid, name) = entry.split_once(' ').ok_or_else(|| unreadable(LINE, entry))?;
            book.line.push(LineEntry {
                uid: uid.to_owned(),
                name: name.to_owned(),
            });
        }
        Ok(book)
    }
}

/// Size of a granted place in the `ConfigMap`, in bytes.
pub(super) fn size(uid: &str, namespace: &str) -> usize {
    // Two spaces, a line break, and the time.
    uid.len() + namespace.len() + 3 + 20
}

fn unreadable(name: &str, entry: &str) -> String {
    format!("`{name}` has the entry {entry:?}: delete the ConfigMap, and the leader creates it again")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book() -> Book {
        let grant = |namespace: &str, requested| Grant {
            namespace: namespace.to_owned(),
            requested,
        };
        Book {
            granted: BTreeMap::from([("u1".to_owned(), grant("shop", 7)), ("u2".to_owned(), grant("a", -1))]),
            waiting: 340,
            newest: 1_795_348_803_123,
            line: vec![LineEntry {
                uid: "u3".to_owned(),
                name: "shop/batman".to_owned(),
            }],
        }
    }

    #[test]
    fn a_book_is_read_as_it_was_written() {
        for book in [book(), Book::default()] {
            assert_eq!(Book::decode(&book.encode()), Ok(book));
        }
    }

    #[test]
    fn an_entry_that_somebody_broke_is_named() {
        for (name, entry) in [
            ("granted", "u1 soon shop"),
            ("waiting", "many"),
            ("line", "u3"),
            ("newestRequest", ""),
        ] {
            let mut data = book().encode();
            data.insert(name.to_owned(), entry.to_owned());
            let error = Book::decode(&data).unwrap_err();
            assert!(
                error.contains(name) && error.contains("delete the ConfigMap"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_largest_book_fits_into_a_config_map() {
        let mut book = Book::default();
        let namespace = "n".repeat(63);
        let mut bytes = 0;
        for number in 0.. {
            let uid = format!("{number:036}");
            bytes += size(&uid, &namespace);
            if bytes > BYTES {
                break;
            }
            let grant = Grant {
                namespace: namespace.clone(),
                requested: i64::MIN,
            };
            book.granted.insert(uid, grant);
        }
        book.line = (0..LISTED)
            .map(|number| LineEntry {
                uid: format!("{number:036}"),
                name: format!("{namespace}/{}", "k".repeat(253)),
            })
            .collect();
        let bytes: usize = book.encode().iter().map(|(name, text)| name.len() + text.len()).sum();
        assert!(
            book.granted.len() > 7000 && bytes < 1_048_576,
            "{} {bytes}",
            book.granted.len()
        );
    }
}
