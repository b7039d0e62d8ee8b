//! Query templates: PromQL text with `{{ variables }}`.

use std::fmt::Write as _;

use super::scan::{After, Piece, Place, scan};

/// Values of the variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vars<'a> {
    /// `{{ deployment.name }}`: the target.
    pub deployment: &'a str,
    /// `{{ canary.name }}`: the canary workload.
    pub canary: &'a str,
    /// `{{ service.name }}`: the production Service.
    pub service: &'a str,
    /// `{{ namespace }}`: the namespace of all of them.
    pub namespace: &'a str,
    /// `{{ kanary.name }}`: the Kanary.
    pub kanary: &'a str,
    /// `{{ traffic.weight }}`: the canary's share of the requests in percent.
    pub weight: &'a str,
    /// `{{ pods }}`: the names of the ready canary pods.
    pub pods: &'a [&'a str],
    /// `{{ canary.pods }}`: the names of all pods of the run.
    pub all_pods: &'a [&'a str],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Var {
    Deployment,
    ParsedKanary,
    Service,
    Namespace,
    Kanary,
    Weight,
    Pods,
    AllPods,
}

const KNOWN: [(&str, Var); 8] = [
    ("deployment.name", Var::Deployment),
    ("canary.name", Var::ParsedKanary),
    ("service.name", Var::Service),
    ("namespace", Var::Namespace),
    ("kanary.name", Var::Kanary),
    ("traffic.weight", Var::Weight),
    ("canary.pods", Var::AllPods),
    ("pods", Var::Pods),
];

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Var(Var, Form),
}

/// How the value of a variable is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Verbatim.
    Plain,
    /// As a regular expression that matches exactly these values, in quotes, with backslashes doubled.
    Regex,
    /// The same in backticks, with single backslashes.
    RawRegex,
}

/// A parsed query. PromQL only uses single braces, so `{{` always starts a variable.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Template(Vec<Part>);

impl Template {
    /// Parses `query`. `field` is its name in messages.
    pub(super) fn parse(field: &str, query: &str) -> Result<Self, String> {
        if query.trim().is_empty() {
            return Err(format!("{field} is empty: write a PromQL query"));
        }
        let pieces = scan(query).map_err(|why| format!("{field} {why}"))?.pieces;
        let parts = pieces.into_iter().map(|piece| match piece {
            Piece::Text(text) => Ok(Part::Text(text.to_owned())),
            Piece::Var(name, place) => {
                let var = known(name).map_err(|why| format!("{field} {why}"))?;
                let form = form(var, place).map_err(|why| format!("{field} {why}"))?;
                Ok(Part::Var(var, form))
            }
        });
        parts.collect::<Result<_, String>>().map(Self)
    }

    pub(super) fn uses_service(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Var(Var::Service, _)))
    }

    /// The query with the values of `vars`.
    pub(super) fn render(&self, vars: &Vars<'_>) -> String {
        self.0.iter().fold(String::new(), |mut query, part| {
            match part {
                Part::Text(text) => query.push_str(text),
                Part::Var(Var::Deployment, form) => push(&mut query, vars.deployment, *form),
                Part::Var(Var::ParsedKanary, form) => push(&mut query, vars.canary, *form),
                Part::Var(Var::Service, form) => push(&mut query, vars.service, *form),
                Part::Var(Var::Namespace, form) => push(&mut query, vars.namespace, *form),
                Part::Var(Var::Kanary, form) => push(&mut query, vars.kanary, *form),
                Part::Var(Var::Weight, form) => push(&mut query, vars.weight, *form),
                Part::Var(Var::Pods, form) => push_group(&mut query, vars.pods, *form),
                Part::Var(Var::AllPods, form) => push_group(&mut query, vars.all_pods, *form),
            }
            query
        })
    }
}

/// How a variable is written in its context. Pod names are alternatives, which require a regular expression.
fn form(var: Var, place: Place) -> Result<Form, String> {
    let pods = match var {
        Var::Pods => Some("{{ pods }}"),
        Var::AllPods => Some("{{ canary.pods }}"),
        _ => None,
    };
    match (place, pods) {
        (
            Place::Text {
                raw,
                after: After::Matches,
            },
            _,
        ) => Ok(if raw { Form::RawRegex } else { Form::Regex }),
        (
            Place::Text {
                after: After::Equals, ..
            },
            Some(pods),
        ) => Err(format!(
            "has {pods} behind `=` or `!=`, which compare with one name: write `=~` or `!~`, as in pod=~\"{pods}\""
        )),
        (Place::Text { .. } | Place::Code, Some(pods)) => Err(format!(
            "has {pods} where no label is matched: write it in quotes behind `=~` or `!~`, as in pod=~\"{pods}\""
        )),
        (Place::Text { .. } | Place::Code | Place::Comment, _) => Ok(Form::Plain),
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
            let mut message = format!("has the unknown variable `{{{{ {shown} }}}}`: use ");
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

/// Writes the names as one group, so that the text before and after it applies to each of them. Without names it writes
/// `-`, which matches no pod: an empty group would match every series without the label.
fn push_group(query: &mut String, names: &[&str], form: Form) {
    if form == Form::Plain {
        query.push_str(&names.join("|"));
        return;
    }
    query.push_str("(?:");
    if names.is_empty() {
        query.push('-');
    }
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            query.push('|');
        }
        push(query, name, form);
    }
    query.push(')');
}

