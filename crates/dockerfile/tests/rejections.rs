//! Instructions are problems exactly where the reference front end rejects them. The expectations are its output
//! (`oracle/`).

use dockerfile::{BuildArguments, images, parse};

fn problems(text: &str) -> Vec<String> {
    let file = parse(text);
    let found = images(&file, &BuildArguments::new());
    file.problems
        .iter()
        .chain(&found.problems)
        .map(|problem| problem.message.clone())
        .collect()
}

#[test]
fn rejects_instructions_that_the_front_end_rejects() {
    let rejected = [
        ("ADD a", "ADD requires at least two arguments"),
        ("COPY [\"a\"]", "COPY requires at least two arguments"),
        ("COPY a <<EOF\nEOF", "cannot accept a heredoc as a destination"),
        ("COPY --link=maybe a b", "expecting boolean value"),
        ("COPY --link= a b", "missing a value on flag: --link"),
        ("COPY --from a b", "missing a value on flag: --from"),
        ("COPY --from=x --from=y a b", "duplicate flag specified: --from"),
        ("COPY --From=x a b", "unknown flag: --From"),
        ("COPY --from=1 a b", "invalid stage index 1"),
        ("ADD --from=x a b", "unknown flag: --from"),
        ("FROM --platform=$NONE b", "empty platform value"),
        ("FROM b AS 1st", "invalid name for build stage"),
        ("RUN --mount=from=$X true", "doesn't support variable expansion"),
        ("ARG =x", "ARG names can not be blank"),
        ("ARG", "ARG requires at least one argument"),
        ("ENV A", "ENV must have two arguments"),
        ("ENV A=1 B", "can't find ="),
        ("LABEL", "LABEL requires at least one argument"),
        ("USER", "USER requires exactly one argument"),
        ("EXPOSE", "EXPOSE requires at least one argument"),
        ("WORKDIR --x=y /", "unknown flag: --x"),
        ("VOLUME [\" \"]", "can not be an empty string"),
        ("SHELL bash -c", "SHELL requires the arguments to be in JSON form"),
        ("SHELL []", "SHELL requires at least one argument"),
        ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
        ("HEALTHCHECK NONE x", "takes no arguments"),
        ("HEALTHCHECK CMD []", "Missing command"),
        ("HEALTHCHECK curl x", "Unknown type \"CURL\""),
        ("ONBUILD", "ONBUILD requires at least one argument"),
        ("ONBUILD ONBUILD RUN a", "Chaining ONBUILD"),
        ("ONBUILD from b", "isn't allowed as an ONBUILD trigger"),
        ("CMD [1]", "arrays must be comprised of strings only"),
        ("RUN <<EOF\nx", "unterminated heredoc"),
        ("ENTRY x", "unknown instruction: ENTRY"),
    ];
    for (instruction, expected) in rejected {
        let found = problems(&format!("FROM a\n{instruction}\n"));
        assert_eq!(found.len(), 1, "{instruction}: {found:?}");
        assert!(found[0].contains(expected), "{instruction}: {found:?}");
    }
}

#[test]
fn accepts_instructions_that_the_front_end_accepts() {
    for instruction in [
        "ADD --keep-git-dir a b",
        "COPY --link --parents=TRUE --exclude=a --exclude=b a b",
        "COPY <<EOF /x\nEOF",
        "COPY -- --from=x b",
        "FROM --platform=$BUILDPLATFORM b AS B.1_x-",
        "FROM --platform= b",
        "RUN --mount=from=a$ true",
        "RUN",
        "CMD []",
        "ARG --x A",
        "STOPSIGNAL --x 9",
        "ENV A b c",
        "ENV A=\"b c\" D=",
        "LABEL a.b/c=d",
        "HEALTHCHECK --interval=5s --retries=3 CMD curl [::1]",
        "HEALTHCHECK none []",
        "SHELL [\"a\"]",
        "VOLUME /a /b",
        "ONBUILD HEALTHCHECK NONE",
        "RUN [1",
    ] {
        let found = problems(&format!("FROM a\n{instruction}\n"));
        assert_eq!(found, Vec::<String>::new(), "{instruction}");
    }
}

/// The front end reverses a suffix pattern as text: an escape character at its end escapes the preceding one.
#[test]
fn suffix_pattern_ending_in_an_escape_character_matches_as_in_the_front_end() {
    let text = "# escape=`\nARG A=xa/\nFROM b:${A%a/'\\'}\n";
    let found = images(&parse(text), &BuildArguments::new());
    assert_eq!(found.references[0].expanded.as_deref(), Some("b:x"));
}
