//! Runs made, found, taken over and finished.

use super::*;

fn make(root: &Path) -> RunFolder {
    RunFolder::create(&root.join("e2e"), &root.join("index"), Provider::Kind, "shop").unwrap()
}

#[test]
fn a_run_is_found_by_its_folder_and_by_the_index() {
    let root = tempfile::tempdir().unwrap();
    let (one, other) = (make(root.path()), make(root.path()));
    assert_ne!(one.run(), other.run());
    let listed = RunFolder::list(&root.path().join("e2e"), &root.path().join("index"));
    assert_eq!(listed.len(), 2);
    assert!(listed.contains(&one) && listed.contains(&other));
    let indexed = indexed(&root.path().join("index"));
    assert_eq!(indexed[one.run()].folder, one.path());
    assert_eq!(
        indexed[one.run()].owner.cluster.as_deref(),
        Some(&*format!("shop-e2e-{}", one.run()))
    );
}

#[test]
fn only_a_running_run_whose_owner_is_dead_is_abandoned() {
    let root = tempfile::tempdir().unwrap();
    let mut run = make(root.path());
    assert!(!run.owner().is_abandoned());
    let dead = Process {
        pid: run.owner.process.pid,
        start_time: "an earlier boot:1".to_owned(),
    };
    run.owner.process = dead;
    assert!(run.owner().is_abandoned());
    run.set_state(State::Kept).unwrap();
    assert!(!run.owner().is_abandoned());
}

#[test]
fn a_live_run_is_not_taken_over_and_a_kept_one_is() {
    let root = tempfile::tempdir().unwrap();
    let mut run = make(root.path());
    let refused = run.take_over().unwrap_err().to_string();
    assert!(refused.contains(&std::process::id().to_string()), "{refused}");
    run.set_state(State::Kept).unwrap();
    let mut again = RunFolder::open(run.path(), &root.path().join("index")).unwrap();
    again.take_over().unwrap();
    assert_eq!(again.owner().state, State::Running);
}

#[test]
fn a_finished_run_keeps_what_tells_of_it_and_leaves_the_index() {
    let root = tempfile::tempdir().unwrap();
    let mut run = make(root.path());
    for file in ["programs/gateway", "secrets/password", "logs/gateway.log"] {
        let path = run.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    run.finish().unwrap();
    let there = |name: &str| run.path().join(name).exists();
    assert!(there("owner.json") && there("logs/gateway.log"));
    assert!(!there("programs") && !there("secrets"));
    assert!(indexed(&root.path().join("index")).is_empty());
    run.remove().unwrap();
    assert!(RunFolder::list(&root.path().join("e2e"), &root.path().join("index")).is_empty());
}

#[test]
fn ids_fit_the_names_of_clusters() {
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
fn a_tasks_log_is_one_file_in_the_logs_folder() {
    let root = tempfile::tempdir().unwrap();
    let run = make(root.path());
    assert_eq!(
        run.log("pull:quay.io/a/b:1"),
        run.path().join("logs/pull-quay.io-a-b-1.log")
    );
}
