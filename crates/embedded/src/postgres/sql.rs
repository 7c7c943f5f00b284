//! What was asked for, as PostgreSQL reads it: settings and statements, names and texts quoted.

use anyhow::bail;

use super::SUPERUSER;
use super::options::PostgresOptions;
use super::template::{DATABASE, ROLE};

/// The lines of the settings file.
pub(super) fn settings(own: &PostgresOptions) -> anyhow::Result<String> {
    let fixed = [
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", ""),
        // In the data folder: what a killed server leaves goes with it.
        ("dynamic_shared_memory_type", "mmap"),
        ("log_min_messages", "warning"),
        ("timezone", "UTC"),
    ];
    let careless = [
        ("fsync", "off"),
        ("synchronous_commit", "off"),
        ("full_page_writes", "off"),
    ];
    let careless = if own.durable { &[][..] } else { &careless[..] };
    let mut lines = String::new();
    for (name, value) in fixed.iter().chain(careless) {
        lines.push_str(&format!("{name} = '{value}'\n"));
    }
    for (name, value) in &own.settings {
        if name.is_empty()
            || !name
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || "._".contains(letter))
        {
            bail!("{name:?} is not the name of a PostgreSQL setting");
        }
        // Unlike SQL, the settings file knows escapes.
        lines.push_str(&format!("{name} = {}\n", literal(&value.replace('\\', "\\\\"))?));
    }
    Ok(lines)
}

/// The statements that turn a copy of the template into what was asked for, one a line.
pub(super) fn statements(
    own: &PostgresOptions,
    password: &str,
    superuser_password: &str,
) -> anyhow::Result<String> {
    let PostgresOptions { user, database, .. } = own;
    if user == SUPERUSER || ["postgres", "template0", "template1"].contains(&database.as_str()) {
        bail!("the user can't be {SUPERUSER}, nor the database one of PostgreSQL's own; choose other names");
    }
    let mut lines = vec![format!(
        "ALTER ROLE {SUPERUSER} PASSWORD {}",
        literal(superuser_password)?
    )];
    if user != ROLE {
        lines.push(format!("ALTER ROLE {} RENAME TO {}", ROLE, identifier(user)?));
    }
    lines.push(format!(
        "ALTER ROLE {} PASSWORD {}",
        identifier(user)?,
        literal(password)?
    ));
    if database != DATABASE {
        lines.push(format!(
            "ALTER DATABASE {} RENAME TO {}",
            DATABASE,
            identifier(database)?
        ));
    }
    Ok(lines.join(";\n") + ";\n")
}

fn identifier(name: &str) -> anyhow::Result<String> {
    // PostgreSQL cuts longer ones short without an error.
    if name.is_empty() || name.len() > 63 || name.chars().any(char::is_control) {
        bail!("{name:?} is no name for a role or database: 1 to 63 bytes without control characters");
    }
    Ok(format!("\"{}\"", name.replace('"', "\"\"")))
}

fn literal(value: &str) -> anyhow::Result<String> {
    if value.chars().any(char::is_control) {
        bail!("a password or setting may not hold control characters");
    }
    Ok(format!("'{}'", value.replace('\'', "''")))
}
