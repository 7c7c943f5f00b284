//! Classification of PostgreSQL errors.

use tokio_postgres::error::{DbError, SqlState};

/// The class of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The data is rejected: a retry changes nothing.
    Rejected,
    /// A conflict with another transaction: retry at once.
    Conflict,
    /// A month has no partition: create it, then retry.
    NoPartition,
    /// PostgreSQL is unavailable, or cannot work: the data goes to the stream.
    Unavailable,
}

/// Classifies by SQLSTATE. An unknown error counts as PostgreSQL's, not the data's.
pub(crate) fn meaning(error: &tokio_postgres::Error) -> Meaning {
    error.as_db_error().map_or(Meaning::Unavailable, of_database)
}

fn of_database(error: &DbError) -> Meaning {
    let state = error.code();
    match state.code() {
        "40001" | "40P01" => Meaning::Conflict,
        // Another transaction stored the same id, or began the same chain, a moment before; the retry sees it.
        "23505" => Meaning::Conflict,
        // "no partition of relation found for row" has the code of a check constraint, but names none.
        "23514" if error.constraint().is_none() => Meaning::NoPartition,
        // Invalid characters, values out of range, violated constraints, and rejections by triggers.
        code if code.starts_with("22") || code.starts_with("23") => Meaning::Rejected,
        "P0001" | "54000" | "54001" => Meaning::Rejected,
        _ => Meaning::Unavailable,
    }
}

/// Whether the data may be the cause of an error that counts as PostgreSQL's: a statement that took too long or too
/// much memory, or an error that nobody foresaw. Less data, or other data, may succeed.
pub(crate) fn may_be_the_data(error: &tokio_postgres::Error) -> bool {
    let Some(database) = error.as_db_error() else {
        return error.is_closed();
    };
    match database.code().code() {
        "57014" | "53200" | "53400" => true,
        // Connections, roles, missing tables, resources, states of objects and of the server, its disk.
        code => ![
            "08", "25", "28", "3D", "3F", "40", "42", "53", "55", "57", "58", "F0",
        ]
        .iter()
        .any(|class| code.starts_with(class)),
    }
}

/// Whether a value cannot be what its column or function needs (SQLSTATE class 22).
pub(crate) fn is_invalid_value(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|state| state.code().starts_with("22"))
}

/// Whether a row with that key exists.
pub(crate) fn is_duplicate(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::UNIQUE_VIOLATION)
}

/// The server's message with its code, without the addresses that connection errors contain.
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
