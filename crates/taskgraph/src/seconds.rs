//! Durations in files are seconds with at most microseconds: for readers.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    to_f64(*duration).serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    from_f64(f64::deserialize(deserializer)?)
}

fn to_f64(duration: Duration) -> f64 {
    // Rounded as an integer: 0.1 s must not be printed as 0.10000000000000001.
    duration.as_micros() as f64 / 1e6
}

fn from_f64<E: serde::de::Error>(seconds: f64) -> Result<Duration, E> {
    let nanoseconds = Duration::try_from_secs_f64(seconds).map_err(E::custom)?;
    // Back to the written microsecond: the nearest f64 may be just below it.
    Ok(Duration::from_micros(
        (nanoseconds.as_nanos() as u64).div_ceil(500).div_ceil(2),
    ))
}

/// The same for an optional value.
pub(crate) mod option {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        duration.map(to_f64).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Option::<f64>::deserialize(deserializer)?
            .map(from_f64)
            .transpose()
    }
}

/// The same for the values of a map.
pub(crate) mod map {
    use std::collections::BTreeMap;

    use super::*;

    pub(crate) fn serialize<S: Serializer>(
        map: &BTreeMap<String, Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(map.iter().map(|(name, duration)| (name, to_f64(*duration))))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, Duration>, D::Error> {
        BTreeMap::<String, f64>::deserialize(deserializer)?
            .into_iter()
            .map(|(name, seconds)| Ok((name, from_f64(seconds)?)))
            .collect()
    }
}
