//! Compares what the program reads with a slow, obvious finder: lines with a key such as `image`, and `FROM` lines. What
//! the finder finds is an image, a finding or a skipped input of the program.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::tree::*;

/// Returns the paths and lines of everything that the program names.
fn named(document: &Value) -> BTreeSet<(String, u64)> {
    let mut named = BTreeSet::new();
    for (array, line) in [
        ("references", "token_line"),
        ("findings", "line"),
        ("skipped", "line"),
    ] {
        for each in document[array].as_array().unwrap() {
            named.insert((
                each["path"].as_str().unwrap().to_owned(),
                each[line].as_u64().unwrap_or(0),
            ));
        }
    }
    named
}

/// Returns the lines of a file that look like images.
fn obvious(path: &str, text: &str) -> Vec<u64> {
    let name = path.rsplit('/').next().unwrap().to_lowercase();
    let is_yaml = name.ends_with(".yaml") || name.ends_with(".yml") || name == "devcontainer.json";
    let is_dockerfile = ["dockerfile", "containerfile"]
        .iter()
        .any(|word| name.contains(word));
    let lines = text.lines().enumerate();
    let found = lines.filter(|(_, line)| match (is_yaml, is_dockerfile) {
        (true, _) => has_image_key(line),
        (_, true) => line.trim_start().to_lowercase().starts_with("from ") && text.contains("FROM"),
        _ => false,
    });
    found.map(|(index, _)| index as u64 + 1).collect()
}

/// Returns whether a line has `image: VALUE` or `…Image: VALUE` with a value that can be a reference.
fn has_image_key(line: &str) -> bool {
    let line = line.split(" #").next().unwrap().replace("\":", ":");
    if line.trim_start().starts_with('#') {
        return false;
    }
    let keys = line
        .match_indices("mage: ")
        .filter(|(at, _)| line[..*at].ends_with(['i', 'I']));
    keys.chain(line.match_indices("repository: ")).any(|(at, key)| {
        let value = line[at + key.len()..]
            .trim_start()
            .trim_start_matches(['"', '\'']);
        let value = value.split([',', '}', ' ', '"', '\'']).next().unwrap();
        value.starts_with(|first: char| first.is_ascii_alphanumeric())
            && !value.contains("://")
            && !matches!(value, "true" | "false" | "null" | "A")
            && !value.ends_with(".png")
    })
}

fn compare(tree: &Tree, files: &[(String, String)], known: &[(&str, u64)]) -> usize {
    let document = tree.json(&[]);
    let named = named(&document);
    let mut compared = 0;
    for (path, text) in files {
        for line in obvious(path, text) {
            let is_known = known.contains(&(path.as_str(), line));
            assert!(
                is_known || named.contains(&(path.clone(), line)),
                "{path}:{line} is passed over in silence: {}\n{document:#}",
                text.lines().nth(line as usize - 1).unwrap()
            );
            compared += usize::from(!is_known);
        }
    }
    compared
}

/// Returns the text files below a folder.
fn files_below(folder: &Path, prefix: &str, files: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            files_below(&entry.path(), &format!("{path}/"), files);
        } else {
            files.push((path, std::fs::read_to_string(entry.path()).unwrap()));
        }
    }
}

/// Lines that look like images and are none, by case.
const KNOWN: [(&str, &[(&str, u64)]); 6] = [
    // Schemas, and what the presets or the policy ignore.
    ("custom-resources", &[("crd.yaml", 5)]),
    (
        "pipelines",
        &[
            (".circleci/config.yml", 6),
            ("azure-pipelines.yml", 1),
            ("action.yml", 1),
        ],
    ),
    ("unknown-files", &[("ansible/tasks.yaml", 2)]),
    // Results of builds.
    ("compose-builds", &[("compose.yaml", 3), ("compose.yaml", 21)]),
    // Only the last of repeated keys counts.
    ("repeated-keys", &[("pod.yaml", 4)]),
    // Excluded files, and texts about Dockerfiles.
    (
        "excludes",
        &[
            ("vendor/Dockerfile", 1),
            ("x/vendor/Dockerfile", 1),
            ("old/x/Dockerfile", 1),
            ("a/d.yaml", 3),
        ],
    ),
];

