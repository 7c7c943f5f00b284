//! The servers of a service, and a test's direct access to them.

use std::sync::Arc;

use embedded::{Postgres, Redis};
use tokio::runtime::Runtime;
use tokio_postgres::NoTls;
use uuid::Uuid;

/// The Redis stream of events that wait for PostgreSQL.
pub(crate) const STREAM: &str = "audit:dlq:events";

/// PostgreSQL and Redis, with a database of the test's own.
pub(crate) struct Servers {
    pub(crate) postgres: Arc<Postgres>,
    pub(crate) redis: Redis,
    pub(crate) database: String,
    runtime: Runtime,
}

impl Servers {
    /// The PostgreSQL shared by all tests, with a database of this test's own.
    pub(crate) fn shared() -> Self {
        Self::with(Postgres::shared().expect("PostgreSQL starts"))
    }

    /// A PostgreSQL of this test's own, with durable commits.
    pub(crate) fn own() -> Self {
        Self::with(Arc::new(Postgres::start().expect("PostgreSQL starts")))
    }

    fn with(postgres: Arc<Postgres>) -> Self {
        let redis = Redis::start().expect("Redis starts");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let database = format!("d{}", Uuid::new_v4().simple());
        let servers = Self {
            postgres,
            redis,
            database,
            runtime,
        };
        let role = servers.postgres.url();
        let owner = login(&role).0;
        servers.sql_at(
            &servers.postgres.superuser_url(),
            &format!("CREATE DATABASE {} OWNER {owner}", servers.database),
        );
        servers
    }

    /// Runs SQL as the superuser of the test's database; returns rows of texts.
    pub(crate) fn sql(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.sql_at(&self.superuser_url(), sql)
    }

    /// Runs SQL as the superuser of another database.
    pub(crate) fn sql_in(&self, database: &str, sql: &str) -> Vec<Vec<Option<String>>> {
        self.sql_at(&in_database(&self.postgres.superuser_url(), database), sql)
    }

    /// Replaces the database `to` by a copy of `from`, which nobody may be connected to.
    pub(crate) fn copy_database(&self, from: &str, to: &str) {
        let url = self.postgres.superuser_url();
        let owner = login(&self.postgres.url()).0;
        self.sql_at(&url, &format!("DROP DATABASE IF EXISTS {to} WITH (FORCE)"));
        // A connection that was just closed may still count.
        self.sql_at(
            &url,
            &format!("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{from}'"),
        );
        self.sql_at(
            &url,
            &format!("CREATE DATABASE {to} TEMPLATE {from} OWNER {owner}"),
        );
    }

    /// Runs SQL as the service's own role, which must fail; returns the message.
    pub(crate) fn rejected_sql(&self, sql: &str) -> String {
        let url = in_database(&self.postgres.url(), &self.database);
        self.runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
            tokio::spawn(connection);
            let error = client
                .batch_execute(sql)
                .await
                .expect_err("the database rejects it");
            error
                .as_db_error()
                .expect("an error of the database")
                .message()
                .to_owned()
        })
    }

    /// Runs SQL as the superuser in a transaction that keeps its locks until the returned value is dropped.
    pub(crate) fn hold(&self, sql: &str) -> tokio_postgres::Client {
        self.runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&self.superuser_url(), NoTls)
                .await
                .unwrap();
            tokio::spawn(connection);
            client.batch_execute(&format!("BEGIN; {sql}")).await.unwrap();
            client
        })
    }

    /// Returns one number.
    pub(crate) fn count(&self, sql: &str) -> i64 {
        self.sql(sql)[0][0].as_deref().unwrap().parse().unwrap()
    }

    pub(crate) fn superuser_url(&self) -> String {
        in_database(&self.postgres.superuser_url(), &self.database)
    }

    fn sql_at(&self, url: &str, sql: &str) -> Vec<Vec<Option<String>>> {
        self.runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
            tokio::spawn(connection);
            let mut rows = Vec::new();
            for message in client
                .simple_query(sql)
                .await
                .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
            {
                if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
                    rows.push(
                        (0..row.len())
                            .map(|index| row.get(index).map(str::to_owned))
                            .collect(),
                    );
                }
            }
            rows
        })
    }

    /// Runs a command of Redis.
    pub(crate) fn redis<T: redis::FromRedisValue>(&self, arguments: &[&str]) -> T {
        self.runtime.block_on(async {
            let client = redis::Client::open(self.redis.url()).unwrap();
            let mut connection = client.get_multiplexed_async_connection().await.unwrap();
            let mut command = redis::cmd(arguments[0]);
            for argument in &arguments[1..] {
                command.arg(argument);
            }
            command.query_async(&mut connection).await.unwrap()
        })
    }

    /// Number of entries in the events' stream.
    pub(crate) fn waiting(&self) -> u64 {
        self.redis(&["XLEN", STREAM])
    }
}

/// User and password of a URL.
pub(super) fn login(url: &str) -> (String, String) {
    let rest = url.split_once("://").unwrap().1;
    let (login, _) = rest.split_once('@').unwrap();
    let (user, password) = login.split_once(':').unwrap();
    (user.to_owned(), password.to_owned())
}

fn in_database(url: &str, database: &str) -> String {
    format!("{}/{database}", url.rsplit_once('/').unwrap().0)
}
