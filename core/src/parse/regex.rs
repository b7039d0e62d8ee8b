//! Which regular expressions a route may get.
//!
//! A proxy that refuses one expression can refuse its whole configuration, also that of other tenants, and it says so nowhere in the
//! route. So an expression passes only if it certainly is RE2 and small. The parser knows a syntax that is close to RE2, and what only
//! that syntax has is refused here.

use regex_syntax::ast::{
    AssertionKind, Ast, ClassSet, ClassSetItem, ClassUnicode, ClassUnicodeKind, Flag, Flags, FlagsItemKind, GroupKind,
    HexLiteralKind, Literal, LiteralKind, Repetition, RepetitionKind, RepetitionRange, Span, parse::Parser,
};

/// Characters of an expression.
const LONGEST: usize = 1024;
/// What RE2 accepts for a repetition, and for the product of repetitions in each other.
const MOST_REPETITIONS: u64 = 1000;
/// Instructions of the compiled expression, estimated from above. Istio allows 32768.
const MOST_INSTRUCTIONS: u64 = 10_000;
/// General categories of Unicode, under the names that RE2 knows.
const CATEGORIES: &str = "L Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc Pd Pe Pf Pi Po Ps S Sc Sk Sm So Z Zl Zp Zs";

const OPERATIONS: &str =
    "&&, -- and ~~ are operations in some syntaxes and characters in RE2: write such a character once";

/// Why an expression is refused, and at which byte.
struct Fault {
    at: usize,
    why: String,
}

impl Fault {
    fn new(span: &Span, why: impl Into<String>) -> Self {
        Self {
            at: span.start.offset,
            why: why.into(),
        }
    }
}

/// Checks an expression.
///
/// # Errors
///
/// It is not RE2, or it is too large. The message has the position.
pub(super) fn check(pattern: &str) -> Result<(), String> {
    let length = pattern.chars().count();
    if length > LONGEST {
        return Err(format!("it has {length} characters, and {LONGEST} are possible"));
    }
    let parsed = Parser::new().parse(pattern);
    let parsed = parsed.map_err(|error| Fault::new(error.span(), error.kind().to_string()));
    let size = parsed.and_then(|ast| size(&ast, 1)).map_err(|fault| {
        let place = pattern.char_indices().filter(|(at, _)| *at < fault.at).count() + 1;
        format!("{}, at character {place}", fault.why)
    })?;
    if size > MOST_INSTRUCTIONS {
        return Err(format!(
            "a proxy would need about {size} instructions for it, and {MOST_INSTRUCTIONS} are possible: lower its repetitions"
        ));
    }
    Ok(())
}

/// The estimated number of instructions. `times` is the product of the repetitions around.
fn size(ast: &Ast, times: u64) -> Result<u64, Fault> {
    Ok(match ast {
        Ast::Empty(_) => 1,
        Ast::Flags(set) => {
            flags(&set.flags)?;
            0
        }
        Ast::Literal(one) => literal(one)?,
        Ast::Dot(_) | Ast::ClassPerl(_) => 16,
        Ast::Assertion(one) => match one.kind {
            AssertionKind::StartLine
            | AssertionKind::EndLine
            | AssertionKind::StartText
            | AssertionKind::EndText
            | AssertionKind::WordBoundary
            | AssertionKind::NotWordBoundary => 1,
            _ => return Err(Fault::new(&one.span, "RE2 only has the word boundaries \\b and \\B")),
        },
        Ast::ClassUnicode(class) => category(class)?,
        Ast::ClassBracketed(class) => 16_u64.saturating_add(items(&class.kind)?),
        Ast::Repetition(repetition) => repeated(repetition, times)?,
        Ast::Group(group) => {
            match &group.kind {
                GroupKind::NonCapturing(set) => flags(set)?,
                GroupKind::CaptureName { starts_with_p, name } => {
                    let is_plain = name.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                    if !starts_with_p || !is_plain {
                        return Err(Fault::new(&name.span, "a group has a name: write (?:…)"));
                    }
                }
                GroupKind::CaptureIndex(_) => {}
            }
            size(&group.ast, times)?.saturating_add(2)
        }
        Ast::Alternation(all) => sum(&all.asts, times)?,
        Ast::Concat(all) => sum(&all.asts, times)?,
    })
}

