//! The terminal: uses the alternate screen while the demo runs, and restores the terminal however the demo ends.

use std::{
    io::{self, IsTerminal, Write},
    panic,
    sync::atomic::{AtomicBool, Ordering},
};

use terminal_size::terminal_size;

use super::table::Size;

/// Enters the alternate screen, and disables the cursor and line wrapping.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// Whether the alternate screen is on.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// The terminal at standard output.
#[derive(Debug)]
pub(super) struct Terminal {
    pub(super) coloured: bool,
}

impl Terminal {
    /// Takes over the terminal if standard output is one.
    pub(super) fn enter() -> io::Result<Option<Self>> {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if !io::stdout().is_terminal() || is_dumb {
            return Ok(None);
        }
        let former = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // A panic message must appear on the normal screen.
            let _given_back = leave();
            former(info);
        }));
        ENTERED.store(true, Ordering::SeqCst);
        write(ENTER)?;
        Ok(Some(Self {
            coloured: !is_set("NO_COLOR"),
        }))
    }

    /// The usable size. The last column stays free, because erasing to the end of a full line starts with the last character.
    pub(super) fn size() -> Size {
        let size = terminal_size().map(|(width, height)| (usize::from(width.0), usize::from(height.0)));
        let (width, height) = size.filter(|(width, height)| width * height > 0).unwrap_or((80, 24));
        Size {
            width: width - 1,
            height,
        }
    }

    /// Redraws the screen in one write.
    pub(super) fn draw(lines: &[String]) -> io::Result<()> {
        let lines: Vec<_> = lines.iter().map(|line| format!("{line}\x1b[K")).collect();
        // Terminals that support synchronized output show only complete frames.
        write(&format!("\x1b[?2026h\x1b[H{}\x1b[J\x1b[?2026l", lines.join("\r\n")))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _given_back = leave();
    }
}

fn leave() -> io::Result<()> {
    if ENTERED.swap(false, Ordering::SeqCst) {
        write(LEAVE)?;
    }
    Ok(())
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
