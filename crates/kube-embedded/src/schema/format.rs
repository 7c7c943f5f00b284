//! `format` of strings: those that the real server checks, by the rules of its library.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use regex::Regex;

/// Formats that are regular expressions.
static PATTERNS: LazyLock<Vec<(&str, Regex)>> = LazyLock::new(|| {
    const COLOR: &str = r"(0|[1-9][0-9]?|1[0-9][0-9]?|2[0-4][0-9]|25[0-5])";
    let label = r"[a-zA-Z0-9\p{S}\p{L}]";
    let hostname = format!(
        r"^({label}(-?{label}{{0,62}})?|({label}([a-zA-Z0-9\-\p{{S}}\p{{L}}]{{0,61}}{label})?\.)+[a-zA-Z\p{{L}}]{{2,63}})$"
    );
    let uuid = |version: &str, variant: &str| {
        format!("(?i)^[0-9a-f]{{8}}-?[0-9a-f]{{4}}-?{version}-?{variant}[0-9a-f]{{3}}-?[0-9a-f]{{12}}$")
    };
    let patterns = [
        ("bsonobjectid", "^[0-9a-fA-F]{24}$".to_owned()),
        ("hostname", hostname),
        ("uuid", uuid("[0-9a-f]{4}", "[0-9a-f]")),
        ("uuid3", uuid("3[0-9a-f]{3}", "[0-9a-f]")),
        ("uuid4", uuid("4[0-9a-f]{3}", "[89ab]")),
        ("uuid5", uuid("5[0-9a-f]{3}", "[89ab]")),
        ("ssn", "^([0-9]{3}[- ][0-9]{2}[- ][0-9]{4})$".to_owned()),
        ("hexcolor", "^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$".to_owned()),
        ("rgbcolor", format!(r"^rgb\(\s*{COLOR}\s*,\s*{COLOR}\s*,\s*{COLOR}\s*\)$")),
        (
            "mac",
            "(?i)^([0-9a-f]{2}([:-]?)([0-9a-f]{2}([:-]?)){4,18}[0-9a-f]{2}|([0-9a-f]{4}[.]){2,9}[0-9a-f]{4})$".to_owned(),
        ),
        ("creditcard", "^[0-9]{13,19}$".to_owned()),
    ];
    let compiled = patterns.into_iter();
    compiled
        .filter_map(|(name, pattern)| Some((name, Regex::new(&pattern).ok()?)))
        .collect()
});

/// The time of day of a date and time; the library checks no more than this of its numbers.
static TIME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new("(?i)^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](.[0-9]+)?(z|[+-][0-9]{2}:[0-9]{2})$").ok()
});

/// A number with a unit in a duration.
static AMOUNT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("([0-9]+)\\s*([A-Za-zµ]+)").ok());

/// Whether a text is of the format; true for formats that are not checked.
pub(super) fn matches(format: &str, text: &str) -> bool {
    match format {
        "date-time" | "datetime" => is_loose_date_time(text),
        "date" => is_date(text),
        "duration" => is_duration(text),
        "ipv4" => is_ipv4(text),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "byte" => !text.is_empty() && is_base64(text),
        "uri" => is_uri(text),
        "email" => is_email(text),
        "mac" => is_pattern(format, text) && matches!(octets(text), 6 | 8 | 20),
        "isbn" => is_isbn10(text) || is_isbn13(text),
        "isbn10" => is_isbn10(text),
        "isbn13" => is_isbn13(text),
        "creditcard" => is_credit_card(text),
        _ => is_pattern(format, text),
    }
}

fn is_pattern(format: &str, text: &str) -> bool {
    let pattern = PATTERNS.iter().find(|(name, _)| *name == format);
    pattern.is_none_or(|(_, pattern)| pattern.is_match(text))
}

/// Whether a text is a time by RFC 3339; jiff accepts more.
pub(super) fn is_date_time(text: &str) -> bool {
    text.get(10..11)
        .is_some_and(|separator| separator.eq_ignore_ascii_case("t"))
        && text.parse::<jiff::Timestamp>().is_ok()
}

fn is_loose_date_time(text: &str) -> bool {
    let Some((date, time)) = text.split_once(['t', 'T']) else {
        return false;
    };
    is_date(date) && TIME.as_ref().is_none_or(|pattern| pattern.is_match(time))
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

/// A duration of Go, or amounts with units such as `3 days`.
fn is_duration(text: &str) -> bool {
    const UNITS: &[(&[&str], &str)] = &[
        (&["ns"], "nano"),
        (&["us", "µs"], "micro"),
        (&["ms"], "milli"),
        (&["s"], "sec"),
        (&["m"], "min"),
        (&["h", "hr"], "hour"),
        (&["d"], "day"),
        (&["w", "wk"], "week"),
    ];
    let is_unit = |unit: &str| {
        let unit = unit.to_lowercase();
        UNITS
            .iter()
            .any(|(short, long)| short.contains(&unit.as_str()) || unit.starts_with(long))
    };
    is_go_duration(text)
        || AMOUNT
            .as_ref()
            .is_none_or(|pattern| pattern.captures_iter(text).any(|found| is_unit(&found[2])))
}

/// Leading zeros are accepted, as is an IPv4 address in the form of an IPv6 one.
fn is_ipv4(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let is_octet = |part: &&str| {
        (1..=3).contains(&part.trim_start_matches('0').len().max(1))
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && part.parse::<u8>().is_ok()
    };
    (parts.len() == 4 && parts.iter().all(is_octet))
        || text
            .parse::<Ipv6Addr>()
            .is_ok_and(|address| address.to_ipv4_mapped().is_some())
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    let within = |largest: u32| digits && length.parse::<u32>().is_ok_and(|length| length <= largest);
    if address.contains(':') {
        address.parse::<Ipv6Addr>().is_ok() && within(128)
    } else {
        (is_ipv4(address) || address.parse::<Ipv4Addr>().is_ok()) && within(32)
    }
}

fn is_base64(text: &str) -> bool {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).is_ok()
}

