//! A private Redis (or Valkey).

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process;

use anyhow::{Context, bail};

use crate::builder::Builder;
use crate::fetch;
use crate::find::{Programs, Wanted};
use crate::instance::Instance;
use crate::server::{Kind, Server, connect, secret};
use crate::url::percent;

/// The programs of Redis or Valkey.
pub static REDIS: Wanted = Wanted {
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
        self.launch()
    }
}

/// A private Redis, stopped on drop.
pub type Redis = Server<RedisKind>;

/// A Redis as a [`Kind`] of server.
pub struct RedisKind {
    programs: Programs,
    options: RedisOptions,
    password: String,
}

impl Kind for RedisKind {
    const NAME: &'static str = "Redis";
    const INSTANCE: &'static str = "redis";
    type Options = RedisOptions;

    fn resolve(options: RedisOptions) -> anyhow::Result<Self> {
        Ok(Self {
            password: options.password.clone().map_or_else(secret, Ok)?,
            programs: REDIS.programs()?,
            options,
        })
    }

    fn command(&self, instance: &Instance, port: u16) -> anyhow::Result<subprocess::Command> {
        let data = instance.folder().join("data");
        let file = instance.folder().join("redis.conf");
        let settings = settings(&self.options, &data, port, &self.password)?;
        fs::create_dir_all(&data)?;
        // The file has the password: all users can read a command line.
        subprocess::write_atomically(&file, settings.as_bytes())?;
        let mut command = process::Command::new(&self.programs.server);
        command.arg(&file).current_dir("/");
        Ok(subprocess::Command::new(command))
    }

    /// Sends the password and a ping; the error is the response.
    fn probe(&self, port: u16) -> anyhow::Result<()> {
        let Self { password, .. } = self;
        let mut stream = connect(port)?;
        let request = format!(
            "*2\r\n$4\r\nAUTH\r\n${}\r\n{password}\r\n*1\r\n$4\r\nPING\r\n",
            password.len()
        );
        stream.write_all(request.as_bytes())?;
        let mut response = Vec::new();
        let mut buffer = [0; 256];
        while !response.ends_with(b"+PONG\r\n") {
            let count = stream.read(&mut buffer)?;
            response.extend_from_slice(&buffer[..count]);
            let error = response.starts_with(b"-") || response.windows(3).any(|part| part == b"\r\n-");
            if count == 0 || error {
                bail!("{}", String::from_utf8_lossy(&response).trim());
            }
        }
        Ok(())
    }
}

impl Redis {
    /// Returns `redis://:PASSWORD@127.0.0.1:PORT/0`.
    #[must_use]
    pub fn url(&self) -> String {
        format!(
            "redis://:{}@127.0.0.1:{}/0",
            percent(&self.kind.password),
            self.port()
        )
    }

    /// Returns its programs.
    #[must_use]
    pub fn programs(&self) -> &Programs {
        &self.kind.programs
    }
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
