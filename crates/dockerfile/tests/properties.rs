//! Properties of parsing: the printed form parses to the same, spans show their text, nothing panics.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use dockerfile::{BuildArguments, ImageReference, images, parse};
use proptest::prelude::*;

/// Pieces of Dockerfiles; texts combined from them are often nearly valid.
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

/// References, three of four by the grammar; the others nearly so, and mostly invalid.
fn reference_text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "([a-zA-Z0-9]{1,6}(-[a-z0-9]{1,3})?(\\.[a-z]{1,4})?(:[0-9]{1,4})?/)?[a-z0-9]{1,6}([._/-][a-z0-9]{1,5}){0,3}(:[a-z0-9_][a-z0-9._-]{0,5})?",
        1 => "([a-zA-Z0-9.:-]{0,12}/)?[a-z0-9._/-]{1,20}(:[a-z0-9._-]{0,6})?",
    ]
}

fn check_round_trip(text: &str) -> Result<(), TestCaseError> {
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

/// Counterexamples that the property found earlier.
#[test]
fn earlier_counterexamples_parse_to_the_same_after_printing() {
    for text in [
        // The last instruction ends with an escape character and blanks.
        "\\ \\ \t\n",
        "FROM a\nRUN b \\ \\\n",
        "FROM a\nRUN b\\\r\\",
        // A leading blank: a directive, but it selects no front end.
        " # syntax=docker/dockerfile:1\nFROM a\n",
        " # escape=`\n# syntax=docker/dockerfile:1\nFROM a\n",
        // The front end's directive follows a `#!` line, which is a comment to the parser.
        "#!/x\n# syntax=docker/dockerfile:1\n# escape=`\nFROM a\n",
    ] {
        check_round_trip(text).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn printed_form_parses_to_the_same(text in dockerfile_text()) {
        check_round_trip(&text)?;
    }

    #[test]
    fn spans_are_within_the_text_and_show_their_reference(text in dockerfile_text()) {
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
    fn no_text_causes_a_panic(text in any::<String>()) {
        let file = parse(&text);
        let _ = (images(&file, &BuildArguments::new()), file.to_string());
        let _ = text.parse::<ImageReference>();
    }

    #[test]
    fn full_form_of_a_reference_is_valid_and_stable(text in reference_text()) {
        let image = text.parse::<ImageReference>();
        prop_assume!(image.is_ok());
        let printed = image.unwrap().to_string();
        let again = printed.parse::<ImageReference>();
        prop_assert_eq!(again.map(|it| it.to_string()), Ok(printed));
    }
}
