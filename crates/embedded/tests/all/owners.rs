//! Owners of instances, and removal after their death.

use std::fs;

use embedded::{Instance, Redis, instances};
use subprocess::Record;

use std::process::{Command, Stdio};

use crate::common::{helper, serving, sql};

fn instance_in(folder: &std::path::Path) -> Option<Instance> {
    instances()
        .into_iter()
        .find(|instance| instance.folder() == folder)
}

#[test]
fn the_next_start_removes_the_server_of_a_killed_owner() {
    let (mut owner, url, folder) = serving(helper(&["postgresql"]));
    let instance = instance_in(&folder).expect("a live instance is listed");
    assert!(!instance.is_abandoned());
    let record = Record::read(&instance.record).unwrap();

    owner.kill().unwrap();
    owner.wait().unwrap();
    assert!(instance.is_abandoned());
    let next = Redis::start().unwrap();
    assert!(!folder.exists() && !record.is_alive());
    assert!(sql(&url, "select 1").is_err());
    assert!(next.is_running());
}

#[test]
fn a_start_does_not_remove_the_server_of_a_live_owner() {
    let (mut owner, url, folder) = serving(helper(&["postgresql"]));
    drop(Redis::start().unwrap());
    assert_eq!(sql(&url, "select 1").unwrap(), "1");
    drop(owner.stdin.take());
    assert!(owner.wait().unwrap().success());
    assert!(!folder.exists());
}

#[test]
fn a_kept_server_runs_as_long_as_the_folder_of_its_run_exists() {
    let root = tempfile::tempdir().unwrap();
    let run = root.path().join("run");
    fs::create_dir(&run).unwrap();
    let (mut owner, url, folder) = serving(helper(&["postgresql", run.to_str().unwrap()]));
    assert!(owner.wait().unwrap().success());

    drop(Redis::start().unwrap());
    let kept = instance_in(&folder).expect("a kept instance is listed");
    assert!(!kept.is_abandoned());
    assert_eq!(sql(&url, "select 1").unwrap(), "1");

    let record = Record::read(&kept.record).unwrap();
    record.stop(std::time::Duration::from_secs(30)).unwrap();
    assert!(sql(&url, "select 1").is_err());
    record.start(&kept.record).unwrap();

    fs::remove_dir(&run).unwrap();
    assert!(kept.is_abandoned());
    kept.remove().unwrap();
    assert!(!folder.exists());
    assert!(sql(&url, "select 1").is_err());
}

#[test]
fn the_next_start_removes_a_kept_server_without_its_run() {
    let root = tempfile::tempdir().unwrap();
    let run = root.path().join("run");
    fs::create_dir(&run).unwrap();
    let (mut owner, url, folder) = serving(helper(&["postgresql", run.to_str().unwrap()]));
    assert!(owner.wait().unwrap().success());
    let record = Record::read(&instance_in(&folder).unwrap().record).unwrap();
    assert!(record.is_alive());

    fs::remove_dir(&run).unwrap();
    drop(Redis::start().unwrap());
    assert!(!folder.exists() && !record.is_alive());
    assert!(sql(&url, "select 1").is_err());
}

#[test]
fn a_server_without_a_record_is_ended_too() {
    for kind in ["redis", "postgresql"] {
        let (mut owner, url, folder) = serving(helper(&[kind]));
        let instance = instance_in(&folder).unwrap();
        let record = Record::read(&instance.record).unwrap();
        fs::remove_file(&instance.record).unwrap();
        instance.remove().unwrap();
        assert!(!record.is_alive(), "{url} is still running");
        owner.kill().unwrap();
        owner.wait().unwrap();
    }
}

#[test]
fn servers_start_under_a_umask_that_excludes_other_users() {
    for kind in ["postgresql", "redis"] {
        let program = env!("CARGO_BIN_EXE_embedded-helper");
        let mut command = Command::new("sh");
        command.args(["-c", "umask 077; exec \"$@\"", "sh", program, kind]);
        let (mut owner, ..) = serving({
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            command
        });
        drop(owner.stdin.take());
        assert!(owner.wait().unwrap().success());
    }
}
