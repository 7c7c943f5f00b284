//! Numbers and texts for people.

use std::time::Duration;

/// `0.42 s`, `12.3 s`, `2 min 05 s`, `1 h 02 min`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    if seconds < 0.995 {
        format!("{seconds:.2} s")
    } else if seconds < 99.95 {
        format!("{seconds:.1} s")
    } else if whole < 3600 {
        format!("{} min {:02} s", whole / 60, whole % 60)
    } else {
        format!("{} h {:02} min", whole / 3600, whole % 3600 / 60)
    }
}

pub(crate) fn span(duration: Duration) -> String {
    self::duration(duration.as_secs_f64())
}

/// `512 MiB`, `7.8 GiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes < 1000.0 {
        format!("{mebibytes:.0} MiB")
    } else {
        format!("{:.1} GiB", mebibytes / 1024.0)
    }
}

/// `1 scenario`, `2 scenarios`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Replaces characters that XML 1.0 forbids or a terminal would interpret, control characters other than line ends and
/// tabs, by `�`.
pub(crate) fn printable(text: &str) -> String {
    let is_bad = |letter: char| {
        (letter.is_control() && !matches!(letter, '\n' | '\t')) || matches!(letter, '\u{fffe}' | '\u{ffff}')
    };
    text.replace("\r\n", "\n").replace(is_bad, "\u{fffd}")
}

/// Returns the median.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        Some(upper)
    } else {
        values.get(middle - 1).map(|lower| (lower + upper) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_precision_that_matters() {
        let shown = [0.0, 0.424, 0.996, 12.34, 99.94, 99.96, 125.0, 3599.6, 3725.0].map(duration);
        let expected = [
            "0.00 s",
            "0.42 s",
            "1.0 s",
            "12.3 s",
            "99.9 s",
            "1 min 40 s",
            "2 min 05 s",
            "1 h 00 min",
            "1 h 02 min",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn sizes_are_in_binary_units() {
        assert_eq!(
            [0, 512 << 20, 8 << 30].map(bytes),
            ["0 MiB", "512 MiB", "8.0 GiB"]
        );
    }

    #[test]
    fn the_median_of_an_even_count_is_the_mean_of_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn control_characters_are_made_visible() {
        assert_eq!(printable("a\u{1b}[31m\r\n\tb\0"), "a\u{fffd}[31m\n\tb\u{fffd}");
    }
}
