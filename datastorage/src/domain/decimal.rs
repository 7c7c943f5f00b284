//! Numbers of JSON as exact decimals, as PostgreSQL's `numeric` keeps them: the value, and the zeros at the end of its
//! fraction. 1E+2, 100.0 and 1.0e2 are the same; 1 and 1.0 are not: what was sent with a point or an exponent comes back
//! with one, since many readers parse integers and floating-point numbers to different types.

/// Maximum digits before the decimal point of PostgreSQL's `numeric`.
const MAX_WHOLE: i64 = 131_072;
/// Maximum digits after it.
const MAX_FRACTION: i64 = 16_383;
/// Maximum zeros between the digits and the decimal point that are written out; more become an exponent, so that a
/// few bytes of a request never become many.
const MAX_ZEROS: i64 = 20;

/// A number that PostgreSQL cannot store.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OutOfRange;

/// Appends the normalised text of `number`, which must be a number of JSON: with an exponent only where more than 20
/// zeros would be needed. Returns the bytes of PostgreSQL's text, which never has an exponent.
pub(crate) fn normalise(text: &mut String, number: &str) -> Result<usize, OutOfRange> {
    let unsigned = number.strip_prefix('-').unwrap_or(number);
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = parse_exponent(exponent);
    // Digits after the decimal point once the exponent is applied.
    let scale = as_i64(fraction.len()).saturating_sub(exponent).max(0);
    let is_integer = whole.len() == unsigned.len();
    let digits = || whole.bytes().chain(fraction.bytes());
    let Some(first) = digits().position(|digit| digit != b'0') else {
        return zero(text, if is_integer { 0 } else { scale.max(1) });
    };
    // The value is 0.DIGITS × 10^point.
    let point = (as_i64(whole.len()) - as_i64(first)).saturating_add(exponent);
    if point > MAX_WHOLE || scale > MAX_FRACTION {
        return Err(OutOfRange);
    }
    let zeros = match scale {
        0 => digits().rev().take_while(|digit| *digit == b'0').count(),
        _ => 0,
    };
    let count = whole.len() + fraction.len() - first - zeros;
    let negative = unsigned.len() < number.len();
    if negative {
        text.push('-');
    }
    let digits = digits().skip(first).take(count).map(char::from);
    let count = as_i64(count);
    write(text, digits, count, point);
    let mut stored = stored_bytes(point, scale) + usize::from(negative);
    if scale == 0 && !is_integer && !needs_exponent(count, point) {
        text.push_str(".0");
        stored += 2;
    }
    Ok(stored)
}

/// Bytes of PostgreSQL's text of a number without a sign.
fn stored_bytes(point: i64, scale: i64) -> usize {
    let fraction = if scale > 0 { 1 + scale } else { 0 };
    usize::try_from(point.max(1) + fraction).unwrap_or(usize::MAX)
}

/// Zero has no sign.
fn zero(text: &mut String, scale: i64) -> Result<usize, OutOfRange> {
    if scale > MAX_FRACTION {
        return Err(OutOfRange);
    }
    text.push('0');
    if scale > MAX_ZEROS {
        text.push_str(&format!("e-{scale}"));
    } else if scale > 0 {
        text.push('.');
        push_zeros(text, scale);
    }
    Ok(stored_bytes(1, scale))
}

fn push_zeros(text: &mut String, count: i64) {
    text.extend((0..count).map(|_| '0'));
}

fn needs_exponent(count: i64, point: i64) -> bool {
    point - count > MAX_ZEROS || point < -MAX_ZEROS
}

fn write(text: &mut String, mut digits: impl Iterator<Item = char>, count: i64, point: i64) {
    if needs_exponent(count, point) {
        text.extend(digits.next());
        if count > 1 {
            text.push('.');
        }
        text.extend(digits);
        text.push('e');
        text.push_str(&(point - 1).to_string());
    } else if point <= 0 {
        text.push_str("0.");
        push_zeros(text, -point);
        text.extend(digits);
    } else {
        text.extend(digits.by_ref().take(usize::try_from(point).unwrap_or(0)));
        push_zeros(text, point - count);
        if count > point {
            text.push('.');
            text.extend(digits);
        }
    }
}

/// An exponent beyond an `i64` is out of range, whatever its value.
fn parse_exponent(exponent: &str) -> i64 {
    exponent.parse().unwrap_or(if exponent.starts_with('-') {
        i64::MIN
    } else {
        i64::MAX
    })
}

fn as_i64(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalised(number: &str) -> Result<(String, usize), OutOfRange> {
        let mut text = String::new();
        normalise(&mut text, number).map(|stored| (text, stored))
    }

    #[test]
    fn each_number_of_postgresql_has_one_text() {
        // The number, its normalised text, and the length of PostgreSQL's text (select length(N::numeric::text)).
        for (number, text, stored) in [
            ("0", "0", 1),
            ("-0", "0", 1),
            ("-0.00", "0.00", 4),
            ("0.00e7", "0.0", 3),
            ("0e-30", "0e-30", 32),
            ("0e999999999999999999999", "0.0", 3),
            ("1", "1", 1),
            ("1.0", "1.0", 3),
            ("10e-1", "1.0", 3),
            ("-1.50", "-1.50", 5),
            ("1e2", "100.0", 5),
            ("1.000E+2", "100.0", 5),
            ("10.00e1", "100.0", 5),
            ("12300", "12300", 5),
            ("0.1", "0.1", 3),
            ("1e-7", "0.0000001", 9),
            ("18446744073709551616", "18446744073709551616", 20),
            (
                "123456789012345678901234567890.50",
                "123456789012345678901234567890.50",
                33,
            ),
            ("100000000000000000000", "100000000000000000000", 21),
            ("-1.5e20", "-150000000000000000000.0", 24),
            ("1e20", "100000000000000000000.0", 23),
            ("1000000000000000000000", "1e21", 22),
            ("1e21", "1e21", 22),
            ("1.50e300", "1.5e300", 301),
            ("5e-324", "5e-324", 326),
            ("5.00e-324", "5.00e-324", 328),
            ("-2.2250738585072014e-308", "-2.2250738585072014e-308", 327),
            ("1e131071", "1e131071", 131_072),
            ("1e-16383", "1e-16383", 16_385),
        ] {
            assert_eq!(normalised(number), Ok((text.to_owned(), stored)), "{number}");
            assert_eq!(normalised(text), Ok((text.to_owned(), stored)), "{number} again");
        }
    }

    #[test]
    fn numbers_that_postgresql_cannot_store_are_out_of_range() {
        for number in [
            "1e131072",
            "1e-16384",
            "1e9999999999999999999",
            "1.1e-9223372036854775808",
        ] {
            assert_eq!(normalised(number), Err(OutOfRange), "{number}");
        }
    }
}
