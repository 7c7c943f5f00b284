//! The glibc that a program requires: the newest `GLIBC_2.N` among the symbol versions that its ELF file needs.
//!
//! A program linked on a newer system starts on an older one only if that has every versioned symbol. This decides
//! whether a host build can go into the images.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, anyhow};
use object::{
    Endianness,
    elf::FileHeader64,
    read::elf::{FileHeader, SectionHeader as _},
};

/// A glibc version: (major, minor).
pub(crate) type Version = (u32, u32);

/// Parses `2.34` as (2, 34).
pub(crate) fn parse_version(text: &str) -> Option<Version> {
    let (major, minor) = text.split_once('.')?;
    // A third number (2.2.5) only exists in versions older than every supported system.
    let minor = minor.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Returns the symbol versions that a program needs and that are newer than `newest`, sorted, like `GLIBC_2.36`.
pub(crate) fn too_new(program: &Path, newest: Version) -> anyhow::Result<Vec<String>> {
    let data = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let needed = needed_versions(&data)
        .map_err(|error| anyhow!("cannot read {} as 64-bit ELF: {error}", program.display()))?;
    let is_newer = |name: &String| {
        name.strip_prefix("GLIBC_")
            .and_then(parse_version)
            .is_some_and(|version| version > newest)
    };
    Ok(needed.into_iter().filter(is_newer).collect())
}

/// Returns the names of all symbol versions in `.gnu.version_r`.
fn needed_versions(data: &[u8]) -> object::read::Result<BTreeSet<String>> {
    let header = FileHeader64::<Endianness>::parse(data)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, data)?;
    let mut names = BTreeSet::new();
    for section in sections.iter() {
        let Some((mut needs, strings_index)) = section.gnu_verneed(endian, data)? else {
            continue;
        };
        let strings = sections.strings(endian, data, strings_index)?;
        while let Some((_, mut versions)) = needs.next()? {
            while let Some(version) = versions.next()? {
                names.insert(String::from_utf8_lossy(version.name(endian, strings)?).into_owned());
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_versions_as_numbers() {
        assert_eq!(parse_version("2.4"), Some((2, 4)));
        assert!(parse_version("2.34") > parse_version("2.4"));
        assert_eq!(parse_version("2.2.5"), Some((2, 2)));
        assert_eq!(parse_version("new"), None);
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn finds_glibc_versions_of_this_program() {
        let own = std::env::current_exe().unwrap();
        assert_eq!(too_new(&own, (2, 9999)).unwrap(), Vec::<String>::new());
        let all = too_new(&own, (1, 0)).unwrap();
        assert!(all.iter().any(|name| name.starts_with("GLIBC_2.")), "{all:?}");
    }

    #[test]
    fn rejects_files_that_are_no_program() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for content in [
            &b""[..],
            b"#!/bin/sh\n",
            b"\x7fELF\x02\x01\x01garbage that ends early",
        ] {
            std::fs::write(file.path(), content).unwrap();
            assert!(too_new(file.path(), (2, 34)).is_err());
        }
    }
}
