//! The API against its own description: schemathesis from PyPI generates valid and invalid requests. No response may
//! be a server error, and none may be missing from the document.
//!
//! `cargo test -p datastorage --features contract --test service contract`: for CI, because it needs python3 and PyPI.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::stack::{Service, text};

/// Pinned, so that the same code gets the same verdict tomorrow.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// The program, installed once into the target folder.
fn schemathesis() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(SCHEMATHESIS.replace("==", "-"));
    let program = folder.join("bin/schemathesis");
    if !program.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", SCHEMATHESIS]));
    }
    program
}

fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}:\n{}", text(&output));
}

#[test]
fn every_response_is_described_in_the_document() {
    let service = Service::start_with(
        std::sync::Arc::new(crate::stack::Servers::shared()),
        "[rate_limit]\nrequests_per_second = 100000\nburst = 100000\n",
    );
    let folder = tempfile::tempdir().unwrap();
    run(Command::new(schemathesis())
        .current_dir(folder.path())
        .args(["run", "--no-color", "--max-examples", "60", "--seed", "6"])
        .args(["--generation-database", "none", "--request-timeout", "20"])
        .args(["--continue-on-failure", "--phases", "examples,coverage,fuzzing"])
        .args([
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
             response_schema_conformance,negative_data_rejection,unsupported_method,allow_header_conformance",
        ])
        .arg(format!("http://{}/openapi.json", service.address())));
}
