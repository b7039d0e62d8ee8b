//! Queries as templates: PromQL text with `{{ variables }}`.

use std::fmt::Write as _;

/// What the variables of a query stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vars<'a> {
    /// `{{ deployment.name }}`: the target.
    pub deployment: &'a str,
    /// `{{ canary.name }}`: the canary workload.
    pub canary: &'a str,
    /// `{{ service.name }}`: the production Service.
    pub service: &'a str,
    /// `{{ namespace }}`: where they all are.
    pub namespace: &'a str,
    /// `{{ kanary.name }}`: the Kanary.
    pub kanary: &'a str,
    /// `{{ pods }}`: the names of the ready canary pods.
    pub pods: &'a [&'a str],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Var {
    Deployment,
    Canary,
    Service,
    Namespace,
    Kanary,
    Pods,
}

const KNOWN: [(&str, Var); 6] = [
    ("deployment.name", Var::Deployment),
    ("canary.name", Var::Canary),
    ("service.name", Var::Service),
    ("namespace", Var::Namespace),
    ("kanary.name", Var::Kanary),
    ("pods", Var::Pods),
];

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Var(Var),
}

/// A parsed query. PromQL's own braces are single, so `{{` always opens a variable.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Template(Vec<Part>);

impl Template {
    /// Reads `query`.
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        if query.trim().is_empty() {
            return Err("query is empty: write a PromQL query".to_owned());
        }
        let mut parts = Vec::new();
        let mut rest = query;
        while let Some((text, opened)) = rest.split_once("{{") {
            let (name, after) = opened
                .split_once("}}")
                .ok_or_else(|| "query has a `{{` that is not closed: add `}}` after the variable".to_owned())?;
            parts.push(Part::Text(text.to_owned()));
            parts.push(Part::Var(known(name)?));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    pub(super) fn uses_pods(&self) -> bool {
        self.0.contains(&Part::Var(Var::Pods))
    }

    pub(super) fn uses_service(&self) -> bool {
        self.0.contains(&Part::Var(Var::Service))
    }

    /// The query with the values of `vars`.
    pub(super) fn render(&self, vars: &Vars<'_>) -> String {
        self.0.iter().fold(String::new(), |mut query, part| {
            match part {
                Part::Text(text) => query.push_str(text),
                Part::Var(Var::Deployment) => query.push_str(vars.deployment),
                Part::Var(Var::Canary) => query.push_str(vars.canary),
                Part::Var(Var::Service) => query.push_str(vars.service),
                Part::Var(Var::Namespace) => query.push_str(vars.namespace),
                Part::Var(Var::Kanary) => query.push_str(vars.kanary),
                Part::Var(Var::Pods) => push_regex(&mut query, vars.pods),
            }
            query
        })
    }
}

fn known(name: &str) -> Result<Var, String> {
    let name = name.trim();
    KNOWN
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, var)| *var)
        .ok_or_else(|| {
            let shown: String = name.chars().take(40).collect();
            let mut message = format!("query has the unknown variable `{{{{ {shown} }}}}`: use ");
            for (index, (known, _)) in KNOWN.iter().enumerate() {
                let separator = match index {
                    0 => "",
                    last if last + 1 == KNOWN.len() => " or ",
                    _ => ", ",
                };
                let _infallible = write!(message, "{separator}{{{{ {known} }}}}");
            }
            message
        })
}

/// A regex that matches exactly `names`, as it is written inside a double-quoted PromQL string: a backslash of the regex
/// is two there. No name gives `-`, which names no pod: an empty regex would match every series without the label.
fn push_regex(query: &mut String, names: &[&str]) {
    if names.is_empty() {
        query.push('-');
    }
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            query.push('|');
        }
        for char in name.chars() {
            match char {
                '"' => query.push_str("\\\""),
                '\\' => query.push_str("\\\\\\\\"),
                '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$' => {
                    query.push_str("\\\\");
                    query.push(char);
                }
                _ => query.push(char),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Template, Vars};

    const VARS: Vars<'static> = Vars {
        deployment: "myapp",
        canary: "myapp-kanary-batman",
        service: "myapp-svc",
        namespace: "shop",
        kanary: "batman",
        pods: &["myapp-kanary-batman-x2x9z", "my.app-1"],
    };

    fn render(query: &str) -> Result<String, String> {
        Template::parse(query).map(|template| template.render(&VARS))
    }

    #[test]
    fn every_variable_is_filled_in_with_or_without_spaces() {
        for (query, rendered) in [
            ("up", "up"),
            ("{{ deployment.name }}", "myapp"),
            ("{{deployment.name}}", "myapp"),
            ("{{  canary.name\t}}", "myapp-kanary-batman"),
            ("{{ service.name }}/{{ namespace }}", "myapp-svc/shop"),
            (r#"up{app="{{ kanary.name }}"}"#, r#"up{app="batman"}"#),
            (
                r#"up{pod=~"{{ pods }}"}"#,
                r#"up{pod=~"myapp-kanary-batman-x2x9z|my\\.app-1"}"#,
            ),
            ("sum(x{a=\"b\"}) by (le)", "sum(x{a=\"b\"}) by (le)"),
            ("x{a=\"}}\"}", "x{a=\"}}\"}"),
        ] {
            assert_eq!(render(query).as_deref(), Ok(rendered), "{query}");
        }
    }

    #[test]
    fn no_pods_render_as_a_regex_that_matches_none() {
        let template = Template::parse("{{ pods }}").unwrap();
        assert_eq!(template.render(&Vars { pods: &[], ..VARS }), "-");
    }

    #[test]
    fn whatever_a_name_holds_stays_inside_the_string() {
        let template = Template::parse("{{ pods }}").unwrap();
        let pods = ["a\"b\\c|d"];
        assert_eq!(template.render(&Vars { pods: &pods, ..VARS }), r#"a\"b\\\\c\\|d"#);
    }

    #[test]
    fn an_unknown_variable_is_refused_and_the_known_ones_are_listed() {
        for query in ["{{ pod }}", "{{}}", "{{ }}", "x{{a=\"b\"}}", "{{ {{ pods }}"] {
            let error = render(query).expect_err(query);
            for known in ["{{ deployment.name }}", "{{ kanary.name }} or {{ pods }}"] {
                assert!(error.contains(known), "{error}");
            }
        }
        assert!(render("{{ pod }}").unwrap_err().contains("`{{ pod }}`"));
    }

    #[test]
    fn a_variable_that_is_not_closed_is_refused() {
        for query in ["{{ pods", "{{ pods }", "up{{"] {
            assert!(render(query).expect_err(query).contains("not closed"), "{query}");
        }
    }

    #[test]
    fn an_empty_query_is_refused() {
        assert!(render(" ").unwrap_err().contains("query is empty"));
    }
}
