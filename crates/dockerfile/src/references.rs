//! From instructions to outside images: which names are stages, which are images, and what they expand to.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use crate::image::{ImageReference, ReferenceError};
use crate::mount::{MountSource, mount_source};
use crate::parse::{Body, Dockerfile, Instruction, Keyword, Problem};
use crate::shell::{Environment, ExpansionError, expand};
use crate::split;

/// How a file refers to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReferenceKind {
    /// `FROM image`
    From,
    /// `COPY --from=image`
    CopyFrom,
    /// `RUN --mount=from=image`
    MountFrom,
    /// `# syntax=image`
    Syntax,
    /// `ONBUILD COPY --from=image`
    OnbuildCopyFrom,
    /// `ONBUILD RUN --mount=from=image`
    OnbuildMountFrom,
}

impl ReferenceKind {
    /// The name that outputs use.
    pub fn name(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::CopyFrom => "copy-from",
            Self::MountFrom => "mount-from",
            Self::Syntax => "syntax",
            Self::OnbuildCopyFrom => "onbuild-copy-from",
            Self::OnbuildMountFrom => "onbuild-mount-from",
        }
    }
}

/// Why a reference names no image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unresolved {
    /// Variables (given) without a value.
    Missing(Vec<String>),
    /// The word can't be expanded.
    Expansion(ExpansionError),
    /// The text is no legal reference.
    Reference(ReferenceError),
    /// `COPY --from` takes no variables.
    VariableInFrom,
    /// It expands to nothing.
    Blank,
}

impl std::fmt::Display for Unresolved {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing(names) if names.len() == 1 => {
                write!(formatter, "variable {} has no value", names[0])
            }
            Self::Missing(names) => write!(formatter, "variables {} have no value", names.join(", ")),
            Self::Expansion(error) => error.fmt(formatter),
            Self::Reference(error) => error.fmt(formatter),
            Self::VariableInFrom => formatter.write_str("variable expansion is not supported for --from"),
            Self::Blank => formatter.write_str("base name should not be blank"),
        }
    }
}

/// One reference to an outside image: not a stage of the file, not `scratch`.
#[derive(Debug, Clone)]
pub struct Reference {
    /// How it is written.
    pub kind: ReferenceKind,
    /// 1-based line on which its instruction begins (0 for a front end that a JSON document names).
    pub line: usize,
    /// Bytes of the reference in the source.
    pub span: Range<usize>,
    /// The index of the stage it stands in; None for the front end.
    pub stage: Option<usize>,
    /// As written, with lines joined, and without the quotes and escapes of a flag.
    pub raw: String,
    /// What the front end would make of it; a variable without a value is empty in it. None if it can't be expanded.
    pub expanded: Option<String>,
    /// The image, or why there is none.
    pub image: Result<ImageReference, Unresolved>,
}

/// What a stage begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// Nothing: `FROM scratch`.
    Scratch,
    /// An earlier stage, by index.
    Stage(usize),
    /// An image: the `from` reference of the stage.
    Image,
    /// Not readable.
    Unknown,
}

/// A build stage.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Name in lower case, where it has one.
    pub name: Option<String>,
    /// 1-based line of its FROM.
    pub line: usize,
    /// What it begins with.
    pub base: Base,
    /// Indices of its instructions in the file, its FROM first.
    pub instructions: Range<usize>,
    /// Other stages that it copies or mounts from.
    pub uses: Vec<usize>,
    /// It can be the result of a build: it is the last, or named and used by no other, or such a stage begins with it.
    pub is_result: bool,
}

/// All that a file says of images.
#[derive(Debug, Clone, Default)]
pub struct Images {
    /// References in the order of the file.
    pub references: Vec<Reference>,
    /// Stages in the order of the file.
    pub stages: Vec<Stage>,
    /// Why the front end refuses instructions that are about images.
    pub problems: Vec<Problem>,
}

/// Values given to a build.
pub type BuildArguments = BTreeMap<String, String>;

