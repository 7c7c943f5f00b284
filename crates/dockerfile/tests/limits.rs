//! Hostile texts end in a problem, and time is linear in the text.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use std::time::Duration;

use dockerfile::{BuildArguments, images, parse};

#[test]
fn doubling_argument_is_rejected_at_64_kib() {
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
fn deep_nesting_is_rejected_without_stack_overflow() {
    let text = format!("FROM {}x{}\n", "${A:-".repeat(100_000), "}".repeat(100_000));
    let found = images(&parse(&text), &BuildArguments::new());
    assert_eq!(found.references.len(), 1);
    assert!(found.references[0].image.is_err());
}

/// CPU time of this thread, which other processes do not lengthen.
fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap(),
        u32::try_from(time.tv_nsec).unwrap(),
    )
}

/// Shapes that make parsers quadratic: sixteen times the text may take sixteen times the time with a margin of five,
/// not 256 times.
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
        let start = thread_cpu_time();
        let file = parse(text);
        let found = images(&file, &BuildArguments::new());
        assert!(found.references.len() + file.instructions.len() > 0);
        thread_cpu_time() - start
    };
    for (name, shape) in shapes {
        let best = |text: &str| (0..3).map(|_| measure(text)).min().unwrap_or_default();
        let (few, many) = (best(&shape(500)), best(&shape(8_000)));
        let bound = few * 16 * 5 + Duration::from_millis(20);
        assert!(many < bound, "{name}: {few:?} for 500 and {many:?} for 8,000");
    }
}
