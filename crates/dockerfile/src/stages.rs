//! Stages: the base of each `FROM`, with the `ARG`s before it.

use std::ops::Range;

use crate::keyword::Keyword;
use crate::parse::Instruction;
use crate::references::{Base, Reader, ReferenceKind, Stage, Unresolved, Word};
use crate::shell::expand;
use crate::split;

impl Reader<'_> {
    /// Reads global ARGs and FROMs. Only ARGs before the first FROM count for it.
    pub(crate) fn stages(&mut self) {
        let instructions = &self.file.instructions;
        for (index, instruction) in instructions.iter().enumerate() {
            self.rejections(instruction, &instruction.body);
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

    fn global_argument(&mut self, instruction: &Instruction<'_>) {
        for word in instruction.quoted_words(self.file.escape) {
            let (name, default) = match word.split_once('=') {
                // Rejected.
                Some(("", _)) => continue,
                Some((name, default)) => (name, Some(default)),
                None => (word, None),
            };
            if let Some(value) = self.arguments.get(name) {
                self.values.set(name, value.clone());
                continue;
            }
            let Some(default) = default else { continue };
            match expand(default, self.file.escape, &self.values) {
                // A variable without a value is empty here, as in the front end: the argument itself has a value.
                Ok(expanded) => self.values.set(name, expanded.text),
                Err(error) => self.problem(instruction, error.to_string()),
            }
        }
    }

    /// The platform does not change the image, but one that expands to an empty text is rejected.
    fn platform(&mut self, instruction: &Instruction<'_>) {
        let flags = instruction.flags().iter().map(split::Flag::name_and_value);
        let given = flags
            .filter(|(name, _)| *name == "platform")
            .find_map(|(_, value)| value.filter(|value| !value.is_empty()));
        let Some(written) = given else { return };
        match expand(written, self.file.escape, &self.values) {
            Err(error) => self.problem(instruction, error.to_string()),
            Ok(expanded) if expanded.text.is_empty() => {
                self.problem(
                    instruction,
                    format!("empty platform value from expression {written}"),
                );
            }
            Ok(_) => {}
        }
    }

    fn from(&mut self, index: usize, instruction: &Instruction<'_>) {
        let mut words = split::words(
            instruction.logical.text(),
            instruction.body.pieces.arguments.clone(),
        );
        let (first, is_alone) = (words.next(), words.next().is_none());
        self.platform(instruction);
        let name = stage_name(instruction);
        let name_is_legal = name.as_deref().is_none_or(is_stage_name);
        let number = self.out.stages.len();
        let base = match first {
            Some(word) if is_alone || name.is_some() => {
                if !name_is_legal {
                    let message =
                        "invalid name for build stage: it can't start with a number or contain symbols";
                    self.problem(instruction, message);
                }
                self.base(instruction, word, number, true)
            }
            first => {
                self.problem(instruction, "FROM requires either one or three arguments");
                first.map_or(Base::Unknown, |word| self.base(instruction, word, number, false))
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

    /// Resolves the arguments of FROM. In an invalid FROM (`legal` is false), a word that cannot be expanded
    /// belongs to something else and is not a reference.
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
}

/// The name after `AS`, in lower case.
pub(crate) fn stage_name(instruction: &Instruction<'_>) -> Option<String> {
    let text = instruction.logical.text();
    let mut words = split::words(text, instruction.body.pieces.arguments.clone()).skip(1);
    let (separator, name) = (words.next()?, words.next()?);
    let is_name = text[separator].eq_ignore_ascii_case("as") && words.next().is_none();
    is_name.then(|| text[name].to_lowercase())
}

fn is_stage_name(name: &str) -> bool {
    name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte))
}
