//! Panels of curves as one SVG picture.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::plot::{Panel, Series, Unit};

/// A panel's width and height, in pixels.
const PANEL: (u32, u32) = (430, 300);

/// Panels of a row, at most.
const COLUMNS: usize = 3;

/// Colours that differ for all eyes (Okabe and Ito 2008).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// In the dark the same picture, its lightness turned around and its hues kept.
const DARK: &str = "<style>text{font-family:system-ui,sans-serif}\
    @media (prefers-color-scheme:dark){svg{filter:invert(.92) hue-rotate(180deg);background:#fff}}</style>\n";

/// Why a picture could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("the picture cannot be drawn: {0}")]
pub struct DrawError(String);

/// The panels, in rows of three, as an SVG document.
///
/// # Errors
/// When the library that draws fails, which a table that was read does not make it.
pub fn panels(panels: &[Panel]) -> Result<String, DrawError> {
    let columns = panels.len().clamp(1, COLUMNS);
    let rows = panels.len().div_ceil(columns).max(1);
    let size = (PANEL.0 * columns as u32, PANEL.1 * rows as u32);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let failed = |error: &dyn std::fmt::Display| DrawError(error.to_string());
        root.fill(&WHITE).map_err(|error| failed(&error))?;
        for (area, panel) in root.split_evenly((rows, columns)).iter().zip(panels) {
            draw(area, panel).map_err(|error| failed(&error))?;
        }
        root.present().map_err(|error| failed(&error))?;
    }
    let inside = svg.find('>').map_or(0, |end| end + 1);
    svg.insert_str(inside, DARK);
    Ok(svg)
}

/// The picture on a page of its own.
pub fn page(svg: &str, title: &str) -> String {
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\n\
         <style>body{{margin:1rem;color-scheme:light dark}}svg{{max-width:100%;height:auto}}</style>\n{svg}\n</html>\n"
    )
}

type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn draw<'a>(area: &DrawingArea<SVGBackend<'a>, Shift>, panel: &Panel) -> Drawn<'a> {
    let base = if panel.x.1 == Unit::Seconds { 10.0 } else { 2.0 };
    let (x, y) = ranges(&panel.series);
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, ("sans-serif", 15))
        .margin(8)
        .margin_right(18)
        .x_label_area_size(38)
        .y_label_area_size(48)
        .build_cartesian_2d((x.0..x.1).log_scale().base(base), 0.0..y)?;
    let (label, unit) = &panel.x;
    chart
        .configure_mesh()
        .x_desc(*label)
        .y_desc(panel.y)
        .x_labels(6)
        .y_labels(6)
        .x_label_formatter(&|x| shown(*x, unit))
        .y_label_formatter(&|y| {
            if *y < 10.0 && y.fract() != 0.0 { format!("{y:.1}") } else { format!("{y:.0}") }
        })
        .label_style(("sans-serif", 11))
        .axis_style(BLACK.mix(0.5))
        .bold_line_style(BLACK.mix(0.1))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (series, colour) in panel.series.iter().zip(COLOURS.iter().cycle()) {
        let outline = series.band.iter().map(|(x, _, high)| (*x, *high));
        let back = series.band.iter().rev().map(|(x, low, _)| (*x, *low));
        let outline: Vec<(f64, f64)> = outline.chain(back).map(|(x, v)| (x, v.min(y))).collect();
        if !outline.is_empty() {
            chart.draw_series(std::iter::once(Polygon::new(outline, colour.mix(0.18).filled())))?;
        }
        let points = series.points.iter().copied().filter(|(_, v)| *v <= y);
        let (size, colour_of) =
            if series.points.len() > 200 { (1, colour.mix(0.35)) } else { (3, colour.mix(0.9)) };
        chart.draw_series(points.map(|point| Circle::new(point, size, colour_of.filled())))?;
        for (i, line) in series.lines.iter().enumerate() {
            let line = line.iter().map(|(x, v)| (*x, v.min(y)));
            let drawn = chart.draw_series(LineSeries::new(line, colour.stroke_width(2)))?;
            if i == 0 && !series.name.is_empty() {
                drawn
                    .label(&series.name)
                    .legend(|(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2)));
            }
        }
    }
    if panel.series.iter().any(|series| !series.name.is_empty()) {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .label_font(("sans-serif", 11))
            .draw()?;
    }
    Ok(())
}

/// The longest axis of x as a ratio, and the lowest and highest end of an axis: beyond them the library looks for
/// marks for ever.
const LONGEST_AXIS: f64 = 1e18;
const ENDS: (f64, f64) = (1e-15, 1e20);

/// The range of x, and the end of y from 0: of all that is drawn, but for the highest hundredth of the points.
fn ranges(series: &[Series]) -> ((f64, f64), f64) {
    let lines = || series.iter().flat_map(|series| series.lines.iter().flatten().chain(&series.points));
    let places = lines().map(|(x, _)| x.clamp(ENDS.0, ENDS.1)).map(|x| (x, x));
    let (low, high) = places.reduce(|all, one| (all.0.min(one.0), all.1.max(one.1))).unwrap_or((1.0, 2.0));
    let mut values: Vec<f64> = lines().map(|(_, y)| *y).filter(|y| y.is_finite()).collect();
    values.sort_unstable_by(f64::total_cmp);
    let last = values.get(values.len().saturating_sub(1) * 99 / 100).copied().unwrap_or(1.0);
    // an octave at least
    let x = if high < 2.0 * low { (low / 2.0, high * 2.0) } else { (low.max(high / LONGEST_AXIS), high) };
    (x, 1.15 * last.clamp(ENDS.0, ENDS.1))
}

/// A place on the axis, in a person's unit.
fn shown(x: f64, unit: &Unit) -> String {
    let scaled = |x: f64, step: f64, names: &[&str]| {
        let place = (x.max(1.0).log2() / step.log2()) as usize;
        let place = place.min(names.len() - 1);
        format!("{:.0}{}", x / step.powi(place as i32), names[place])
    };
    match unit {
        Unit::Count => scaled(x, 1024.0, &["", "Ki", "Mi", "Gi"]),
        Unit::Bytes => scaled(x, 1024.0, &[" B", " KiB", " MiB", " GiB"]),
        Unit::Seconds => scaled(x * 1e9, 1000.0, &[" ns", " µs", " ms", " s"]),
    }
}
