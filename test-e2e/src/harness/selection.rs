//! Selects the scenarios of a run: by name and by shard.

use std::str::FromStr;

use anyhow::{Result, bail};

use super::scenario::Scenario;

/// A shard of the scenarios: the `index`-th of `of`, counted from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shard {
    index: usize,
    of: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("invalid shard {text:?}: expected I/N with 1 ≤ I ≤ N, for instance 2/3");
        let (index, of) = text.split_once('/').ok_or_else(wrong)?;
        let (index, of) = (
            index.parse().map_err(|_| wrong())?,
            of.parse().map_err(|_| wrong())?,
        );
        if (1..=of).contains(&index) {
            Ok(Self { index, of })
        } else {
            Err(wrong())
        }
    }
}

/// Selects the scenarios that match any of the filters (all, without filters), then this shard's part of them.
/// Shards depend on the ids alone, so that the shards of one build together run every scenario once.
///
/// # Errors
/// When a filter matches no scenario: it is most likely misspelt.
pub(crate) fn select(table: &[Scenario], filters: &[String], shard: Option<Shard>) -> Result<Vec<Scenario>> {
    let unmatched: Vec<_> = filters
        .iter()
        .filter(|filter| !table.iter().any(|one| one.name.contains(filter.as_str())))
        .collect();
    if !unmatched.is_empty() {
        bail!("no scenario matches the filter {unmatched:?}; `test-e2e list` shows all scenarios");
    }
    let mut chosen: Vec<_> = table
        .iter()
        .filter(|one| filters.is_empty() || filters.iter().any(|filter| one.name.contains(filter.as_str())))
        .copied()
        .collect();
    chosen.sort_by_key(Scenario::id);
    let shard = shard.unwrap_or(Shard { index: 1, of: 1 });
    Ok(chosen
        .into_iter()
        .skip(shard.index - 1)
        .step_by(shard.of)
        .collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn table() -> Vec<Scenario> {
        ["s02_b", "g01_alerts", "g02_bursts", "s01_a", "x01_errors"]
            .map(|name| Scenario::new(name, |_| Box::pin(async { Ok(()) })))
            .to_vec()
    }

    fn ids(scenarios: &[Scenario]) -> Vec<&'static str> {
        scenarios.iter().map(Scenario::id).collect()
    }

    #[test]
    fn shards_together_are_the_table_without_repeats() {
        let all: BTreeSet<_> = ids(&table()).into_iter().collect();
        for of in 1..=6 {
            let mut seen = Vec::new();
            for index in 1..=of {
                seen.extend(ids(&select(&table(), &[], Some(Shard { index, of })).unwrap()));
            }
            assert_eq!(seen.len(), all.len());
            assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), all);
        }
    }

    #[test]
    fn shard_does_not_depend_on_the_order_of_the_table() {
        let mut reversed = table();
        reversed.reverse();
        let shard: Shard = "2/3".parse().unwrap();
        assert_eq!(
            ids(&select(&table(), &[], Some(shard)).unwrap()),
            ids(&select(&reversed, &[], Some(shard)).unwrap())
        );
    }

    #[test]
    fn filters_match_parts_of_names_and_misspelt_ones_are_errors() {
        let chosen = select(&table(), &["bursts".into(), "s0".into()], None).unwrap();
        assert_eq!(ids(&chosen), ["g02", "s01", "s02"]);
        assert!(
            select(&table(), &["g01".into(), "brust".into()], None)
                .unwrap_err()
                .to_string()
                .contains("brust")
        );
    }

    #[test]
    fn rejects_shards_out_of_range() {
        for wrong in ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", ""] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
