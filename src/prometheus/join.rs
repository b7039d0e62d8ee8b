//! Joins queries into one, and takes the answer apart.
//!
//! Each query becomes an operand of `or`, marked with a label that no other operand has, so `or` drops nothing: it leaves out
//! only series of its right side whose labels its left side has, too. `label_replace` changes nothing but that label; it keeps
//! the name of the metric.

use std::fmt::Write as _;

use kanary_core::validation::{
    Answer, Series,
    promql::{JOINED, Shape},
};

use super::pool::Operand;

/// The mark of an operand that is added to each joined query. If it does not come back as it should, the server does not
/// evaluate joined queries as Prometheus does.
const WITNESS: &str = "witness";

/// The value of that operand.
const VALUE: f64 = 42.0;

/// The query that asks all of `operands` at once. Each must have a shape.
pub(super) fn join(operands: &[Operand]) -> String {
    let mut query = String::new();
    for (index, operand) in operands.iter().enumerate() {
        let function = match operand.shape {
            Some(Shape::Scalar) => "vector",
            _ => "",
        };
        // On lines of its own, because it may end with a comment.
        let text = &operand.text;
        let _infallible = write!(
            query,
            "label_replace({function}(\n{text}\n), \"{JOINED}\", \"{index}\", \"\", \"\") or "
        );
    }
    let _infallible = write!(
        query,
        "label_replace(vector({VALUE}), \"{JOINED}\", \"{WITNESS}\", \"\", \"\")"
    );
    query
}

/// The answers to `operands` from the answer to the query that joins them. `None` if it is not one.
pub(super) fn split(answer: Answer, operands: &[Operand]) -> Option<Vec<Answer>> {
    let Answer::Vector(all) = answer else { return None };
    let mut parts = vec![Vec::new(); operands.len()];
    let mut witnesses = 0;
    for mut series in all {
        let mark = series.labels.remove(JOINED)?;
        if mark == WITNESS {
            let is_sound = series.labels.is_empty() && (series.value - VALUE).abs() < f64::EPSILON;
            witnesses += if is_sound { 1 } else { return None };
            continue;
        }
        parts.get_mut(mark.parse::<usize>().ok()?)?.push(series);
    }
    let answers = parts
        .into_iter()
        .zip(operands)
        .map(|(part, operand)| match operand.shape {
            Some(Shape::Scalar) => scalar(&part),
            _ => Some(Answer::Vector(part)),
        });
    let answers: Option<Vec<_>> = answers.collect();
    answers.filter(|_| witnesses == 1)
}

/// A scalar that was turned into a vector.
fn scalar(part: &[Series]) -> Option<Answer> {
    match part {
        [series] if series.labels.is_empty() => Some(Answer::Scalar(series.value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn operands(shapes: &[Shape]) -> Vec<Operand> {
        let operand = |shape: &Shape| Operand {
            text: Arc::from("q # ()"),
            shape: Some(*shape),
        };
        shapes.iter().map(operand).collect()
    }

    fn series(labels: &[(&str, &str)], value: f64) -> Series {
        Series {
            labels: labels
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            value,
        }
    }

    fn witness() -> Series {
        series(&[(JOINED, WITNESS)], VALUE)
    }

    #[test]
    fn each_query_is_marked_on_lines_of_its_own() {
        assert_eq!(
            join(&operands(&[Shape::Vector, Shape::Scalar])),
            "label_replace((\nq # ()\n), \"__kanary_query__\", \"0\", \"\", \"\") or \
             label_replace(vector(\nq # ()\n), \"__kanary_query__\", \"1\", \"\", \"\") or \
             label_replace(vector(42), \"__kanary_query__\", \"witness\", \"\", \"\")"
        );
    }

    #[test]
    fn an_answer_is_taken_apart_without_the_marks() {
        let operands = operands(&[Shape::Vector, Shape::Scalar, Shape::Vector]);
        let answer = Answer::Vector(vec![
            series(&[(JOINED, "0"), ("__name__", "a"), ("pod", "x")], 1.0),
            series(&[(JOINED, "1")], 2.0),
            series(&[(JOINED, "0"), ("__name__", "b"), ("pod", "x")], 3.0),
            witness(),
        ]);
        let first = vec![
            series(&[("__name__", "a"), ("pod", "x")], 1.0),
            series(&[("__name__", "b"), ("pod", "x")], 3.0),
        ];
        let expected = vec![Answer::Vector(first), Answer::Scalar(2.0), Answer::Vector(vec![])];
        assert_eq!(split(answer, &operands), Some(expected));
    }

    #[test]
    fn what_does_not_answer_a_joined_query_is_no_answer() {
        let two = operands(&[Shape::Vector, Shape::Scalar]);
        let scalar = || series(&[(JOINED, "1")], 1.0);
        for answer in [
            Answer::Scalar(1.0),
            Answer::Vector(vec![]),
            Answer::Vector(vec![scalar()]),
            Answer::Vector(vec![witness()]),
            Answer::Vector(vec![scalar(), witness(), witness()]),
            Answer::Vector(vec![scalar(), scalar(), witness()]),
            Answer::Vector(vec![series(&[(JOINED, "1"), ("pod", "a")], 1.0), witness()]),
            Answer::Vector(vec![scalar(), witness(), series(&[("pod", "a")], 1.0)]),
            Answer::Vector(vec![scalar(), witness(), series(&[(JOINED, "2")], 1.0)]),
            Answer::Vector(vec![scalar(), series(&[(JOINED, WITNESS)], 41.0)]),
            Answer::Vector(vec![scalar(), series(&[(JOINED, WITNESS), ("replica", "a")], VALUE)]),
        ] {
            assert_eq!(split(answer.clone(), &two), None, "{answer:?}");
        }
    }
}
