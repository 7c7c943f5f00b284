//! Metrics of the server, named and labelled as those of the real one.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::api::Call;
use crate::store::Store;

/// Content type of the metrics.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Counters of requests.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    requests: Family<Request, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    code: u16,
    component: &'static str,
    dry_run: String,
    group: String,
    resource: String,
    scope: &'static str,
    subresource: String,
    verb: &'static str,
    version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stored {
    resource: String,
}

impl Metrics {
    /// Counts a request to a served resource.
    pub(super) fn count(&self, call: &Call, verb: &str, code: u16) {
        let resource = &call.resource;
        let is_apply = call.content_type.starts_with("application/apply-patch");
        let labels = Request {
            code,
            component: "apiserver",
            dry_run: call.query.get("dryRun").chars().take(3).collect(),
            group: resource.group.clone(),
            resource: resource.plural.clone(),
            scope: match (call.name.is_empty(), call.namespace.is_empty()) {
                (false, _) => "resource",
                (true, false) => "namespace",
                (true, true) => "cluster",
            },
            subresource: call.subresource.clone(),
            verb: match verb {
                "create" => "POST",
                "update" => "PUT",
                "patch" if is_apply => "APPLY",
                "patch" => "PATCH",
                "get" => "GET",
                "list" => "LIST",
                "watch" => "WATCH",
                "delete" => "DELETE",
                _ => "DELETECOLLECTION",
            },
            version: resource.version.clone(),
        };
        self.requests.get_or_create(&labels).inc();
    }

    /// The metrics as text.
    pub(super) fn text(&self, store: &Store) -> String {
        let stored = Family::<Stored, Gauge>::default();
        for (table, count) in store.counts() {
            let resource = table.to_string();
            stored
                .get_or_create(&Stored { resource })
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let mut registry = Registry::default();
        let help = "Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code";
        registry.register("apiserver_request", help, self.requests.clone());
        registry.register(
            "apiserver_storage_objects",
            "Number of stored objects at the time of last check split by kind",
            stored,
        );
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }
}
