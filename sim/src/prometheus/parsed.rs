//! Parsed expressions, and what is wrong with those that are none.

use std::{
    collections::HashMap,
    panic::catch_unwind,
    sync::{Arc, Mutex},
};

use promql_parser::parser::{Expr, parse};

use super::{lock, request::Problem};

/// Expressions that are kept. Queries are few, but may name the pods of each canary.
const KEPT: usize = 10_000;

/// Expressions that were asked for before.
#[derive(Default)]
pub(super) struct Parsed {
    known: Mutex<HashMap<String, Arc<Expr>>>,
}

impl Parsed {
    pub(super) fn get(&self, query: &str) -> Result<Arc<Expr>, Problem> {
        if let Some(expr) = lock(&self.known).get(query) {
            return Ok(expr.clone());
        }
        // The parser panics over durations like 1e300.
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

/// Says where the query is wrong, if it is at its end: the parser does not tell.
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
