//! What a failure of PostgreSQL means for what was asked of it.

use tokio_postgres::error::{DbError, SqlState};

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The data is refused: trying again changes nothing.
    Refused,
    /// Another transaction was in the way: try again at once.
    Conflict,
    /// A month has no partition: make it, then try again.
    NoPartition,
    /// PostgreSQL is away, or can't work: the data goes to the stream.
    Unavailable,
}

/// Reads the SQLSTATE. What is not known to be the data's fault is PostgreSQL's.
pub(crate) fn meaning(error: &tokio_postgres::Error) -> Meaning {
    error.as_db_error().map_or(Meaning::Unavailable, of_database)
}

fn of_database(error: &DbError) -> Meaning {
    let state = error.code();
    match state.code() {
        "40001" | "40P01" => Meaning::Conflict,
        // Somebody stored the same id, or began the same chain, a moment before; the next try sees it.
        "23505" => Meaning::Conflict,
        // "no partition of relation found for row" has the code of a check constraint, but names none.
        "23514" if error.constraint().is_none() => Meaning::NoPartition,
        // Wrong characters, values out of range, broken constraints, and what a trigger refuses.
        code if code.starts_with("22") || code.starts_with("23") => Meaning::Refused,
        "P0001" | "54000" | "54001" => Meaning::Refused,
        _ => Meaning::Unavailable,
    }
}

/// Whether a row with that key is already there.
pub(crate) fn is_duplicate(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::UNIQUE_VIOLATION)
}

/// The message of the server with its code, without the addresses that connection errors name.
pub(crate) fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(database) => format!("{} (SQLSTATE {})", database.message(), database.code().code()),
        None => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(error);
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            text
        }
    }
}
