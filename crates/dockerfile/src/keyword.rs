//! The names of instructions.

/// The type of an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the keywords")]
pub enum Keyword {
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    Stopsignal,
    User,
    Volume,
    Workdir,
    /// Unknown to the front end.
    Unknown,
}

/// The most frequent first: the search order.
const KEYWORDS: [(&str, Keyword); 18] = [
    ("RUN", Keyword::Run),
    ("COPY", Keyword::Copy),
    ("FROM", Keyword::From),
    ("ENV", Keyword::Env),
    ("ARG", Keyword::Arg),
    ("LABEL", Keyword::Label),
    ("WORKDIR", Keyword::Workdir),
    ("CMD", Keyword::Cmd),
    ("ENTRYPOINT", Keyword::Entrypoint),
    ("USER", Keyword::User),
    ("EXPOSE", Keyword::Expose),
    ("ADD", Keyword::Add),
    ("HEALTHCHECK", Keyword::Healthcheck),
    ("VOLUME", Keyword::Volume),
    ("SHELL", Keyword::Shell),
    ("ONBUILD", Keyword::Onbuild),
    ("STOPSIGNAL", Keyword::Stopsignal),
    ("MAINTAINER", Keyword::Maintainer),
];

impl Keyword {
    /// Case-insensitive.
    pub(crate) fn of(text: &str) -> Keyword {
        let first = text.bytes().next().map(|byte| byte.to_ascii_uppercase());
        KEYWORDS
            .iter()
            .find(|(name, _)| name.bytes().next() == first && name.eq_ignore_ascii_case(text))
            .map_or(Keyword::Unknown, |(_, it)| *it)
    }

    /// Whether its arguments may be a JSON array.
    pub(crate) fn may_be_json(self) -> bool {
        use Keyword::{Add, Cmd, Copy, Entrypoint, Run, Shell, Volume};
        matches!(self, Add | Cmd | Copy | Entrypoint | Run | Shell | Volume)
    }

    /// Whether `<<` in its arguments opens a here-document.
    pub(crate) fn takes_heredocs(self) -> bool {
        matches!(self, Keyword::Add | Keyword::Copy | Keyword::Run)
    }
}
