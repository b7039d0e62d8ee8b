//! Syntax of names, label keys and label values.

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
     and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
     and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
     must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
     validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const KEY: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
     alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
     '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

fn is_dns_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = |byte: Option<u8>| byte.is_some_and(inner);
    text.bytes().all(|byte| inner(byte) || byte == b'-') && ends(text.bytes().next()) && ends(text.bytes().last())
}

fn is_qualified(text: &str) -> bool {
    let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && ends(text.bytes().next())
        && ends(text.bytes().last())
}

/// The problem with an object's name. `label` forbids dots.
#[must_use]
pub fn name_problem(name: &str, label: bool) -> Option<String> {
    let longest = if label { 63 } else { 253 };
    if name.len() > longest {
        return Some(format!("must be no more than {longest} bytes"));
    }
    if label {
        return (!is_dns_label(name)).then(|| LABEL.to_owned());
    }
    (!name.split('.').all(is_dns_label)).then(|| SUBDOMAIN.to_owned())
}

/// The problem with a label's value.
#[must_use]
pub fn label_value_problem(value: &str) -> Option<String> {
    if value.len() > 63 {
        return Some("must be no more than 63 bytes".to_owned());
    }
    (!value.is_empty() && !is_qualified(value)).then(|| VALUE.to_owned())
}

/// The problem with a label's key.
#[must_use]
pub fn label_key_problem(key: &str) -> Option<String> {
    let (prefix, name) = key
        .split_once('/')
        .map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if let Some(why) = prefix.and_then(|prefix| name_problem(prefix, false)) {
        return Some(format!("prefix part {why}"));
    }
    if name.is_empty() {
        return Some("name part must be non-empty".to_owned());
    }
    if name.len() > 63 {
        return Some("name part must be no more than 63 bytes".to_owned());
    }
    (!is_qualified(name)).then(|| KEY.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_names() {
        for good in ["a", "a-b", "a.b", "1"] {
            assert_eq!(name_problem(good, false), None, "{good}");
        }
        for bad in ["", "A", "a_b", "-a", "a-", "a..b"] {
            assert!(name_problem(bad, false).is_some(), "{bad}");
        }
        assert!(name_problem("a.b", true).is_some());
        assert!(name_problem(&"a".repeat(64), true).is_some());
    }

    #[test]
    fn labels_have_their_own_rules() {
        for good in ["", "A", "a_b.c-d"] {
            assert_eq!(label_value_problem(good), None, "{good}");
        }
        for bad in ["-", "a b", "a/b"] {
            assert!(label_value_problem(bad).is_some(), "{bad}");
        }
        assert_eq!(label_key_problem("example.com/a_B"), None);
        for bad in ["", "/a", "a/", "a/b/c", "A!/b"] {
            assert!(label_key_problem(bad).is_some(), "{bad}");
        }
    }
}