#[test]
fn cases_pass_over_nothing() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut compared = 0;
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if !entry.path().is_dir() {
            continue;
        }
        let mut files = Vec::new();
        files_below(&entry.path(), "", &mut files);
        files.retain(|(path, _)| path != "case.toml" && !path.ends_with(".md") && !path.ends_with(".py"));
        let own: Vec<_> = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        let tree = Tree::new(
            &[
                &[(".image-policy.toml", include_str!("../cases/image-policy.toml"))],
                &own[..],
            ]
            .concat(),
        );
        let known = KNOWN
            .iter()
            .find(|(case, _)| *case == name)
            .map_or(&[][..], |(_, known)| known);
        compared += compare(&tree, &files, known);
    }
    assert!(compared > 50, "only {compared} lines compared");
}

/// Pseudo-random numbers (a linear congruential generator), the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

const KEYS: [&str; 12] = [
    "spec", "template", "jobs", "services", "runs", "steps", "main", "sidecar", "values", "kind-of", "data",
    "global",
];

/// Returns a mapping with images at random depths.
fn mapping(random: &mut Random, indent: usize, depth: usize) -> String {
    let pad = " ".repeat(indent);
    let mut text = String::new();
    let mut seen = BTreeSet::new();
    for _ in 0..1 + random.below(3) {
        let key = random.one(&KEYS);
        if !seen.insert(key) {
            continue;
        }
        match random.below(4) {
            0 if depth > 0 => text += &format!("{pad}{key}:\n{}", mapping(random, indent + 2, depth - 1)),
            1 if depth > 0 => {
                let items = mapping(random, indent + 4, depth - 1);
                text += &format!("{pad}{key}:\n{pad}  - name: x\n{items}");
            }
            _ => text += &format!("{pad}{key}:\n{}", image(random, indent + 2)),
        }
    }
    text
}

fn image(random: &mut Random, indent: usize) -> String {
    let pad = " ".repeat(indent);
    let tag = random.below(100);
    let value = random.one(&["evil.example/a", "org/b", "evil.example:5000/c/d", "alpine"]);
    let quote = random.one(&["", "\"", "'"]);
    match random.below(5) {
        0 => format!("{pad}image: {{repository: {value}, tag: \"{tag}\"}}\n"),
        1 => format!("{pad}sidecarImage: {quote}{value}:{tag}{quote}\n"),
        2 => format!("{pad}name: x\n{pad}image: {quote}{value}:{tag}{quote}   # why\n"),
        3 => format!("{pad}image:\n{pad}  repository: {value}\n{pad}  tag: {quote}v{tag}{quote}\n"),
        _ => format!("{pad}image: {quote}{value}{quote}\n"),
    }
}

fn file(random: &mut Random, number: usize) -> (String, String) {
    let heads = [
        "apiVersion: apps/v1\nkind: Deployment\n",
        "apiVersion: example.org/v1\nkind: Fleet\n",
        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\n",
        "apiVersion: v1\nkind: ConfigMap\n",
        "",
    ];
    let name = random.one(&[
        "app.yaml",
        "values.yaml",
        "values-prod.yml",
        "compose.yaml",
        ".gitlab-ci.yml",
        "x.yml",
    ]);
    match random.below(3) {
        0 => {
            let name = random.one(&[
                "Dockerfile",
                "dockerfile",
                "Dockerfile-a",
                "Containerfile.b",
                "c.dockerfile",
                "Dockerfile_d",
            ]);
            let stage = if random.below(2) == 0 { " AS build" } else { "" };
            let text = format!(
                "# x\nFROM --platform=linux/amd64 evil.example/x:1{stage}\nRUN a \\\n  b\nfrom org/y\n"
            );
            (format!("{number}/{name}"), text)
        }
        _ => (
            format!("{number}/{name}"),
            format!("{}{}", random.one(&heads), mapping(random, 0, 4)),
        ),
    }
}

#[test]
fn generated_trees_pass_over_nothing() {
    let mut random = Random(28);
    let mut compared = 0;
    for _ in 0..20 {
        let files: Vec<_> = (0..40).map(|number| file(&mut random, number)).collect();
        let own: Vec<_> = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        compared += compare(&Tree::new(&own), &files, &[]);
    }
    assert!(compared > 1_000, "only {compared} lines compared");
}
