//! A machine with runs in every state, judged.

use subprocess::Process;

use super::*;
use crate::gc::machine::Container;
use crate::run_folder::{self, ProviderName};

/// A machine with a run in each state, of this checkout, each with cluster, network and builder.
struct Scene {
    _root: tempfile::TempDir,
    machine: Machine,
    abandoned: String,
}

fn set_owner(run: &RunFolder, state: State, alive: bool) {
    let file = run.path().join("owner.json");
    let mut owner: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    owner["state"] = serde_json::to_value(state).unwrap();
    if !alive {
        owner["start_time"] = "an earlier boot:1".into();
    }
    std::fs::write(&file, owner.to_string()).unwrap();
}

fn scene() -> Scene {
    let root = tempfile::tempdir().unwrap();
    let (runs, index) = (root.path().join("e2e"), root.path().join("index"));
    let mut machine = Machine {
        index_folder: index.clone(),
        ..Machine::default()
    };
    let states = [
        (State::Running, true),
        (State::Running, false),
        (State::Kept, false),
        (State::Finished, false),
    ];
    let mut abandoned = String::new();
    for (number, (state, alive)) in states.into_iter().enumerate() {
        let run = RunFolder::create(&runs, &index, ProviderName::Kind, "shop").unwrap();
        set_owner(&run, state, alive);
        if number == 1 {
            abandoned = run.run().to_owned();
        }
        add_podmans(&mut machine, run.run());
    }
    machine.runs = RunFolder::list(&runs, &index);
    machine.index = run_folder::indexed(&index);
    Scene {
        _root: root,
        machine,
        abandoned,
    }
}

fn image(name: &str, created: i64) -> Image {
    Image {
        name: name.to_owned(),
        created,
    }
}

fn add_podmans(machine: &mut Machine, run: &str) {
    let cluster = format!("shop-e2e-{run}");
    machine.containers.push(Container {
        name: format!("{cluster}-builder"),
        cluster: None,
    });
    let name = format!("{cluster}-control-plane");
    machine
        .images
        .push(image(&format!("localhost/shop-builder:{run}"), 1));
    machine.networks.push(cluster.clone());
    machine.containers.push(Container {
        name,
        cluster: Some(cluster),
    });
}

#[test]
fn keeps_newest_images_of_a_service_and_all_during_a_run() {
    let Scene { mut machine, .. } = scene();
    let tagged = |service: &str, number: i64| image(&format!("localhost/{service}:{number:012x}"), number);
    machine.images = (1..=7).map(|number| tagged("shop-cart", number)).collect();
    machine
        .images
        .extend((1..=7).map(|number| tagged("bishop-cart", number)));
    machine.images.push(image("localhost/shop-cart:latest", 0));
    assert_eq!(
        superseded(&machine, false),
        Vec::<&String>::new(),
        "a live run builds"
    );
    machine.runs.retain(|run| !run.owner().process.is_alive());
    machine.index.retain(|_, entry| !entry.owner.process.is_alive());
    assert_eq!(
        superseded(&machine, false),
        [
            "localhost/shop-cart:000000000002",
            "localhost/shop-cart:000000000001"
        ]
    );
}

