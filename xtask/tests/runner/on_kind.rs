//! The failures that only a real cluster has: one cluster, one failure after the other.

use anyhow::Context;
use libtest_mimic::Trial;

use crate::{kind_test, repository::Repository};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        kind_test(
            "x02_and_others_on_kind_each_failure_is_told_by_name",
            in_a_cluster,
        ),
        kind_test(
            "on_kind_a_node_that_does_not_come_up_is_told_with_the_cause_in_its_own_log",
            node_not_ready,
        ),
        kind_test(
            "on_kind_an_image_whose_registry_does_not_answer_is_told",
            registry_unreachable,
        ),
    ]
}

/// A failure of the kept cluster: what is edited, and what the last screen says then.
struct Case {
    file: &'static str,
    from: &'static str,
    to: &'static str,
    says: &'static [&'static str],
}

const CASES: [Case; 7] = [
    Case {
        file: "deploy/manifests/front.yaml",
        from: "image: \"{{ images.front }}\"",
        to: "image: \"localhost/orders-nobody-built-this:1\"",
        says: &[
            "[image-missing]",
            "localhost/orders-nobody-built-this:1",
            "ErrImageNeverPull",
        ],
    },
    Case {
        file: "deploy/config/front.toml",
        from: "behaviour = \"fine\"",
        to: "behaviour = \"memory\"",
        says: &["[killed-for-memory]", "OOMKilled", "its memory limit is 64Mi"],
    },
    Case {
        file: "deploy/config/front.toml",
        from: "behaviour = \"fine\"",
        to: "behaviour = \"crash\"",
        says: &[
            "[crash-loop]",
            "ended by itself 3 times",
            "the key `orders.url` is missing",
        ],
    },
    Case {
        file: "deploy/config/front.toml",
        from: "behaviour = \"fine\"",
        to: "behaviour = \"version\"",
        says: &["[wrong-version]", "answers as another version, 0.0.1-old"],
    },
    Case {
        file: "deploy/config/front.toml",
        from: "behaviour = \"fine\"",
        to: "behaviour = \"probe\"",
        says: &[
            "[probe-failing]",
            "Readiness probe failed: HTTP probe failed with statuscode: 503",
            "waiting for orders at 10.0.0.1:5432",
        ],
    },
    Case {
        file: "deploy/manifests/orders.yaml",
        from: "scope: Namespaced",
        to: "scope: Sideways",
        says: &["[crd-invalid]", "orders.example.com", "scope", "Sideways"],
    },
    Case {
        file: "deploy/manifests/front.yaml",
        from: "nodePort: {{ ports.front.health.node }}",
        to: "nodePort: 32123",
        says: &["[nodeport-unreachable]", "front"],
    },
];

fn in_a_cluster() -> anyhow::Result<()> {
    let repository = Repository::new()?;
    let again = || repository.e2e(&["--provider", "kind", "--keep"]);
    let first = again()?;
    let run = first.id()?.to_owned();
    let told = first.ended_with(0).and_then(|()| {
        for Case { file, from, to, says } in CASES {
            repository.edit(file, from, to)?;
            let ended = again()?;
            let told = ended.ended_with(3).and_then(|()| ended.says(says));
            told.with_context(|| format!("{file} with {to}"))?;
            repository.edit(file, to, from)?;
        }
        again()?.ended_with(0)
    });
    repository.run(&["down", &run])?.ended_with(0)?;
    told
}

/// An image that says what a node says whose user may not watch more files, and ends.
const NO_NODE: &str = "FROM registry.access.redhat.com/ubi9/ubi-minimal:latest\n\
                       ENTRYPOINT [\"echo\", \"Failed to create inotify object: Too many open files\"]\n";

fn node_not_ready() -> anyhow::Result<()> {
    let repository = Repository::new()?;
    let image = format!("localhost/orders-no-node:{}", std::process::id());
    let dockerfile = repository.file("node.Dockerfile");
    std::fs::write(&dockerfile, NO_NODE)?;
    let podman = |arguments: &[&str]| std::process::Command::new("podman").args(arguments).output();
    let file = dockerfile.display().to_string();
    podman(&["build", "--pull=never", "--tag", &image, "--file", &file])?;
    let ended = repository.e2e(&["--provider", "kind", "--node-image", &image]);
    // Removed whatever came of it: kept runs hold their node.
    let ended = ended.and_then(|ended| {
        repository.run(&["down", ended.id()?])?;
        Ok(ended)
    });
    podman(&["rmi", "--force", &image])?;
    let ended = ended?;
    ended.ended_with(3)?;
    ended.says(&[
        "[node-not-ready]",
        "the node's node.log says: Failed to create inotify object",
        "that means: inotify",
    ])
}

fn registry_unreachable() -> anyhow::Result<()> {
    let repository = Repository::new()?;
    repository.edit(
        "deploy/images/front.Dockerfile",
        "FROM registry.access.redhat.com/ubi9/ubi-minimal:latest",
        "FROM registry.invalid/orders/base:1",
    )?;
    let ended = repository.e2e(&["--provider", "kind", "--only", "image:front"])?;
    ended.ended_with(3)?;
    ended.says(&[
        "[registry-unreachable]",
        "registry.invalid/orders/base:1",
        "podman load",
    ])
}
