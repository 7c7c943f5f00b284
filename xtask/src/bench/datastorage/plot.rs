//! A plot as SVG: writes a second by number of connections.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const MARGIN: f64 = 60.0;

/// Connections (on a scale of powers of two) against events a second, of the service and of pgbench.
pub(super) fn writes(points: &[(f64, f64, f64)]) -> String {
    let most = points
        .iter()
        .flat_map(|(_, service, database)| [*service, *database])
        .fold(1.0, f64::max);
    let widest = points
        .iter()
        .map(|(connections, _, _)| connections.log2())
        .fold(1.0, f64::max);
    let x = |connections: f64| MARGIN + (WIDTH - 2.0 * MARGIN) * connections.log2() / widest;
    let y = |rate: f64| HEIGHT - MARGIN - (HEIGHT - 2.0 * MARGIN) * rate / most;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"13\" role=\"img\" aria-label=\"Single writes a second by connections\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{MARGIN}\" y=\"30\" font-weight=\"bold\">Single writes a second by connections</text>\n"
    );
    for step in 0..=4 {
        let rate = most * f64::from(step) / 4.0;
        let _ = writeln!(
            svg,
            "<line x1=\"{MARGIN}\" x2=\"{}\" y1=\"{2}\" y2=\"{2}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{2}\" \
             text-anchor=\"end\" dy=\"4\">{rate:.0}</text>",
            WIDTH - MARGIN,
            MARGIN - 8.0,
            y(rate),
        );
    }
    for (connections, _, _) in points {
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{connections}</text>",
            x(*connections),
            HEIGHT - MARGIN + 20.0
        );
    }
    let service: Vec<_> = points
        .iter()
        .map(|(connections, rate, _)| (x(*connections), y(*rate)))
        .collect();
    let database: Vec<_> = points
        .iter()
        .map(|(connections, _, rate)| (x(*connections), y(*rate)))
        .collect();
    for (line, colour, name, at) in [
        (service, "#0b57d0", "DataStorage (HTTP, chain, ids)", 0.0),
        (database, "#8a5a00", "pgbench (bare INSERT)", 1.0),
    ] {
        let path: Vec<String> = line.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.5\" points=\"{}\"/>\
             <text x=\"{}\" y=\"{}\" fill=\"{colour}\" text-anchor=\"end\">{name}</text>",
            path.join(" "),
            WIDTH - MARGIN,
            HEIGHT - MARGIN - 30.0 + 18.0 * at,
        );
    }
    svg.push_str("</svg>\n");
    svg
}
