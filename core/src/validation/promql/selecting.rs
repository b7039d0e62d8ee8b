//! Whether a query selects series of the canary by a label: a name in a comment, a function or a metric selects nothing.

use regex::bytes::RegexBuilder;

use super::{
    scan::{Token, scan},
    template::{Template, Vars},
};

/// Maximum size of a compiled regular expression, in bytes.
const LARGEST_REGEX: usize = 1 << 20;

/// Whether some selector of `query` has a matcher that selects the canary: one that compares with `role`, the canary's value of a
/// label that tells it from production, or with its name, or a regular expression for one of these. `vars` has the names, among
/// them a pod as the canary would have. A query that cannot be rendered has another problem, and counts as one that does.
#[must_use]
pub(crate) fn selects_canary(query: &str, vars: &Vars<'_>, role: &str) -> bool {
    let Ok(template) = Template::parse("query", query) else {
        return true;
    };
    let rendered = template.render(vars);
    scan(&rendered).map_or(true, |scan| {
        scan.tokens
            .windows(3)
            .any(|three| matches!(three, [label, op, value] if selects(vars, role, (label, op, value))))
    })
}

/// Single `=` and `=~` occur in matchers alone.
fn selects(vars: &Vars<'_>, role: &str, (label, op, value): (&Token<'_>, &Token<'_>, &Token<'_>)) -> bool {
    let Some(value) = unquoted(value.text) else {
        return false;
    };
    let workload = vars.canary;
    let Some(pod) = vars.pods.first().copied() else {
        return false;
    };
    let of_pods = names_pods(label.text);
    let is_named = has_name(&value, pod, vars.namespace) || !of_pods && has_name(&value, workload, vars.namespace);
    match op.text {
        "=" => is_named || !of_pods && value == role,
        "=~" => {
            let names = if of_pods { &[pod][..] } else { &[role, workload, pod] };
            is_named || tells_apart(&value, names)
        }
        _ => false,
    }
}

/// Whether the values of a label are names of pods, as far as its name says.
fn names_pods(label: &str) -> bool {
    let label = label.trim_matches(['"', '\'', '`']);
    let last = label.rsplit(['_', '.']).next();
    last == Some("pod") || label.ends_with("pod_name") || label.ends_with("pod.name")
}

/// Whether a text has a whole name: proxies put the namespace before it and the port behind it, in several ways.
fn has_name(text: &str, name: &str, namespace: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let before = text.get(..at).unwrap_or_default();
        let after = text.get(at + name.len()..).unwrap_or_default();
        let is_start = !before.ends_with(|char: char| char.is_ascii_alphanumeric() || char == '-');
        let is_in_namespace = before
            .strip_suffix('-')
            .is_some_and(|before| before.ends_with(namespace));
        (is_start || is_in_namespace) && !after.starts_with(|char: char| char.is_ascii_alphanumeric())
    })
}

/// Whether a regular expression matches one of `names`, and not whatever has that form, as `.+` does. Prometheus anchors it.
fn tells_apart(regex: &str, names: &[&str]) -> bool {
    let regex = RegexBuilder::new(&format!("^(?:{regex})$"))
        .unicode(false)
        .size_limit(LARGEST_REGEX)
        .build();
    let is_letter = |char: char| char.is_ascii_alphabetic();
    regex.is_ok_and(|regex| {
        names.iter().any(|name| {
            let other = name.replace(is_letter, "z");
            regex.is_match(name.as_bytes()) && !regex.is_match(other.as_bytes())
        })
    })
}

/// The content of a string, if a token is one. Escapes other than of quotes and backslashes stay.
fn unquoted(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|char| ['"', '\'', '`'].contains(char))?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    if quote == '`' {
        return Some(inner.to_owned());
    }
    let mut content = String::new();
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        let escaped = (char == '\\').then(|| chars.next()).flatten();
        match escaped {
            Some(escaped @ ('\\' | '"' | '\'')) => content.push(escaped),
            Some(other) => content.extend([char, other]),
            None => content.push(char),
        }
    }
    Some(content)
}

#[cfg(test)]
mod tests {
    use super::{Vars, selects_canary};

    fn selects(query: &str) -> bool {
        let pods = &["hello-secondary-5d9c8b7f6-abcde"];
        let vars = Vars {
            deployment: "hello-primary",
            canary: "hello-secondary",
            service: "hello",
            namespace: "shop",
            kanary: "hello",
            weight: "10",
            pods,
            all_pods: pods,
        };
        selects_canary(query, &vars, "secondary")
    }

    #[test]
    fn a_matcher_for_the_role_the_name_or_the_pods_selects_the_canary() {
        for query in [
            "x{service=\"secondary\"} > 2",
            "x{service = 'secondary', code=~\"5.*\"}",
            "x{workload=\"{{canary.name}}\"}",
            "x{workload=\"hello-secondary\"}",
            "x{\"k8s.workload\"=`hello-secondary`}",
            "x{destination=\"outbound|80||hello-secondary.shop.svc.cluster.local\"}",
            "x{exported_service=\"shop-hello-secondary-8088@kubernetes\"}",
            "x{service=~\"shop-hello-secondary-.*\"}",
            "x{service=~\"primary|secondary\"}",
            "x{pod=~\"{{ canary.pods }}\"}",
            "x{pod=~`{{ pods }}`}",
            "x{instance=~\"{{ pods }}:8080\"}",
            "x{exported_pod=~\"shop/{{ pods }}\"}",
            "x{pod=~\"{{ canary.name }}-.*\"}",
            "x{pod=~\"{{ kanary.name }}-secondary-[0-9a-f]+-\\\\w+\"}",
            "x{pod=~\"hello-.*\"}",
            "{__name__=\"x\",pod=~\".*-secondary-.*\"}",
            "sum(rate(a{app=\"hello\"}[1m])) / on () sum(rate(b{pod=~\"{{ pods }}\"}[1m]))",
        ] {
            assert!(selects(query), "{query}");
        }
    }

    #[test]
    fn nothing_else_does() {
        for query in [
            "secondary",
            "secondary > 2",
            "x{secondary=\"1\"}",
            "x{workload=\"hello\"} # secondary {{ canary.name }} {{ pods }} a=\"secondary\"",
            "label_replace(x{app=\"hello\"}, \"a\", \"secondary\", \"\", \"\")",
            "x{service!=\"secondary\"}",
            "x{pod!~\"{{ pods }}\"}",
            "x{workload=\"{{ deployment.name }}\"}",
            "x{service=\"{{ service.name }}\"}",
            "x{workload=\"othello-secondary\"}",
            "x{workload=\"my-hello-secondary\"}",
            "x{workload=\"hello-secondary2\"}",
            "x{pod=~\"hellox-secondary.*\"}",
            "x{pod=~\"secondary\"}",
            "x{pod=~\"{{ canary.name }}\"}",
            "x{pod=\"{{ canary.name }}\"}",
            "x{kubernetes_pod_name=\"secondary\"}",
            "x{service=\"hello\",code=~\".+\"}",
            "x{service=\"hello\",method=~\"[a-z]+\"}",
            "x{service=\"hello\",pod=~\".*\"}",
        ] {
            assert!(!selects(query), "{query}");
        }
    }

    #[test]
    fn a_query_with_another_problem_is_left_to_others() {
        assert!(selects("x{pod=~\"{{ pod }}\"}"));
        assert!(selects(""));
    }
}
