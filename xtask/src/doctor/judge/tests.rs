//! Checks of other kinds of machines.

use super::*;
use crate::doctor::facts::{Host, Security, Store};

const GOOD: &[&str] = &["cpuset", "cpu", "io", "memory", "pids"];

fn engine(cgroups: &str, rootless: bool, controllers: &[&str]) -> Engine {
    Engine {
        host: Host {
            cgroup_version: cgroups.to_owned(),
            cgroup_controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
            mem_total: 16 * GIBIBYTE,
            service_is_remote: false,
            security: Security { rootless },
        },
        store: Store::default(),
    }
}

fn facts() -> KindFacts {
    let works = |text: &str| Tool::Works(text.to_owned());
    KindFacts {
        podman: works("podman version 5.4.0"),
        kind: works("kind v0.33.0 go1.27.2 linux/amd64"),
        kubectl: works("Client Version: v1.33.1\nKustomize Version: v5.6.0"),
        engine: Ok(engine("v2", true, GOOD)),
        node_image: Some(NodeImage {
            requested: Some("docker.io/kindest/node:v1.33.13".to_owned()),
            availability: Availability::Local,
            local: vec!["docker.io/kindest/node:v1.33.13".to_owned()],
        }),
        inotify: Some((1_048_576, 8192)),
    }
}

/// Names and fixes of what is not fine.
fn unmet(checks: &[Check]) -> Vec<(&str, Status, &str)> {
    let bad = checks.iter().filter(|check| check.status != Status::Fine);
    bad.map(|check| {
        (
            check.name,
            check.status,
            check.fix.as_ref().unwrap().text.as_str(),
        )
    })
    .collect()
}

#[test]
fn complete_machine_meets_all_requirements() {
    let checks = kind(&facts(), "dnf", false);
    assert!(unmet(&checks).is_empty(), "{checks:?}");
    assert_eq!(checks[0].found, "5.4.0");
    assert_eq!(checks[1].found, "0.33.0");
    assert_eq!(checks[2].found, "1.33.1");
}

#[test]
fn absent_and_old_tools_come_with_install_command() {
    let absent = KindFacts {
        podman: Tool::Absent,
        kind: Tool::Absent,
        kubectl: Tool::Absent,
        ..facts()
    };
    let checks = kind(&absent, "brew", false);
    let fixes: Vec<_> = unmet(&checks)
        .into_iter()
        .map(|(_, status, fix)| (status, fix.to_owned()))
        .collect();
    let brew = |tool: &str| (Status::Missing, format!("brew install {tool}"));
    assert_eq!(fixes, [brew("podman"), brew("kind"), brew("kubectl")]);

    let old = KindFacts {
        podman: Tool::Works("podman version 3.4.4".to_owned()),
        ..facts()
    };
    let checks = kind(&old, "apt-get", false);
    assert_eq!(
        unmet(&checks),
        [("podman", Status::Missing, "sudo apt-get install podman")]
    );

    let broken = KindFacts {
        kind: Tool::Broken("exec format error".to_owned()),
        ..facts()
    };
    let checks = kind(&broken, "apt-get", false);
    assert!(checks[1].found.contains("exec format error") && checks[1].status == Status::Missing);
}

#[test]
fn rootless_nodes_need_cgroups_v2_with_delegation() {
    let with = |engine| {
        kind(
            &KindFacts {
                engine: Ok(engine),
                ..facts()
            },
            "dnf",
            false,
        )
    };
    let check = |engine| {
        let checks = with(engine);
        let found = checks.iter().find(|check| check.name == "cgroups").unwrap();
        (found.status, found.found.clone())
    };
    assert_eq!(check(engine("v2", true, GOOD)).0, Status::Fine);
    assert_eq!(check(engine("v2", false, &[])).0, Status::Fine);
    assert_eq!(check(engine("v1", false, GOOD)).0, Status::Warning);
    assert_eq!(check(engine("v1", true, GOOD)).0, Status::Missing);
    let undelegated = check(engine("v2", true, &["memory", "pids"]));
    assert_eq!(
        undelegated,
        (Status::Missing, "v2 (rootless), without cpu".to_owned())
    );
}

#[test]
fn small_podman_machine_comes_with_resize_command() {
    let mut small = engine("v2", true, GOOD);
    small.host.service_is_remote = true;
    small.host.mem_total = 2 * GIBIBYTE;
    let checks = kind(
        &KindFacts {
            engine: Ok(small),
            ..facts()
        },
        "brew",
        false,
    );
    let [(name, status, fix)] = unmet(&checks)[..] else {
        panic!("{checks:?}")
    };
    assert_eq!((name, status), ("podman machine's memory", Status::Missing));
    assert!(fix.contains("podman machine set --memory 6144"), "{fix}");
}