fn shown(found: &[Found]) -> Vec<String> {
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn finds_everything_of_runs_with_dead_owner_only() {
    let Scene {
        machine, abandoned, ..
    } = scene();
    // The finished one's things are garbage as well: nothing of it should be skipped.
    let (found, skipped) = judge(&machine, false);
    assert!(skipped.is_empty(), "{skipped:?}");
    let of = |run: &str| {
        shown(&found)
            .into_iter()
            .filter(|line| line.contains(run))
            .count()
    };
    for run in &machine.runs {
        let expected = match (run.owner().state, run.run() == abandoned) {
            // processes, cluster, builder, network, image, folder
            (_, true) => 6,
            // cluster, builder, network, image; its report stays
            (State::Finished, _) => 4,
            _ => 0,
        };
        assert_eq!(
            of(run.run()),
            expected,
            "{:?}\n{}",
            run.owner(),
            shown(&found).join("\n")
        );
    }
    let kinds: Vec<_> = found
        .iter()
        .filter(|found| found.to_string().contains(&abandoned))
        .collect();
    assert!(
        matches!(kinds.first().unwrap().garbage, Garbage::Processes(_)),
        "processes end first"
    );
    assert!(
        matches!(kinds.last().unwrap().garbage, Garbage::Folder(_)),
        "the folder goes last"
    );
}

#[test]
fn orphans_end_before_removal_of_other_garbage() {
    let Scene { mut machine, .. } = scene();
    let process = Process::current().unwrap();
    let owner = Process {
        pid: 4711,
        start_time: "1".to_owned(),
    };
    machine.orphans.push(Orphan {
        process,
        command: "kind create cluster".to_owned(),
        owner,
    });
    let (found, _) = judge(&machine, false);
    let first = found.first().unwrap().to_string();
    assert!(
        first.contains("(kind create cluster): its owner, process 4711, is dead"),
        "{first}"
    );
}

#[test]
fn kept_runs_are_garbage_only_with_kept() {
    let Scene { machine, .. } = scene();
    let kept = machine
        .runs
        .iter()
        .find(|run| run.owner().state == State::Kept)
        .unwrap()
        .run();
    let count = |found: Vec<Found>| shown(&found).iter().filter(|line| line.contains(kept)).count();
    assert_eq!(count(judge(&machine, false).0), 0);
    assert_eq!(count(judge(&machine, true).0), 6);
}

#[test]
fn cluster_of_unknown_owner_is_reported_as_skipped() {
    let mut machine = Machine::default();
    for name in ["shop-e2e-zzzzzz", "kind", "my-e2e-cluster", "e2e"] {
        let cluster = Some(name.to_owned());
        machine.containers.push(Container {
            name: format!("{name}-control-plane"),
            cluster,
        });
    }
    let (found, skipped) = judge(&machine, true);
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    assert!(skipped[0].what.contains("shop-e2e-zzzzzz"), "{skipped:?}");
}

#[test]
fn index_entry_decides_about_cluster_without_run_folder() {
    let Scene {
        machine, abandoned, ..
    } = scene();
    for (run, alive) in [("aaaaaa", true), ("bbbbbb", false)] {
        let mut machine = Machine {
            index_folder: machine.index_folder.clone(),
            ..Machine::default()
        };
        let entry = Entry {
            folder: PathBuf::from("/no/such/folder"),
            owner: Owner {
                run: run.to_owned(),
                process: Process {
                    start_time: if alive {
                        Process::current().unwrap().start_time
                    } else {
                        "1".to_owned()
                    },
                    ..Process::current().unwrap()
                },
                ..machine_owner(&abandoned)
            },
        };
        machine.index.insert(run.to_owned(), entry);
        add_podmans(&mut machine, run);
        let (found, _) = judge(&machine, false);
        assert_eq!(found.is_empty(), alive, "{found:?}");
    }
}

fn machine_owner(run: &str) -> Owner {
    Owner {
        run: run.to_owned(),
        process: Process::current().unwrap(),
        provider: ProviderName::Kind,
        stack: "shop".to_owned(),
        cluster: None,
        state: State::Running,
        created: 0,
    }
}

#[test]
fn keeps_newest_reports_of_finished_runs() {
    let root = tempfile::tempdir().unwrap();
    let (runs, index) = (root.path().join("e2e"), root.path().join("index"));
    for _ in 0..REPORTS + 3 {
        RunFolder::create(&runs, &index, ProviderName::Local, "shop")
            .unwrap()
            .set_state(State::Finished)
            .unwrap();
    }
    let machine = Machine {
        runs: RunFolder::list(&runs, &index),
        ..Machine::default()
    };
    let (found, _) = judge(&machine, false);
    let oldest: Vec<_> = machine.runs[..3]
        .iter()
        .map(|run| Garbage::Folder(run.clone()))
        .collect();
    assert_eq!(
        found.into_iter().map(|found| found.garbage).collect::<Vec<_>>(),
        oldest
    );
}

#[test]
fn finished_run_is_live_until_it_has_written_its_report() {
    let root = tempfile::tempdir().unwrap();
    let (runs, index) = (root.path().join("e2e"), root.path().join("index"));
    let run = RunFolder::create(&runs, &index, ProviderName::Local, "shop").unwrap();
    let judged = |alive| {
        set_owner(&run, State::Finished, alive);
        let runs = RunFolder::list(&runs, &index);
        judge_owner(runs[0].owner(), true, false)
    };
    assert!(matches!(judged(true), Known::Live));
    assert!(matches!(judged(false), Known::Garbage(_)));
}
