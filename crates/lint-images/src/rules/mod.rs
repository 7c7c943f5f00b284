//! The rules: what the policy has against the images that a file names.

mod consistency;
mod exceptions;
pub(crate) mod hygiene;
mod image;
mod registry;
mod tags;

pub(crate) use consistency::check as check_consistency;
pub(crate) use exceptions::apply as apply_exceptions;
pub(crate) use image::check as check_images;

use crate::model::{Edit, Finding, Level, Place, Rule, Text};
use crate::policy::Policy;

impl Finding {
    /// A finding at the level that the policy gives its rule.
    pub(crate) fn new(rule: Rule, policy: &Policy, place: Place, message: impl Into<Text>) -> Finding {
        let level = policy.level(rule);
        Finding {
            rule,
            level,
            place,
            message: message.into(),
            help: Vec::new(),
            edit: None,
            about: None,
        }
    }

    pub(crate) fn help(mut self, line: impl Into<Text>) -> Finding {
        self.help.push(line.into());
        self
    }

    /// The message and what helps, a line each.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.message).chain(self.help.iter().map(|line| &**line))
    }

    pub(crate) fn edit(mut self, edit: Option<Edit>) -> Finding {
        self.edit = edit.map(Box::new);
        self
    }

    pub(crate) fn about(mut self, number: usize) -> Finding {
        self.about = Some(number);
        self
    }

    /// Never more than a warning.
    pub(crate) fn warning(mut self) -> Finding {
        self.level = self.level.min(Level::Warning);
        self
    }
}
