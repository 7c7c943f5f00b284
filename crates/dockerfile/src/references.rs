//! From instructions to outside images: which names are stages, which are images, and what they expand to.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::check;
use crate::image::{ImageReference, ReferenceError};
use crate::parse::{Body, Dockerfile, Instruction, Problem};
use crate::shell::ExpansionError;
use crate::variables::Variables;

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
        names: BTreeMap::new(),
        values: Variables::new(file, arguments),
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

/// What is known while a file is read, and what was found.
pub(crate) struct Reader<'a> {
    pub(crate) file: &'a Dockerfile<'a>,
    pub(crate) arguments: &'a BuildArguments,
    /// Stages by their names in lower case; a later one replaces an earlier one.
    pub(crate) names: BTreeMap<String, usize>,
    /// What variables of `FROM` stand for.
    pub(crate) values: Variables<'a>,
    pub(crate) out: Images,
}

/// A word that may name an image: where it is and what it says.
pub(crate) struct Word {
    pub(crate) kind: ReferenceKind,
    pub(crate) line: usize,
    pub(crate) span: Range<usize>,
    pub(crate) stage: Option<usize>,
    pub(crate) raw: String,
}

impl Word {
    /// The reference that the word is.
    pub(crate) fn resolved(
        self,
        expanded: Option<String>,
        image: Result<ImageReference, Unresolved>,
    ) -> Reference {
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
    pub(crate) fn literal(self) -> Reference {
        let text = self.raw.clone();
        let image = text.parse().map_err(Unresolved::Reference);
        self.resolved(Some(text), image)
    }
}

impl Reader<'_> {
    pub(crate) fn problem(&mut self, instruction: &Instruction<'_>, message: impl Into<String>) {
        let (line, span) = (instruction.line, instruction.span());
        self.out.problems.push(Problem {
            line,
            span,
            message: message.into(),
        });
    }

    /// Notes why the front end refuses an instruction or a trigger by itself.
    pub(crate) fn refusals(&mut self, instruction: &Instruction<'_>, body: &Body) {
        for message in check::refusals(instruction.logical.text(), body, self.file.escape) {
            self.problem(instruction, message);
        }
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
}
