//! Standard output: plain text, or a live view that is drawn over itself on a terminal.

use std::io::{self, IsTerminal, Write};

use terminal_size::terminal_size;

use crate::text::cut;

/// What standard output can show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    /// Whether it is a terminal that understands control sequences.
    pub(crate) live: bool,
    pub(crate) coloured: bool,
}

impl Terminal {
    pub(crate) fn of_stdout() -> Self {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let live = io::stdout().is_terminal() && !is_dumb;
        Self {
            live,
            coloured: live && !is_set("NO_COLOR"),
        }
    }

    /// Columns and lines of the terminal, or 80 and 24 if there is none.
    pub(crate) fn size() -> (usize, usize) {
        let size = terminal_size().map(|(width, height)| (usize::from(width.0), usize::from(height.0)));
        size.filter(|(width, height)| width * height > 0).unwrap_or((80, 24))
    }

    /// Columns for wrapped text: those of the terminal, up to a width that is comfortable to read.
    pub(crate) fn text_width(self) -> usize {
        if self.live { Self::size().0.clamp(40, 120) } else { 100 }
    }
}

/// Writes to standard output. `print!` would panic on a closed pipe.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes lines to standard output.
pub(crate) fn print_lines(lines: &[String]) -> io::Result<()> {
    let mut text = lines.join("\n");
    if !lines.is_empty() {
        text.push('\n');
    }
    print(&text)
}

/// Lines on a terminal that are replaced by the next ones. The last ones stay when the program ends.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    drawn: usize,
}

impl Frame {
    /// Replaces the lines that were drawn before. Only as many as fit are drawn.
    pub(crate) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let (_, height) = Terminal::size();
        let room = height.saturating_sub(2).max(1);
        let hidden = lines.len().saturating_sub(room);
        let mut drawn: Vec<_> = lines.iter().take(room).map(|line| format!("{line}\x1b[K\n")).collect();
        if hidden > 0 {
            drawn.push(format!("… and {hidden} more lines\x1b[K\n"));
        }
        let up = match self.drawn {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\r"),
        };
        self.drawn = drawn.len();
        // Terminals that support synchronized output show only complete frames.
        print(&format!("\x1b[?2026h{up}{}\x1b[J\x1b[?2026l", drawn.concat()))
    }
}

/// A line without colours that fits the terminal.
pub(crate) fn fitting(line: &str) -> String {
    cut(line, Terminal::size().0.saturating_sub(1))
}
