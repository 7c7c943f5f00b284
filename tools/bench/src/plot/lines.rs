//! Lines over a logarithmic horizontal axis.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const MARGIN: f64 = 60.0;

/// A line: its name, and its points in the units of both axes.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) colour: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Draws lines on a white background, readable on dark pages too.
pub(crate) fn lines(title: &str, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let max = points().map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max);
    let left_end = points().map(|point| point.0.log2()).fold(f64::MAX, f64::min);
    let right_end = points()
        .map(|point| point.0.log2())
        .fold(left_end + 1.0, f64::max);
    let x = |value: f64| MARGIN + (WIDTH - 2.0 * MARGIN) * (value.log2() - left_end) / (right_end - left_end);
    let step = step(max);
    let top = step * (max / step).ceil();
    let y = |value: f64| HEIGHT - MARGIN - (HEIGHT - 2.0 * MARGIN) * value / top;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"13\" role=\"img\" aria-label=\"{title}\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{MARGIN}\" y=\"24\" font-weight=\"bold\">{title}</text>\n"
    );
    let digits = (-step.log10().floor()).max(0.0) as usize;
    for number in 0..=(top / step).round() as usize {
        let value = step * number as f64;
        let _ = writeln!(
            svg,
            "<line x1=\"{MARGIN}\" x2=\"{}\" y1=\"{2:.1}\" y2=\"{2:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{2:.1}\" text-anchor=\"end\" dy=\"4\">{value:.digits$}</text>",
            WIDTH - MARGIN,
            MARGIN - 8.0,
            y(value),
        );
    }
    let marks = lines.first().map_or(&[][..], |line| &line.points);
    for (mark, _) in marks {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            x(*mark),
            HEIGHT - MARGIN + 20.0,
            short(*mark)
        );
    }
    for (number, line) in lines.iter().enumerate() {
        let colour = line.colour;
        let path: Vec<String> = line
            .points
            .iter()
            .map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value)))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.5\" points=\"{}\"/>",
            path.join(" ")
        );
        for (at, value) in &line.points {
            let _ = writeln!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"{colour}\"/>",
                x(*at),
                y(*value)
            );
        }
        let left = MARGIN + 240.0 * number as f64;
        let _ = writeln!(
            svg,
            "<circle cx=\"{left}\" cy=\"{}\" r=\"5\" fill=\"{colour}\"/><text x=\"{}\" y=\"{}\">{}</text>",
            HEIGHT - 18.0,
            left + 12.0,
            HEIGHT - 14.0,
            line.name,
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// Returns the distance of at most six grid lines: one, two or five times a power of ten.
fn step(max: f64) -> f64 {
    let power = 10_f64.powf(max.log10().floor() - 1.0);
    let steps = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0].map(|factor| factor * power);
    steps.into_iter().find(|step| max / step <= 6.0).unwrap_or(max)
}

/// Formats a label of the horizontal axis.
fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", value / 1e6),
        value if value >= 1e4 => format!("{} k", value / 1e3),
        value => format!("{value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grid_lines_are_at_round_numbers() {
        for (max, expected) in [(12_661.0, 5_000.0), (0.74, 0.2), (1.0, 0.2), (60.0, 10.0)] {
            assert!((step(max) / expected - 1.0).abs() < 1e-9, "{max}: {}", step(max));
        }
    }
}
