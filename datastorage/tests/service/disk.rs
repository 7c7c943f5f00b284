//! A disk that is really full: the tables are on a small volume of their own.
//!
//! `cargo test -p datastorage --features privileged --test service disk`: mounting needs root.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::json;

use crate::stack::{Servers, Service, event, name, text, until};

/// A volume in memory, unmounted on drop.
struct Volume(tempfile::TempDir);

impl Volume {
    fn mount(options: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        mount(&["-t", "tmpfs", "-o", options, "tmpfs"], folder.path());
        Self(folder)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

fn mount(arguments: &[&str], folder: &Path) {
    let output = Command::new("mount")
        .args(arguments)
        .arg(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "mounting needs root: {}", text(&output));
}

#[test]
fn full_disk_is_never_acknowledged_as_stored() {
    // Created before the servers, so that it is dropped after them.
    let volume = Volume::mount("size=24m,mode=0777");
    let servers = Arc::new(Servers::own());
    let location = volume.0.path().join("tables");
    std::fs::create_dir(&location).unwrap();
    let folder: std::path::PathBuf = servers.sql("SHOW data_directory")[0][0]
        .as_deref()
        .unwrap()
        .into();
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(folder).unwrap());
    std::os::unix::fs::chown(&location, Some(owner), None).unwrap();
    std::fs::set_permissions(
        volume.0.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    servers.sql(&format!(
        "CREATE TABLESPACE small LOCATION '{}'",
        location.display()
    ));
    servers.sql("GRANT CREATE ON TABLESPACE small TO PUBLIC");
    servers.sql(&format!(
        "ALTER DATABASE {} SET default_tablespace = 'small'",
        servers.database
    ));
    let service = Service::start_with(Arc::clone(&servers), "");
    let correlation = name("full");
    let (mut stored, mut queued) = (BTreeSet::new(), BTreeSet::new());
    while queued.len() < 20 {
        assert!(stored.len() < 1000, "the volume is never full");
        let mut event = event(&correlation);
        // Incompressible data.
        let noise: String = (0..3000)
            .map(|_| uuid::Uuid::new_v4().simple().to_string())
            .collect();
        event["event_data"] = json!({ "noise": noise });
        let id = event["event_id"].as_str().unwrap().to_owned();
        let answer = service.write(&event);
        match answer.status {
            201 => drop(stored.insert(id)),
            202 => drop(queued.insert(id)),
            status => panic!("{status}: {}", answer.text),
        }
    }
    let ids = || -> Vec<String> {
        let rows = servers.sql(&format!(
            "SELECT event_id::text FROM audit_events WHERE correlation_id = '{correlation}'"
        ));
        rows.into_iter().flatten().flatten().collect()
    };
    let rows: BTreeSet<String> = ids().into_iter().collect();
    assert!(
        !stored.is_empty() && stored.is_subset(&rows),
        "acknowledged with 201 and not stored"
    );
    mount(&["-o", "remount,size=512m"], volume.0.path());
    until("what was queued, once", 90, || {
        let rows = ids();
        let all: BTreeSet<String> = rows.iter().cloned().collect();
        assert_eq!(rows.len(), all.len(), "doubled");
        match stored.union(&queued).filter(|id| !all.contains(*id)).count() {
            0 => Ok(()),
            missing => Err(format!("{missing} are missing")),
        }
    });
    assert_eq!(service.verify(&correlation)["is_valid"], true);
    assert_eq!(
        service.metric(r#"datastorage_dead_lettered_total{stream="events"}"#),
        0.0
    );
}
