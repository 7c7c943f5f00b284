//! Failures that need a real cluster, one after the other in one cluster.

use anyhow::Context;
use libtest_mimic::Trial;

use crate::{kind_test, repository::Repository};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        kind_test("x02_explains_each_failure_in_a_cluster", in_a_cluster),
        kind_test("explains_a_node_that_does_not_start_by_its_log", node_not_ready),
        kind_test("explains_an_unreachable_registry", registry_unreachable),
    ]
}

/// A failure in the kept cluster: an edit, and texts of the summary that follows.
struct Case {
    file: &'static str,
    from: &'static str,
    to: &'static str,
    expected: &'static [&'static str],
}

const CASES: [Case; 7] = [
    Case {
        file: "deploy/manifests/front.yaml",
        from: "image: \"{{ images.front }}\"",
        to: "image: \"localhost/orders-nobody-built-this:1\"",
        expected: &[
            "[image-missing]",
            "localhost/orders-nobody-built-this:1",
            "ErrImageNeverPull",
        ],
    },
    Case {
        file: "deploy/config/front.toml",
        from: "behaviour = \"fine\"",
        to: "behaviour = \"memory\"",
        expected: &["[killed-for-memory]", "OOMKilled", "its memory limit is 64Mi"],
    },
    Case {
        file: "deploy/config/front.toml",
        from: "behaviour = \"fine\"",
        to: "behaviour = \"crash\"",
        expected: &[
            "[crash-loop]",
            "exited unexpectedly 3 times",
            "the key `orders.url` is missing",
        ],
    },
    Case {
        file: "deploy/config/front.toml",
        from: "behaviour = \"fine\"",
        to: "behaviour = \"version\"",
        expected: &["[wrong-version]", "has another version, 0.0.1-old"],
    },
    Case {
        file: "deploy/config/front.toml",
        from: "behaviour = \"fine\"",
        to: "behaviour = \"probe\"",
        expected: &[
            "[probe-failing]",
            "Readiness probe failed: HTTP probe failed with statuscode: 503",
            "waiting for orders at 10.0.0.1:5432",
        ],
    },
    Case {
        file: "deploy/manifests/orders.yaml",
        from: "scope: Namespaced",
        to: "scope: Sideways",
        expected: &["[crd-invalid]", "orders.example.com", "scope", "Sideways"],
    },
    Case {
        file: "deploy/manifests/front.yaml",
        from: "nodePort: {{ ports.front.health.node }}",
        to: "nodePort: 32123",
        expected: &["[nodeport-unreachable]", "front"],
    },
];

fn in_a_cluster() -> anyhow::Result<()> {
    let repository = Repository::new()?;
    let again = || repository.e2e(&["--provider", "kind", "--keep"]);
    let first = again()?;
    let run = first.id()?.to_owned();
    let result = first.ended_with(0).and_then(|()| {
        for Case {
            file,
            from,
            to,
            expected,
        } in CASES
        {
            repository.edit(file, from, to)?;
            let ended = again()?;
            let explained = ended.ended_with(3).and_then(|()| ended.contains(expected));
            explained.with_context(|| format!("{file} with {to}"))?;
            repository.edit(file, to, from)?;
        }
        again()?.ended_with(0)
    });
    repository.run(&["down", &run])?.ended_with(0)?;
    result
}

/// Image of a node that fails because the limits of inotify are too low.
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
    // Removed in any case: kept runs keep their node.
    let ended = ended.and_then(|ended| {
        repository.run(&["down", ended.id()?])?;
        Ok(ended)
    });
    podman(&["rmi", "--force", &image])?;
    let ended = ended?;
    ended.ended_with(3)?;
    ended.contains(&[
        "[node-not-ready]",
        "node.log of the node: Failed to create inotify object",
        "meaning: the limits of inotify",
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
    ended.contains(&[
        "[registry-unreachable]",
        "registry.invalid/orders/base:1",
        "podman load",
    ])
}
