//! Parses text into instructions. Errors are collected and parsing continues: a linter must see as much as possible.

use std::fmt;
use std::ops::Range;

use crate::directive::{self, Directive, Repeated};
use crate::exec::{Json, json_strings};
use crate::heredoc::{self, Heredoc, Opening};
use crate::keyword::Keyword;
use crate::logical::{Line, LineIndex, Lines, Logical};
use crate::split::{self, Flag, Pieces, trim_start};

/// Maximum bytes of a physical line in the reference front end.
const LONGEST_LINE: usize = 65_535;

/// A parsed Dockerfile.
#[derive(Debug, Clone)]
pub struct Dockerfile<'a> {
    /// The source.
    pub source: &'a str,
    /// The escape character: a backslash or a backtick.
    pub escape: char,
    /// Parser directives in order.
    pub directives: Vec<Directive>,
    /// The front end image of the file, up to the first space.
    pub syntax: Option<Directive>,
    /// Instructions in order, including unknown ones.
    pub instructions: Vec<Instruction<'a>>,
    /// Why the reference front end rejects the file. Empty for a valid file.
    pub problems: Vec<Problem>,
    /// The starts of its lines.
    pub lines: LineIndex,
}

/// One instruction with its position in the source.
#[derive(Debug, Clone)]
pub struct Instruction<'a> {
    pub(crate) logical: Logical<'a>,
    pub(crate) body: Body,
    /// The trigger of `ONBUILD`. In a box, since few instructions have one.
    pub(crate) trigger: Option<Box<Body>>,
    /// 1-based line on which it begins.
    pub line: usize,
    /// 1-based line on which it ends, here-documents included.
    pub end_line: usize,
    /// Its here-documents.
    pub heredocs: Vec<Heredoc>,
}

/// Keyword, flags and arguments of an instruction or of a trigger within one.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    pub(crate) keyword: Keyword,
    pub(crate) pieces: Pieces,
    /// The arguments are a JSON array of strings.
    pub(crate) json: bool,
}

impl Instruction<'_> {
    /// Its type.
    pub fn keyword(&self) -> Keyword {
        self.body.keyword
    }

    /// The keyword as written.
    pub fn keyword_text(&self) -> &str {
        &self.logical.text()[self.body.pieces.keyword.clone()]
    }

    /// The trigger of `ONBUILD`: keyword, flags and arguments.
    pub fn trigger(&self) -> Option<(Keyword, &[Flag], &str)> {
        let trigger = self.trigger.as_ref()?;
        let arguments = &self.logical.text()[trigger.pieces.arguments.clone()];
        Some((trigger.keyword, &trigger.pieces.flags, arguments))
    }

    /// Flags before the arguments.
    pub fn flags(&self) -> &[Flag] {
        &self.body.pieces.flags
    }

    /// The text after keyword and flags, with the lines joined and trimmed.
    pub fn arguments(&self) -> &str {
        &self.logical.text()[self.body.pieces.arguments.clone()]
    }

    /// Whether the arguments are a JSON array of strings ("exec form").
    pub fn is_json(&self) -> bool {
        self.body.json
    }

    /// Words of the arguments (`ARG`, `ENV`, `LABEL`), blanks within quotes kept, quotes and escapes too.
    pub fn quoted_words(&self, escape: char) -> impl Iterator<Item = &str> {
        split::quoted_words(self.logical.text(), self.body.pieces.arguments.clone(), escape)
    }

    /// Bytes of the instruction in the source: from its keyword to the end of its arguments.
    pub fn span(&self) -> Range<usize> {
        let text = self.logical.text();
        let start = text.len() - text.trim_start().len();
        self.logical.source(&(start..text.trim_end().len().max(start)))
    }

    /// Bytes of the keyword in the source.
    pub fn keyword_span(&self) -> Range<usize> {
        self.logical.source(&self.body.pieces.keyword)
    }
}

/// Where and why the reference front end rejects a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// 1-based line.
    pub line: usize,
    /// Bytes in the source.
    pub span: Range<usize>,
    /// The error, one line.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.message)
    }
}

/// Parses a Dockerfile. Never fails: errors are in `problems`, everything readable is returned.
///
/// ```
/// let file = dockerfile::parse("FROM alpine:3 AS base\nRUN <<EOF\nFROM busybox\nEOF\n");
/// assert_eq!(file.instructions.len(), 2);
/// assert!(file.problems.is_empty());
/// ```
pub fn parse(source: &str) -> Dockerfile<'_> {
    Parser::new(source).run()
}

struct Parser<'a> {
    file: Dockerfile<'a>,
    lines: Lines<'a>,
    directives: directive::Reader,
    /// The further pieces of the line being joined; kept for its capacity.
    pieces: Vec<(&'a str, usize)>,
}

impl<'a> Parser<'a> {
    fn new(source: &'a str) -> Self {
        let file = Dockerfile {
            source,
            escape: '\\',
            directives: Vec::new(),
            syntax: directive::detect_syntax(source),
            // One for each 48 bytes is more than most files have.
            instructions: Vec::with_capacity((source.len() / 48 + 1).min(64)),
            problems: Vec::new(),
            lines: LineIndex::default(),
        };
        Parser {
            file,
            lines: Lines::new(source),
            directives: directive::Reader::default(),
            pieces: Vec::new(),
        }
    }

