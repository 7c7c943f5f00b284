//! The corpus: thousands of varied Dockerfiles from the cases with known answers, the same for the same seed.

use std::fs;
use std::path::Path;

use anyhow::Context;
use dockerfile::BuildArguments;
use serde_json::Value;

/// The cases' texts, without the very long one.
pub(super) fn cases(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut cases = Vec::new();
    let mut paths: Vec<_> = fs::read_dir(folder)
        .with_context(|| format!("no cases in {}", folder.display()))?
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

/// A generator of numbers for tests: splitmix64, since the corpus is to be the same on every machine and version.
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

/// What most of a Dockerfile is: lines that name no image.
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

/// As many Dockerfiles as asked, of about 1.4 kB each: a case, rarely a second one, and fillers. That is what public
/// repositories have: 1.3 references in a file of 1.4 kB.
pub(super) fn dockerfiles(cases: &[String], count: usize, seed: u64) -> impl Iterator<Item = String> {
    let mut random = Random(seed);
    (0..count).map(move |_| {
        let mut text = String::new();
        let wanted = 200 + random.below(2_400);
        while text.len() < wanted {
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

/// Compares the front end's answers (a JSON line a file) with ours: how many references, and the paths of files in
/// which one differs. A file that the front end refuses has no answer to compare.
pub(super) fn compare(answers: &[u8]) -> anyhow::Result<(usize, Vec<String>)> {
    let mut references = 0;
    let mut different = Vec::new();
    for line in answers
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let answer: Value = serde_json::from_slice(line).context("the front end's answer is no JSON")?;
        if !answer["error"].is_null() {
            continue;
        }
        let path = answer["path"].as_str().unwrap_or_default();
        let expected: Vec<_> = answer["references"]
            .as_array()
            .into_iter()
            .flatten()
            .map(key_of_answer)
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

fn key_of_answer(answer: &Value) -> Key {
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    (
        answer["line"].as_u64().unwrap_or_default(),
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
    fn a_seed_makes_the_same_corpus_and_another_seed_another() {
        let cases = ["FROM a\n".to_owned(), "FROM b\n".to_owned()];
        let corpus = |seed| dockerfiles(&cases, 20, seed).collect::<Vec<_>>();
        assert_eq!(corpus(1), corpus(1));
        assert_ne!(corpus(1), corpus(2));
    }
}
