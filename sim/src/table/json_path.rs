//! The simple JSON paths of printer columns: `.a.b[0].c`, `.a['x']`, `.list[?(@.type=="Ready")].status`.

use serde_json::Value;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    /// Negative values count from the end.
    Index(i64),
    All,
    /// Items whose field at this path has this value.
    Where(JsonPath, Value),
}

impl JsonPath {
    /// Returns `None` if the text is not a path of this form.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('[') {
                let end = closing(after)?;
                steps.push(bracket(after.get(..end)?)?);
                rest = after.get(end + 1..)?;
            } else {
                let (name, after) = field(rest.strip_prefix('.')?);
                match name.as_str() {
                    "" if after.starts_with('[') => {}
                    "" => return None,
                    "*" => steps.push(Step::All),
                    _ => steps.push(Step::Field(name)),
                }
                rest = after;
            }
        }
        Some(Self(steps))
    }

    /// The first value that the path matches.
    pub(super) fn find<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        follow(&self.0, value)
    }
}

fn follow<'v>(steps: &[Step], value: &'v Value) -> Option<&'v Value> {
    let Some((step, rest)) = steps.split_first() else {
        return Some(value);
    };
    match step {
        Step::Field(name) => follow(rest, value.get(name)?),
        Step::Index(index) => {
            let items = value.as_array()?;
            let index = if *index < 0 {
                i64::try_from(items.len()).ok()? + index
            } else {
                *index
            };
            follow(rest, items.get(usize::try_from(index).ok()?)?)
        }
        Step::All => match value {
            Value::Array(items) => items.iter().find_map(|item| follow(rest, item)),
            Value::Object(fields) => fields.values().find_map(|value| follow(rest, value)),
            _ => None,
        },
        Step::Where(path, wanted) => {
            let chosen = |item: &&Value| path.find(item) == Some(wanted);
            value
                .as_array()?
                .iter()
                .filter(chosen)
                .find_map(|item| follow(rest, item))
        }
    }
}

/// A name, in which `\.` is an escaped dot, and the rest of the text.
fn field(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '.' | '[' => return (name, text.get(at..).unwrap_or_default()),
            '\\' => name.extend(letters.next().map(|(_, letter)| letter)),
            _ => name.push(letter),
        }
    }
    (name, "")
}

/// Position of the closing bracket. Brackets in quotes are skipped.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, letter) in text.char_indices() {
        match (quote, letter) {
            (None, ']') => return Some(at),
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), letter) if open == letter => quote = None,
            _ => {}
        }
    }
    None
}

fn bracket(text: &str) -> Option<Step> {
    let text = text.trim();
    if text == "*" {
        return Some(Step::All);
    }
    if let Some(name) = unquoted(text) {
        return Some(Step::Field(name));
    }
    if let Some(filter) = text.strip_prefix("?(").and_then(|it| it.strip_suffix(')')) {
        let (path, wanted) = filter.split_once("==")?;
        let path = JsonPath::parse(path.trim().strip_prefix('@')?)?;
        let wanted = wanted.trim();
        let wanted = unquoted(wanted)
            .map(Value::String)
            .or_else(|| serde_json::from_str(wanted).ok())?;
        return Some(Step::Where(path, wanted));
    }
    text.parse().ok().map(Step::Index)
}

fn unquoted(text: &str) -> Option<String> {
    let inner = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('\'').or_else(|| inner('"')).map(|name| name.replace("\\.", "."))
}
