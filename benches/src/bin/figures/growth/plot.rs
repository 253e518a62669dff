//! Draws the curves side by side.

use plotters::prelude::*;

use super::Curve;
use crate::report::short;

const COLUMNS: usize = 3;
const SIZE: (u32, u32) = (400, 300);
const COLORS: [RGBColor; 4] =
    [RGBColor(31, 119, 180), RGBColor(214, 39, 40), RGBColor(44, 160, 44), RGBColor(148, 103, 189)];

pub(super) fn draw(path: &str, curves: &[Curve]) {
    let rows = curves.len().div_ceil(COLUMNS);
    let size = (SIZE.0 * COLUMNS as u32, SIZE.1 * rows as u32);
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE).unwrap();
    for (area, Curve { title, unit_x, lines }) in root.split_evenly((rows, COLUMNS)).iter().zip(curves) {
        let points = || lines.iter().flat_map(|(_, points)| points);
        let range = |values: &mut dyn Iterator<Item = f64>| {
            values.fold(f64::MAX..0.0, |range, value| range.start.min(value)..range.end.max(value))
        };
        let (x, y) = (range(&mut points().map(|point| point.0)), range(&mut points().map(|point| point.1)));
        let mut chart = ChartBuilder::on(area)
            .caption(title, ("sans-serif", 16))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(44)
            // The legend is above the lines.
            .build_cartesian_2d(x.log_scale(), (y.start / 2.0..y.end * 8.0).log_scale())
            .unwrap();
        let label = |value: &f64| if *value < 1_000.0 { short(*value) } else { format!("{value:e}") };
        chart
            .configure_mesh()
            .x_desc(*unit_x)
            .light_line_style(TRANSPARENT)
            .x_label_formatter(&label)
            .y_label_formatter(&label)
            .draw()
            .unwrap();
        for ((name, points), color) in lines.iter().zip(COLORS) {
            let line = LineSeries::new(points.iter().copied(), color.stroke_width(2)).point_size(3);
            let series = chart.draw_series(line).unwrap();
            series
                .label(name.replace('`', ""))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
        }
        let labels = &mut chart.configure_series_labels();
        labels
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE)
            .label_font(("sans-serif", 12))
            .draw()
            .unwrap();
    }
    root.present().unwrap();
}
