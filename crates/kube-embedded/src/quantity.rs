//! Resource quantities in the form in which the real server returns them: `1000m` is `1`, `1024Mi` is `1Gi`.

use std::fmt::Write as _;

/// Error of a text that is no quantity.
const FORMAT_WRONG: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
/// Error of an unknown suffix.
const SUFFIX_WRONG: &str = "unable to parse quantity's suffix";

/// Smallest decimal exponent of any quantity.
pub const NANO: i32 = -9;
/// Smallest decimal exponent of a value in a list of resources.
pub const MILLI: i32 = -3;

/// Digits up to which Go parses a decimal into an integer, and may keep the text as it was sent.
const FAST_DIGITS: usize = 18;
/// Largest binary quantity.
const MAX_BINARY: u128 = i64::MAX as u128;

const DECIMAL: &[(&str, i32)] = &[
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: &[&str] = &["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// The form of a suffix.
enum Suffix {
    /// `k`, `M`, or none.
    Decimal(i32),
    /// `e3`.
    Exponent(i32),
    /// The power of 1024.
    Binary(u32),
}

/// Returns the canonical form, rounded up to `smallest`, a decimal exponent.
///
/// # Errors
/// The text is no quantity.
pub fn canonical(text: &str, smallest: i32) -> Result<String, &'static str> {
    let text = text.trim();
    let (negative, rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (whole, rest) = rest.split_at(end);
    let (fraction, suffix) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())),
        None => ("", rest),
    };
    if text.is_empty() || !is_suffix(suffix) {
        return Err(FORMAT_WRONG);
    }
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    let shifted = format!("{whole}{fraction}");
    let shown = match parse_suffix(suffix).ok_or(SUFFIX_WRONG)? {
        Suffix::Binary(power) => binary(&shifted, fraction.len(), power, smallest),
        Suffix::Decimal(exponent) => decimal(text, &shifted, fraction.len(), exponent, smallest, false),
        Suffix::Exponent(exponent) => decimal(text, &shifted, fraction.len(), exponent, smallest, true),
    };
    // A text that is kept has its sign.
    Ok(if negative && shown != "0" && !shown.starts_with('-') {
        format!("-{shown}")
    } else {
        shown
    })
}

/// Whether a suffix has the shape of one: letters, then a signed number.
fn is_suffix(suffix: &str) -> bool {
    let digits = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let digits = digits.strip_prefix(['-', '+']).unwrap_or(digits);
    digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn parse_suffix(suffix: &str) -> Option<Suffix> {
    if let Some((_, exponent)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Some(Suffix::Decimal(*exponent));
    }
    if let Some(power) = BINARY.iter().position(|name| *name == suffix) {
        return Some(Suffix::Binary(u32::try_from(power).ok()?));
    }
    let number = suffix.strip_prefix(['e', 'E'])?;
    let exponent: i32 = number.parse().ok()?;
    (-10_000..=10_000)
        .contains(&exponent)
        .then_some(Suffix::Exponent(exponent))
}

/// A decimal number: `digits` with `fraction` places, times a power of ten.
fn decimal(
    text: &str,
    digits: &str,
    fraction: usize,
    exponent: i32,
    smallest: i32,
    shows_exponent: bool,
) -> String {
    let scale = exponent - i32::try_from(fraction).unwrap_or(i32::MAX / 2);
    let is_kept = digits.len() <= FAST_DIGITS
        && scale >= smallest
        && scale % 3 == 0
        && !digits.ends_with("000")
        && !digits.starts_with('0');
    if is_kept {
        return text.to_owned();
    }
    let (digits, scale) = round_up(digits, scale, smallest);
    write_decimal(&digits, scale, shows_exponent)
}

/// Drops the digits below the smallest exponent, rounding up in magnitude.
fn round_up(digits: &str, scale: i32, smallest: i32) -> (String, i32) {
    let Ok(dropped @ 1..) = usize::try_from(smallest - scale) else {
        return (digits.to_owned(), scale);
    };
    let (kept, lost) = digits.split_at(digits.len().saturating_sub(dropped));
    let mut kept: Vec<u8> = kept.bytes().collect();
    if lost.bytes().any(|byte| byte != b'0') {
        let mut at = kept.len();
        loop {
            match at.checked_sub(1) {
                None => kept.insert(0, b'1'),
                Some(last) if kept[last] == b'9' => {
                    kept[last] = b'0';
                    at = last;
                    continue;
                }
                Some(last) => kept[last] += 1,
            }
            break;
        }
    }
    (kept.into_iter().map(char::from).collect(), smallest)
}

/// Writes a number with the largest power of 1000 of which it is a multiple.
fn write_decimal(digits: &str, scale: i32, shows_exponent: bool) -> String {
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return "0".to_owned();
    }
    let mantissa = digits.trim_end_matches('0');
    let mut exponent = scale + i32::try_from(digits.len() - mantissa.len()).unwrap_or_default();
    let mut shown = mantissa.to_owned();
    while exponent.rem_euclid(3) != 0 {
        shown.push('0');
        exponent -= 1;
    }
    if shows_exponent {
        if exponent != 0 {
            let _ = write!(shown, "e{exponent}");
        }
        return shown;
    }
    // The real server drops a power of ten for which there is no suffix.
    if let Some((suffix, _)) = DECIMAL.iter().find(|(_, known)| *known == exponent) {
        shown.push_str(suffix);
    }
    shown
}

