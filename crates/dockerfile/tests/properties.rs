//! Properties: what is printed reads the same again, expansion is that of a slow and obvious one, nothing panics, and
//! time is linear in the text.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use std::collections::BTreeMap;
use std::time::Duration;

use dockerfile::{BuildArguments, ImageReference, images, parse};
use proptest::prelude::*;

/// Pieces of Dockerfiles, of which texts are put together that are often nearly right.
const PIECES: [&str; 49] = [
    "FROM alpine:3 AS base\n",
    "FROM ${V}\n",
    "FROM base\n",
    "FROM ",
    "AS x\n",
    "ARG V=3 W=\"a b\"\n",
    "ARG V\n",
    "# escape=`\n",
    "# syntax=docker/dockerfile:1\n",
    " # syntax=docker/dockerfile:1\n",
    "// syntax=docker/dockerfile:1\n",
    "#!/usr/bin/env docker\n",
    "# check=skip=all\n",
    "{\"syntax\": \"a/b\"}\n",
    "# a comment\n",
    "RUN <<EOF\n",
    "RUN cat <<-'E F' > /x\n",
    "EOF\n",
    "\tE F\n",
    "RUN --mount=type=bind,from=busybox,target=/b true\n",
    "COPY --from=base --chown=1 /a /b\n",
    "COPY --from=\"nginx:1\" /a /b\n",
    "ONBUILD COPY --from=q /a /b\n",
    "ONBUILD RUN <<EOF\n",
    "COPY [\"a\", \"b\"]\n",
    "LABEL a=b c=\"d e\"\n",
    "\\\n",
    "`\n",
    " \\ \t\n",
    "\\",
    "`",
    "\"",
    "'",
    "$",
    "${",
    "}",
    "<<",
    " ",
    "\t",
    "\n",
    "\r\n",
    "\u{feff}",
    "\u{a0}",
    "é",
    "#",
    "--",
    "=",
    "a",
    "1",
];

fn dockerfile_text() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES.as_slice()), 0..24).prop_map(|pieces| pieces.concat())
}

fn prints_what_reads_the_same(text: &str) -> Result<(), TestCaseError> {
    let file = parse(text);
    prop_assume!(file.problems.is_empty());
    let printed = file.to_string();
    let again = parse(&printed);
    prop_assert_eq!(&again.problems, &Vec::new(), "{:?}", &printed);
    prop_assert_eq!(again.to_string(), printed.clone());
    prop_assert_eq!(
        again.instructions.len(),
        file.instructions.len(),
        "{:?}",
        &printed
    );
    let shown = |file: &dockerfile::Dockerfile<'_>| {
        let found = images(file, &BuildArguments::new());
        let references: Vec<_> = found
            .references
            .iter()
            .map(|it| (it.kind, it.raw.clone(), it.expanded.clone()))
            .collect();
        let stages: Vec<_> = found
            .stages
            .iter()
            .map(|stage| (stage.name.clone(), stage.is_result))
            .collect();
        (references, stages)
    };
    prop_assert_eq!(shown(&again), shown(&file));
    Ok(())
}

