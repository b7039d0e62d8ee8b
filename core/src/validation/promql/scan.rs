//! Tokenizer for queries, which determines the context of each variable: the kind of string, and the operator before it.

/// A variable, or the text between two variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Literal text.
    Text(&'a str),
    /// The text between `{{` and `}}`.
    Var(&'a str, Place),
}

/// The context of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Outside strings and comments.
    Code,
    /// In a comment.
    Comment,
    /// In a string.
    Text {
        /// Whether the string is in backticks, without escape sequences.
        raw: bool,
        /// The operator before it.
        after: After,
    },
}

/// The operator before a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// `=` or `!=`.
    Equals,
    /// `=~` or `!~`.
    Matches,
    /// Anything else.
    Other,
}

/// A name, number, operator, bracket, string or variable. Comments are skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    /// The text in the query.
    pub(super) text: &'a str,
    /// Its offset in bytes.
    pub(super) at: usize,
    /// Its bracket depth. A bracket itself counts as outside.
    pub(super) depth: usize,
}

impl Token<'_> {
    /// Compares with a keyword, ignoring case.
    pub(super) fn is(&self, keyword: &str) -> bool {
        self.text.eq_ignore_ascii_case(keyword)
    }

    /// Whether it is a comparison operator.
    pub(super) fn compares(&self) -> bool {
        matches!(self.text, "==" | "!=" | ">" | "<" | ">=" | "<=")
    }

    /// Whether it is an arithmetic operator.
    pub(super) fn calculates(&self) -> bool {
        let set = ["and", "or", "unless", "atan2"].iter().any(|keyword| self.is(keyword));
        set || matches!(self.text, "+" | "-" | "*" | "/" | "%" | "^")
    }
}

/// The tokens of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scan<'a> {
    pub(super) pieces: Vec<Piece<'a>>,
    pub(super) tokens: Vec<Token<'a>>,
}

/// Longest first, so that prefixes match last.
const OPERATORS: [&str; 18] = [
    "=~", "!~", "!=", "==", ">=", "<=", "=", ">", "<", "+", "-", "*", "/", "%", "^", "@", ",", ":",
];

/// Tokenizes `query`. Prometheus reports syntax errors itself.
///
/// # Errors
///
/// Fails if a variable is not closed.
pub(super) fn scan(query: &str) -> Result<Scan<'_>, String> {
    let mut reader = Reader {
        query,
        at: 0,
        from: 0,
        depth: 0,
        scan: Scan::default(),
    };
    while let Some(char) = reader.next() {
        reader.step(char)?;
    }
    reader.text_until(query.len());
    Ok(reader.scan)
}

struct Reader<'a> {
    query: &'a str,
    at: usize,
    /// Start of the current text.
    from: usize,
    depth: usize,
    scan: Scan<'a>,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.query.get(self.at..).unwrap_or_default()
    }

    fn next(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn step(&mut self, char: char) -> Result<(), String> {
        let start = self.at;
        match char {
            _ if self.rest().starts_with("{{") => self.variable(Place::Code)?,
            '#' => return self.comment(),
            '"' | '\'' | '`' => self.quoted(char)?,
            '(' | '[' | '{' => {
                self.at += 1;
                self.token(start);
                self.depth += 1;
                return Ok(());
            }
            ')' | ']' | '}' => {
                self.at += 1;
                self.depth = self.depth.saturating_sub(1);
            }
            _ if is_word(char) => self.skip(is_word),
            _ => {
                let operator = OPERATORS.iter().find(|operator| self.rest().starts_with(**operator));
                self.at += operator.map_or(char.len_utf8(), |operator| operator.len());
                if operator.is_none() {
                    return Ok(());
                }
            }
        }
        self.token(start);
        Ok(())
    }

    fn skip(&mut self, wanted: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.find(|char| !wanted(char)).unwrap_or(rest.len());
    }

    fn token(&mut self, start: usize) {
        let text = self.query.get(start..self.at).unwrap_or_default();
        let (at, depth) = (start, self.depth);
        self.scan.tokens.push(Token { text, at, depth });
    }

    fn text_until(&mut self, end: usize) {
        if let Some(text) = self.query.get(self.from..end).filter(|text| !text.is_empty()) {
            self.scan.pieces.push(Piece::Text(text));
        }
    }

    fn variable(&mut self, place: Place) -> Result<(), String> {
        let opened = self.rest().get(2..).unwrap_or_default();
        let (name, after) = opened
            .split_once("}}")
            .ok_or_else(|| "has a `{{` that is not closed: add `}}` after the variable".to_owned())?;
        self.text_until(self.at);
        self.scan.pieces.push(Piece::Var(name, place));
        self.at = self.query.len() - after.len();
        self.from = self.at;
        Ok(())
    }

    fn comment(&mut self) -> Result<(), String> {
        while let Some(char) = self.next().filter(|char| *char != '\n') {
            if self.rest().starts_with("{{") {
                self.variable(Place::Comment)?;
            } else {
                self.at += char.len_utf8();
            }
        }
        Ok(())
    }

    fn quoted(&mut self, quote: char) -> Result<(), String> {
        let raw = quote == '`';
        let after = match self.scan.tokens.last().map(|token| token.text) {
            Some("=~" | "!~") => After::Matches,
            Some("=" | "!=") => After::Equals,
            _ => After::Other,
        };
        self.at += 1;
        while let Some(char) = self.next() {
            if self.rest().starts_with("{{") {
                self.variable(Place::Text { raw, after })?;
                continue;
            }
            self.at += char.len_utf8();
            if char == quote {
                break;
            }
            if char == '\\' && !raw && !self.rest().starts_with("{{") {
                self.at += self.next().map_or(0, char::len_utf8);
            }
        }
        Ok(())
    }
}

