//! What a running scenario has in its hands: the stack, and names that are its own.

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
use crate::http::Http;
use crate::sql;
use crate::stack::Stack;

/// One scenario's view of the deployment. Everything that it makes carries its [`Self::token`].
pub(crate) struct Context {
    /// The deployment.
    pub(crate) stack: Arc<Stack>,
    /// Sends requests and remembers what belongs to this scenario.
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
    /// For the scenario of this id.
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

    /// A name that no other scenario and no other run uses, legal as a namespace and a label's value.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// An own name for one of several things.
    pub(crate) fn named(&self, what: &str) -> String {
        format!("{}-{what}", self.token)
    }

    /// The command that stops and starts parts.
    pub(crate) fn control(&self) -> Result<&Control> {
        self.control
            .as_ref()
            .ok_or_else(|| anyhow!("the stack file has no control; require it in the table"))
    }

    /// The same, where it is not what the scenario is about.
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

    /// Makes a namespace of the scenario's own; it is deleted at the scenario's end, however that comes.
    pub(crate) async fn namespace(&self) -> Result<String> {
        self.namespace_named("n").await
    }

    /// One of several.
    pub(crate) async fn namespace_named(&self, what: &str) -> Result<String> {
        let name = self.named(what);
        self.namespaces.borrow_mut().push(name.clone());
        self.cluster().await?.create_namespace(&name).await?;
        Ok(name)
    }

    /// Makes the Kubernetes API misbehave; that ends with the scenario. Gives the fault's number.
    pub(crate) async fn fault(&self, fault: Value) -> Result<u64> {
        let number = self.cluster().await?.add_fault(&fault).await?;
        self.faults.borrow_mut().push(number);
        Ok(number)
    }

    /// Runs so many replicas of a service where it runs in pods, and says how many there are now: one where it is a
    /// process. Ends with the scenario.
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

    /// What puts the database right again at the scenario's end, however that comes.
    pub(crate) fn undo_by_sql(&self, statements: impl Into<String>) {
        self.undone_by.borrow_mut().push(statements.into());
    }

    /// PostgreSQL as a superuser.
    pub(crate) async fn sql_admin(&self) -> Result<tokio_postgres::Client> {
        sql::connect(self.stack.component("postgresql", "admin")?).await
    }

    /// Starts again what is stopped and deletes what was made. A part that does not come back is an error; what
    /// could not be deleted is only told, since it harms nobody.
    pub(crate) async fn clean_up(&self) -> Result<()> {
        if let Some(control) = &self.control {
            control.restore().await?;
        }
        for statements in self.undone_by.take() {
            self.sql_admin()
                .await?
                .batch_execute(&statements)
                .await
                .context("putting the database right")?;
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
                eprintln!("namespace {name} was not deleted: {error:#}");
            }
        }
        Ok(())
    }
}
