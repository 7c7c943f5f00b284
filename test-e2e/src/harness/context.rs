//! The context of a running scenario: the stack, and names of its own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use serde_json::Value;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::control::Control;
use super::part::Part;
use crate::cluster::Cluster;
use crate::http::{Http, Response};
use crate::metrics::Metrics;
use crate::sql;
use crate::stack::Stack;

/// One scenario's view of the deployment. All names that it uses contain its [`Self::token`].
pub(crate) struct Context {
    /// The deployment.
    pub(crate) stack: Arc<Stack>,
    /// Sends requests and records the request ids of this scenario.
    pub(crate) http: Http,
    token: String,
    control: Option<Control>,
    cluster: OnceCell<Cluster>,
    namespaces: RefCell<Vec<String>>,
    faults: RefCell<Vec<u64>>,
    undone_by: RefCell<Vec<String>>,
    scaled: RefCell<BTreeMap<Part, u32>>,
}

impl Context {
    /// Creates the context of the scenario with this id.
    pub(crate) fn new(stack: Arc<Stack>, scenario: &str) -> Result<Self> {
        let unique = Uuid::new_v4().simple().to_string();
        let control = (!stack.control.is_empty()).then(|| Control::new(&stack.control));
        Ok(Self {
            stack,
            http: Http::new()?,
            token: format!("e2e-{scenario}-{}", &unique[..8]),
            control,
            cluster: OnceCell::new(),
            namespaces: RefCell::default(),
            faults: RefCell::default(),
            undone_by: RefCell::default(),
            scaled: RefCell::default(),
        })
    }

    /// A name that no other scenario or run uses, valid as a namespace and as a label value.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// A derived name for one of several objects.
    pub(crate) fn named(&self, what: &str) -> String {
        format!("{}-{what}", self.token)
    }

    /// The control command, which stops and starts components.
    pub(crate) fn control(&self) -> Result<&Control> {
        self.control
            .as_ref()
            .ok_or_else(|| anyhow!("the stack file has no control; require it in the table"))
    }

    /// The control command, for scenarios that only use it if it exists.
    pub(crate) fn control_if_any(&self) -> Option<&Control> {
        self.control.as_ref()
    }

    /// The Kubernetes API.
    pub(crate) async fn cluster(&self) -> Result<&Cluster> {
        let connect = async || {
            let kubeconfig = self.stack.kubeconfig.as_deref();
            Cluster::connect(kubeconfig.context("the stack file has no kubeconfig; require it in the table")?)
                .await
        };
        self.cluster.get_or_try_init(connect).await
    }

    /// Gets `/healthz` or `/readyz` of a service.
    pub(crate) async fn health(&self, service: &str, path: &str) -> Result<Response> {
        let base = self.stack.service(service, "health")?;
        self.http.get(format!("{base}{path}")).send().await
    }

    /// Scrapes the metrics of a service.
    pub(crate) async fn metrics(&self, service: &str) -> Result<Metrics> {
        let url = format!("{}/metrics", self.stack.service(service, "metrics")?);
        let scrape = self.http.get(url).send().await?.expect(200)?;
        Ok(Metrics::read(&scrape.text()))
    }

    /// Creates a namespace that is deleted when the scenario ends, whatever its outcome.
    pub(crate) async fn namespace(&self) -> Result<String> {
        self.namespace_named("n").await
    }

    /// Creates one of several such namespaces.
    pub(crate) async fn namespace_named(&self, what: &str) -> Result<String> {
        let name = self.named(what);
        self.namespaces.borrow_mut().push(name.clone());
        self.cluster().await?.create_namespace(&name).await?;
        Ok(name)
    }

    /// Injects a fault into the Kubernetes API until the scenario ends. Returns the fault's number.
    pub(crate) async fn fault(&self, fault: Value) -> Result<u64> {
        let number = self.cluster().await?.add_fault(&fault).await?;
        self.faults.borrow_mut().push(number);
        Ok(number)
    }

    /// Scales a service until the scenario ends, where it runs in pods; returns its number of replicas: one where it
    /// is a process.
    pub(crate) async fn scale(&self, service: Part, replicas: u32) -> Result<u32> {
        if !self.stack.has_pods() {
            return Ok(1);
        }
        let before = self
            .cluster()
            .await?
            .scale(&self.stack.namespace, service.name(), replicas)
            .await?;
        self.scaled.borrow_mut().entry(service).or_insert(before);
        Ok(replicas)
    }

    /// Registers SQL that restores the database when the scenario ends, whatever its outcome.
    pub(crate) fn undo_by_sql(&self, statements: impl Into<String>) {
        self.undone_by.borrow_mut().push(statements.into());
    }

    /// PostgreSQL as a superuser.
    pub(crate) async fn sql_admin(&self) -> Result<tokio_postgres::Client> {
        sql::connect(self.stack.component("postgresql", "admin")?).await
    }

    /// Starts what is still stopped and deletes what was created. A component that does not recover is an error;
    /// a failed deletion is only logged, since it affects no other scenario.
    pub(crate) async fn clean_up(&self) -> Result<()> {
        if let Some(control) = &self.control {
            control.restore().await?;
        }
        for statements in self.undone_by.take() {
            self.sql_admin()
                .await?
                .batch_execute(&statements)
                .await
                .context("cannot restore the database")?;
        }
        for fault in self.faults.take() {
            self.cluster().await?.remove_fault(fault).await?;
        }
        let scaled = self.scaled.take();
        for (service, before) in scaled {
            self.cluster()
                .await?
                .scale(&self.stack.namespace, service.name(), before)
                .await?;
        }
        let namespaces = self.namespaces.take();
        for name in namespaces {
            let deleted = async { self.cluster().await?.delete_namespace(&name).await };
            if let Err(error) = deleted.await {
                eprintln!("cannot delete namespace {name}: {error:#}");
            }
        }
        Ok(())
    }
}
