#![doc = include_str!("../README.md")]

mod directive;
mod heredoc;
mod image;
mod logical;
mod mount;
mod parse;
mod pattern;
mod print;
mod references;
mod shell;
mod split;

pub use directive::Directive;
pub use heredoc::Heredoc;
pub use image::{ImageReference, ReferenceError};
pub use logical::LineIndex;
pub use parse::{Dockerfile, Instruction, Keyword, Problem, parse};
pub use references::{Base, BuildArguments, Images, Reference, ReferenceKind, Stage, Unresolved, images};
pub use shell::{Environment, Expanded, ExpansionError, expand};
pub use split::Flag;
