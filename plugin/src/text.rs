//! Tables and colours.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Colour of a text on a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Colour {
    #[default]
    Plain,
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    Cyan,
}

impl Colour {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Red => "31",
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Cyan => "36",
        }
    }

    /// `text` in this colour, if `coloured`.
    pub(crate) fn paint(self, text: &str, coloured: bool) -> String {
        if !coloured || self == Self::Plain || text.is_empty() {
            return text.to_owned();
        }
        format!("\x1b[{}m{text}\x1b[0m", self.code())
    }
}

/// One cell of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) colour: Colour,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>, colour: Colour) -> Self {
        Self {
            text: clean(&text.into()),
            colour,
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text, Colour::Plain)
    }
}

/// Replaces control characters: what others wrote into an object must not move the cursor.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Cuts `text` to `width` columns.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let (mut kept, mut used) = (String::new(), 1);
    for c in text.chars() {
        used += c.width().unwrap_or_default();
        if used > width {
            break;
        }
        kept.push(c);
    }
    if width > 0 {
        kept.push('…');
    }
    kept
}

/// Lines of a table with aligned columns. With a `width`, columns that are too wide are cut, the widest first,
/// but not a last one with numbers.
pub(crate) fn table(rows: &[Vec<Cell>], gap: usize, width: Option<usize>, coloured: bool) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widest = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.text.width()).max().unwrap_or_default()
    };
    let mut widths: Vec<usize> = (0..columns).map(widest).collect();
    if let Some(width) = width {
        let room = width.saturating_sub(gap * columns.saturating_sub(1));
        match widths.split_last_mut() {
            Some((last, others)) if *last <= NUMBERS => shrink(others, room.saturating_sub(*last)),
            _ => shrink(&mut widths, room),
        }
    }
    rows.iter().map(|row| line(row, &widths, gap, coloured)).collect()
}

/// A last column up to this width has numbers, and not a text that can be cut.
const NUMBERS: usize = 20;

/// Below this a column is not readable any more.
const NARROWEST: usize = 6;

fn shrink(widths: &mut [usize], room: usize) {
    while widths.iter().sum::<usize>() > room {
        let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > NARROWEST) else {
            return;
        };
        *widest -= 1;
    }
}

fn line(row: &[Cell], widths: &[usize], gap: usize, coloured: bool) -> String {
    let mut line = String::new();
    let mut owed = 0;
    for (cell, width) in row.iter().zip(widths) {
        let text = cut(&cell.text, *width);
        let used = text.width();
        if used > 0 {
            line.push_str(&" ".repeat(owed));
            line.push_str(&cell.colour.paint(&text, coloured));
            owed = 0;
        }
        owed += width.saturating_sub(used) + gap;
    }
    line
}

/// A bar of `width` columns. It is full only if `share` is 1.
pub(crate) fn bar(share: f64, width: usize) -> String {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of the width of a terminal"
    )]
    let full = (share.clamp(0.0, 1.0) * width as f64).floor() as usize;
    format!("{}{}", "━".repeat(full), "─".repeat(width.saturating_sub(full)))
}

/// `text` in lines of at most `width` columns, which begin with `indent` spaces.
pub(crate) fn wrapped(text: &str, indent: usize, width: usize) -> Vec<String> {
    let room = width.saturating_sub(indent).max(20);
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in clean(text).split_whitespace() {
        if !line.is_empty() && line.width() + 1 + word.width() > room {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    let margin = " ".repeat(indent);
    lines.into_iter().map(|line| format!("{margin}{line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<Cell>> {
        vec![
            vec!["NAME".into(), "STATUS".into(), "SERVICE".into()],
            vec![
                Cell::new("a-rather-long-name", Colour::Plain),
                Cell::new("Failed", Colour::Red),
                "".into(),
            ],
        ]
    }

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        let lines = table(&rows(), 3, None, false);
        assert_eq!(
            lines,
            ["NAME                 STATUS   SERVICE", "a-rather-long-name   Failed"]
        );
        assert!(table(&rows(), 3, None, true)[1].ends_with("\x1b[31mFailed\x1b[0m"));
    }

    #[test]
    fn a_narrow_terminal_cuts_the_widest_column() {
        let lines = table(&rows(), 1, Some(25), false);
        assert_eq!(lines, ["NAME       STATUS SERVICE", "a-rather-… Failed"]);
        // The last column keeps its numbers.
        assert!(table(&rows(), 1, Some(18), false)[0].ends_with("SERVICE"));
    }

    #[test]
    fn what_others_wrote_does_not_move_the_cursor() {
        assert_eq!(Cell::new("a\x1b[2Jb\nc", Colour::Plain).text, "a [2Jb c");
    }

    #[test]
    fn a_bar_is_full_only_at_its_end() {
        assert_eq!(bar(0.99, 4), "━━━─");
        assert_eq!(bar(1.0, 4), "━━━━");
    }

    #[test]
    fn a_long_text_is_wrapped_between_words() {
        assert_eq!(
            wrapped("one two three four five", 2, 22),
            ["  one two three four", "  five"]
        );
    }
}