fn sum(asts: &[Ast], times: u64) -> Result<u64, Fault> {
    let mut sum = 0_u64;
    for ast in asts {
        sum = sum.saturating_add(size(ast, times)?).saturating_add(1);
    }
    Ok(sum)
}

fn repeated(repetition: &Repetition, times: u64) -> Result<u64, Fault> {
    let span = &repetition.op.span;
    if matches!(*repetition.ast, Ast::Repetition(_)) {
        return Err(Fault::new(
            span,
            "a repetition follows a repetition: put the first one into (?:…)",
        ));
    }
    let count = match &repetition.op.kind {
        RepetitionKind::ZeroOrOne | RepetitionKind::ZeroOrMore | RepetitionKind::OneOrMore => 1,
        RepetitionKind::Range(
            RepetitionRange::Exactly(count) | RepetitionRange::AtLeast(count) | RepetitionRange::Bounded(_, count),
        ) => u64::from(*count).max(1),
    };
    let times = times.saturating_mul(count);
    if times > MOST_REPETITIONS {
        return Err(Fault::new(
            span,
            format!("{times} repetitions, counted with those around them, and {MOST_REPETITIONS} are possible"),
        ));
    }
    Ok(size(&repetition.ast, times)?.saturating_add(1).saturating_mul(count))
}

fn flags(flags: &Flags) -> Result<(), Fault> {
    let foreign = flags.items.iter().find(|item| {
        matches!(
            item.kind,
            FlagsItemKind::Flag(Flag::Unicode | Flag::CRLF | Flag::IgnoreWhitespace)
        )
    });
    foreign.map_or(Ok(()), |item| {
        Err(Fault::new(&item.span, "RE2 only has the flags i, m, s and U"))
    })
}

fn literal(literal: &Literal) -> Result<u64, Fault> {
    match literal.kind {
        LiteralKind::HexFixed(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong)
        | LiteralKind::HexBrace(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong) => {
            Err(Fault::new(&literal.span, "RE2 does not have \\u and \\U: write \\x{…}"))
        }
        // Two cases of each of at most four bytes.
        _ => Ok(if literal.c.is_ascii() { 1 } else { 8 }),
    }
}

fn category(class: &ClassUnicode) -> Result<u64, Fault> {
    let is_known = match &class.kind {
        ClassUnicodeKind::OneLetter(letter) => is_category(letter.encode_utf8(&mut [0; 4])),
        ClassUnicodeKind::Named(name) => is_category(name),
        ClassUnicodeKind::NamedValue { .. } => false,
    };
    if is_known {
        return Ok(1000);
    }
    let why = format!("\\p and \\P are only possible with a general category, one of {CATEGORIES}");
    Err(Fault::new(&class.span, why))
}

fn is_category(name: &str) -> bool {
    CATEGORIES.split(' ').any(|known| known == name)
}

fn items(set: &ClassSet) -> Result<u64, Fault> {
    match set {
        ClassSet::Item(one) => item(one),
        ClassSet::BinaryOp(op) => Err(Fault::new(&op.span, OPERATIONS)),
    }
}

