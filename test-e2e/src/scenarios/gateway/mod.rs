//! The Gateway's guarantees to senders and to the controllers of its requests.

mod access;
mod audit;
mod deduplication;
mod faults;
mod headers;
mod health;
mod logs;
mod metrics;
mod outages;
mod rejections;
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
    rejections::SCENARIOS,
    requests::SCENARIOS,
    webhooks::SCENARIOS,
];
