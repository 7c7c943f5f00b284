//! The stack's scenario: the services are ready at the addresses of the stack file.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let file = arguments
        .iter()
        .skip_while(|argument| *argument != "--stack")
        .nth(1);
    let stack = file
        .map(|file| std::fs::read_to_string(file).unwrap_or_default())
        .unwrap_or_default();
    println!(r#"{{"event":"started","id":"t01","name":"t01_services_are_ready"}}"#);
    // A filter that is a URL is requested too.
    let requested = arguments
        .iter()
        .filter(|argument| argument.starts_with("http://"))
        .cloned();
    let failures: Vec<String> = urls(&stack)
        .chain(requested)
        .filter_map(|url| common::get(&url).err().map(|error| format!("GET {url}: {error}")))
        .collect();
    let (outcome, detail) = match failures.as_slice() {
        [] => ("passed", "null".to_owned()),
        failures => ("failed", format!("{:?}", failures.join("; "))),
    };
    println!(
        r#"{{"event":"finished","id":"t01","name":"t01_services_are_ready","outcome":"{outcome}","seconds":0.1,"reason":null,"detail":{detail}}}"#
    );
    println!(r#"{{"event":"summary","passed":1,"failed":0,"skipped":0,"seconds":0.1}}"#);
    ExitCode::from(u8::from(!failures.is_empty()))
}

/// Returns the services' readiness URLs.
fn urls(stack: &str) -> impl Iterator<Item = String> + '_ {
    let words = stack.split('"').filter(|word| word.starts_with("http://"));
    words.map(|url| format!("{url}/readyz"))
}
