//! Bake files in HCL: named contexts that are images.

use crate::model::{File, ImageError, Locations, Role, Skipped, Use};

const SCHEME: &str = "\"docker-image://";

/// Reads the strings `"docker-image://IMAGE"`.
pub(super) fn read(file: &mut File, text: &str) {
    let locations = Locations::new(text);
    for (at, _) in text.match_indices(SCHEME) {
        let start = at + SCHEME.len();
        let image = text[start..].split(['"', '\n']).next().unwrap_or_default();
        let location = locations.of(start..start + image.len());
        if image.contains('$') {
            let reason = format!("image {image} has a variable of the bake file");
            file.skipped.push(Skipped {
                line: Some(location.line),
                reason,
                unreadable: false,
            });
            continue;
        }
        let read = image.parse();
        file.uses.push(Use {
            line: location.line,
            location,
            kind: "build-context",
            role: Role::Build,
            stage: None,
            raw: image.to_owned(),
            expanded: Some(image.to_owned()),
            image: read.map_err(|error: dockerfile::ReferenceError| ImageError::Invalid(error.to_string())),
            literal: true,
            tag_set_by: None,
            variables: Vec::new(),
        });
    }
}
