//! A private Redis (or Valkey).

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::builder::Builder;
use crate::fetch;
use crate::find::{Programs, Wanted};
use crate::instance::{Instance, NewInstance, remove_folder};
use crate::server::{Server, on_port, secret};
use crate::url::percent;

const WANTED: Wanted = Wanted {
    name: "Redis or Valkey server",
    servers: &["valkey-server", "redis-server"],
    required: &[],
    folders: &[
        "/usr/sbin",
        "/usr/local/bin",
        "/opt/homebrew/bin",
        "/opt/local/bin",
    ],
    // XAUTOCLAIM for pending entries of streams.
    min_version: (6, 2),
    wheel: &fetch::VALKEY,
    packages: &[
        ("apt-get", "redis-server"),
        ("dnf", "redis"),
        ("zypper", "redis"),
        ("pacman", "valkey"),
        ("apk", "valkey"),
        ("brew", "valkey"),
    ],
};

/// Options of a Redis.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    password: Option<String>,
    append_only: bool,
    settings: Vec<(String, String)>,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            password: None,
            append_only: true,
            settings: Vec::new(),
        }
    }
}

impl Builder<RedisOptions> {
    /// Sets the password. Default: a random one.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.own.password = Some(password.into());
        self
    }

    /// Sets whether written data survives a kill (the append-only file). Default: true.
    pub fn append_only(mut self, append_only: bool) -> Self {
        self.own.append_only = append_only;
        self
    }

    /// Adds a setting of redis.conf.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.own.settings.push((name.into(), value.into()));
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// If there is no Redis and none can be fetched, a setting is unknown, the given port is in use, or the server does
    /// not start; with its last lines.
    pub fn start(self) -> anyhow::Result<Redis> {
        let Self {
            port,
            record,
            log,
            belongs_to,
            choose_port,
            own,
        } = self;
        let password = own.password.clone().map_or_else(secret, Ok)?;
        let programs = redis_programs()?;
        let instance = NewInstance::make("redis", None)?.register(record, belongs_to)?;
        let data = instance.folder().join("data");
        let file = instance.folder().join("redis.conf");

        let start = |port| {
            let settings = settings(&own, &data, port, &password)?;
            fs::create_dir_all(&data)?;
            // The file has the password: all users can read a command line.
            subprocess::write_atomically(&file, settings.as_bytes())?;
            let (server, file, secret) = (programs.server.clone(), file.clone(), password.clone());
            let server = Server::new(
                "Redis",
                instance.clone(),
                log.clone(),
                port,
                Box::new(move || {
                    let mut command = process::Command::new(&server);
                    command.arg(&file).current_dir("/");
                    subprocess::Command::new(command)
                }),
                Box::new(move || probe(port, &secret)),
            );
            server.launch()
        };
        let server = on_port("Redis", port, choose_port, start)
            .inspect_err(|_| drop(remove_folder(instance.folder())))?;
        Ok(Redis {
            server,
            programs,
            password,
        })
    }
}

/// A private Redis, stopped on drop.
pub struct Redis {
    server: Server,
    programs: Programs,
    password: String,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Redis")
            .field("port", &self.server.port)
            .finish_non_exhaustive()
    }
}

impl Redis {
    /// Returns a builder with its options.
    pub fn builder() -> Builder<RedisOptions> {
        Builder::default()
    }

    /// Starts one with default options.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub fn start() -> anyhow::Result<Self> {
        Self::builder().start()
    }

    /// Returns `redis://:PASSWORD@127.0.0.1:PORT/0`.
    #[must_use]
    pub fn url(&self) -> String {
        format!(
            "redis://:{}@127.0.0.1:{}/0",
            percent(&self.password),
            self.server.port
        )
    }

    /// Returns its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// Returns its programs.
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

    /// Stops it in order and returns after the exit. Append-only data stays.
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

    /// Kills it and returns after the exit.
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

/// Returns how to install Redis by this system's package manager.
#[must_use]
pub fn redis_install_hint() -> String {
    WANTED.install_hint()
}

/// Returns the programs if they are found or have been fetched; fetches nothing.
///
/// # Errors
/// As [`crate::available_postgresql`].
pub fn available_redis() -> anyhow::Result<Option<Programs>> {
    WANTED.available()
}

/// Finds or fetches the programs.
///
/// # Errors
/// If there are none and none can be fetched.
pub fn redis_programs() -> anyhow::Result<Programs> {
    WANTED.programs()
}

fn settings(own: &RedisOptions, data: &Path, port: u16, password: &str) -> anyhow::Result<String> {
    let data = data
        .to_str()
        .context("the path of the cache folder is not UTF-8")?;
    let port = port.to_string();
    let fixed = [
        ("bind", "127.0.0.1"),
        ("port", &port),
        ("requirepass", password),
        ("dir", data),
        ("appendonly", if own.append_only { "yes" } else { "no" }),
        // No snapshots: they fork, and nothing reads them.
        ("save", ""),
    ];
    let own = own
        .settings
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let mut lines = String::new();
    for (name, value) in fixed.into_iter().chain(own) {
        if name.is_empty()
            || !name
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || letter == '-')
        {
            bail!("invalid name of a Redis setting: {name:?}");
        }
        if value.chars().any(char::is_control) {
            bail!("invalid value of the Redis setting {name}: it contains control characters");
        }
        lines.push_str(&format!(
            "{name} \"{}\"\n",
            value.replace('\\', "\\\\").replace('"', "\\\"")
        ));
    }
    Ok(lines)
}

/// Sends the password and a ping to the server on `port`; the error is its response.
fn probe(port: u16, password: &str) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(text)?;
    stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .map_err(text)?;
    let request = format!(
        "*2\r\n$4\r\nAUTH\r\n${}\r\n{password}\r\n*1\r\n$4\r\nPING\r\n",
        password.len()
    );
    stream.write_all(request.as_bytes()).map_err(text)?;
    let mut response = Vec::new();
    let mut buffer = [0; 256];
    while !response.ends_with(b"+PONG\r\n") {
        match stream.read(&mut buffer).map_err(text)? {
            count if count > 0 && !response.contains(&b'-') => response.extend_from_slice(&buffer[..count]),
            _ => return Err(String::from_utf8_lossy(&response).trim().to_owned()),
        }
        if response.starts_with(b"-") || response.windows(3).any(|part| part == b"\r\n-") {
            return Err(String::from_utf8_lossy(&response).trim().to_owned());
        }
    }
    Ok(())
}
