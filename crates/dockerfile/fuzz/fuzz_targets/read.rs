//! The parser panics on no text, spans are within the text, and the printed form parses to the same.
#![no_main]

use dockerfile::{BuildArguments, LineIndex};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let file = dockerfile::parse(text);
    let images = dockerfile::images(&file, &BuildArguments::new());
    let lines = LineIndex::new(text);
    for reference in &images.references {
        assert!(text.get(reference.span.clone()).is_some());
        let (line, column) = lines.position(text, reference.span.start);
        assert!(line >= 1 && column >= 1);
    }
    for instruction in &file.instructions {
        assert!(text.get(instruction.span()).is_some());
        assert!(text.get(instruction.keyword_span()).is_some());
    }
    if file.problems.is_empty() {
        let printed = file.to_string();
        let again = dockerfile::parse(&printed);
        let found = dockerfile::images(&again, &BuildArguments::new());
        let names = |images: &dockerfile::Images| {
            // A JSON document may select a front end too; without its comments it is another document.
            let shown = images.references.iter().filter(|it| it.kind != dockerfile::ReferenceKind::Syntax);
            shown.map(|it| (it.kind, it.raw.clone(), it.expanded.clone())).collect::<Vec<_>>()
        };
        assert_eq!(again.instructions.len(), file.instructions.len(), "{printed:?}");
        assert_eq!(names(&found), names(&images), "{printed:?}");
    }
});
