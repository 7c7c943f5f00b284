//! Deletion of individual kinds: grace period, what blocks the removal, the response.

use serde_json::{Value, json};

use crate::object::{self, text};
use crate::resources::{Resource, definition};
use crate::store::NAMESPACES;

/// The default grace period in seconds; 0 is immediate. Only pods have one.
pub(in crate::api) fn grace(resource: &Resource, object: &Value, requested: Option<i64>) -> i64 {
    if &*resource.table != "pods" {
        return 0;
    }
    let running = !text(object, "/spec/nodeName").is_empty()
        && !matches!(text(object, "/status/phase"), "Failed" | "Succeeded");
    let own = object
        .pointer("/spec/terminationGracePeriodSeconds")
        .and_then(Value::as_i64);
    if running {
        requested.or(own).unwrap_or(30).max(0)
    } else {
        0
    }
}

/// Whether a marked object without finalizers can be removed.
pub(in crate::api) fn is_released(resource: &Resource, object: &Value) -> bool {
    match &*resource.table {
        NAMESPACES => object
            .pointer("/spec/finalizers")
            .and_then(Value::as_array)
            .is_none_or(Vec::is_empty),
        "pods" => {
            object
                .pointer("/metadata/deletionGracePeriodSeconds")
                .and_then(Value::as_i64)
                .unwrap_or_default()
                == 0
        }
        _ => true,
    }
}

/// Whether the response to a deletion is the object instead of a `Status`.
pub(in crate::api) fn delete_returns_object(resource: &Resource) -> bool {
    matches!(
        &*resource.table,
        "pods"
            | "services"
            | "serviceaccounts"
            | "persistentvolumeclaims"
            | "persistentvolumes"
            | "podtemplates"
            | "resourcequotas"
            | "replicationcontrollers"
    )
}

/// Sets the deletion status of kinds that have one; returns whether it did.
pub(in crate::api) fn mark_terminating(resource: &Resource, object: &mut Value) -> bool {
    let table = &*resource.table;
    if table != NAMESPACES && table != definition::TABLE {
        return false;
    }
    object::metadata_mut(object)
        .entry("deletionTimestamp")
        .or_insert_with(|| object::now().into());
    if table == NAMESPACES {
        object::child_mut(object, "status").insert("phase".into(), "Terminating".into());
        return true;
    }
    let condition = json!({
        "type": "Terminating", "status": "True", "lastTransitionTime": object::now(),
        "reason": "InstanceDeletionInProgress", "message": "CustomResource deletion is in progress",
    });
    let conditions = object::child_mut(object, "status")
        .entry("conditions")
        .or_insert_with(|| json!([]));
    if let Some(list) = conditions.as_array_mut() {
        list.retain(|condition| condition["type"] != "Terminating");
        list.push(condition);
    }
    true
}
