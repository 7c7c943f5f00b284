//! Creation, lookup, takeover and end of runs.

use super::*;

fn create(root: &Path) -> RunFolder {
    RunFolder::create(&root.join("e2e"), &root.join("index"), ProviderName::Kind, "shop").unwrap()
}

#[test]
fn run_is_found_by_its_folder_and_by_the_index() {
    let root = tempfile::tempdir().unwrap();
    let (one, other) = (create(root.path()), create(root.path()));
    assert_ne!(one.run(), other.run());
    let listed = RunFolder::list(&root.path().join("e2e"), &root.path().join("index"));
    assert_eq!(listed.len(), 2);
    // The next millisecond.
    let mut last = create(root.path());
    while last.owner.created == one.owner.created || last.owner.created == other.owner.created {
        last = create(root.path());
    }
    let listed_last = RunFolder::list(&root.path().join("e2e"), &root.path().join("index")).pop();
    assert_eq!(
        listed_last,
        Some(last),
        "the newest run is the last, also in the same second"
    );
    assert!(listed.contains(&one) && listed.contains(&other));
    let indexed = indexed(&root.path().join("index"));
    assert_eq!(indexed[one.run()].folder, one.path());
    assert_eq!(
        indexed[one.run()].owner.cluster.as_deref(),
        Some(&*format!("shop-e2e-{}", one.run()))
    );
}

#[test]
fn run_is_abandoned_if_it_is_running_and_its_owner_is_dead() {
    let root = tempfile::tempdir().unwrap();
    let mut run = create(root.path());
    assert!(!run.owner().is_abandoned());
    run.owner.process = dead_process();
    assert!(run.owner().is_abandoned());
    run.set_state(State::Kept).unwrap();
    assert!(!run.owner().is_abandoned());
}

#[test]
fn takes_over_kept_runs_but_not_live_ones() {
    let root = tempfile::tempdir().unwrap();
    let mut run = create(root.path());
    let error = run.take_over().unwrap_err().to_string();
    assert!(error.contains(&std::process::id().to_string()), "{error}");
    run.set_state(State::Kept).unwrap();
    assert!(run.take_over().is_err(), "another round uses it");
    run.owner.process = dead_process();
    run.take_over().unwrap();
    let again = RunFolder::open(run.path(), &root.path().join("index")).unwrap();
    assert_eq!(again.owner().state, State::Kept);
    assert!(again.owner().process.is_alive());
}

/// A process that has ended.
fn dead_process() -> Process {
    Process {
        pid: std::process::id(),
        start_time: "an earlier boot:1".to_owned(),
    }
}

#[test]
fn finished_run_keeps_its_logs_and_leaves_the_index() {
    let root = tempfile::tempdir().unwrap();
    let mut run = create(root.path());
    for file in ["programs/gateway", "secrets/password", "logs/gateway.log"] {
        let path = run.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    run.finish().unwrap();
    let exists = |name: &str| run.path().join(name).exists();
    assert!(exists("owner.json") && exists("logs/gateway.log"));
    assert!(!exists("programs") && !exists("secrets"));
    assert!(indexed(&root.path().join("index")).is_empty());
    run.remove().unwrap();
    assert!(RunFolder::list(&root.path().join("e2e"), &root.path().join("index")).is_empty());
}

#[test]
fn ids_are_valid_in_names_of_clusters() {
    for _ in 0..1000 {
        let id = new_id();
        assert!(
            id.len() == 6 && id.starts_with(|letter: char| letter.is_ascii_lowercase()),
            "{id}"
        );
        assert!(
            id.chars()
                .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit()),
            "{id}"
        );
    }
}

#[test]
fn log_of_a_task_is_one_file_in_the_logs_folder() {
    let root = tempfile::tempdir().unwrap();
    let run = create(root.path());
    assert_eq!(
        run.log("pull:quay.io/a/b:1"),
        run.path().join("logs/pull-quay.io-a-b-1.log")
    );
}
