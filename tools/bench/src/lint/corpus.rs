//! The corpus: thousands of varied Dockerfiles from test cases with known results, the same for the same seed.

use std::fs;
use std::path::Path;

use anyhow::Context;
use dockerfile::BuildArguments;
use serde_json::Value;

/// Returns the texts of the cases, without the very long one.
pub(super) fn cases(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut cases = Vec::new();
    let mut paths: Vec<_> = fs::read_dir(folder)
        .with_context(|| format!("cannot read the cases in {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "Dockerfile")
        })
        .collect();
    paths.sort();
    for path in paths {
        if let Ok(text) = fs::read_to_string(&path)
            && text.len() < 10_000
        {
            cases.push(text);
        }
    }
    Ok(cases)
}

/// Splitmix64: the corpus must be the same on every machine and with every version of this program.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap_or(0)
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// Lines without images, of which most Dockerfiles consist.
const FILLERS: [&str; 12] = [
    "RUN apt-get update && apt-get install --yes --no-install-recommends \\\n      ca-certificates \\\n      curl \\\n      git \\\n    && rm -rf /var/lib/apt/lists/*\n",
    "RUN set -eux; \\\n    # the package's own user\n    groupadd --system app; \\\n    useradd --system --gid app app\n",
    "WORKDIR /src\n",
    "COPY go.mod go.sum ./\nRUN go mod download\n",
    "COPY . .\n",
    "ENV LANG=C.UTF-8 \\\n    PATH=/opt/bin:$PATH\n",
    "RUN <<EOF\nset -e\nfor each in a b c; do\n  echo \"$each\"\ndone\nEOF\n",
    "RUN --mount=type=cache,target=/root/.cache \\\n    make --jobs \"$(nproc)\" all\n",
    "# What follows changes often, so it comes last.\n",
    "LABEL org.opencontainers.image.title=\"service\" org.opencontainers.image.licenses=\"Apache-2.0\"\n",
    "EXPOSE 8080/tcp 9090\n",
    "ENTRYPOINT [\"/usr/local/bin/service\"]\nCMD [\"serve\", \"--config\", \"/etc/service/config.toml\"]\n",
];

/// Returns `count` Dockerfiles of about 1.4 kB with 1.3 references on average, as in public repositories: a case, rarely
/// a second one, and fillers.
pub(super) fn dockerfiles(cases: &[String], count: usize, seed: u64) -> impl Iterator<Item = String> {
    let mut random = Random(seed);
    (0..count).map(move |_| {
        let mut text = String::new();
        let size = 200 + random.below(2_400);
        while text.len() < size {
            if text.is_empty() || random.below(60) == 0 {
                let case = random.of(cases);
                text.push_str(case);
                if !text.ends_with('\n') {
                    text.push('\n');
                }
            }
            let filler: &&str = random.of(&FILLERS);
            text.push_str(filler);
        }
        text
    })
}

/// Compares the front end's output (one JSON object per file and line) with ours. Returns the number of references and
/// the paths of files with a different result, without files that the front end rejects.
pub(super) fn compare(output: &[u8]) -> anyhow::Result<(usize, Vec<String>)> {
    let mut references = 0;
    let mut different = Vec::new();
    for line in output
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let result: Value =
            serde_json::from_slice(line).context("cannot read the output of the front end")?;
        if !result["error"].is_null() {
            continue;
        }
        let path = result["path"].as_str().unwrap_or_default();
        let expected: Vec<_> = result["references"]
            .as_array()
            .into_iter()
            .flatten()
            .map(key_of_result)
            .collect();
        let text = String::from_utf8_lossy(&fs::read(path)?).into_owned();
        let images = dockerfile::images(&dockerfile::parse(&text), &BuildArguments::new());
        let found: Vec<_> = images.references.iter().map(key).collect();
        references += expected.len();
        if expected != found {
            different.push(path.to_owned());
        }
    }
    Ok((references, different))
}

type Key = (u64, String, String, String);

fn key_of_result(result: &Value) -> Key {
    let text = |name: &str| result[name].as_str().unwrap_or_default().to_owned();
    (
        result["line"].as_u64().unwrap_or_default(),
        text("kind"),
        text("raw"),
        text("expanded"),
    )
}

fn key(reference: &dockerfile::Reference) -> Key {
    let expanded = reference.expanded.clone().unwrap_or_default();
    (
        reference.line as u64,
        reference.kind.name().to_owned(),
        reference.raw.clone(),
        expanded,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_generates_same_corpus() {
        let cases = ["FROM a\n".to_owned(), "FROM b\n".to_owned()];
        let corpus = |seed| dockerfiles(&cases, 20, seed).collect::<Vec<_>>();
        assert_eq!(corpus(1), corpus(1));
        assert_ne!(corpus(1), corpus(2));
    }
}
