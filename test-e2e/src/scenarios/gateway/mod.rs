//! What the Gateway promises to those who send signals and to those who work on its requests.

mod access;
mod audit;
mod deduplication;
mod faults;
mod headers;
mod health;
mod logs;
mod metrics;
mod outages;
mod refusals;
mod requests;
mod webhooks;

use crate::harness::scenario::Scenario;

pub(crate) const SCENARIOS: &[&[Scenario]] = &[
    access::SCENARIOS,
    audit::SCENARIOS,
    deduplication::SCENARIOS,
    faults::SCENARIOS,
    headers::SCENARIOS,
    health::SCENARIOS,
    logs::SCENARIOS,
    metrics::SCENARIOS,
    outages::SCENARIOS,
    refusals::SCENARIOS,
    requests::SCENARIOS,
    webhooks::SCENARIOS,
];
