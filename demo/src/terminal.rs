//! The terminal: a screen of its own while the demo runs, which is given back in whatever way it ends.

use std::{
    io::{self, IsTerminal, Write},
    panic,
    sync::atomic::{AtomicBool, Ordering},
};

use terminal_size::terminal_size;

use super::table::Size;

/// The alternate screen, without a cursor, and without lines that wrap.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// Whether the alternate screen is on.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// The terminal that standard output is.
#[derive(Debug)]
pub(super) struct Terminal {
    pub(super) coloured: bool,
}

impl Terminal {
    /// Takes the terminal over, if there is one that can be drawn on.
    pub(super) fn enter() -> io::Result<Option<Self>> {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if !io::stdout().is_terminal() || is_dumb {
            return Ok(None);
        }
        let former = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // Who reads what went wrong needs the screen that it is written to.
            let _given_back = leave();
            former(info);
        }));
        ENTERED.store(true, Ordering::SeqCst);
        write(ENTER)?;
        Ok(Some(Self {
            coloured: !is_set("NO_COLOR"),
        }))
    }

    /// The room there is. The last column stays free: what is erased to the end of a line begins with the character before
    /// the cursor, if the line is full.
    pub(super) fn size() -> Size {
        let size = terminal_size().map(|(width, height)| (usize::from(width.0), usize::from(height.0)));
        let (width, height) = size.filter(|(width, height)| width * height > 0).unwrap_or((80, 24));
        Size {
            width: width - 1,
            height,
        }
    }

    /// Draws over what was there, in one write.
    pub(super) fn draw(lines: &[String]) -> io::Result<()> {
        let lines: Vec<_> = lines.iter().map(|line| format!("{line}\x1b[K")).collect();
        // Terminals that know it show the frame only once it is whole.
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
