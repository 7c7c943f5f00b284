//! Finds outside images: which names are stages, which are images, and what they expand to.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::check;
use crate::image::{ImageReference, ReferenceError};
use crate::parse::{Body, Dockerfile, Instruction, Problem};
use crate::shell::ExpansionError;
use crate::variables::Variables;

/// The form of a reference.
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
    /// The name in outputs.
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

/// Why a reference has no image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unresolved {
    /// Variables (given) without a value.
    Missing(Vec<String>),
    /// The word cannot be expanded.
    Expansion(ExpansionError),
    /// The text is not a valid reference.
    Reference(ReferenceError),
    /// `COPY --from` takes no variables.
    VariableInFrom,
    /// It expands to an empty text.
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
    /// Its form.
    pub kind: ReferenceKind,
    /// 1-based line on which its instruction begins (0 for a front end that a JSON document names).
    pub line: usize,
    /// Bytes of the reference in the source.
    pub span: Range<usize>,
    /// The index of its stage; `None` for the front end.
    pub stage: Option<usize>,
    /// As written, with lines joined, and without the quotes and escapes of a flag.
    pub raw: String,
    /// The expanded text; a variable without a value is empty in it. `None` if it cannot be expanded.
    pub expanded: Option<String>,
    /// The image, or why there is none.
    pub image: Result<ImageReference, Unresolved>,
}

/// The base of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// Nothing: `FROM scratch`.
    Scratch,
    /// An earlier stage, by index.
    Stage(usize),
    /// An image: the `from` reference of the stage.
    Image,
    /// Invalid.
    Unknown,
}

/// A build stage.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Name in lower case, if it has one.
    pub name: Option<String>,
    /// 1-based line of its FROM.
    pub line: usize,
    /// Its base.
    pub base: Base,
    /// Indices of its instructions in the file, its FROM first.
    pub instructions: Range<usize>,
    /// Other stages from which it copies or mounts.
    pub uses: Vec<usize>,
    /// Whether it can be the result of a build: it is the last, or named and unused, or the base of such a stage.
    pub is_result: bool,
}

/// The images of a file.
#[derive(Debug, Clone, Default)]
pub struct Images {
    /// References in order.
    pub references: Vec<Reference>,
    /// Stages in order.
    pub stages: Vec<Stage>,
    /// Why the front end rejects instructions about images.
    pub problems: Vec<Problem>,
}

/// Build arguments by name.
pub type BuildArguments = BTreeMap<String, String>;

/// Finds the outside images of a file. `arguments` are the values of `--build-arg`; the platform is `linux/amd64`
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

/// The state while a file is read, and the results.
pub(crate) struct Reader<'a> {
    pub(crate) file: &'a Dockerfile<'a>,
    pub(crate) arguments: &'a BuildArguments,
    /// Stages by their names in lower case; a later one replaces an earlier one.
    pub(crate) names: BTreeMap<String, usize>,
    /// Values of variables in `FROM`.
    pub(crate) values: Variables<'a>,
    pub(crate) out: Images,
}

/// A word that may name an image, with its position.
pub(crate) struct Word {
    pub(crate) kind: ReferenceKind,
    pub(crate) line: usize,
    pub(crate) span: Range<usize>,
    pub(crate) stage: Option<usize>,
    pub(crate) raw: String,
}

impl Word {
    /// The reference of the word.
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

    /// The word is used as it is: nothing is expanded in it.
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

    /// Records why the front end rejects an instruction or a trigger by itself.
    pub(crate) fn rejections(&mut self, instruction: &Instruction<'_>, body: &Body) {
        for message in check::rejections(instruction.logical.text(), body, self.file.escape) {
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