fn item(one: &ClassSetItem) -> Result<u64, Fault> {
    match one {
        ClassSetItem::Empty(_) => Ok(0),
        ClassSetItem::Literal(one) => literal(one),
        ClassSetItem::Range(range) => Ok(literal(&range.start)?
            .saturating_add(literal(&range.end)?)
            .saturating_add(2)),
        ClassSetItem::Ascii(_) | ClassSetItem::Perl(_) => Ok(16),
        ClassSetItem::Unicode(class) => category(class),
        ClassSetItem::Bracketed(class) => Err(Fault::new(
            &class.span,
            "a class in a class is a list of characters in RE2: write \\[ for the character",
        )),
        ClassSetItem::Union(union) => {
            // At the beginning, the parser takes these for characters, and RE2 for a range.
            let is = |one: &ClassSetItem, c: char| matches!(one, ClassSetItem::Literal(one) if one.c == c && one.kind == LiteralKind::Verbatim);
            if let [first, second, ..] = union.items.as_slice()
                && (is(first, '-') || is(first, ']'))
                && is(second, '-')
            {
                return Err(Fault::new(
                    &union.span,
                    "a class begins with -- or ]-, which is a range in RE2: write \\- for the character",
                ));
            }
            let mut sizes = union.items.iter();
            sizes.try_fold(0_u64, |sum, one| Ok(sum.saturating_add(item(one)?)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn what_re2_has_is_accepted() {
        for pattern in [
            "always|yes",
            "v[0-9]+(?:\\.[0-9]+){0,2}",
            "(?i)canary-[a-z_\\-]{1,64}",
            "(?i:yes)(?-s:.*)(?U:a+)",
            "[^;]*",
            "[[:alpha:]\\d\\pL]+",
            "(?P<name>x)*?",
            "\\Aa\\b\\.\\x41\\x{1F600}\\z",
            "a{1000}",
            "(a{10}){100}",
            ".{500}",
            "[]a]|[^]a]|}|]|[-a]|[a\\-\\-]",
            "ü|",
        ] {
            assert_eq!(check(pattern), Ok(()), "{pattern}");
        }
    }

    #[test]
    #[allow(clippy::too_many_lines, reason = "one row for each mistake")]
    fn what_re2_lacks_is_refused_with_its_position() {
        for (pattern, why) in [
            ("((", "unclosed group, at character 2"),
            ("a)|(b", "unopened group, at character 2"),
            (
                "ü(?!a)b",
                "look-around, including look-ahead and look-behind, is not supported, at character 2",
            ),
            ("(a)\\1", "backreferences are not supported, at character 4"),
            ("*a", "repetition operator missing expression, at character 1"),
            (
                "a**",
                "a repetition follows a repetition: put the first one into (?:…), at character 3",
            ),
            ("a{2}{3}", "a repetition follows a repetition"),
            ("a++", "a repetition follows a repetition"),
            ("[a-z&&b]", "&&, -- and ~~ are operations"),
            ("[a-z--b]", "&&, -- and ~~ are operations"),
            ("[--+]", "a class begins with -- or ]-"),
            ("[^]-\\n]", "a class begins with -- or ]-"),
            ("[a~~b]", "&&, -- and ~~ are operations"),
            (
                "[a[b]]",
                "a class in a class is a list of characters in RE2: write \\[ for the character, at character 3",
            ),
            ("[[:nothing:]]", "a class in a class"),
            ("(?x)a b", "RE2 only has the flags i, m, s and U, at character 3"),
            ("(?-u:a)", "RE2 only has the flags"),
            ("(?iR:a)", "RE2 only has the flags"),
            ("\\u0041", "RE2 does not have \\u and \\U: write \\x{…}, at character 1"),
            ("[\\U00000041-z]", "RE2 does not have \\u and \\U"),
            ("\\u{41}", "RE2 does not have \\u and \\U"),
            (
                "\\b{start}a",
                "RE2 only has the word boundaries \\b and \\B, at character 1",
            ),
            ("\\<a", "RE2 only has the word boundaries"),
            ("\\p{Letter}", "\\p and \\P are only possible with a general category"),
            ("\\pX", "\\p and \\P are only possible"),
            ("[\\p{sc=Greek}]", "\\p and \\P are only possible"),
            ("(?<name>a)", "a group has a name: write (?:…), at character 4"),
            (
                "a{1001}",
                "1001 repetitions, counted with those around them, and 1000 are possible, at character 2",
            ),
            ("(a{11}){100}", "1100 repetitions"),
            ("(a{2,}){501}", "1002 repetitions"),
            (
                ".{1000}",
                "a proxy would need about 17000 instructions for it, and 10000 are possible: lower its repetitions",
            ),
            ("\\pL{10}", "a proxy would need about 10010 instructions"),
            ("\\Z", "unrecognized escape sequence"),
            ("a{3,2}", "invalid repetition count range"),
        ] {
            let refused = check(pattern).expect_err(pattern);
            assert!(refused.starts_with(why), "{pattern}: {refused}");
        }
        assert_eq!(
            check(&"a".repeat(1025)),
            Err("it has 1025 characters, and 1024 are possible".to_owned())
        );
        assert!(check(&"(".repeat(500)).is_err());
    }
}
