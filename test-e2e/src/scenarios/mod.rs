//! The table of scenarios. A scenario's name says what it proves; its file is named after its subject.

mod datastorage;
mod gateway;
mod runner;

use std::io::Write;

use anyhow::Result;
use serde_json::json;

use crate::harness::part::Part;
use crate::harness::report::Format;
use crate::harness::scenario::Scenario;

/// Every scenario, in the order of the ids.
pub(crate) fn table() -> Vec<Scenario> {
    let mut table: Vec<_> = [gateway::SCENARIOS, datastorage::SCENARIOS, &[runner::SCENARIOS]]
        .into_iter()
        .flatten()
        .copied()
        .flatten()
        .copied()
        .collect();
    table.sort_by_key(Scenario::id);
    table
}

/// Prints the table.
pub(crate) fn list(out: &mut impl Write, format: Format) -> Result<()> {
    for scenario in table() {
        let names = |parts: &[Part]| parts.iter().map(|part| part.name()).collect::<Vec<_>>();
        let (shares, alone) = (names(scenario.shares), names(scenario.alone));
        match format {
            Format::Text if alone.is_empty() => writeln!(out, "{}", scenario.name)?,
            Format::Text => writeln!(out, "{}  (alone with {})", scenario.name, alone.join(", "))?,
            Format::Json => {
                let line = json!({
                    "id": scenario.id(),
                    "name": scenario.name,
                    "shares": shares,
                    "alone": alone,
                    "estimate_seconds": scenario.estimate.as_secs(),
                    "deadline_seconds": scenario.deadline.as_secs(),
                });
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_names_state_what_is_proven() {
        let table = table();
        let ids: BTreeSet<_> = table.iter().map(Scenario::id).collect();
        assert_eq!(ids.len(), table.len(), "two scenarios share an id");
        for scenario in &table {
            let (id, proves) = scenario.name.split_once('_').unwrap();
            assert!(id.len() == 3 && "gsx".contains(&id[..1]), "{id}");
            assert!(
                proves.len() > 10,
                "{}: the name does not state what is proven",
                scenario.name
            );
        }
    }

    #[test]
    fn shared_and_exclusive_components_are_disjoint_and_deadlines_generous() {
        for scenario in table() {
            assert!(
                scenario.shares.iter().all(|part| !scenario.alone.contains(part)),
                "{}",
                scenario.name
            );
            assert!(
                scenario.deadline >= 3 * scenario.estimate,
                "{}: the deadline is too close to the estimate",
                scenario.name
            );
        }
    }
}
