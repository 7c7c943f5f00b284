#![doc = include_str!("../README.md")]

mod check;
mod directive;
mod exec;
mod heredoc;
mod image;
mod keyword;
mod logical;
mod mount;
mod parse;
mod pattern;
mod print;
mod references;
mod shell;
mod split;
mod stages;
mod substitution;
mod uses;
mod variables;

pub use directive::Directive;
pub use heredoc::Heredoc;
pub use image::{ImageReference, ReferenceError};
pub use keyword::Keyword;
pub use logical::LineIndex;
pub use parse::{Dockerfile, Instruction, Problem, parse};
pub use references::{Base, BuildArguments, Images, Reference, ReferenceKind, Stage, Unresolved, images};
pub use shell::{Environment, Expanded, ExpansionError, expand};
pub use split::Flag;
