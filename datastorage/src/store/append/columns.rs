//! Rows and heads as columns for `unnest`.

use std::collections::HashMap;

use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::placing::{Head, Row};
use crate::domain::event::{Micros, Sealed};
use crate::store::types::{HashColumn, Json};

/// New rows.
pub(super) struct Columns<'a> {
    event_id: Vec<Uuid>,
    event_timestamp: Vec<Micros>,
    content_hash: Vec<HashColumn>,
    version: Vec<&'a str>,
    event_type: Vec<&'a str>,
    event_category: Vec<&'a str>,
    event_action: Vec<&'a str>,
    event_outcome: Vec<&'a str>,
    correlation_id: Vec<&'a str>,
    event_data: Vec<Json<'a>>,
    actor_type: Vec<Option<&'a str>>,
    actor_id: Vec<Option<&'a str>>,
    resource_type: Vec<Option<&'a str>>,
    resource_id: Vec<Option<&'a str>>,
    parent_event_id: Vec<Option<Uuid>>,
    namespace: Vec<Option<&'a str>>,
    cluster_name: Vec<Option<&'a str>>,
    severity: Vec<Option<&'a str>>,
    duration_ms: Vec<Option<i32>>,
    error_code: Vec<Option<&'a str>>,
    error_message: Vec<Option<&'a str>>,
    retention_days: Vec<Option<i32>>,
    sequence: Vec<i64>,
    previous_hash: Vec<HashColumn>,
    event_hash: Vec<HashColumn>,
    data_salt: Vec<Option<&'a [u8]>>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(rows: &[Row<'a>]) -> Self {
        fn each<'a, T>(rows: &[Row<'a>], value: impl Fn(&'a Sealed) -> T) -> Vec<T> {
            rows.iter().map(|row| value(row.sealed)).collect()
        }
        Self {
            event_id: each(rows, |sealed| sealed.event.event_id),
            event_timestamp: each(rows, |sealed| sealed.event.event_timestamp),
            content_hash: each(rows, |sealed| HashColumn(sealed.content_hash)),
            version: each(rows, |sealed| sealed.event.version.as_str()),
            event_type: each(rows, |sealed| sealed.event.event_type.as_str()),
            event_category: each(rows, |sealed| sealed.event.event_category.as_str()),
            event_action: each(rows, |sealed| sealed.event.event_action.as_str()),
            event_outcome: each(rows, |sealed| sealed.event.event_outcome.as_str()),
            correlation_id: each(rows, |sealed| sealed.event.correlation_id.as_str()),
            event_data: each(rows, |sealed| Json(&sealed.event.event_data)),
            actor_type: each(rows, |sealed| sealed.event.actor_type.as_deref()),
            actor_id: each(rows, |sealed| sealed.event.actor_id.as_deref()),
            resource_type: each(rows, |sealed| sealed.event.resource_type.as_deref()),
            resource_id: each(rows, |sealed| sealed.event.resource_id.as_deref()),
            parent_event_id: each(rows, |sealed| sealed.event.parent_event_id),
            namespace: each(rows, |sealed| sealed.event.namespace.as_deref()),
            cluster_name: each(rows, |sealed| sealed.event.cluster_name.as_deref()),
            severity: each(rows, |sealed| sealed.event.severity.as_deref()),
            duration_ms: each(rows, |sealed| sealed.event.duration_ms),
            error_code: each(rows, |sealed| sealed.event.error_code.as_deref()),
            error_message: each(rows, |sealed| sealed.event.error_message.as_deref()),
            retention_days: each(rows, |sealed| sealed.event.retention_days),
            sequence: rows.iter().map(|row| row.sequence).collect(),
            previous_hash: rows.iter().map(|row| HashColumn(row.previous)).collect(),
            event_hash: rows.iter().map(|row| HashColumn(row.hash)).collect(),
            data_salt: each(rows, |sealed| Some(sealed.salt.as_slice())),
        }
    }

    pub(super) fn ids(&self) -> [&(dyn ToSql + Sync); 3] {
        [&self.event_id, &self.event_timestamp, &self.content_hash]
    }

    pub(super) fn pending(&self) -> [&(dyn ToSql + Sync); 3] {
        [&self.correlation_id, &self.sequence, &self.event_hash]
    }

    pub(super) fn events<'b>(
        &'b self,
        now: &'b Micros,
        key: &'b Option<&str>,
    ) -> [&'b (dyn ToSql + Sync); 27] {
        [
            &self.event_id,
            &self.event_timestamp,
            &self.version,
            &self.event_type,
            &self.event_category,
            &self.event_action,
            &self.event_outcome,
            &self.correlation_id,
            &self.event_data,
            &self.actor_type,
            &self.actor_id,
            &self.resource_type,
            &self.resource_id,
            &self.parent_event_id,
            &self.namespace,
            &self.cluster_name,
            &self.severity,
            &self.duration_ms,
            &self.error_code,
            &self.error_message,
            &self.retention_days,
            &self.sequence,
            now,
            &self.previous_hash,
            &self.event_hash,
            key,
            &self.data_salt,
        ]
    }
}

/// Heads: new ones, or moved ones.
pub(super) struct HeadColumns<'a> {
    correlation_id: Vec<&'a str>,
    sequence: Vec<i64>,
    hash: Vec<HashColumn>,
    sequence_before: Vec<i64>,
    hash_before: Vec<HashColumn>,
}

impl<'a> HeadColumns<'a> {
    /// Splits them into existing and new ones, in the common order of locks.
    pub(super) fn of(heads: &HashMap<&'a str, Head>, existed: bool) -> Self {
        let mut chosen: Vec<(&&str, &Head)> = heads
            .iter()
            .filter(|(_, head)| head.has_moved() && head.before.is_some() == existed)
            .collect();
        chosen.sort_unstable_by_key(|(correlation, _)| **correlation);
        let before = || chosen.iter().filter_map(|(_, head)| head.before);
        Self {
            correlation_id: chosen.iter().map(|(correlation, _)| **correlation).collect(),
            sequence: chosen.iter().map(|(_, head)| head.now.sequence).collect(),
            hash: chosen.iter().map(|(_, head)| HashColumn(head.now.hash)).collect(),
            sequence_before: before().map(|end| end.sequence).collect(),
            hash_before: before().map(|end| HashColumn(end.hash)).collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.correlation_id.is_empty()
    }

    /// Columns of new heads.
    pub(super) fn inserted(&self) -> [&(dyn ToSql + Sync); 3] {
        [&self.correlation_id, &self.sequence, &self.hash]
    }

    /// Columns of moved heads, with their expected values.
    pub(super) fn moved(&self) -> [&(dyn ToSql + Sync); 5] {
        [
            &self.correlation_id,
            &self.sequence,
            &self.hash,
            &self.sequence_before,
            &self.hash_before,
        ]
    }
}