/// A binary number; one that is not whole, or below 1024, is written as a decimal one.
fn binary(digits: &str, fraction: usize, power: u32, smallest: i32) -> String {
    let places = u32::try_from(fraction).unwrap_or(u32::MAX);
    let exact = digits
        .parse::<u128>()
        .ok()
        .and_then(|number| number.checked_mul(1_u128 << (10 * power)));
    let (Some(number), Some(unit)) = (exact, 10_u128.checked_pow(places)) else {
        return MAX_BINARY.to_string();
    };
    if number / unit > MAX_BINARY {
        return MAX_BINARY.to_string();
    }
    if number % unit != 0 || number / unit < 1024 {
        let scale = -i32::try_from(fraction).unwrap_or(i32::MAX / 2);
        let (digits, scale) = round_up(&number.to_string(), scale, smallest);
        return write_decimal(&digits, scale, false);
    }
    let (mut number, mut power) = (number / unit, 0);
    while number % 1024 == 0 && power + 1 < BINARY.len() {
        number /= 1024;
        power += 1;
    }
    format!("{number}{}", BINARY[power])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_the_form_of_the_real_server() {
        let recorded = [
            ("1000m", "1"),
            ("1024Mi", "1Gi"),
            ("0.5", "500m"),
            ("1.5Gi", "1536Mi"),
            ("0.1Ki", "102400m"),
            ("1.1Ki", "1126400m"),
            ("1e3", "1e3"),
            ("1E3", "1E3"),
            ("100E", "100E"),
            ("0.1n", "1m"),
            ("+1", "+1"),
            ("1", "1"),
            ("1.5", "1500m"),
            ("1e-3", "1e-3"),
            ("12e6", "12e6"),
            ("1000Ki", "1000Ki"),
            ("1024Ki", "1Mi"),
            ("0Gi", "0"),
            ("-5", "-5"),
            (".5", "500m"),
            ("5.", "5."),
            ("1 ", "1"),
            ("1000000", "1M"),
            ("1500000", "1500k"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("0.0000000001", "1m"),
            ("1.024Ki", "1048576m"),
            ("1e2", "100"),
            ("1001m", "1001m"),
            ("2048", "2048"),
            ("1536Ki", "1536Ki"),
            ("1023Ki", "1023Ki"),
            ("12345678901234567890", "12345678901234567890"),
            ("9223372036854775807", "9223372036854775807"),
            ("8Ei", "9223372036854775807"),
            ("7Ei", "7Ei"),
            ("1.0000000001", "1001m"),
            ("1000u", "1m"),
            ("1e100", "10e99"),
            ("1e-100", "1e-3"),
            ("9.9999", "10"),
            ("-1500m", "-1500m"),
            ("-1000m", "-1"),
            ("1.500", "1.500"),
            (".", "0"),
            ("1000000000000000000000", "1"),
            ("1500e18", "1500e18"),
            ("-0", "0"),
            ("001", "001"),
            ("1000e0", "1e3"),
            ("+1000", "1k"),
            ("1e+3", "1e+3"),
        ];
        for (sent, returned) in recorded {
            assert_eq!(canonical(sent, MILLI).as_deref(), Ok(returned), "{sent}");
        }
        assert_eq!(canonical("0.1n", NANO).as_deref(), Ok("1n"));
    }

    #[test]
    fn rejects_texts_that_are_no_quantities() {
        for text in ["1Zi", "", "abc", "true", "1x", "1 2"] {
            assert_eq!(canonical(text, NANO), Err(FORMAT_WRONG), "{text}");
        }
        for text in ["1e", "1ki", "1mm", "1EE", "--1", "1Ei5"] {
            assert_eq!(canonical(text, NANO), Err(SUFFIX_WRONG), "{text}");
        }
    }
}