/// What the property found once.
#[test]
fn texts_that_once_printed_as_something_else_read_the_same_again() {
    for text in [
        // An instruction that ends in what continues a line, which only the end of the file allows.
        "\\ \\ \t\n",
        "FROM a\nRUN b \\ \\\n",
        "FROM a\nRUN b\\\r\\",
        // With a blank in front it is a directive that names no front end.
        " # syntax=docker/dockerfile:1\nFROM a\n",
        " # escape=`\n# syntax=docker/dockerfile:1\nFROM a\n",
        // A front end is named behind a first line that is a comment to the rest.
        "#!/x\n# syntax=docker/dockerfile:1\n# escape=`\nFROM a\n",
    ] {
        prints_what_reads_the_same(text).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_reads_the_same_again(text in dockerfile_text()) {
        prints_what_reads_the_same(&text)?;
    }

    #[test]
    fn spans_are_within_the_text_and_show_what_they_name(text in dockerfile_text()) {
        let file = parse(&text);
        for reference in images(&file, &BuildArguments::new()).references {
            let shown = text.get(reference.span.clone());
            prop_assert!(shown.is_some(), "{:?}", reference);
            // Unless a line's end is within it, or quotes or escapes of a flag, the span is the reference.
            let plain = shown.is_some_and(|shown| !shown.contains(['\n', '"', '\'', '\\', '`', '=']));
            prop_assert!(!plain || shown == Some(reference.raw.as_str()), "{:?} is {:?}", reference, shown);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let file = parse(&text);
        let _ = (images(&file, &BuildArguments::new()), file.to_string());
        let _ = text.parse::<ImageReference>();
    }

    #[test]
    fn the_full_form_of_a_reference_is_legal_and_full(text in "([a-zA-Z0-9.:-]{0,12}/)?[a-z0-9._/-]{1,20}(:[a-z0-9._-]{0,6})?") {
        if let Ok(image) = text.parse::<ImageReference>() {
            let printed = image.to_string();
            let again = printed.parse::<ImageReference>();
            prop_assert_eq!(again.map(|it| it.to_string()), Ok(printed));
        }
    }
}

/// A substitution as it is meant, from which a text and a value are made.
#[derive(Debug, Clone)]
enum Word {
    Text(String),
    Plain(char),
    Braced(char),
    Default {
        name: char,
        colon: bool,
        word: Box<Word>,
    },
    Alternative {
        name: char,
        colon: bool,
        word: Box<Word>,
    },
    Prefix {
        name: char,
        longest: bool,
        pattern: String,
    },
    Suffix {
        name: char,
        longest: bool,
        pattern: String,
    },
    Replace {
        name: char,
        all: bool,
        pattern: String,
        with: String,
    },
    Both(Box<Word>, Box<Word>),
}

fn word() -> impl Strategy<Value = Word> {
    let name = || prop::sample::select(vec!['A', 'B', 'C', 'D']);
    let pattern = || "[ab.*?]{0,4}";
    let leaf = prop_oneof![
        "[ab.:/-]{0,4}".prop_map(Word::Text),
        // A brace behind a plain name would be text that the next word might close.
        name().prop_map(Word::Plain),
        name().prop_map(Word::Braced),
        (name(), any::<bool>(), pattern()).prop_map(|(name, longest, pattern)| Word::Prefix {
            name,
            longest,
            pattern
        }),
        (name(), any::<bool>(), pattern()).prop_map(|(name, longest, pattern)| Word::Suffix {
            name,
            longest,
            pattern
        }),
        (name(), any::<bool>(), "[ab.*?]{1,3}", "[xy]{0,2}").prop_map(|(name, all, pattern, with)| {
            Word::Replace {
                name,
                all,
                pattern,
                with,
            }
        }),
    ];
    leaf.prop_recursive(4, 16, 2, move |inner| {
        prop_oneof![
            (name(), any::<bool>(), inner.clone()).prop_map(|(name, colon, word)| Word::Default {
                name,
                colon,
                word: Box::new(word)
            }),
            (name(), any::<bool>(), inner.clone()).prop_map(|(name, colon, word)| Word::Alternative {
                name,
                colon,
                word: Box::new(word)
            }),
            (inner.clone(), inner).prop_map(|(left, right)| Word::Both(Box::new(left), Box::new(right))),
        ]
    })
}

fn written(word: &Word) -> String {
    let colon = |colon: &bool| if *colon { ":" } else { "" };
    match word {
        Word::Text(text) => text.clone(),
        // Quoted, so that what follows is no part of the name.
        Word::Plain(name) => format!("\"${name}\""),
        Word::Braced(name) => format!("${{{name}}}"),
        Word::Default {
            name,
            colon: with,
            word,
        } => format!("${{{name}{}-{}}}", colon(with), written(word)),
        Word::Alternative {
            name,
            colon: with,
            word,
        } => format!("${{{name}{}+{}}}", colon(with), written(word)),
        Word::Prefix {
            name,
            longest,
            pattern,
        } => format!("${{{name}{}{pattern}}}", if *longest { "##" } else { "#" }),
        Word::Suffix {
            name,
            longest,
            pattern,
        } => format!("${{{name}{}{pattern}}}", if *longest { "%%" } else { "%" }),
        Word::Replace {
            name,
            all,
            pattern,
            with,
        } => {
            format!("${{{name}{}{pattern}/{with}}}", if *all { "//" } else { "/" })
        }
        Word::Both(left, right) => written(left) + &written(right),
    }
}

/// Whether a pattern matches a whole text, by trying everything.
fn matches(pattern: &[char], text: &[char]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some(('*', rest)), _) => (0..=text.len()).any(|length| matches(rest, &text[length..])),
        (Some(_), None) => false,
        (Some((one, rest)), Some((first, others))) => (*one == '?' || one == first) && matches(rest, others),
    }
}

fn value_of(word: &Word, values: &BTreeMap<String, String>) -> String {
    let value = |name: &char| values.get(&name.to_string()).cloned();
    let present = |name: &char, colon: &bool| value(name).filter(|value| !(*colon && value.is_empty()));
    let chars = |text: &str| text.chars().collect::<Vec<_>>();
    match word {
        Word::Text(text) => text.clone(),
        Word::Plain(name) | Word::Braced(name) => value(name).unwrap_or_default(),
        Word::Default { name, colon, word } => present(name, colon).unwrap_or_else(|| value_of(word, values)),
        Word::Alternative { name, colon, word } => match present(name, colon) {
            Some(_) => value_of(word, values),
            None => String::new(),
        },
        Word::Prefix {
            name,
            longest,
            pattern,
        }
        | Word::Suffix {
            name,
            longest,
            pattern,
        } => {
            let (text, pattern) = (chars(&value(name).unwrap_or_default()), chars(pattern));
            let suffix = matches!(word, Word::Suffix { .. });
            let cut = |length: usize| match suffix {
                true => text.split_at(text.len() - length),
                false => {
                    let (front, back) = text.split_at(length);
                    (back, front)
                }
            };
            let mut lengths: Vec<usize> = (0..=text.len())
                .filter(|length| matches(&pattern, cut(*length).1))
                .collect();
            if *longest {
                lengths.reverse();
            }
            lengths
                .first()
                .map_or(text.iter().collect(), |length| cut(*length).0.iter().collect())
        }
        Word::Replace {
            name,
            all,
            pattern,
            with,
        } => {
            let (text, pattern) = (chars(&value(name).unwrap_or_default()), chars(pattern));
            replaced(&text, &pattern, with, *all)
        }
        Word::Both(left, right) => value_of(left, values) + &value_of(right, values),
    }
}

