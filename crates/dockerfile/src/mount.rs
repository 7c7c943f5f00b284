//! `RUN --mount=…`: one line of comma-separated values; only the source image matters here.

use std::borrow::Cow;

/// The source of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MountSource {
    /// No `from`: the build context, a cache, a secret.
    None,
    /// `from=NAME`: a stage or an image.
    From(String),
    /// `from` contains a variable, which the front end does not expand there.
    Variable(String),
    /// Invalid.
    Invalid(&'static str),
}

/// Parses the value of a `--mount` flag. The last `from` counts, keys are case-insensitive.
pub(crate) fn mount_source(value: &str) -> MountSource {
    let fields = match fields(value) {
        Ok(fields) => fields,
        Err(reason) => return MountSource::Invalid(reason),
    };
    let mut source = MountSource::None;
    for field in fields {
        let Some((key, value)) = field.split_once('=') else {
            continue;
        };
        if !key.eq_ignore_ascii_case("from") {
            continue;
        }
        if value.find('$').is_some_and(|dollar| dollar + 1 != value.len()) {
            return MountSource::Variable(value.to_owned());
        }
        source = match value {
            "" => MountSource::None,
            value => MountSource::From(value.to_owned()),
        };
    }
    source
}

/// The fields of one line of comma-separated values; `"` quotes a whole field and `""` in it is a quote.
fn fields(line: &str) -> Result<Vec<Cow<'_, str>>, &'static str> {
    let mut rest = line;
    let mut fields = Vec::new();
    if rest.is_empty() {
        return Err("failed to parse csv mounts: EOF");
    }
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (field, after) = quoted_field(quoted)?;
            fields.push(Cow::Owned(field));
            match after.strip_prefix(',') {
                Some(next) => rest = next,
                None => return Ok(fields),
            }
            continue;
        }
        let (field, next) = match rest.split_once(',') {
            Some((field, next)) => (field, Some(next)),
            None => (rest, None),
        };
        if field.contains('"') {
            return Err("failed to parse csv mounts: bare \" in non-quoted field");
        }
        fields.push(Cow::Borrowed(field));
        match next {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}

/// The field after its opening quote, and the text after the closing one: nothing or a comma.
fn quoted_field(text: &str) -> Result<(String, &str), &'static str> {
    const MISPLACED: &str = "failed to parse csv mounts: extraneous or missing \" in quoted-field";
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('"').ok_or(MISPLACED)?;
        field.push_str(part);
        match after.bytes().next() {
            None | Some(b',') => return Ok((field, after)),
            Some(b'"') => {
                field.push('"');
                rest = &after[1..];
            }
            Some(_) => return Err(MISPLACED),
        }
    }
}
