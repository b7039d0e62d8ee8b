//! A compiled node of a schema.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use super::format::Format;
use super::rule::Rule;

/// A JSON type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

/// The fields allowed in addition to the declared properties.
#[derive(Debug)]
pub(super) enum Additional {
    Unspecified,
    Any,
    Nothing,
    Each(Box<Node>),
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum ListType {
    #[default]
    Atomic,
    Set,
    /// A map with these key fields.
    Map(Vec<String>),
}

/// Lower and upper bounds of a size.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    pub(super) least: Option<u64>,
    pub(super) most: Option<u64>,
}

/// A bound of a number.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) value: f64,
    pub(super) exclusive: bool,
}

#[derive(Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is an independent keyword of the schema"
)]
pub(super) struct Node {
    /// Whether it is a resource: `apiVersion`, `kind` and `metadata` are implicitly declared.
    pub(super) resource: bool,
    pub(super) kind: Option<Kind>,
    pub(super) int_or_string: bool,
    pub(super) preserve: bool,
    pub(super) embedded: bool,
    pub(super) nullable: bool,
    pub(super) default: Option<Value>,
    pub(super) properties: BTreeMap<String, Node>,
    pub(super) additional: Additional,
    pub(super) items: Option<Box<Node>>,
    pub(super) list_type: ListType,
    pub(super) required: Vec<String>,
    pub(super) format: Option<Format>,
    pub(super) pattern: Option<Regex>,
    pub(super) lengths: Sizes,
    pub(super) items_count: Sizes,
    pub(super) fields_count: Sizes,
    pub(super) unique_items: bool,
    pub(super) minimum: Option<Bound>,
    pub(super) maximum: Option<Bound>,
    pub(super) multiple_of: Option<f64>,
    pub(super) choices: Vec<Value>,
    pub(super) all_of: Vec<Node>,
    pub(super) any_of: Vec<Node>,
    pub(super) one_of: Vec<Node>,
    pub(super) not: Option<Box<Node>>,
    pub(super) rules: Vec<Rule>,
    /// Whether this node or a descendant has embedded objects, sets or map lists.
    pub(super) has_invariants: bool,
    /// Whether this node or a descendant has CEL rules.
    pub(super) has_rules: bool,
    /// Whether this node or a descendant has CEL rules that use `oldSelf`.
    pub(super) has_transitions: bool,
}

impl Node {
    pub(super) fn compile(schema: &Value, at: &str) -> Result<Self, String> {
        let kind = kind(schema, at)?;
        let int_or_string = marked(schema, "x-kubernetes-int-or-string");
        let mut node = Self {
            resource: false,
            kind,
            int_or_string,
            preserve: marked(schema, "x-kubernetes-preserve-unknown-fields"),
            embedded: marked(schema, "x-kubernetes-embedded-resource"),
            nullable: marked(schema, "nullable"),
            default: schema.get("default").filter(|value| !value.is_null()).cloned(),
            properties: properties(schema, at)?,
            additional: additional(schema, at)?,
            items: boxed(schema, "items", at)?,
            list_type: list_type(schema),
            required: strings(schema.get("required")),
            format: Format::of(schema, kind, int_or_string),
            pattern: pattern(schema, at)?,
            lengths: sizes(schema, "Length"),
            items_count: sizes(schema, "Items"),
            fields_count: sizes(schema, "Properties"),
            unique_items: marked(schema, "uniqueItems"),
            minimum: bound(schema, "minimum", "exclusiveMinimum"),
            maximum: bound(schema, "maximum", "exclusiveMaximum"),
            multiple_of: schema.get("multipleOf").and_then(Value::as_f64),
            choices: list(schema, "enum").to_vec(),
            all_of: branches(schema, "allOf", at)?,
            any_of: branches(schema, "anyOf", at)?,
            one_of: branches(schema, "oneOf", at)?,
            not: boxed(schema, "not", at)?,
            rules: Rule::all(list(schema, "x-kubernetes-validations"), at)?,
            has_invariants: false,
            has_rules: false,
            has_transitions: false,
        };
        node.has_invariants =
            node.embedded || node.list_type != ListType::Atomic || node.below().any(|child| child.has_invariants);
        node.has_rules = !node.rules.is_empty() || node.below().any(|child| child.has_rules);
        node.has_transitions =
            node.rules.iter().any(|rule| rule.uses_old) || node.below().any(|child| child.has_transitions);
        Ok(node)
    }

    /// The child schemas whose rules are evaluated along with this one's.
    fn below(&self) -> impl Iterator<Item = &Node> {
        let additional = match &self.additional {
            Additional::Each(node) => Some(&**node),
            _ => None,
        };
        let items = self.items.as_deref();
        self.properties
            .values()
            .chain(additional)
            .chain(items)
            .chain(&self.all_of)
    }

