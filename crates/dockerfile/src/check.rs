//! Checks of single instructions: unknown flags, missing arguments.

use std::borrow::Cow;

use crate::heredoc;
use crate::keyword::Keyword;
use crate::parse::Body;
use crate::split::{self, QuotedWords};

/// All reasons for which the front end rejects an instruction by itself. `FROM` is checked
/// elsewhere; numbers and durations are not, since no image depends on them.
pub(crate) fn rejections(text: &str, body: &Body, escape: char) -> Vec<String> {
    let arguments = &text[body.pieces.arguments.clone()];
    let mut found = flags(body, arguments);
    let words = || split::quoted_words(text, body.pieces.arguments.clone(), escape);
    match body.keyword {
        Keyword::Add | Keyword::Copy => found.extend(sources(text, body)),
        Keyword::Arg => found.extend(names("ARG", words())),
        Keyword::Env => found.extend(pairs("ENV", arguments, words())),
        Keyword::Label => found.extend(pairs("LABEL", arguments, words())),
        Keyword::Healthcheck => found.extend(health_check(body, arguments)),
        Keyword::Shell => found.extend(shell(body, arguments)),
        Keyword::Volume => found.extend(volumes(body, arguments)),
        Keyword::Maintainer | Keyword::Stopsignal | Keyword::User | Keyword::Workdir => {
            found.extend(arguments.is_empty().then(|| {
                let name = format!("{:?}", body.keyword).to_uppercase();
                format!("{name} requires exactly one argument")
            }));
        }
        Keyword::Expose => found.extend(arguments.is_empty().then(|| at_least_one("EXPOSE"))),
        Keyword::Onbuild => found.extend(arguments.is_empty().then(|| at_least_one("ONBUILD"))),
        Keyword::Cmd | Keyword::Entrypoint | Keyword::From | Keyword::Run | Keyword::Unknown => {}
    }
    found
}

fn at_least_one(name: &str) -> String {
    format!("{name} requires at least one argument")
}

const SWITCHES: [&str; 4] = ["keep-git-dir", "link", "parents", "unpack"];
const REPEATABLE: [&str; 3] = ["device", "exclude", "mount"];

/// The flags of an instruction; `None` where they are not checked.
fn known_flags(keyword: Keyword, arguments: &str) -> Option<&'static [&'static str]> {
    Some(match keyword {
        Keyword::Add => &[
            "checksum",
            "chmod",
            "chown",
            "exclude",
            "keep-git-dir",
            "link",
            "unpack",
        ],
        Keyword::Copy => &["chmod", "chown", "exclude", "from", "link", "parents"],
        Keyword::From => &["platform"],
        Keyword::Run => &["device", "mount", "network", "security"],
        Keyword::Healthcheck if is_none(arguments) => return None,
        Keyword::Healthcheck => &["interval", "retries", "start-interval", "start-period", "timeout"],
        Keyword::Arg | Keyword::Stopsignal | Keyword::Unknown => return None,
        _ => &[],
    })
}

fn flags(body: &Body, arguments: &str) -> Vec<String> {
    if body.pieces.flags.is_empty() {
        return Vec::new();
    }
    let Some(known) = known_flags(body.keyword, arguments) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for flag in &body.pieces.flags {
        let (name, value) = flag.name_and_value();
        if !known.contains(&name) {
            found.push(format!("unknown flag: --{name}"));
        } else if seen.contains(&name) && !REPEATABLE.contains(&name) {
            found.push(format!("duplicate flag specified: --{name}"));
        } else {
            found.extend(value_rejection(name, value));
        }
        seen.push(name);
    }
    found
}

fn value_rejection(name: &str, value: Option<&str>) -> Option<String> {
    let is_switch = SWITCHES.contains(&name);
    match value {
        None if !is_switch => Some(format!("missing a value on flag: --{name}")),
        Some("") if is_switch => Some(format!("missing a value on flag: --{name}")),
        Some(value) if is_switch && !["true", "false"].contains(&value.to_lowercase().as_str()) => {
            Some(format!("expecting boolean value for flag --{name}, not: {value}"))
        }
        _ => None,
    }
}

