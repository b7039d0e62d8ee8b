//! Lines for a terminal: columns, colours, no wrapping.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::model::State;

/// Colour of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Plain,
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    Blue,
    Cyan,
}

impl Colour {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Red => "31",
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Blue => "34",
            Self::Cyan => "36",
        }
    }

    pub(super) const fn of(state: State) -> Self {
        match state {
            State::Scheduled | State::Starting => Self::Dim,
            State::WarmingUp => Self::Plain,
            State::Judging => Self::Cyan,
            State::Waiting => Self::Yellow,
            State::Promoting | State::Passed => Self::Blue,
            State::Promoted => Self::Green,
            State::Failed | State::Errored => Self::Red,
        }
    }
}

/// Truncates `text` to `width` columns with an ellipsis. Control characters become spaces.
pub(super) fn cut(text: &str, width: usize) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if clean.width() <= width {
        return clean;
    }
    let mut cut = String::new();
    let mut used = 1;
    for c in clean.chars() {
        used += c.width().unwrap_or_default();
        if used > width {
            break;
        }
        cut.push(c);
    }
    if width > 0 {
        cut.push('…');
    }
    cut
}

/// A line that is built from left to right, up to a width.
#[derive(Debug)]
pub(super) struct Line {
    text: String,
    left: usize,
    coloured: bool,
    /// Spaces to insert before the next text.
    gap: usize,
}

impl Line {
    pub(super) fn new(width: usize, coloured: bool) -> Self {
        Self {
            text: String::new(),
            left: width,
            coloured,
            gap: 0,
        }
    }

    /// Adds a text.
    pub(super) fn add(mut self, text: &str, colour: Colour) -> Self {
        self.write(text, self.left.saturating_sub(self.gap), colour);
        self
    }

    /// Adds a column.
    pub(super) fn column(mut self, text: &str, width: usize, colour: Colour) -> Self {
        let width = width.min(self.left.saturating_sub(self.gap));
        let used = self.write(text, width, colour);
        self.gap += width - used;
        self
    }

    /// Adds space between columns.
    pub(super) fn space(mut self, width: usize) -> Self {
        self.gap += width;
        self
    }

    fn write(&mut self, text: &str, width: usize, colour: Colour) -> usize {
        let text = cut(text, width);
        let used = text.width();
        if used == 0 {
            return 0;
        }
        let gap = std::mem::take(&mut self.gap);
        self.left = self.left.saturating_sub(gap + used);
        self.text.push_str(&" ".repeat(gap));
        if self.coloured && colour != Colour::Plain {
            self.text.extend(["\x1b[", colour.code(), "m", &text, "\x1b[0m"]);
        } else {
            self.text.push_str(&text);
        }
        used
    }

    /// The line, without trailing spaces.
    pub(super) fn end(self) -> String {
        self.text
    }
}

/// A bar of `width` columns, split into its full and its empty part.
pub(super) fn bar(share: f64, width: usize) -> (String, String) {
    let share = share.clamp(0.0, 1.0);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of the width of a terminal"
    )]
    let full = (share * width as f64).floor() as usize;
    ("━".repeat(full), "─".repeat(width.saturating_sub(full)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_to_its_columns() {
        assert_eq!(cut("checkout", 8), "checkout");
        assert_eq!(cut("checkout", 7), "checko…");
        assert_eq!(cut("結帳服務", 8), "結帳服務");
        assert_eq!(cut("結帳服務", 6), "結帳…");
        assert_eq!(cut("x", 0), "");
    }

    #[test]
    fn nothing_that_is_shown_moves_the_cursor() {
        assert_eq!(cut("a\x1b[2Jb\nc", 20), "a [2Jb c");
    }

    #[test]
    fn a_line_never_outgrows_its_width() {
        let line = Line::new(10, false).column("name", 6, Colour::Plain).space(1);
        assert_eq!(line.add("much too long", Colour::Plain).end(), "name   mu…");
        let line = Line::new(4, true).column("name", 6, Colour::Red).space(1);
        assert_eq!(line.add("gone", Colour::Plain).end(), "\x1b[31mname\x1b[0m");
    }

    #[test]
    fn a_bar_is_full_only_at_its_end() {
        assert_eq!(bar(0.0, 4), (String::new(), "────".to_owned()));
        assert_eq!(bar(0.99, 4), ("━━━".to_owned(), "─".to_owned()));
        assert_eq!(bar(1.0, 4), ("━━━━".to_owned(), String::new()));
    }
}
