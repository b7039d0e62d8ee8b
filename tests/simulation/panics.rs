//! Panics: a run with a panic fails even if the panic was caught, and the failure contains the command that repeats the
//! run.

use std::{
    cell::RefCell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

use crate::checker::Violation;

/// Maximum number of reported panics.
const TOLD: usize = 3;

thread_local! {
    /// Panics of this thread. A run uses only one thread.
    static NOTED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Starts recording the panics of this thread and drops earlier ones.
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

/// Whether there was no panic, not even a caught one.
pub(crate) fn none() -> bool {
    NOTED.with_borrow(Vec::is_empty)
}

/// The result of `run`, or a violation if anything panicked.
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, Violation> {
    listen();
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    let noted = NOTED.take();
    match result {
        Ok(result) if noted.is_empty() => Ok(result),
        _ => Err(Violation::panicked(&noted.join("\n"))),
    }
}
