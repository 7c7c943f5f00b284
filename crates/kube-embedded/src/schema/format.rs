//! `format` of strings: only the formats that the real server checks.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether a text is of the format; true for formats that are not checked.
pub(super) fn matches(format: &str, text: &str) -> bool {
    match format {
        "date-time" => is_date_time(text),
        "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "uuid" => uuid::Uuid::try_parse(text).is_ok(),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "byte" => is_base64(text),
        _ => true,
    }
}

/// Whether a text is a time by RFC 3339; jiff accepts more.
pub(super) fn is_date_time(text: &str) -> bool {
    text.get(10..11)
        .is_some_and(|separator| separator.eq_ignore_ascii_case("t"))
        && text.parse::<jiff::Timestamp>().is_ok()
}

fn is_base64(text: &str) -> bool {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).is_ok()
}

/// Whether a text is a duration as Go writes it, such as `1h30m` or `-1.5s`.
#[must_use]
pub fn is_go_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        if !number.contains(|c: char| c.is_ascii_digit()) || number.matches('.').count() > 1 {
            return false;
        }
        let units = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"];
        let end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        if !units.contains(&&after[..end]) {
            return false;
        }
        rest = &after[end..];
    }
    true
}