    fn run(mut self) -> Dockerfile<'a> {
        while let Some(line) = self.next_line() {
            let text = match self.lines.number {
                1 => line.text.strip_prefix('\u{feff}').unwrap_or(line.text),
                _ => line.text,
            };
            let text = trim_start(text);
            let start = line.start + (text.as_ptr() as usize - line.text.as_ptr() as usize);
            self.directive(text, start);
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            self.instruction(text, start);
        }
        if self.file.instructions.is_empty() && self.file.problems.is_empty() {
            self.problem(self.lines.number.max(1), 0..0, "file with no instructions");
        }
        self.file.lines = self.lines.index;
        self.file
    }

    fn next_line(&mut self) -> Option<Line<'a>> {
        let line = self.lines.next()?;
        if line.next - line.start > LONGEST_LINE + 1 {
            let message = format!("dockerfile line greater than max allowed size of {LONGEST_LINE}");
            self.problem(
                self.lines.number,
                line.start..line.start + line.text.len(),
                &message,
            );
        }
        Some(line)
    }

    fn problem(&mut self, line: usize, span: Range<usize>, message: &str) {
        self.file.problems.push(Problem {
            line,
            span,
            message: message.to_owned(),
        });
    }

    fn directive(&mut self, text: &str, start: usize) {
        if self.directives.done {
            return;
        }
        let number = self.lines.number;
        match self.directives.line(text, "#", start, number) {
            Ok(None) => {}
            Err(Repeated(name)) => {
                let message = format!("only one {name} parser directive can be used");
                self.problem(number, start..start + text.len(), &message);
            }
            Ok(Some(directive)) => {
                if directive.name == "escape" {
                    match directive.value.as_str() {
                        "`" => self.file.escape = '`',
                        "\\" => self.file.escape = '\\',
                        other => {
                            let message = format!("invalid escape token '{other}' does not match ` or \\");
                            self.problem(number, directive.span.clone(), &message);
                        }
                    }
                }
                self.file.directives.push(directive);
            }
        }
    }

    /// Reads the instruction that begins with `text`, its continuation lines and its here-documents.
    fn instruction(&mut self, text: &'a str, start: usize) {
        let line = self.lines.number;
        let (first, mut continues) = without_escape(text, self.file.escape);
        self.pieces.clear();
        while continues {
            let Some(next) = self.next_line() else { break };
            let visible = trim_start(next.text);
            if visible.is_empty() || visible.starts_with('#') {
                continue;
            }
            let (more, goes_on) = without_escape(next.text, self.file.escape);
            if !more.is_empty() {
                self.pieces.push((more, next.start));
            }
            continues = goes_on;
        }
        let logical = Logical::joined(first, start, &self.pieces);
        let mut instruction = self.split(logical, line);
        self.read_heredocs(&mut instruction);
        instruction.end_line = self.lines.number;
        self.file.instructions.push(instruction);
    }

    fn split(&mut self, logical: Logical<'a>, line: usize) -> Instruction<'a> {
        let whole = 0..logical.text().len();
        let body = self.body(&logical, whole, line);
        let arguments = body.pieces.arguments.clone();
        let trigger = (body.keyword == Keyword::Onbuild && !arguments.is_empty())
            .then(|| Box::new(self.body(&logical, arguments, line)));
        Instruction {
            logical,
            body,
            trigger,
            line,
            end_line: line,
            heredocs: Vec::new(),
        }
    }

    fn body(&mut self, logical: &Logical<'a>, range: Range<usize>, line: usize) -> Body {
        let pieces = split::split(logical.text(), range, self.file.escape);
        let keyword = Keyword::of(&logical.text()[pieces.keyword.clone()]);
        let arguments = &logical.text()[pieces.arguments.clone()];
        let json = match (keyword, arguments) {
            (Keyword::Healthcheck, arguments) => {
                let command = arguments
                    .split_once(char::is_whitespace)
                    .map_or("", |(_, command)| command);
                json_strings(command)
            }
            (keyword, arguments) if keyword.may_be_json() => json_strings(arguments),
            _ => Json::No,
        };
        if json == Json::OtherValues {
            let message = "when using JSON array syntax, arrays must be comprised of strings only";
            self.problem(line, logical.source(&pieces.arguments), message);
        }
        Body {
            keyword,
            pieces,
            json: json == Json::Strings,
        }
    }

    fn read_heredocs(&mut self, instruction: &mut Instruction<'a>) {
        let body = instruction.trigger.as_deref().unwrap_or(&instruction.body);
        if !body.keyword.takes_heredocs() || body.json {
            return;
        }
        match heredoc::openings(instruction.logical.text()) {
            Err(error) => self.problem(instruction.line, instruction.span(), &error.to_string()),
            Ok(openings) => {
                for opening in openings {
                    let heredoc = self.heredoc(opening);
                    if !heredoc.terminated {
                        let message = format!("unterminated heredoc: no line with just {:?}", heredoc.name);
                        self.problem(instruction.line, instruction.span(), &message);
                    }
                    instruction.heredocs.push(heredoc);
                }
            }
        }
    }

    fn heredoc(&mut self, opening: Opening) -> Heredoc {
        let start = self.lines.position();
        let mut end = start;
        let mut terminated = false;
        while let Some(line) = self.next_line() {
            if opening.is_end(line.text) {
                terminated = true;
                break;
            }
            end = line.next;
        }
        Heredoc {
            name: opening.name,
            chomp: opening.chomp,
            span: start..end,
            terminated,
        }
    }
}

/// A physical line without the escape character that continues it, and whether one did: a single one, blanks behind
/// it allowed. Two in a row are text.
pub(crate) fn without_escape(line: &str, escape: char) -> (&str, bool) {
    let visible = line.trim_end_matches([' ', '\t']);
    match visible.strip_suffix(escape) {
        Some(before) if !before.ends_with(escape) => (before, true),
        _ => (line, false),
    }
}
