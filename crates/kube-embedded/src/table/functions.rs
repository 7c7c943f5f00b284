//! Functions of columns whose cell is no value of the object.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{cells, network, resources};
use crate::object::text;

/// The pod template of a cron job.
const JOB_TEMPLATE: &str = "/spec/jobTemplate/spec/template";

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Function {
    AccessModes,
    ClassName,
    ClassParameters,
    Containers,
    Controller,
    EndpointAddresses,
    EventCount,
    EventMessage,
    EventObject,
    EventSource,
    ExternalAddress,
    ExternalNodeAddress,
    Images,
    IngressAddresses,
    IngressHosts,
    IngressPorts,
    InternalAddress,
    JobContainers,
    JobDuration,
    JobImages,
    JobStatus,
    LastSeen,
    Metrics,
    NodeRoles,
    NodeStatus,
    Phase,
    PodReady,
    PodRestarts,
    PodStatus,
    QuotaLimits,
    QuotaRequests,
    Role,
    ScaleTarget,
    Selector,
    ServicePorts,
    SliceEndpoints,
    SlicePorts,
    TemplateContainers,
    TemplateImages,
    VolumeClaim,
    VolumeModes,
}

impl Function {
    pub(super) fn call(&self, object: &Value) -> Value {
        match self {
            Self::AccessModes => cells::access_modes(object.pointer("/status/accessModes")),
            Self::ClassName => resources::class_name(object),
            Self::ClassParameters => network::class_parameters(object),
            Self::Containers => cells::containers(object, "/spec/template"),
            Self::Controller => resources::controller(object),
            Self::EndpointAddresses => network::endpoint_addresses(object),
            Self::EventCount => object.get("count").cloned().unwrap_or_else(|| json!(1)),
            Self::EventMessage => text(object, "/message").trim().into(),
            Self::EventObject => cells::event_object(object),
            Self::EventSource => cells::event_source(object),
            Self::ExternalAddress => cells::external_address(object),
            Self::ExternalNodeAddress => network::node_address(object, "ExternalIP"),
            Self::Images => cells::images(object, "/spec/template"),
            Self::IngressAddresses => network::load_balancer_addresses(object),
            Self::IngressHosts => network::ingress_hosts(object),
            Self::IngressPorts => network::ingress_ports(object),
            Self::InternalAddress => network::node_address(object, "InternalIP"),
            Self::JobContainers => cells::containers(object, JOB_TEMPLATE),
            Self::JobDuration => cells::job_duration(object),
            Self::JobImages => cells::images(object, JOB_TEMPLATE),
            Self::JobStatus => cells::job_status(object),
            Self::LastSeen => cells::last_seen(object),
            Self::Metrics => resources::metrics(object),
            Self::NodeRoles => cells::node_roles(object),
            Self::NodeStatus => cells::node_status(object),
            Self::Phase => resources::phase(object),
            Self::PodReady => cells::pod_ready(object),
            Self::PodRestarts => cells::pod_restarts(object),
            Self::PodStatus => cells::pod_status(object),
            Self::QuotaLimits => resources::quota(object, true),
            Self::QuotaRequests => resources::quota(object, false),
            Self::Role => cells::role(object),
            Self::ScaleTarget => resources::scale_target(object),
            Self::Selector => cells::selector(object),
            Self::ServicePorts => cells::service_ports(object),
            Self::SliceEndpoints => network::slice_endpoints(object),
            Self::SlicePorts => network::slice_ports(object),
            Self::TemplateContainers => cells::containers(object, "/template"),
            Self::TemplateImages => cells::images(object, "/template"),
            Self::VolumeClaim => resources::volume_claim(object),
            Self::VolumeModes => cells::access_modes(object.pointer("/spec/accessModes")),
        }
    }
}
