//! Exit codes of a service's program: 0 success, 1 a check failed, 2 usage or configuration, 3 the environment does not
//! allow it.

use std::fmt::Display;
use std::process::ExitCode;

/// An error with its exit code.
#[derive(Debug)]
pub struct ExitError {
    code: u8,
    error: anyhow::Error,
}

impl ExitError {
    /// Exit code 1: a check or a verification failed.
    pub fn failed(error: impl Into<anyhow::Error>) -> Self {
        Self {
            code: 1,
            error: error.into(),
        }
    }

    /// Exit code 2: usage or configuration.
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self {
            code: 2,
            error: error.into(),
        }
    }

    /// Exit code 3: the environment, such as a port in use or an unreachable database.
    pub fn environment(error: impl Into<anyhow::Error>) -> Self {
        Self {
            code: 3,
            error: error.into(),
        }
    }
}

impl From<anyhow::Error> for ExitError {
    fn from(error: anyhow::Error) -> Self {
        Self::environment(error)
    }
}

/// Ends a program: prints the error, if any, with its causes to standard error; the logger may not be set up yet.
pub fn report(program: impl Display, result: Result<(), ExitError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(ExitError { code, error }) => {
            use std::io::Write;
            // Without standard error the exit code remains.
            let _ = writeln!(std::io::stderr(), "{program}: {error:#}");
            ExitCode::from(code)
        }
    }
}

/// Writes `text`, such as a configuration, to standard output.
///
/// # Errors
/// Standard output is closed.
pub fn print(text: &str) -> Result<(), ExitError> {
    use std::io::Write;
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(ExitError::environment)
}
