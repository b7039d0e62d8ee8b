//! Panics: whoever catches one, the run in which it happened has failed, and whoever knows how to run it again says so.

use std::{
    cell::RefCell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

use crate::checker::Violation;

/// As many as are worth reading.
const TOLD: usize = 3;

thread_local! {
    /// Panics of this thread, on which everything of a run happens.
    static NOTED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Notes the panics of this thread from now on, and forgets those before.
pub(crate) fn listen() {
    static LISTENS: Once = Once::new();
    LISTENS.call_once(|| {
        let former = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            former(info);
            let _thread_ends = NOTED.try_with(|noted| {
                let mut noted = noted.borrow_mut();
                if noted.len() < TOLD {
                    noted.push(info.to_string());
                }
            });
        }));
    });
    drop(NOTED.take());
}

/// Whether there was none, not even one that was caught.
pub(crate) fn none() -> bool {
    NOTED.with_borrow(Vec::is_empty)
}

/// What `run` comes to; a violation if anything panicked meanwhile.
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, Violation> {
    listen();
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    let noted = NOTED.take();
    match result {
        Ok(result) if noted.is_empty() => Ok(result),
        _ => Err(Violation::panicked(&noted.join("\n"))),
    }
}
