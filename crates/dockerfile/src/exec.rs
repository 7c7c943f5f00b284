//! The exec form: arguments that are a JSON array of strings.

/// The JSON value of arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Json {
    No,
    Strings,
    OtherValues,
}

pub(crate) fn json_strings(arguments: &str) -> Json {
    let arguments = arguments.trim_start();
    if !arguments.starts_with('[') {
        return Json::No;
    }
    if is_plain_array(arguments) {
        return Json::Strings;
    }
    match serde_json::from_str::<Vec<serde_json::Value>>(arguments) {
        Ok(values) if values.iter().all(serde_json::Value::is_string) => Json::Strings,
        Ok(_) => Json::OtherValues,
        Err(_) => Json::No,
    }
}

/// Whether a text is an array of strings without escapes, the usual form: other texts are parsed
/// completely.
fn is_plain_array(text: &str) -> bool {
    const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];
    let mut separator = '[';
    let mut rest = text;
    loop {
        let Some(string) = rest
            .strip_prefix(separator)
            .and_then(|rest| rest.trim_start_matches(BLANKS).strip_prefix('"'))
        else {
            return false;
        };
        let end = string
            .bytes()
            .position(|byte| matches!(byte, b'"' | b'\\' | ..b' '));
        let Some(after) = end.and_then(|end| string[end..].strip_prefix('"')) else {
            return false;
        };
        rest = after.trim_start_matches(BLANKS);
        if let Some(end) = rest.strip_prefix(']') {
            return end.trim_start_matches(BLANKS).is_empty();
        }
        separator = ',';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_path_agrees_with_the_parser() {
        let pieces = [
            "[",
            "]",
            "\"a\"",
            ",",
            " ",
            "\t",
            "1",
            "\"\\u00e9\"",
            "\"é\"",
            "\"\u{1}\"",
            "\"",
            "\u{a0}",
        ];
        let mut texts = vec![String::new()];
        for _ in 0..5 {
            let longer = texts
                .iter()
                .flat_map(|text| pieces.map(|piece| format!("{text}{piece}")));
            texts = longer.collect();
        }
        for text in texts.iter().map(|text| format!("[{text}")) {
            let read: Option<Vec<String>> = serde_json::from_str(&text).ok();
            assert!(!is_plain_array(&text) || read.is_some(), "{text:?}");
        }
        for text in ["[\"a\"]", "[ \"a\" ,\t\"b c\" ] "] {
            assert!(is_plain_array(text), "{text:?}");
        }
    }
}
