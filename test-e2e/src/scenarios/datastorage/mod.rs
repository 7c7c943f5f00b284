//! DataStorage's guarantees to the services that write events and to its readers.

mod access;
mod batches;
mod chain;
mod crashes;
mod dead_letters;
mod disk;
mod events;
mod export;
mod health;
mod idempotence;
mod migrations;
mod notifications;
mod outages;
mod rejections;
mod retention;
mod timeline;
mod transparency;
mod workflows;

use crate::harness::scenario::Scenario;

pub(crate) const SCENARIOS: &[&[Scenario]] = &[
    access::SCENARIOS,
    batches::SCENARIOS,
    chain::SCENARIOS,
    crashes::SCENARIOS,
    disk::SCENARIOS,
    events::SCENARIOS,
    export::SCENARIOS,
    health::SCENARIOS,
    idempotence::SCENARIOS,
    migrations::SCENARIOS,
    notifications::SCENARIOS,
    outages::SCENARIOS,
    dead_letters::SCENARIOS,
    rejections::SCENARIOS,
    retention::SCENARIOS,
    timeline::SCENARIOS,
    transparency::SCENARIOS,
    workflows::SCENARIOS,
];
