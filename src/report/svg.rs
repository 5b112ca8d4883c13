//! The few shapes that the drawings are made of. Fonts are generic and colours fixed, so that a drawing looks
//! the same wherever it is opened, and is the same bytes on every run.

use std::fmt::Write as _;

/// A drawing on its way. Coordinates are in pixels, `y` goes down.
pub struct Svg {
    width: f64,
    height: f64,
    body: String,
}

/// Ink for what is on the critical path.
pub const CRITICAL: &str = "#c1121f";
/// Ink for what is beside the point.
const FAINT: &str = "#6b6b6b";

const STYLE: &str = "text{font-family:ui-sans-serif,system-ui,sans-serif;fill:#1b1b1b}\
.m{text-anchor:middle}.r{text-anchor:end}.b{font-weight:600}.f{fill:#6b6b6b}\
.h{paint-order:stroke;stroke:#fff;stroke-width:2.5}\
.e{fill:none;stroke:#8a8a8a;stroke-width:.9}.s{stroke-dasharray:3 2}.c{stroke:#c1121f;stroke-width:2.2}\
.n{stroke:#555;stroke-width:.6}.n.c{stroke:#c1121f;stroke-width:2}";

impl Svg {
    /// An empty drawing; the height is set when it is known.
    pub const fn new(width: f64) -> Self {
        Svg { width, height: 0.0, body: String::new() }
    }

    /// Text at a point; `class` holds `m` for centred, `r` for right-aligned, `b` for bold, `f` for faint,
    /// `h` for a halo over lines.
    pub fn text(&mut self, [x, y]: [f64; 2], size: f64, class: &str, text: &str) {
        let text = escaped(text);
        let _ = writeln!(
            self.body,
            "<text x=\"{}\" y=\"{}\" font-size=\"{}\" class=\"{class}\">{text}</text>",
            short(x),
            short(y),
            short(size)
        );
    }

    /// A box from its upper left corner, with attributes such as `fill`.
    pub fn rect(&mut self, [x, y, width, height]: [f64; 4], attributes: &str) {
        let [x, y, width, height] = [x, y, width, height].map(short);
        let _ = writeln!(
            self.body,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" {attributes}/>"
        );
    }

    /// A path with attributes such as `class`.
    pub fn path(&mut self, d: &str, attributes: &str) {
        let _ = writeln!(self.body, "<path d=\"{d}\" {attributes}/>");
    }

    /// Opens a group with an id and a text that shows when the pointer rests on it.
    pub fn open(&mut self, id: &str, title: &str) {
        let _ = writeln!(self.body, "<g id=\"{}\"><title>{}</title>", escaped(id), escaped(title));
    }

    /// Closes the group.
    pub fn close(&mut self) {
        self.body += "</g>\n";
    }

    /// The drawing as a file.
    pub fn finish(mut self, height: f64, title: &str) -> String {
        self.height = height;
        let [width, height] = [self.width, self.height].map(short);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{}</title>\n<style>{STYLE}</style>\n\
             <defs><marker id=\"a\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" \
             markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"{FAINT}\"/></marker></defs>\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n{}</svg>\n",
            escaped(title),
            self.body
        )
    }
}

/// At most one decimal: a tenth of a pixel is not seen.
pub fn short(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// Text that can stand between tags and in attributes.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
