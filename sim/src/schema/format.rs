//! Formats of strings and numbers.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::cel_functions::duration_nanoseconds;
use super::node::Kind;

/// A format that the API server validates. It ignores all others.
#[derive(Debug)]
pub(super) struct Format {
    name: String,
    holds: fn(&str) -> bool,
}

impl Format {
    /// The format of a schema.
    pub(super) fn of(schema: &Value, kind: Option<Kind>, int_or_string: bool) -> Option<Self> {
        let name = schema.get("format")?.as_str()?;
        let holds: fn(&str) -> bool = match (kind.filter(|_| !int_or_string), name) {
            (Some(Kind::Integer), "int32" | "int64") | (Some(Kind::Number), "float" | "double") => |_| true,
            (Some(Kind::String) | None, _) => textual(&name.replace('-', ""))?,
            _ => return None,
        };
        Some(Self {
            name: name.to_owned(),
            holds,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn holds(&self, text: &str) -> bool {
        (self.holds)(text)
    }
}

fn textual(name: &str) -> Option<fn(&str) -> bool> {
    Some(match name {
        "bsonobjectid" => |text| matches(&OBJECT_ID, text),
        "uri" => is_uri,
        "email" => is_email,
        "hostname" => |text| text.len() <= 255 && matches(&HOSTNAME, text),
        "ipv4" => |text| text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => |text| text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr,
        "mac" => |text| matches(&MAC, text),
        "uuid" => |text| matches(&UUID, text),
        "uuid3" => |text| is_uuid(text, '3'),
        "uuid4" => |text| is_uuid(text, '4'),
        "uuid5" => |text| is_uuid(text, '5'),
        "hexcolor" => |text| matches(&HEX_COLOR, text),
        "byte" => |text| matches(&BASE64, text),
        "password" => |_| true,
        "date" => |text| text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "duration" => |text| duration_nanoseconds(text).is_some() || matches(&DURATION_IN_WORDS, text),
        "datetime" => |text| matches(&DATE_TIME, text),
        "k8sshortname" => |text| text.len() <= 63 && matches(&SHORT_NAME, text),
        "k8slongname" => |text| text.len() <= 253 && text.split('.').all(|part| matches(&SHORT_NAME, part)),
        _ => return None,
    })
}

type Lazy = LazyLock<Option<Regex>>;

static OBJECT_ID: Lazy = LazyLock::new(|| Regex::new("^[0-9a-fA-F]{24}$").ok());
static HOSTNAME: Lazy = LazyLock::new(|| {
    let label = "[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?";
    Regex::new(&format!(r"^{label}(\.{label})*$")).ok()
});
static MAC: Lazy = LazyLock::new(|| {
    Regex::new("^[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}(([:-][0-9a-fA-F]{2}){2}|([:-][0-9a-fA-F]{2}){14})?$").ok()
});
static UUID: Lazy =
    LazyLock::new(|| Regex::new("^(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$").ok());
static HEX_COLOR: Lazy = LazyLock::new(|| Regex::new("^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$").ok());
static BASE64: Lazy = LazyLock::new(|| {
    Regex::new("^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})$").ok()
});
static DURATION_IN_WORDS: Lazy = LazyLock::new(|| {
    let units = "ns|nano[a-zµ]*|us|µs|micro[a-zµ]*|ms|milli[a-zµ]*|s|sec[a-zµ]*|m|min[a-zµ]*|\
                 h|hr|hour[a-zµ]*|d|day[a-zµ]*|w|wk|week[a-zµ]*";
    Regex::new(&format!(r"(?i)[0-9]+\s*({units})([^a-zµ]|$)")).ok()
});
static DATE_TIME: Lazy = LazyLock::new(|| {
    let date = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])";
    let time = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?";
    Regex::new(&format!("^{date}[Tt]{time}([Zz]|[+-][0-9]{{2}}:[0-9]{{2}})$")).ok()
});
static SHORT_NAME: Lazy = LazyLock::new(|| Regex::new("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$").ok());

fn matches(regex: &Lazy, text: &str) -> bool {
    regex.as_ref().is_some_and(|regex| regex.is_match(text))
}

fn is_uuid(text: &str, version: char) -> bool {
    let digits: Vec<_> = text.chars().filter(|&digit| digit != '-').collect();
    let variant = digits.get(16).is_some_and(|digit| "89abAB".contains(*digit));
    matches(&UUID, text) && digits.get(12) == Some(&version) && (variant || version == '3')
}

/// Whether the text is an absolute URL or an absolute path.
fn is_uri(text: &str) -> bool {
    let printable = !text.is_empty() && !text.chars().any(|letter| letter.is_ascii_control() || letter == ' ');
    let scheme = text.split_once(':').is_some_and(|(scheme, _)| {
        let mut letters = scheme.chars();
        letters.next().is_some_and(|first| first.is_ascii_alphabetic())
            && letters.all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
    });
    printable && (text.starts_with('/') || scheme)
}

/// Whether the text is an address `local@domain`, with an optional display name: `Ann <ann@example.org>`.
fn is_email(text: &str) -> bool {
    let address = text
        .strip_suffix('>')
        .and_then(|it| it.rsplit_once('<'))
        .map_or(text, |(_, address)| address);
    address.rsplit_once('@').is_some_and(|(local, domain)| {
        let plain =
            |part: &str| !part.is_empty() && !part.contains(|it: char| it.is_whitespace() || "<>@,;".contains(it));
        plain(local) && plain(domain) && !local.starts_with('.') && !local.ends_with('.') && !local.contains("..")
    })
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    let Ok(length) = length.parse::<u8>() else { return false };
    (address.parse::<Ipv4Addr>().is_ok() && length <= 32) || (address.parse::<Ipv6Addr>().is_ok() && length <= 128)
}
