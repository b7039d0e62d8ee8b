//! Exit codes, which scripts may rely on.

use std::{fmt, io, process::ExitCode};

/// How a command ended, if there was no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what it was asked for. For `status`: the current run passed.
    Done = 0,
    /// The run failed, or a manifest has problems.
    Failed = 3,
    /// The run has not ended.
    Unfinished = 4,
    /// The Kanary, or its run, is not there (any more).
    Gone = 5,
    /// Something of the source cannot be expressed in a Kanary.
    Incomplete = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The list of exit codes for `--help`.
pub(crate) const CODES: &str = "\
Exit codes:
  0  the run of the current template passed: promoted, or a dry-run that passed
  1  an error: no answer, no permission, a spec that cannot be run
  2  wrong usage
  3  the run failed
  4  the run has not ended (with --wait: within --timeout)
  5  the Kanary does not exist, or was deleted or given another run while waiting";

/// A Kanary that does not exist.
#[derive(Debug)]
pub(crate) struct Missing(pub(crate) String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// The exit code of an error. It is reported here, unless the reader of standard output went away, like `head`.
pub(crate) fn of_error(error: &anyhow::Error) -> ExitCode {
    if let Some(error) = error.downcast_ref::<io::Error>()
        && error.kind() == io::ErrorKind::BrokenPipe
    {
        // What was not printed was not done, so this is no success.
        return ExitCode::FAILURE;
    }
    eprintln!("error: {error:#}");
    if error.downcast_ref::<Missing>().is_some() {
        return Exit::Gone.into();
    }
    ExitCode::FAILURE
}
