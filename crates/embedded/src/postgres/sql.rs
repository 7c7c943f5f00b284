//! Options as settings and SQL statements, with names and texts quoted.

use anyhow::bail;

use super::SUPERUSER;
use super::options::PostgresOptions;
use super::template::{DATABASE, ROLE};

/// Returns the lines of the settings file.
pub(super) fn settings(own: &PostgresOptions) -> anyhow::Result<String> {
    let fixed = [
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", ""),
        // In the data folder, so that it is removed with a killed server.
        ("dynamic_shared_memory_type", "mmap"),
        ("log_min_messages", "warning"),
        ("timezone", "UTC"),
    ];
    let not_durable = [
        ("fsync", "off"),
        ("synchronous_commit", "off"),
        ("full_page_writes", "off"),
    ];
    let not_durable = if own.durable { &[][..] } else { &not_durable[..] };
    let mut lines = String::new();
    for (name, value) in fixed.iter().chain(not_durable) {
        lines.push_str(&format!("{name} = '{value}'\n"));
    }
    for (name, value) in &own.settings {
        if name.is_empty()
            || !name
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || "._".contains(letter))
        {
            bail!("invalid name of a PostgreSQL setting: {name:?}");
        }
        // Unlike SQL, the settings file has backslash escapes.
        lines.push_str(&format!("{name} = {}\n", literal(&value.replace('\\', "\\\\"))?));
    }
    Ok(lines)
}

/// Returns the statements that apply the options to a copy of the template, one per line.
pub(super) fn statements(
    own: &PostgresOptions,
    password: &str,
    superuser_password: &str,
) -> anyhow::Result<String> {
    let PostgresOptions { user, database, .. } = own;
    if user == SUPERUSER || ["postgres", "template0", "template1"].contains(&database.as_str()) {
        bail!(
            "invalid user {user:?} or database {database:?}: PostgreSQL reserves the name; choose other names"
        );
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
    // PostgreSQL truncates longer names without an error.
    if name.is_empty() || name.len() > 63 || name.chars().any(char::is_control) {
        bail!(
            "invalid name of a role or database {name:?}: must be 1 to 63 bytes without control characters"
        );
    }
    Ok(format!("\"{}\"", name.replace('"', "\"\"")))
}

fn literal(value: &str) -> anyhow::Result<String> {
    if value.chars().any(char::is_control) {
        bail!("invalid password or setting: it contains control characters");
    }
    Ok(format!("'{}'", value.replace('\'', "''")))
}