/// A character of a name or a number: `job:x_total`, `5m`, `0.5`.
pub(super) fn is_word(char: char) -> bool {
    char.is_alphanumeric() || matches!(char, '_' | '.')
}

#[cfg(test)]
mod tests {
    use super::{After, Piece, Place, scan};

    /// The context of each variable in a query.
    fn places(query: &str) -> Vec<(&str, Place)> {
        let pieces = scan(query).unwrap().pieces.into_iter();
        let place = |piece| match piece {
            Piece::Var(name, place) => Some((name, place)),
            Piece::Text(_) => None,
        };
        pieces.filter_map(place).collect()
    }

    fn tokens(query: &str) -> String {
        let tokens = scan(query).unwrap().tokens.into_iter();
        let shown: Vec<_> = tokens.map(|token| format!("{}{}", token.depth, token.text)).collect();
        shown.join(" ")
    }

    #[test]
    fn a_variable_knows_the_text_and_the_operator_that_it_stands_in() {
        let text = |raw, after| Place::Text { raw, after };
        for (query, place) in [
            ("{{a}}", Place::Code),
            ("x # \"{{a}}\"", Place::Comment),
            ("# '\nx{p=~\"{{a}}\"}", text(false, After::Matches)),
            ("x{p=~\"{{a}}\"}", text(false, After::Matches)),
            ("x{p !~ # no\n '{{a}}'}", text(false, After::Matches)),
            ("x{p=~`\\{{a}}`}", text(true, After::Matches)),
            ("x{p=~`a\\`,q=\"{{a}}\"}", text(false, After::Equals)),
            ("x{p=~\"a\\\"\",q!=\"b'{{a}}\"}", text(false, After::Equals)),
            ("x{p=~'a\\\\',q=\"{{a}}\"}", text(false, After::Equals)),
            ("{\"k8s.pod\"=~\"{{a}}\"}", text(false, After::Matches)),
            ("label_replace(x, \"{{a}}\"", text(false, After::Other)),
            ("x{p=~\"b\", \"{{a}}\"", text(false, After::Other)),
            ("x == \"{{a}}\"", text(false, After::Other)),
            ("x{p=~\"ä{{a}}", text(false, After::Matches)),
        ] {
            assert_eq!(places(query), [("a", place)], "{query}");
        }
        assert_eq!(places("x{p=~\"{{a}}|{{b}}\",q=\"{{ c }}\"}").len(), 3);
    }

    #[test]
    fn the_pieces_make_the_query() {
        let query = "ä{{a}}\"{{b}}\" # {{c}}\n{{d}}";
        let pieces = scan(query).unwrap().pieces.into_iter().map(|piece| match piece {
            Piece::Text(text) => text.to_owned(),
            Piece::Var(name, _) => format!("{{{{{name}}}}}"),
        });
        assert_eq!(pieces.collect::<String>(), query);
    }

    #[test]
    fn tokens_are_words_operators_brackets_and_texts() {
        assert_eq!(
            tokens("sum(rate(x_total{a=~\"b{{c}}\"}[5m:30s])) by (d) >= bool 0.5 # or vector(0)\n / {{e}}"),
            "0sum 0( 1rate 1( 2x_total 2{ 3a 3=~ 3\"b{{c}}\" 2} 2[ 35m 3: 330s 2] 1) 0) 0by 0( 1d 0) 0>= 0bool 00.5 0/ 0{{e}}"
        );
        assert_eq!(tokens(")}] x ! ä $"), "0) 0} 0] 0x 0ä");
    }

    #[test]
    fn a_variable_that_is_not_closed_is_refused() {
        for query in ["{{a", "x{p=~\"{{a }", "x # {{"] {
            assert!(scan(query).unwrap_err().contains("not closed"), "{query}");
        }
    }
}