#[test]
fn unavailable_node_image_suggests_local_one() {
    let image = |requested: Option<&str>, availability, local: &[&str]| {
        let local = local.iter().map(|name| (*name).to_owned()).collect();
        let node_image = Some(NodeImage {
            requested: requested.map(ToOwned::to_owned),
            availability,
            local,
        });
        kind(
            &KindFacts {
                node_image,
                ..facts()
            },
            "dnf",
            false,
        )
    };
    let unavailable = || Availability::Unavailable("no such host".to_owned());
    assert!(unmet(&image(None, Availability::Pullable, &[])).is_empty());
    let checks = image(None, unavailable(), &["docker.io/kindest/node:v1.33.13"]);
    assert_eq!(
        unmet(&checks),
        [(
            "node image",
            Status::Missing,
            "export KIND_NODE_IMAGE=docker.io/kindest/node:v1.33.13, an image in local storage"
        )]
    );
    let checks = image(Some("example.com/node:v1.30.0"), unavailable(), &[]);
    let complaints = unmet(&checks);
    assert!(
        complaints[0]
            .2
            .starts_with("podman pull example.com/node:v1.30.0, or set KIND_NODE_IMAGE")
    );
    assert_eq!(
        complaints[1],
        ("kubectl and node", Status::Warning, "install kubectl 1.30")
    );
}

#[test]
fn inotify_fix_is_automatic_for_root_only_and_never_lowers_limits() {
    let low = KindFacts {
        inotify: Some((8192, 1024)),
        ..facts()
    };
    let raise = "sysctl -w fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=1024";
    for root in [false, true] {
        let checks = kind(&low, "dnf", root);
        let check = checks.iter().find(|check| check.name == "inotify").unwrap();
        let fix = check.fix.clone().unwrap();
        assert_eq!(fix.text, format!("sudo {raise}"));
        let command = raise.split(' ').map(ToOwned::to_owned).collect();
        assert_eq!(fix.remedy, root.then_some(Remedy::Run(command)));
    }
}

#[test]
fn absent_servers_are_fetched_by_pip_or_missing() {
    let facts = |server: Server, pip: Option<&str>| LocalFacts {
        postgresql: server,
        redis: Server::Found("7.0".to_owned(), "/usr/bin".to_owned()),
        pip: pip.map(ToOwned::to_owned),
    };
    let checks = local(&facts(Server::Absent, Some("python3 -m pip")));
    assert_eq!(checks[0].status, Status::Fine);
    assert_eq!(
        checks[0].fix.as_ref().unwrap().remedy,
        Some(Remedy::FetchPostgresql)
    );
    let checks = local(&facts(Server::Absent, None));
    assert_eq!(checks[0].status, Status::Missing);
    assert!(checks[0].fix.as_ref().unwrap().text.contains("install"));
    assert_eq!(checks[1].status, Status::Fine);
}

#[test]
fn memory_disk_ports_and_leftovers_have_thresholds() {
    let facts = |memory, disk, taken: Vec<(u16, String, String)>, garbage| CommonFacts {
        root: false,
        memory_available: Some(memory),
        target_free: Some(disk),
        images_free: None,
        ports_in_use: taken,
        garbage: Ok(garbage),
    };
    assert!(unmet(&common(&facts(8 * GIBIBYTE, 50 * GIBIBYTE, vec![], 0))).is_empty());
    let taken = vec![(
        18_080,
        "gateway.api".to_owned(),
        "is in use by nginx (pid 7)".to_owned(),
    )];
    let checks = common(&facts(2 * GIBIBYTE, GIBIBYTE, taken, 3));
    let names: Vec<_> = unmet(&checks)
        .into_iter()
        .map(|(name, status, _)| (name, status))
        .collect();
    assert_eq!(
        names,
        [
            ("available memory", Status::Warning),
            ("disk for builds", Status::Missing),
            ("ports of the stack", Status::Warning),
            ("leftovers", Status::Warning)
        ]
    );
    assert_eq!(
        checks[2].found,
        "port 18080 (gateway.api) is in use by nginx (pid 7)"
    );
    assert_eq!(checks[3].fix.as_ref().unwrap().remedy, Some(Remedy::Gc));
}
