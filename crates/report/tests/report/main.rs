//! The written reports, parsed again.

#![cfg(test)]

mod fixture;
mod html;
mod json;
mod junit;
mod merging;
mod summary;
mod timeline;
mod xml;

use std::path::Path;

use report::Report;

/// Writes all files and returns the text of one of them.
fn written(report: &Report, file: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    report::write_all(report, folder.path()).unwrap();
    read(folder.path(), file)
}

fn read(folder: &Path, file: &str) -> String {
    std::fs::read_to_string(folder.join(file)).unwrap()
}