/// Checks the sources and the destination of `COPY` and `ADD`.
fn sources(text: &str, body: &Body) -> Option<String> {
    let range = body.pieces.arguments.clone();
    let name = if body.keyword == Keyword::Add {
        "ADD"
    } else {
        "COPY"
    };
    let (destination, has_source) = match body.json {
        true => {
            let mut words = strings(&text[range]);
            (words.pop().map(Cow::Owned), !words.is_empty())
        }
        false => {
            let mut words = split::words(text, range);
            let last = words.next_back().map(|word| Cow::Borrowed(&text[word]));
            (last, words.next().is_some())
        }
    };
    match destination {
        Some(last) if has_source => matches!(heredoc::opening(&last), Ok(Some(_)))
            .then(|| format!("{name} cannot accept a heredoc as a destination")),
        _ => Some(format!(
            "{name} requires at least two arguments: a source and a destination"
        )),
    }
}

/// The strings of a JSON array that is known to be one.
fn strings(array: &str) -> Vec<String> {
    serde_json::from_str(array.trim_start()).unwrap_or_default()
}

fn names(name: &str, words: QuotedWords<'_>) -> Option<String> {
    let mut words = words.peekable();
    if words.peek().is_none() {
        return Some(at_least_one(name));
    }
    words.any(|word| word.starts_with('=')).then(|| blank(name))
}

fn has_equals(word: &str) -> bool {
    memchr::memchr(b'=', word.as_bytes()).is_some()
}

fn blank(name: &str) -> String {
    format!("{name} names can not be blank")
}

/// `NAME=VALUE …`, or the old form `NAME VALUE`.
fn pairs(name: &str, arguments: &str, mut words: QuotedWords<'_>) -> Option<String> {
    let Some(first) = words.next() else {
        return Some(at_least_one(name));
    };
    if !has_equals(first) {
        let has_value = arguments.contains(split::BLANKS);
        return (!has_value).then(|| format!("{name} must have two arguments"));
    }
    let mut has_blank = first.starts_with('=');
    for word in words {
        if !has_equals(word) {
            return Some(format!(
                "can't find = in {word:?}: it must be of the form name=value"
            ));
        }
        has_blank |= word.starts_with('=');
    }
    has_blank.then(|| blank(name))
}

fn is_none(arguments: &str) -> bool {
    let first = arguments.split(char::is_whitespace).next().unwrap_or_default();
    first.eq_ignore_ascii_case("NONE")
}

fn health_check(body: &Body, arguments: &str) -> Option<String> {
    let (kind, command) = arguments
        .split_once(char::is_whitespace)
        .map_or((arguments, ""), |(kind, command)| (kind, command.trim_start()));
    let is_empty = command.is_empty() || body.json && strings(command).is_empty();
    match kind.to_ascii_uppercase().as_str() {
        "" => Some(at_least_one("HEALTHCHECK")),
        "NONE" => (!is_empty).then(|| "HEALTHCHECK NONE takes no arguments".to_owned()),
        "CMD" => is_empty.then(|| "Missing command after HEALTHCHECK CMD".to_owned()),
        other => Some(format!("Unknown type {other:?} in HEALTHCHECK (try CMD)")),
    }
}

fn shell(body: &Body, arguments: &str) -> Option<String> {
    match body.json {
        _ if arguments.is_empty() => Some(at_least_one("SHELL")),
        true => strings(arguments).is_empty().then(|| at_least_one("SHELL")),
        false => Some("SHELL requires the arguments to be in JSON form".to_owned()),
    }
}

fn volumes(body: &Body, arguments: &str) -> Option<String> {
    if !body.json {
        return arguments.is_empty().then(|| at_least_one("VOLUME"));
    }
    let volumes = strings(arguments);
    if volumes.is_empty() {
        return Some(at_least_one("VOLUME"));
    }
    volumes
        .iter()
        .any(|volume| volume.trim().is_empty())
        .then(|| "VOLUME specified can not be an empty string".to_owned())
}