/// Leftmost and longest matches replaced, one character after another.
fn replaced(text: &[char], pattern: &[char], with: &str, all: bool) -> String {
    let mut out = String::new();
    let (mut at, mut done, mut end_of_last) = (0, false, None);
    while at <= text.len() {
        let longest = (at..=text.len())
            .rev()
            .find(|end| matches(pattern, &text[at..*end]));
        match longest.filter(|_| !done) {
            // An empty match right behind a match is none.
            Some(end) if !(end == at && end_of_last == Some(at)) => {
                out.push_str(with);
                done = !all;
                end_of_last = Some(end);
                if end == at {
                    out.extend(text.get(at));
                    at += 1;
                } else {
                    at = end;
                }
            }
            _ => {
                out.extend(text.get(at));
                at += 1;
            }
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn expansion_is_that_of_a_slow_and_obvious_one(
        word in word(),
        a in "[ab.]{0,5}",
        b in prop::option::of("[ab.]{0,3}"),
    ) {
        // A is set, B perhaps, C is set and empty, D is not set.
        let mut values = BTreeMap::from([("A".to_owned(), a), ("C".to_owned(), String::new())]);
        values.extend(b.map(|b| ("B".to_owned(), b)));
        let text = written(&word);
        let expanded = dockerfile::expand(&text, '\\', &values).map(|expanded| expanded.text);
        prop_assert_eq!(expanded, Ok(value_of(&word, &values)), "{}", text);
    }
}

#[test]
fn an_argument_that_doubles_itself_ends_in_a_problem_and_not_in_a_terabyte() {
    let text = "ARG A=0123456789abcdef\n".to_owned() + &"ARG A=$A$A\n".repeat(60) + "FROM $A\n";
    let found = images(&parse(&text), &BuildArguments::new());
    assert!(
        found
            .problems
            .iter()
            .any(|problem| problem.message.contains("64 KiB")),
        "{:?}",
        found.problems
    );
}

#[test]
fn deep_nesting_ends_in_a_problem_and_not_in_a_stack_overflow() {
    let text = format!("FROM {}x{}\n", "${A:-".repeat(100_000), "}".repeat(100_000));
    let found = images(&parse(&text), &BuildArguments::new());
    assert_eq!(found.references.len(), 1);
    assert!(found.references[0].image.is_err());
}

/// The time that this thread has used, which other programs on the machine don't add to.
fn own_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap(),
        u32::try_from(time.tv_nsec).unwrap(),
    )
}

/// Sixteen times the text may take sixteen times the time and a margin, not 256 times: the shapes that make readers
/// quadratic.
#[test]
fn time_is_linear_in_the_text() {
    type Shape = fn(usize) -> String;
    let shapes: [(&str, Shape); 7] = [
        ("lines", |size| "RUN true\n".repeat(size)),
        ("continuations", |size| {
            format!("RUN a {}\n", "\\\n  && b ".repeat(size))
        }),
        ("one line", |size| format!("RUN {}\n", "word ".repeat(size))),
        ("stages", |size| {
            (0..size)
                .map(|at| format!("FROM a AS s{at}\nCOPY --from=s0 /a /b\n"))
                .collect()
        }),
        ("words of a here-document's line", |size| {
            format!("RUN <<E {}\nE\n", "\"$a\" ".repeat(size))
        }),
        ("here-documents", |size| "RUN <<E\nx\nE\n".repeat(size)),
        ("arguments", |size| {
            (0..size)
                .map(|at| format!("ARG A{at}=${{A0:-x}}\n"))
                .collect::<String>()
                + "FROM $A1\n"
        }),
    ];
    let measure = |text: &str| {
        let start = own_time();
        let file = parse(text);
        let found = images(&file, &BuildArguments::new());
        assert!(found.references.len() + file.instructions.len() > 0);
        own_time() - start
    };
    for (name, shape) in shapes {
        let best = |text: &str| (0..3).map(|_| measure(text)).min().unwrap_or_default();
        let (few, many) = (best(&shape(500)), best(&shape(8_000)));
        let bound = few * 16 * 5 + Duration::from_millis(20);
        assert!(many < bound, "{name}: {few:?} for 500 and {many:?} for 8,000");
    }
}
