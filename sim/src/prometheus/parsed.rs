//! Cache of parsed expressions, and parse errors.

use std::{
    collections::HashMap,
    panic::catch_unwind,
    sync::{Arc, Mutex},
};

use promql_parser::parser::{Expr, parse};

use super::{lock, request::Problem};

/// Size of the cache. There are few distinct queries, but they may contain the pod names of each canary.
const KEPT: usize = 10_000;

/// Parsed expressions by query.
#[derive(Default)]
pub(super) struct Parsed {
    known: Mutex<HashMap<String, Arc<Expr>>>,
}

impl Parsed {
    pub(super) fn get(&self, query: &str) -> Result<Arc<Expr>, Problem> {
        if let Some(expr) = lock(&self.known).get(query) {
            return Ok(expr.clone());
        }
        // The parser panics on durations like 1e300.
        let parsed = catch_unwind(|| parse(query)).unwrap_or_else(|_| Err("duration out of range".to_owned()));
        let expr = Arc::new(parsed.map_err(|error| wrong(query, &error))?);
        let mut known = lock(&self.known);
        if known.len() == KEPT {
            known.clear();
        }
        known.insert(query.to_owned(), expr.clone());
        Ok(expr)
    }
}

/// Adds the position to an error at the end of the query, where the parser omits it.
fn wrong(query: &str, error: &str) -> Problem {
    let at_the_end = error.starts_with("unclosed") || error.contains("end of input");
    let place = if at_the_end {
        let line = query.lines().count().max(1);
        let column = query.lines().last().unwrap_or_default().chars().count() + 1;
        format!("{line}:{column}")
    } else {
        "unknown position".to_owned()
    };
    Problem::parameter("query", &format!("{place}: parse error: {error}"))
}
