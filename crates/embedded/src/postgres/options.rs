//! Options of a PostgreSQL.

use crate::builder::Builder;

/// Options of a PostgreSQL.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    pub(super) user: String,
    pub(super) password: Option<String>,
    pub(super) superuser_password: Option<String>,
    pub(super) database: String,
    pub(super) durable: bool,
    pub(super) settings: Vec<(String, String)>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            user: "embedded".to_owned(),
            password: None,
            superuser_password: None,
            database: "embedded".to_owned(),
            durable: true,
            settings: Vec::new(),
        }
    }
}

impl Builder<PostgresOptions> {
    /// Sets the role that owns the database. Default: `embedded`.
    pub fn user(mut self, name: impl Into<String>) -> Self {
        self.own.user = name.into();
        self
    }

    /// Sets the password of that role. Default: a random one.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.own.password = Some(password.into());
        self
    }

    /// Sets the password of the superuser `postgres`. Default: a random one.
    pub fn superuser_password(mut self, password: impl Into<String>) -> Self {
        self.own.superuser_password = Some(password.into());
        self
    }

    /// Sets the name of the database. Default: `embedded`.
    pub fn database(mut self, name: impl Into<String>) -> Self {
        self.own.database = name.into();
        self
    }

    /// Sets whether a commit is on disk when it is acknowledged. Default: true, for realistic benchmarks; unit tests run
    /// faster without.
    pub fn durable(mut self, durable: bool) -> Self {
        self.own.durable = durable;
        self
    }

    /// Adds a setting of postgresql.conf.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.own.settings.push((name.into(), value.into()));
        self
    }
}