/// An absolute URI, or a path from the root.
fn is_uri(text: &str) -> bool {
    if text.chars().any(|c| c.is_ascii_control()) {
        return false;
    }
    if text.starts_with('/') {
        return has_valid_escapes(text);
    }
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let authority = rest.strip_prefix("//").map(|rest| {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        &rest[..end]
    });
    let is_authority = |authority: &str| {
        let host = authority.rsplit('@').next().unwrap_or_default();
        let port = host.rsplit_once(':').map(|(_, port)| port);
        !host.contains([' ', '<', '>', '"', '\\', '^', '`', '{', '}', '|'])
            && (host.ends_with(']') || port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit())))
            && host.starts_with('[') == host.contains(']')
    };
    is_scheme && authority.is_none_or(is_authority) && has_valid_escapes(rest)
}

fn has_valid_escapes(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        rest = &rest[at + 1..];
        let is_hex = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !rest.get(..2).is_some_and(is_hex) {
            return false;
        }
    }
    true
}

/// An address by RFC 5322, with or without a display name.
fn is_email(text: &str) -> bool {
    let text = text.trim();
    let address = match text.strip_suffix('>') {
        Some(named) => match named.rsplit_once('<') {
            Some((_, address)) => address,
            None => return false,
        },
        None => text,
    };
    let Some((local, domain)) = address.rsplit_once('@') else {
        return false;
    };
    let is_atom = |atom: &str| {
        !atom.is_empty()
            && atom
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii())
    };
    let is_quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
    (is_quoted || local.split('.').all(is_atom))
        && (domain.split('.').all(is_atom) || (domain.starts_with('[') && domain.ends_with(']')))
}

/// Octets of a hardware address; 0 if they are not separated in one way.
fn octets(text: &str) -> usize {
    let separators: Vec<char> = text.chars().filter(|c| !c.is_ascii_hexdigit()).collect();
    let digits = text.len() - separators.len();
    let is_even = separators.iter().all(|separator| *separator == separators[0]);
    let expected = match separators.first() {
        None => 0,
        Some('.') => digits / 4 - 1,
        Some(_) => digits / 2 - 1,
    };
    if is_even && separators.len() == expected {
        digits / 2
    } else {
        0
    }
}

/// The digits of a book's number; `X` is 10.
fn book_digits(text: &str) -> Option<Vec<u32>> {
    let mut digits = Vec::new();
    for c in text.chars().filter(|c| !c.is_whitespace() && *c != '-') {
        match c {
            'X' if digits.len() == 9 => digits.push(10),
            c => digits.push(c.to_digit(10)?),
        }
    }
    Some(digits)
}

fn is_isbn10(text: &str) -> bool {
    let Some(digits) = book_digits(text).filter(|digits| digits.len() == 10) else {
        return false;
    };
    let sum: u32 = (1..).zip(&digits).map(|(weight, digit)| weight * digit).sum();
    sum.is_multiple_of(11)
}

fn is_isbn13(text: &str) -> bool {
    let digits =
        book_digits(text).filter(|digits| digits.len() == 13 && digits.iter().all(|digit| *digit < 10));
    let Some(digits) = digits else { return false };
    let sum: u32 = [1, 3]
        .iter()
        .cycle()
        .zip(&digits)
        .map(|(weight, digit)| weight * digit)
        .sum();
    sum.is_multiple_of(10)
}

/// The digits of a card with their check digit.
fn is_credit_card(text: &str) -> bool {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let doubled = |(index, digit): (usize, u32)| match (index % 2, digit * 2) {
        (0, _) => digit,
        (_, twice) if twice > 9 => twice - 9,
        (_, twice) => twice,
    };
    let numbers = digits.chars().rev().filter_map(|c| c.to_digit(10));
    let sum: u32 = numbers.enumerate().map(doubled).sum();
    let is_known = ["4", "5", "2", "6", "3", "1800"]
        .iter()
        .any(|first| digits.starts_with(first));
    is_pattern("creditcard", &digits) && is_known && sum.is_multiple_of(10)
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn formats_accept_what_the_real_server_accepts() {
        let recorded: Value = serde_json::from_str(include_str!("../../tests/formats.json")).unwrap();
        let mut wrong = Vec::new();
        for (format, values) in recorded.as_object().unwrap() {
            for (text, accepted) in values.as_object().unwrap() {
                if matches(format, text) != *accepted {
                    wrong.push(format!("{format} {text:?} is accepted: {accepted}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
