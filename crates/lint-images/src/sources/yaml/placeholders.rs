//! Texts that are not final: templates, and names that another tool replaces.

/// Start of a template expression of Helm, Jinja and minijinja.
const TEMPLATE: &str = "{{";

/// Returns whether a text is a template. Expressions of workflows, `${{ … }}`, and braces in comments are valid YAML.
pub(super) fn is_template(text: &str) -> bool {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.into_iter().any(|line| {
        let opens = line
            .match_indices(TEMPLATE)
            .any(|(at, _)| !line[..at].ends_with('$'));
        opens || line.contains("{%") || line.contains("<%")
    })
}

/// Returns whether a reference is replaced before it is used: `{{ … }}`, `$(…)`, `${…}`, `<%= … %>`, `<IMAGE>`, `@IMAGE@`,
/// or built by a tool, as `ko://…` by ko. None of these characters is valid in a reference.
pub(crate) fn is_placeholder(text: &str) -> bool {
    text.contains(TEMPLATE)
        || text.contains("{%")
        || text.contains('$')
        || text.starts_with("ko://")
        || (text.contains('<') && text.contains('>'))
        || (text.starts_with('@') && text.matches('@').count() > 1)
        || (text.starts_with('%') && text.ends_with('%'))
        || (text.starts_with('[') && text.ends_with(']'))
}

/// Replaces the comments of a JSON text by spaces, so that offsets stay the same.
pub(super) fn without_comments(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut at = 0;
    let mut in_string = false;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'\\', _) if in_string => at += 1,
            (b'"', _) => in_string = !in_string,
            (b'/', Some(b'/')) if !in_string => {
                let end = memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |length| at + length);
                bytes[at..end].fill(b' ');
                at = end - 1;
            }
            (b'/', Some(b'*')) if !in_string => {
                let end =
                    memchr::memmem::find(&bytes[at..], b"*/").map_or(bytes.len(), |length| at + length + 2);
                bytes[at..end]
                    .iter_mut()
                    .filter(|byte| **byte != b'\n')
                    .for_each(|byte| *byte = b' ');
                at = end - 1;
            }
            (b'\t', _) if !in_string => bytes[at] = b' ',
            _ => {}
        }
        at += 1;
    }
    // Comments are replaced as a whole, so that the text stays UTF-8.
    String::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_comments_of_json_and_keeps_offsets() {
        let text = "{ // é\n \"a\": \"b // c \\\" /* d\", /* é\n */\"e // f\": 1 }";
        let plain = without_comments(text);
        assert_eq!(plain.len(), text.len());
        assert!(plain.contains("\"b // c \\\" /* d\""), "{plain}");
        assert!(!plain.contains('é'), "{plain}");
        assert!(plain.ends_with("\"e // f\": 1 }"), "{plain}");
        assert_eq!(without_comments("{} /* open"), "{}        ");
        assert_eq!(without_comments("{} // end"), "{}       ");
    }

    #[test]
    fn braces_in_comments_make_no_template() {
        assert!(!is_template("# {{ .Values.x }}\na: ${{ b }}\n"));
        assert!(is_template("a: b\n{{- if x }}\n"));
        assert!(is_template("{% if x %}\n"));
    }
}
