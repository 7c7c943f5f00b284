//! What can be asked of a PostgreSQL.

use crate::builder::Builder;

/// What can be asked of a PostgreSQL before it starts.
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
    /// The role that owns the database: `embedded` unless given.
    pub fn user(mut self, name: impl Into<String>) -> Self {
        self.own.user = name.into();
        self
    }

    /// Its password: a random one unless given.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.own.password = Some(password.into());
        self
    }

    /// The password of the superuser `postgres`: a random one unless given.
    pub fn superuser_password(mut self, password: impl Into<String>) -> Self {
        self.own.superuser_password = Some(password.into());
        self
    }

    /// The database: `embedded` unless given.
    pub fn database(mut self, name: impl Into<String>) -> Self {
        self.own.database = name.into();
        self
    }

    /// Whether a commit is on disk when it is answered. Yes unless told otherwise: benchmarks must be honest; unit
    /// tests, which lose nothing with the machine, run faster without.
    pub fn durable(mut self, durable: bool) -> Self {
        self.own.durable = durable;
        self
    }

    /// A line of postgresql.conf.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.own.settings.push((name.into(), value.into()));
        self
    }
}