/// Finds the outside images of a file. `arguments` are what `--build-arg` would give; the platform is `linux/amd64`
/// unless they say otherwise (`TARGETARCH` and the like).
///
/// ```
/// let file = dockerfile::parse("ARG V=3\nFROM alpine:$V AS base\nFROM base\n");
/// let images = dockerfile::images(&file, &Default::default());
/// assert_eq!(images.references.len(), 1);
/// assert_eq!(images.references[0].expanded.as_deref(), Some("alpine:3"));
/// ```
pub fn images(file: &Dockerfile<'_>, arguments: &BuildArguments) -> Images {
    let mut reader = Reader {
        file,
        arguments,
        names: HashMap::new(),
        values: BTreeMap::new(),
        out: Images::default(),
    };
    reader.syntax();
    reader.stages();
    reader.uses();
    reader
        .out
        .references
        .sort_by_key(|reference| (reference.span.start, reference.line));
    reader.finish()
}

struct Reader<'a> {
    file: &'a Dockerfile<'a>,
    arguments: &'a BuildArguments,
    /// Stages by their names in lower case; a later one replaces an earlier one.
    names: HashMap<String, usize>,
    values: BTreeMap<String, String>,
    out: Images,
}

/// A word that may name an image: where it is and what it says.
struct Word {
    kind: ReferenceKind,
    line: usize,
    span: Range<usize>,
    stage: Option<usize>,
    raw: String,
}

impl Word {
    fn resolved(self, expanded: Option<String>, image: Result<ImageReference, Unresolved>) -> Reference {
        let Word {
            kind,
            line,
            span,
            stage,
            raw,
        } = self;
        Reference {
            kind,
            line,
            span,
            stage,
            raw,
            expanded,
            image,
        }
    }

    /// The word is what it is: nothing is expanded in it.
    fn literal(self) -> Reference {
        let text = self.raw.clone();
        let image = text.parse().map_err(Unresolved::Reference);
        self.resolved(Some(text), image)
    }
}