/// Writes a value. As a regular expression it matches exactly that value, and it cannot end the quotes.
fn push(query: &mut String, value: &str, form: Form) {
    let backslash = match form {
        Form::Plain => return query.push_str(value),
        Form::Regex => "\\\\",
        Form::RawRegex => "\\",
    };
    for char in value.chars() {
        match char {
            '"' | '\'' | '`' | '\0'..='\x1f' => {
                let _infallible = write!(query, "{backslash}x{{{:x}}}", u32::from(char));
            }
            '\\' | '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$' => {
                query.push_str(backslash);
                query.push(char);
                if char == '\\' && form == Form::Regex {
                    query.push(char);
                }
            }
            _ => query.push(char),
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
        weight: "25",
        pods: &["myapp-kanary-batman-x2x9z", "my.app-1"],
        all_pods: &["starting", "my.app-1"],
    };

    fn render(query: &str) -> Result<String, String> {
        Template::parse("query", query).map(|template| template.render(&VARS))
    }

    fn with_pods(query: &str, pods: &[&str]) -> String {
        let template = Template::parse("query", query).unwrap();
        template.render(&Vars { pods, ..VARS })
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
            ("x > {{ traffic.weight }} / 100", "x > 25 / 100"),
            ("sum(x{a=\"b\"}) by (le)", "sum(x{a=\"b\"}) by (le)"),
            ("x{a=\"}}\"}", "x{a=\"}}\"}"),
        ] {
            assert_eq!(render(query).as_deref(), Ok(rendered), "{query}");
        }
    }

    #[test]
    fn pods_are_one_group_that_is_right_in_each_kind_of_text() {
        for (query, rendered) in [
            (
                r#"up{pod=~"{{ pods }}"}"#,
                r#"up{pod=~"(?:myapp-kanary-batman-x2x9z|my\\.app-1)"}"#,
            ),
            (
                "up{instance=~'{{ pods }}:8080'}",
                r"up{instance=~'(?:myapp-kanary-batman-x2x9z|my\\.app-1):8080'}",
            ),
            (
                r#"up{pod=~"{{ canary.pods }}"}"#,
                r#"up{pod=~"(?:starting|my\\.app-1)"}"#,
            ),
            (
                "up{pod!~`shop/{{pods}}`}",
                r"up{pod!~`shop/(?:myapp-kanary-batman-x2x9z|my\.app-1)`}",
            ),
        ] {
            assert_eq!(render(query).as_deref(), Ok(rendered), "{query}");
        }
    }

    #[test]
    fn a_name_in_a_regular_expression_matches_itself_only() {
        let vars = Vars {
            canary: "my.app-kanary-batman",
            ..VARS
        };
        let template = Template::parse("query", r#"x{p=~"{{ canary.name }}-.*",q="{{ canary.name }}"}"#).unwrap();
        assert_eq!(
            template.render(&vars),
            r#"x{p=~"my\\.app-kanary-batman-.*",q="my.app-kanary-batman"}"#
        );
    }

    #[test]
    fn pods_are_refused_where_no_alternatives_can_be() {
        for (query, why) in [
            (r#"up{pod="{{ pods }}"}"#, "behind `=` or `!=`"),
            ("up{pod != `a{{ pods }}`}", "behind `=` or `!=`"),
            ("up{pod=~{{ pods }}}", "in quotes behind `=~`"),
            (
                r#"label_replace(up, "p", "{{ pods }}", "q", "r")"#,
                "in quotes behind `=~`",
            ),
        ] {
            let error = render(query).expect_err(query);
            assert!(
                error.starts_with("query has {{ pods }}") && error.contains(why),
                "{error}"
            );
        }
        assert_eq!(with_pods("up # {{ pods }}", &["a", "b"]), "up # a|b");
        let error = render(r#"up{pod="{{ canary.pods }}"}"#).unwrap_err();
        assert!(error.starts_with("query has {{ canary.pods }} behind `=`"), "{error}");
    }

    #[test]
    fn no_pods_render_as_a_regex_that_matches_none() {
        assert_eq!(with_pods(r#"up{pod=~"{{ pods }}"}"#, &[]), r#"up{pod=~"(?:-)"}"#);
    }

    #[test]
    fn whatever_a_name_holds_stays_inside_the_text() {
        let pods = ["a\"b'c`d\\e|f\n"];
        for (query, rendered) in [
            (
                r#"x{p=~"{{ pods }}"}"#,
                r#"x{p=~"(?:a\\x{22}b\\x{27}c\\x{60}d\\\\e\\|f\\x{a})"}"#,
            ),
            ("x{p=~`{{ pods }}`}", r"x{p=~`(?:a\x{22}b\x{27}c\x{60}d\\e\|f\x{a})`}"),
        ] {
            assert_eq!(with_pods(query, &pods), rendered, "{query}");
        }
    }

    #[test]
    fn an_unknown_variable_is_refused_and_the_known_ones_are_listed() {
        for query in ["{{ pod }}", "{{}}", "{{ }}", "x{{a=\"b\"}}", "{{ {{ pods }}"] {
            let error = render(query).expect_err(query);
            for known in ["{{ deployment.name }}", "{{ canary.pods }} or {{ pods }}"] {
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
