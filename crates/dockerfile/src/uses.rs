//! Sources of copies and mounts: stages of the file or outside images.

use crate::keyword::Keyword;
use crate::mount::{MountSource, mount_source};
use crate::parse::{Body, Instruction};
use crate::references::{Base, Images, Reader, ReferenceKind, Unresolved, Word};
use crate::shell::expand;
use crate::split;

impl Reader<'_> {
    /// Reads the sources of copies and mounts, once all stages are known.
    pub(crate) fn uses(&mut self) {
        let file = self.file;
        for number in 0..self.out.stages.len() {
            for instruction in &file.instructions[self.out.stages[number].instructions.clone()] {
                self.use_of(instruction, &instruction.body, number, false);
                if let Some(trigger) = &instruction.trigger {
                    self.trigger(instruction, trigger, number);
                }
            }
        }
        // Instructions before the first FROM are rejected, but their images are found.
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
            _ => {
                self.rejections(instruction, trigger);
                self.use_of(instruction, trigger, stage, true);
            }
        }
    }

    fn use_of(&mut self, instruction: &Instruction<'_>, body: &Body, stage: usize, later: bool) {
        match body.keyword {
            Keyword::Copy => self.copy(instruction, body, stage, later),
            Keyword::Run => self.run(instruction, body, stage, later),
            _ => {}
        }
    }

    fn copy(&mut self, instruction: &Instruction<'_>, body: &Body, stage: usize, later: bool) {
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
                // Nothing is expanded here, so the text stays unchanged.
                Err(error) => word.resolved(Some(from.to_owned()), Err(Unresolved::Expansion(error))),
                Ok(expanded) if expanded.text != from => {
                    word.resolved(Some(from.to_owned()), Err(Unresolved::VariableInFrom))
                }
                // A number always means a stage, of this file or (an error) none.
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

    /// A flag's value as a word, with its position where the flag is written plainly.
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

    /// Whether a name is `scratch` or a stage, earlier or later; if so, the use is recorded.
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

    /// Determines which stages can be a result, once all uses are known.
    pub(crate) fn finish(mut self) -> Images {
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
