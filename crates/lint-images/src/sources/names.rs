//! Formats of files by their names.

use crate::policy::Policy;

/// Format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileFormat {
    Dockerfile,
    /// Named like a Dockerfile and like a program, such as `Dockerfile.go`: its first instruction decides.
    PossibleDockerfile,
    Yaml,
    /// JSON of any kind: read as YAML if it has Kubernetes resources.
    Json,
    /// Bake file in HCL.
    Bake,
    Stack,
}

/// Returns the format of a file by its path; `None` if it refers to no images.
pub(crate) fn format_of(path: &str, policy: &Policy) -> Option<FileFormat> {
    let name = path.rsplit('/').next().unwrap_or(path);
    if policy.stacks.iter().any(|stack| stack.file == path)
        || (policy.stacks.is_empty() && name == "stack.toml")
    {
        return Some(FileFormat::Stack);
    }
    if name == "Dockerfile" {
        return Some(FileFormat::Dockerfile);
    }
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let is = |known: &[&str]| known.iter().any(|known| extension.eq_ignore_ascii_case(known));
    if is_template(path) && matches!(stem.rsplit_once('.'), Some((_, "yaml" | "yml"))) {
        return Some(FileFormat::Yaml);
    }
    if is(&["yaml", "yml"]) || is_json_with_images(path, name) {
        return Some(FileFormat::Yaml);
    }
    if is(&["json"]) && !name.to_ascii_lowercase().contains("package") {
        return Some(FileFormat::Json);
    }
    if is(&["hcl"]) && name.contains("docker-bake") {
        return Some(FileFormat::Bake);
    }
    if ["dockerfile", "containerfile"]
        .iter()
        .any(|word| has_suffix(name, word))
    {
        return Some(FileFormat::Dockerfile);
    }
    let rest = after_prefix(name, "dockerfile").or_else(|| after_prefix(name, "containerfile"))?;
    // `Dockerfiles` and `dockerfile_parser` are other words, but `Dockerfile-prod` is not.
    if !(rest.is_empty() || rest.starts_with(['.', '-', '_', ' '])) {
        return None;
    }
    match extension {
        "" => Some(FileFormat::Dockerfile),
        _ if is(&TEXTS) || extension.to_ascii_lowercase().ends_with("ignore") => None,
        // A program in the language `go` is named `dockerfile.go` or `dockerfile_parser.go`; a Dockerfile, `Dockerfile.go`.
        _ if is(&PROGRAMS) && rest.matches('.').count() == 1 && rest.starts_with('.') => {
            Some(FileFormat::PossibleDockerfile)
        }
        _ if is(&PROGRAMS) => None,
        _ => Some(FileFormat::Dockerfile),
    }
}

/// Returns whether a file is a template by its extension.
pub(super) fn is_template(path: &str) -> bool {
    const EXTENSIONS: [&str; 11] = [
        "j2", "jinja", "jinja2", "tmpl", "tpl", "template", "gotmpl", "erb", "mustache", "hbs", "ejs",
    ];
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    EXTENSIONS.contains(&extension)
}

/// Returns whether a name ends with a word in any case, after `.`, `-` or `_`.
fn has_suffix(name: &str, word: &str) -> bool {
    let Some(start) = name.len().checked_sub(word.len()) else {
        return false;
    };
    let (Some(before), Some(end)) = (name.get(..start), name.get(start..)) else {
        return false;
    };
    end.eq_ignore_ascii_case(word) && before.ends_with(['.', '-', '_'])
}

/// Extensions of texts about Dockerfiles, of data and of pictures.
const TEXTS: [&str; 25] = [
    "md", "markdown", "mdx", "rst", "adoc", "txt", "html", "htm", "css", "jsonl", "toml", "lock", "xml",
    "csv", "svg", "png", "jpg", "gif", "pdf", "orig", "rej", "patch", "diff", "log", "snap",
];

/// Extensions of programs. Some Dockerfiles are named after the language that they are for.
const PROGRAMS: [&str; 36] = [
    "rs", "go", "py", "pyi", "pyc", "js", "mjs", "cjs", "jsx", "ts", "tsx", "java", "kt", "kts", "scala",
    "groovy", "rb", "php", "pl", "lua", "sh", "bash", "ps1", "c", "cc", "cpp", "h", "hpp", "cs", "swift",
    "ex", "exs", "vim", "el", "tf", "nix",
];

/// Returns the rest of a name after a prefix in any case.
fn after_prefix<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let start = name.get(..prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then(|| &name[prefix.len()..])
}

/// Returns whether a file is one of the JSON files that may refer to images; JSON is read as YAML.
fn is_json_with_images(path: &str, name: &str) -> bool {
    matches!(
        name,
        "devcontainer.json" | ".devcontainer.json" | "docker-bake.json"
    ) || (path.contains(".devcontainer/") && name.ends_with(".json"))
}

/// Returns whether a text begins as a Dockerfile does: with `FROM IMAGE`, `FROM IMAGE AS NAME` or `ARG NAME`.
pub(super) fn begins_as_dockerfile(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim);
    let Some(line) = lines.find(|line| !line.is_empty() && !line.starts_with('#')) else {
        return false;
    };
    let words: Vec<&str> = line
        .split_whitespace()
        .filter(|word| !word.starts_with("--"))
        .collect();
    match words.as_slice() {
        [from, _] if from.eq_ignore_ascii_case("from") => true,
        [from, _, word, _] => from.eq_ignore_ascii_case("from") && word.eq_ignore_ascii_case("as"),
        [arg, name] if arg.eq_ignore_ascii_case("arg") => !name.contains(['(', ';']),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_dockerfiles_by_name() {
        let form = |path: &str| format_of(path, &Policy::default());
        for name in [
            "Dockerfile",
            "dockerfile",
            "DOCKERFILE",
            "containerfile",
            "Containerfile",
            "Dockerfile.prod",
            "dockerfile.prod",
            "Dockerfile-prod",
            "Dockerfile_prod",
            "a/Containerfile-prod",
            "dockerfile-1.2",
            "web.dockerfile",
            "web.Containerfile",
            "Dockerfile.j2",
            "Dockerfile.dev-1.20",
            "prod-Dockerfile",
            "base_dockerfile",
        ] {
            assert_eq!(form(name), Some(FileFormat::Dockerfile), "{name}");
        }
        for name in [
            "Dockerfiles",
            "dockerfile_parser.py",
            "dockerfile-parser.go",
            "Dockerfile.dockerignore",
            "Dockerfile.prod.dockerignore",
            "Dockerfile.md",
            "dockerfile.test.ts",
            "dockerfilelint",
            "package.json",
            "package-lock.json",
            "main.hcl",
        ] {
            assert_eq!(form(name), None, "{name}");
        }
        assert_eq!(form("a.yaml.j2"), Some(FileFormat::Yaml));
        assert_eq!(form("_helpers.tpl"), None);
        assert_eq!(form("Dockerfile.go"), Some(FileFormat::PossibleDockerfile));
        assert_eq!(form("Dockerfile.yaml"), Some(FileFormat::Yaml));
    }

    #[test]
    fn distinguishes_programs_from_dockerfiles_by_the_first_instruction() {
        for text in [
            "FROM a\n",
            "# x\n\nfrom --platform=linux/amd64 a AS b\n",
            "ARG X=1\nFROM a:$X\n",
        ] {
            assert!(begins_as_dockerfile(text), "{text}");
        }
        for text in [
            "package x\n",
            "from x import y\n",
            "def parse(): pass\n",
            "",
            "FROM is a word.\n",
        ] {
            assert!(!begins_as_dockerfile(text), "{text}");
        }
    }
}
