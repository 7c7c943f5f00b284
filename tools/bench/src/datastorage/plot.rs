//! Plots as SVG, readable on white and on dark pages.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const MARGIN: f64 = 60.0;

/// A line of a plot: its name and its points, both axes in their own units.
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) colour: &'static str,
    pub(super) points: Vec<(f64, f64)>,
}

/// Lines over a logarithmic horizontal axis.
pub(super) fn svg(title: &str, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let most = points().map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max);
    let least = points().map(|point| point.0.log2()).fold(f64::MAX, f64::min);
    let widest = points().map(|point| point.0.log2()).fold(least + 1.0, f64::max);
    let x = |value: f64| MARGIN + (WIDTH - 2.0 * MARGIN) * (value.log2() - least) / (widest - least);
    let step = step(most);
    let top = step * (most / step).ceil();
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

/// The distance of an axis's lines: one, two or five of a power of ten, so that there are at most six of them.
fn step(most: f64) -> f64 {
    let power = 10_f64.powf(most.log10().floor() - 1.0);
    let steps = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0].map(|factor| factor * power);
    let fits = steps.into_iter().find(|step| most / step <= 6.0);
    fits.unwrap_or(most)
}

/// A number as people write it on an axis.
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
    fn an_axis_has_round_lines() {
        for (most, expected) in [(12_661.0, 5_000.0), (0.74, 0.2), (1.0, 0.2), (60.0, 10.0)] {
            assert!(
                (step(most) / expected - 1.0).abs() < 1e-9,
                "{most}: {}",
                step(most)
            );
        }
    }
}
