//! Expansion compared with a slow and obvious model.

use std::collections::BTreeMap;

use proptest::prelude::*;

/// A substitution, from which the test derives its text and its expected value.
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
    /// The value without what matches the pattern at one of its ends.
    Trim {
        name: char,
        end: End,
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

#[derive(Debug, Clone, Copy)]
enum End {
    Front,
    Back,
}

fn word() -> impl Strategy<Value = Word> {
    let name = || prop::sample::select(vec!['A', 'B', 'C', 'D']);
    let end = || prop::sample::select(vec![End::Front, End::Back]);
    let leaf = prop_oneof![
        "[ab.:/-]{0,4}".prop_map(Word::Text),
        // Printed in quotes: see `written`.
        name().prop_map(Word::Plain),
        name().prop_map(Word::Braced),
        (name(), end(), any::<bool>(), "[ab.*?]{0,4}").prop_map(|(name, end, longest, pattern)| {
            Word::Trim {
                name,
                end,
                longest,
                pattern,
            }
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

/// The text of a substitution.
fn written(word: &Word) -> String {
    let colon = |colon: &bool| if *colon { ":" } else { "" };
    match word {
        Word::Text(text) => text.clone(),
        // Quoted, so that the following text does not extend the name.
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
        Word::Trim {
            name,
            end,
            longest,
            pattern,
        } => {
            let sign = match end {
                End::Front => "#",
                End::Back => "%",
            };
            format!("${{{name}{}{pattern}}}", sign.repeat(1 + usize::from(*longest)))
        }
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

/// The expected value of a substitution.
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
        Word::Trim {
            name,
            end,
            longest,
            pattern,
        } => {
            let (text, pattern) = (chars(&value(name).unwrap_or_default()), chars(pattern));
            trimmed(&text, *end, *longest, &pattern)
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

/// Removes the shortest or longest match at one end, by trying every length.
fn trimmed(text: &[char], end: End, longest: bool, pattern: &[char]) -> String {
    // The remaining text and the removed one, of which `length` characters.
    let cut = |length: usize| match end {
        End::Back => text.split_at(text.len() - length),
        End::Front => {
            let (front, back) = text.split_at(length);
            (back, front)
        }
    };
    let mut lengths = (0..=text.len()).filter(|length| matches(pattern, cut(*length).1));
    let length = if longest {
        lengths.next_back()
    } else {
        lengths.next()
    };
    length.map_or(text, |length| cut(length).0).iter().collect()
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
            // An empty match directly after a match does not count.
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
    fn expansion_equals_the_models(
        word in word(),
        a in "[ab.]{0,5}",
        b in prop::option::of("[ab.]{0,3}"),
    ) {
        // A is set, B is sometimes set, C is empty, D is unset.
        let mut values = BTreeMap::from([("A".to_owned(), a), ("C".to_owned(), String::new())]);
        values.extend(b.map(|b| ("B".to_owned(), b)));
        let text = written(&word);
        let expanded = dockerfile::expand(&text, '\\', &values).map(|expanded| expanded.text);
        prop_assert_eq!(expanded, Ok(value_of(&word, &values)), "{}", text);
    }
}
