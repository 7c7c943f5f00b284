//! What the Gateway promises to those who send signals and to those who work on its requests.

mod audit;
mod deduplication;
mod health;
mod refusals;
mod requests;

use crate::harness::scenario::Scenario;

pub(crate) const SCENARIOS: &[&[Scenario]] = &[
    audit::SCENARIOS,
    deduplication::SCENARIOS,
    health::SCENARIOS,
    refusals::SCENARIOS,
    requests::SCENARIOS,
];
