//! A CEL rule of `x-kubernetes-validations`.

use std::collections::BTreeMap;

use kube_cel::cel::common::ast::{EntryExpr, Expr, IdedExpr};
use kube_cel::cel::{ExecutionError, Program, Value as CelValue};
use serde_json::Value;

/// The parts of a variable that a rule reads. Only these are converted to CEL.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reads {
    Whole,
    /// Field names as the rule writes them, and whether the rule reads their values or only their presence.
    Fields(BTreeMap<String, bool>),
}

/// A compiled rule.
#[derive(Debug)]
pub(super) struct Rule {
    program: Program,
    text: String,
    message: String,
    message_expression: Option<Program>,
    pub(super) reason: Option<String>,
    pub(super) field_path: Option<String>,
    pub(super) reads: Reads,
    pub(super) reads_old: Reads,
    pub(super) uses_old: bool,
    pub(super) optional_old: bool,
}

impl Rule {
    pub(super) fn all(rules: &[Value], at: &str) -> Result<Vec<Self>, String> {
        let compile = |(index, rule)| Self::compile(rule, &format!("{at}.x-kubernetes-validations[{index}]"));
        rules.iter().enumerate().map(compile).collect()
    }

    fn compile(rule: &Value, at: &str) -> Result<Self, String> {
        let text = |name: &str| {
            rule.get(name)
                .and_then(Value::as_str)
                .map(str::trim)
                .filter(|it| !it.is_empty())
        };
        let program = |name: &str, text: &str| {
            let compiled = Program::compile(text);
            compiled.map_err(|error| format!("{at}.{name}: Invalid value: {text:?}: compilation failed: {error}"))
        };
        let source = text("rule").ok_or_else(|| format!("{at}.rule: Required value"))?;
        let expression = text("messageExpression").map(|text| program("messageExpression", text));
        let mut compiled = Self {
            program: program("rule", source)?,
            text: source.to_owned(),
            message: text("message").unwrap_or_default().to_owned(),
            message_expression: expression.transpose()?,
            reason: text("reason").map(str::to_owned),
            field_path: text("fieldPath").map(|path| path.trim_start_matches('.').to_owned()),
            reads: Reads::default(),
            reads_old: Reads::default(),
            uses_old: false,
            optional_old: rule.get("optionalOldSelf").and_then(Value::as_bool).unwrap_or(false),
        };
        compiled.uses_old = compiled.program.references().has_variable("oldSelf");
        for program in [Some(&compiled.program), compiled.message_expression.as_ref()]
            .into_iter()
            .flatten()
        {
            compiled.reads.note("self", program.expression());
            compiled.reads_old.note("oldSelf", program.expression());
        }
        Ok(compiled)
    }

    /// Evaluates the rule. Returns an error message if it fails or cannot be evaluated.
    pub(super) fn holds(&self, variables: &kube_cel::cel::Context) -> Result<bool, String> {
        match self.program.execute(variables) {
            Ok(CelValue::Bool(holds)) => Ok(holds),
            Ok(_) => Err(format!(
                "cel expression must evaluate to a bool evaluating rule: {}",
                self.name()
            )),
            Err(error) => Err(self.failure(&error)),
        }
    }

    /// The message for an evaluation error.
    pub(super) fn failure_of_value(&self, error: &str) -> String {
        format!("{error} evaluating rule: {}", self.name())
    }

    /// The message for a violated rule.
    pub(super) fn refusal(&self, variables: &kube_cel::cel::Context) -> String {
        let message = self
            .message_expression
            .as_ref()
            .and_then(|program| program.execute(variables).ok());
        match message {
            Some(CelValue::String(message)) if usable(&message) => message.trim().to_owned(),
            _ if self.message.is_empty() => format!("failed rule: {}", self.text),
            _ => self.message.clone(),
        }
    }

    fn name(&self) -> &str {
        if self.message.is_empty() {
            &self.text
        } else {
            &self.message
        }
    }

    fn failure(&self, error: &ExecutionError) -> String {
        let reason = match error {
            ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
            ExecutionError::Overflow(..) => "integer overflow".to_owned(),
            ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
            ExecutionError::RemainderByZero(_) => "modulus by zero".to_owned(),
            ExecutionError::FunctionError { message, .. } => message.clone(),
            ExecutionError::IndexOutOfBounds(CelValue::Int(index)) => format!("index out of bounds: {index}"),
            ExecutionError::NoSuchOverload
            | ExecutionError::UnsupportedBinaryOperator(..)
            | ExecutionError::UnsupportedUnaryOperator(..) => {
                let hint = "call arguments did not match a supported operator, function or macro signature for rule";
                return format!("'no such overload': {hint}: {}", self.name());
            }
            other => other.to_string(),
        };
        self.failure_of_value(&reason)
    }
}

/// Whether the result of a `messageExpression` is usable: it must be a single line and not blank.
fn usable(message: &str) -> bool {
    let message = message.trim();
    !message.is_empty() && !message.contains('\n') && message.len() <= 5 * 1024
}

impl Default for Reads {
    fn default() -> Self {
        Self::Fields(BTreeMap::new())
    }
}

impl Reads {
    /// Records which parts of `variable` the expression reads.
    fn note(&mut self, variable: &str, expression: &IdedExpr) {
        match &expression.expr {
            Expr::Ident(name) if name == variable => *self = Self::Whole,
            Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
            Expr::Select(select) => match &select.operand.expr {
                Expr::Ident(name) if name == variable => self.note_field(&select.field, !select.test),
                _ => self.note(variable, &select.operand),
            },
            Expr::Call(call) => call
                .target
                .as_deref()
                .into_iter()
                .chain(&call.args)
                .for_each(|it| self.note(variable, it)),
            Expr::List(list) => list.elements.iter().for_each(|it| self.note(variable, it)),
            Expr::Map(map) => map
                .entries
                .iter()
                .for_each(|entry| self.note_entry(variable, &entry.expr)),
            Expr::Struct(it) => it
                .entries
                .iter()
                .for_each(|entry| self.note_entry(variable, &entry.expr)),
            Expr::Comprehension(it) => {
                let parts = [&it.iter_range, &it.accu_init, &it.loop_cond, &it.loop_step, &it.result];
                for part in parts {
                    self.note(variable, part);
                }
            }
        }
    }

    fn note_entry(&mut self, variable: &str, entry: &EntryExpr) {
        match entry {
            EntryExpr::StructField(field) => self.note(variable, &field.value),
            EntryExpr::MapEntry(entry) => {
                self.note(variable, &entry.key);
                self.note(variable, &entry.value);
            }
        }
    }

    fn note_field(&mut self, field: &str, value: bool) {
        if let Self::Fields(fields) = self {
            *fields.entry(field.to_owned()).or_default() |= value;
        }
    }
}