impl Reader<'_> {
    fn problem(&mut self, instruction: &Instruction<'_>, message: impl Into<String>) {
        let (line, span) = (instruction.line, instruction.span());
        self.out.problems.push(Problem {
            line,
            span,
            message: message.into(),
        });
    }

    fn syntax(&mut self) {
        if let Some(syntax) = &self.file.syntax {
            let (line, span) = (syntax.line, syntax.span.clone());
            let word = Word {
                kind: ReferenceKind::Syntax,
                line,
                span,
                stage: None,
                raw: syntax.value.clone(),
            };
            self.out.references.push(word.literal());
        }
    }

    /// Reads global ARGs and FROMs. Only ARGs before the first FROM count for it.
    fn stages(&mut self) {
        self.values = self.platform_values();
        let instructions = &self.file.instructions;
        for (index, instruction) in instructions.iter().enumerate() {
            match instruction.keyword() {
                Keyword::From => self.from(index, instruction),
                Keyword::Arg if self.out.stages.is_empty() => self.global_argument(instruction),
                Keyword::Unknown => {
                    let name = instruction.keyword_text().to_owned();
                    self.problem(instruction, format!("unknown instruction: {name}"));
                }
                _ if self.out.stages.is_empty() => {
                    self.problem(instruction, "no build stage in current context")
                }
                _ => {}
            }
        }
        let count = instructions.len();
        let starts: Vec<usize> = self
            .out
            .stages
            .iter()
            .map(|stage| stage.instructions.start)
            .skip(1)
            .collect();
        for (stage, end) in self.out.stages.iter_mut().zip(starts.into_iter().chain([count])) {
            stage.instructions.end = end;
        }
        if self.out.stages.is_empty() && count > 0 {
            let last = &instructions[count - 1];
            self.problem(last, "no build stage: there is no FROM");
        }
    }

    /// The arguments that the front end sets itself.
    fn platform_values(&self) -> BTreeMap<String, String> {
        let target = self
            .file
            .instructions
            .iter()
            .rev()
            .find(|each| each.keyword() == Keyword::From);
        let target = target
            .and_then(stage_name)
            .unwrap_or_else(|| "default".to_owned());
        let defaults = [
            ("BUILDPLATFORM", "linux/amd64"),
            ("BUILDOS", "linux"),
            ("BUILDOSVERSION", ""),
            ("BUILDARCH", "amd64"),
            ("BUILDVARIANT", ""),
            ("TARGETPLATFORM", "linux/amd64"),
            ("TARGETOS", "linux"),
            ("TARGETOSVERSION", ""),
            ("TARGETARCH", "amd64"),
            ("TARGETVARIANT", ""),
            ("TARGETSTAGE", target.as_str()),
        ];
        let given =
            |name: &str, default: &str| self.arguments.get(name).map_or(default.to_owned(), String::clone);
        defaults
            .iter()
            .map(|(name, default)| ((*name).to_owned(), given(name, default)))
            .collect()
    }

    fn global_argument(&mut self, instruction: &Instruction<'_>) {
        let words = instruction.quoted_words(self.file.escape);
        if words.is_empty() {
            self.problem(instruction, "ARG requires at least one argument");
        }
        for word in words {
            let (name, default) = match word.split_once('=') {
                Some(("", _)) => {
                    self.problem(instruction, "ARG names can not be blank");
                    continue;
                }
                Some((name, default)) => (name.to_owned(), Some(default)),
                None => (word.clone(), None),
            };
            if let Some(value) = self.arguments.get(&name) {
                self.values.insert(name, value.clone());
                continue;
            }
            let Some(default) = default else { continue };
            match expand(default, self.file.escape, &self.values) {
                // A variable without a value is the empty text here, as in the front end: the argument itself has a value.
                Ok(expanded) => drop(self.values.insert(name, expanded.text)),
                Err(error) => self.problem(instruction, error.to_string()),
            }
        }
    }

    fn from(&mut self, index: usize, instruction: &Instruction<'_>) {
        let words = split::words(
            instruction.logical.text(),
            instruction.body.pieces.arguments.clone(),
        );
        self.check_flags(instruction, &instruction.body, &["platform"]);
        let name = stage_name(instruction);
        let name_is_legal = name.as_deref().is_none_or(is_stage_name);
        let has_as = words.len() == 3 && name.is_some();
        let number = self.out.stages.len();
        let base = match words.first() {
            Some(word) if words.len() == 1 || has_as => {
                if !name_is_legal {
                    let message =
                        "invalid name for build stage: it can't start with a number or contain symbols";
                    self.problem(instruction, message);
                }
                self.base(instruction, word.clone(), number, true)
            }
            first => {
                self.problem(instruction, "FROM requires either one or three arguments");
                first.map_or(Base::Unknown, |word| {
                    self.base(instruction, word.clone(), number, false)
                })
            }
        };
        if let Some(name) = &name {
            self.names.insert(name.clone(), number);
        }
        self.out.stages.push(Stage {
            name,
            line: instruction.line,
            base,
            instructions: index..index + 1,
            uses: Vec::new(),
            is_result: false,
        });
    }

    /// Resolves what follows FROM. In a FROM that is not of the right form (`legal`), a word that can't be expanded
    /// is a piece of something else and no reference.
    fn base(
        &mut self,
        instruction: &Instruction<'_>,
        word: Range<usize>,
        number: usize,
        legal: bool,
    ) -> Base {
        let word = Word {
            kind: ReferenceKind::From,
            line: instruction.line,
            span: instruction.logical.source(&word),
            stage: Some(number),
            raw: instruction.logical.text()[word].to_owned(),
        };
        let reference = match expand(&word.raw, self.file.escape, &self.values) {
            Err(_) if !legal => return Base::Unknown,
            Err(error) => word.resolved(None, Err(Unresolved::Expansion(error))),
            Ok(expanded) => {
                let text = expanded.text;
                if let Some(&stage) = self.names.get(&text) {
                    return Base::Stage(stage);
                }
                let image = match text.as_str() {
                    "scratch" => return Base::Scratch,
                    _ if !expanded.missing.is_empty() => Err(Unresolved::Missing(expanded.missing)),
                    "" => Err(Unresolved::Blank),
                    text => text.parse().map_err(Unresolved::Reference),
                };
                word.resolved(Some(text), image)
            }
        };
        self.out.references.push(reference);
        Base::Image
    }

    /// Reads what instructions copy and mount from, now that all stages are known.
    fn uses(&mut self) {
        let file = self.file;
        for number in 0..self.out.stages.len() {
            for instruction in &file.instructions[self.out.stages[number].instructions.clone()] {
                self.use_of(instruction, &instruction.body, number, false);
                if let Some(trigger) = &instruction.trigger {
                    self.trigger(instruction, trigger, number);
                }
            }
        }
        // What stands before the first FROM is refused, but its images are seen.
        let before = self
            .out
            .stages
            .first()
            .map_or(file.instructions.len(), |stage| stage.instructions.start);
        for instruction in &file.instructions[..before] {
            self.use_of(instruction, &instruction.body, usize::MAX, false);
        }
    }

    fn trigger(&mut self, instruction: &Instruction<'_>, trigger: &Body, stage: usize) {
        match trigger.keyword {
            Keyword::Onbuild => self.problem(
                instruction,
                "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
            ),
            Keyword::From => self.problem(instruction, "FROM isn't allowed as an ONBUILD trigger"),
            Keyword::Maintainer => {
                self.problem(instruction, "MAINTAINER isn't allowed as an ONBUILD trigger")
            }
            _ => self.use_of(instruction, trigger, stage, true),
        }
    }

    fn use_of(&mut self, instruction: &Instruction<'_>, body: &Body, stage: usize, later: bool) {
        match body.keyword {
            Keyword::Copy => {
                self.check_flags(
                    instruction,
                    body,
                    &["chown", "from", "chmod", "link", "exclude", "parents"],
                );
                self.copy(instruction, body, stage, later);
            }
            Keyword::Add => {
                let known = [
                    "chown",
                    "chmod",
                    "link",
                    "keep-git-dir",
                    "checksum",
                    "unpack",
                    "exclude",
                ];
                self.check_flags(instruction, body, &known);
            }
            Keyword::Run => {
                self.check_flags(instruction, body, &["mount", "network", "security", "device"]);
                self.run(instruction, body, stage, later);
            }
            _ => {}
        }
    }

    fn check_flags(&mut self, instruction: &Instruction<'_>, body: &Body, known: &[&str]) {
        let mut seen: Vec<&str> = Vec::new();
        for flag in &body.pieces.flags {
            let (name, value) = flag.name_and_value();
            let repeatable = matches!(name, "mount" | "exclude" | "device");
            if !known.contains(&name) {
                self.problem(instruction, format!("unknown flag: --{name}"));
            } else if seen.contains(&name) && !repeatable {
                self.problem(instruction, format!("duplicate flag specified: --{name}"));
            } else if value.is_none() && !matches!(name, "link" | "parents" | "keep-git-dir" | "unpack") {
                self.problem(instruction, format!("missing a value on flag: --{name}"));
            }
            seen.push(name);
        }
    }

    fn copy(&mut self, instruction: &Instruction<'_>, body: &Body, stage: usize, later: bool) {
        let arguments = split::words(instruction.logical.text(), body.pieces.arguments.clone());
        if arguments.len() < 2 && !body.json {
            self.problem(instruction, "COPY requires at least two arguments");
        }
        for flag in &body.pieces.flags {
            let ("from", Some(from)) = flag.name_and_value() else {
                continue;
            };
            let kind = if later {
                ReferenceKind::OnbuildCopyFrom
            } else {
                ReferenceKind::CopyFrom
            };
            let word = self.flag_word(instruction, flag, from, kind, stage);
            let reference = match expand(from, self.file.escape, &()) {
                _ if from.is_empty() => continue,
                // Nothing is ever expanded here, so the text stays what it is.
                Err(error) => word.resolved(Some(from.to_owned()), Err(Unresolved::Expansion(error))),
                Ok(expanded) if expanded.text != from => {
                    word.resolved(Some(from.to_owned()), Err(Unresolved::VariableInFrom))
                }
                // A number is always a stage's, of this file or (an error) of none.
                Ok(_) => match from.parse::<i64>() {
                    Ok(number) => {
                        match usize::try_from(number)
                            .ok()
                            .filter(|number| *number < self.out.stages.len())
                        {
                            Some(used) => self.uses_stage(stage, used),
                            None if later => {}
                            None => self.problem(instruction, format!("invalid stage index {number}")),
                        }
                        continue;
                    }
                    Err(_) if self.is_stage(from, stage) => continue,
                    Err(_) => word.literal(),
                },
            };
            self.out.references.push(reference);
        }
    }

    fn run(&mut self, instruction: &Instruction<'_>, body: &Body, stage: usize, later: bool) {
        for flag in &body.pieces.flags {
            let ("mount", Some(value)) = flag.name_and_value() else {
                continue;
            };
            match mount_source(value) {
                MountSource::None => {}
                MountSource::Invalid(reason) => self.problem(instruction, reason),
                MountSource::Variable(from) => {
                    let advice = "define a stage with FROM and name that";
                    self.problem(
                        instruction,
                        format!("'from' doesn't support variable expansion ({from}): {advice}"),
                    );
                }
                MountSource::From(from) => {
                    if !self.is_stage(&from, stage) {
                        let kind = if later {
                            ReferenceKind::OnbuildMountFrom
                        } else {
                            ReferenceKind::MountFrom
                        };
                        let word = self.flag_word(instruction, flag, &from, kind, stage);
                        self.out.references.push(word.literal());
                    }
                }
            }
        }
    }

    /// A flag's value as a word, with the place of the value where the flag is written plainly.
    fn flag_word(
        &self,
        instruction: &Instruction<'_>,
        flag: &split::Flag,
        value: &str,
        kind: ReferenceKind,
        stage: usize,
    ) -> Word {
        let written = &instruction.logical.text()[flag.range.clone()];
        let range = match written.rfind(value) {
            Some(at) => flag.range.start + at..flag.range.start + at + value.len(),
            None => flag.range.clone(),
        };
        let span = instruction.logical.source(&range);
        let stage = (stage < self.out.stages.len()).then_some(stage);
        Word {
            kind,
            line: instruction.line,
            span,
            stage,
            raw: value.to_owned(),
        }
    }

    /// Whether a name is `scratch` or a stage, earlier or later; if so, the use is noted.
    fn is_stage(&mut self, name: &str, user: usize) -> bool {
        match self.names.get(&name.to_lowercase()) {
            Some(&used) => {
                self.uses_stage(user, used);
                true
            }
            None => name == "scratch",
        }
    }

    fn uses_stage(&mut self, user: usize, used: usize) {
        if let Some(stage) = self.out.stages.get_mut(user).filter(|_| user != used) {
            stage.uses.push(used);
        }
    }

    fn finish(mut self) -> Images {
        let stages = &mut self.out.stages;
        let mut used = vec![false; stages.len()];
        for stage in stages.iter() {
            let base = match stage.base {
                Base::Stage(base) => Some(base),
                _ => None,
            };
            stage
                .uses
                .iter()
                .copied()
                .chain(base)
                .for_each(|index| used[index] = true);
        }
        for index in (0..stages.len()).rev() {
            let last = index + 1 == stages.len();
            let target = stages[index].name.is_some() && !used[index];
            stages[index].is_result |= last || target;
            if let (true, Base::Stage(base)) = (stages[index].is_result, stages[index].base) {
                stages[base].is_result = true;
            }
        }
        self.out
    }
}

/// The name behind `AS`, in lower case.
fn stage_name(instruction: &Instruction<'_>) -> Option<String> {
    let text = instruction.logical.text();
    let words = split::words(text, instruction.body.pieces.arguments.clone());
    match words.as_slice() {
        [_, separator, name] if text[separator.clone()].eq_ignore_ascii_case("as") => {
            Some(text[name.clone()].to_lowercase())
        }
        _ => None,
    }
}

fn is_stage_name(name: &str) -> bool {
    name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte))
}

impl Environment for &BTreeMap<String, String> {
    fn value(&self, name: &str) -> Option<&str> {
        self.get(name).map(String::as_str)
    }
}
