//! The rules.

mod consistency;
mod exceptions;
pub(crate) mod hygiene;
mod image;
mod registry;
mod tags;

pub(crate) use consistency::check as check_consistency;
pub(crate) use exceptions::{apply as apply_exceptions, apply_baseline};
pub(crate) use image::check as check_images;

use crate::model::{Edit, Finding, Level, Location, Rule, Text};
use crate::policy::Policy;

impl Finding {
    /// Creates a finding at the level that the policy sets for the rule.
    pub(crate) fn new(rule: Rule, policy: &Policy, location: Location, message: impl Into<Text>) -> Finding {
        let level = policy.level(rule);
        Finding {
            rule,
            level,
            location,
            message: message.into(),
            help: Vec::new(),
            edit: None,
            use_index: None,
        }
    }

    pub(crate) fn help(mut self, line: impl Into<Text>) -> Finding {
        self.help.push(line.into());
        self
    }

    /// Returns the message and the help lines.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.message).chain(self.help.iter().map(|line| &**line))
    }

    pub(crate) fn edit(mut self, edit: Option<Edit>) -> Finding {
        self.edit = edit.map(Box::new);
        self
    }

    pub(crate) fn of_use(mut self, index: usize) -> Finding {
        self.use_index = Some(index);
        self
    }

    /// Limits the level to a warning.
    pub(crate) fn warning(mut self) -> Finding {
        self.level = self.level.min(Level::Warning);
        self
    }
}