    /// The schema of a key, and whether the key is a declared field.
    pub(super) fn child(&self, key: &str) -> Option<(&Node, bool)> {
        match (self.properties.get(key), &self.additional) {
            (Some(node), _) => Some((node, true)),
            (None, Additional::Each(node)) => Some((node, false)),
            _ => None,
        }
    }

    /// The allowed types of a value.
    pub(super) fn kinds(&self) -> &[Kind] {
        match &self.kind {
            _ if self.int_or_string => &[Kind::Integer, Kind::String],
            Some(kind) => std::slice::from_ref(kind),
            None => &[],
        }
    }

    /// The entry of `old` with the same keys as `item`, in a map list.
    pub(super) fn correlated<'o>(&self, item: &Value, old: Option<&'o Value>) -> Option<&'o Value> {
        let ListType::Map(keys) = &self.list_type else {
            return None;
        };
        let same = |one: &&Value| keys.iter().all(|key| one.get(key) == item.get(key));
        old?.as_array()?.iter().find(same)
    }
}

fn kind(schema: &Value, at: &str) -> Result<Option<Kind>, String> {
    let Some(name) = schema.get("type").and_then(Value::as_str) else {
        return Ok(None);
    };
    Ok(Some(match name {
        "object" => Kind::Object,
        "array" => Kind::Array,
        "string" => Kind::String,
        "integer" => Kind::Integer,
        "number" => Kind::Number,
        "boolean" => Kind::Boolean,
        "" => return Ok(None),
        other => return Err(format!("{at}.type: Unsupported value: {other:?}")),
    }))
}

fn marked(schema: &Value, name: &str) -> bool {
    schema.get(name).and_then(Value::as_bool).unwrap_or(false)
}

fn list<'v>(schema: &'v Value, name: &str) -> &'v [Value] {
    schema.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let values = value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    values.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn properties(schema: &Value, at: &str) -> Result<BTreeMap<String, Node>, String> {
    let Some(Value::Object(properties)) = schema.get("properties") else {
        return Ok(BTreeMap::new());
    };
    let compile = |(name, schema): (&String, &Value)| {
        let node = Node::compile(schema, &format!("{at}.properties[{name}]"))?;
        Ok((name.clone(), node))
    };
    properties.iter().map(compile).collect()
}

fn additional(schema: &Value, at: &str) -> Result<Additional, String> {
    Ok(match schema.get("additionalProperties") {
        None | Some(Value::Null) => Additional::Unspecified,
        Some(Value::Bool(true)) => Additional::Any,
        Some(Value::Bool(false)) => Additional::Nothing,
        Some(each) => Additional::Each(Box::new(Node::compile(each, &format!("{at}.additionalProperties"))?)),
    })
}

fn boxed(schema: &Value, name: &str, at: &str) -> Result<Option<Box<Node>>, String> {
    let Some(inner) = schema.get(name).filter(|value| value.is_object()) else {
        return Ok(None);
    };
    Node::compile(inner, &format!("{at}.{name}")).map(|node| Some(Box::new(node)))
}

fn branches(schema: &Value, name: &str, at: &str) -> Result<Vec<Node>, String> {
    let compile = |(index, branch)| Node::compile(branch, &format!("{at}.{name}[{index}]"));
    list(schema, name).iter().enumerate().map(compile).collect()
}

fn list_type(schema: &Value) -> ListType {
    match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => ListType::Set,
        Some("map") => ListType::Map(strings(schema.get("x-kubernetes-list-map-keys"))),
        _ => ListType::Atomic,
    }
}

fn pattern(schema: &Value, at: &str) -> Result<Option<Regex>, String> {
    let Some(pattern) = schema
        .get("pattern")
        .and_then(Value::as_str)
        .filter(|it| !it.is_empty())
    else {
        return Ok(None);
    };
    let compiled = Regex::new(pattern);
    compiled
        .map(Some)
        .map_err(|error| format!("{at}.pattern: Invalid value: {pattern:?}: {error}"))
}

fn sizes(schema: &Value, what: &str) -> Sizes {
    let read = |name: String| schema.get(name).and_then(Value::as_u64);
    Sizes {
        least: read(format!("min{what}")),
        most: read(format!("max{what}")),
    }
}

fn bound(schema: &Value, name: &str, exclusive: &str) -> Option<Bound> {
    let value = schema.get(name).and_then(Value::as_f64)?;
    Some(Bound {
        value,
        exclusive: marked(schema, exclusive),
    })
}
