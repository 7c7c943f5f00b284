//! The rules: what the policy has against the images that a file names.

mod consistency;
mod exceptions;
pub(crate) mod hygiene;
mod image;

pub(crate) use consistency::check as check_consistency;
pub(crate) use exceptions::apply as apply_exceptions;
pub(crate) use image::check as check_images;

use crate::model::{Edit, Finding, Level, Place, Rule};
use crate::policy::Policy;
use dockerfile::ImageReference;

impl Finding {
    /// A finding at the level that the policy gives its rule.
    pub(crate) fn new(rule: Rule, policy: &Policy, place: Place, message: impl Into<String>) -> Finding {
        let level = policy.level(rule);
        Finding {
            rule,
            level,
            place,
            message: message.into(),
            help: Vec::new(),
            edit: None,
            image: None,
        }
    }

    pub(crate) fn help(mut self, line: impl Into<String>) -> Finding {
        self.help.push(line.into());
        self
    }

    pub(crate) fn edit(mut self, edit: Option<Edit>) -> Finding {
        self.edit = edit;
        self
    }

    pub(crate) fn about(mut self, image: &ImageReference) -> Finding {
        self.image = Some(image.clone());
        self
    }

    /// Never more than a warning.
    pub(crate) fn warning(mut self) -> Finding {
        self.level = self.level.min(Level::Warning);
        self
    }
}
