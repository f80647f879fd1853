//! The training x test matrix of a method as a picture: colour for the eye, the number in each field.

use std::fmt::Write as _;

use super::markup::{escaped, percent, titled_svg};

const FIELD_WIDTH: f64 = 40.0;
const FIELD_HEIGHT: f64 = 26.0;
const BAR_WIDTH: f64 = 12.0;
const LETTER_WIDTH: f64 = 6.3;

/// Colours from low to high, of evenly rising lightness.
const COLORS: [[f64; 3]; 6] = [
    [42.0, 24.0, 92.0],
    [63.0, 72.0, 148.0],
    [36.0, 122.0, 160.0],
    [46.0, 168.0, 134.0],
    [140.0, 206.0, 82.0],
    [250.0, 232.0, 84.0],
];

/// A matrix to be drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatMap<'a> {
    /// Above the picture.
    pub title: String,
    /// Training classes.
    pub rows: &'a [String],
    /// Test classes.
    pub columns: &'a [String],
    /// Rows of fields.
    pub values: Vec<Vec<Option<f64>>>,
    /// Values of the first and the last colour.
    pub range: [f64; 2],
    /// What a map or score of noise has: a mark beside the scale.
    pub chance: Option<f64>,
    /// Name of the figure.
    pub figure: &'a str,
}

impl HeatMap<'_> {
    /// The picture as SVG.
    #[must_use]
    pub fn svg(&self) -> String {
        let left = 30.0 + LETTER_WIDTH * longest(self.rows);
        let top = 28.0 + 0.72 * LETTER_WIDTH * longest(self.columns);
        let (width, height) =
            (FIELD_WIDTH * as_f64(self.columns.len()), FIELD_HEIGHT * as_f64(self.rows.len()));
        let (full_width, full_height) = (left + width + 116.0, (top + height + 26.0).max(top + 120.0));
        let mut svg = format!(
            "<svg class=heat viewBox=\"0 0 {full_width:.0} {full_height:.0}\" \
             width={full_width:.0} height={full_height:.0} font-family=sans-serif font-size=11 role=img>"
        );
        self.draw_fields(&mut svg, left, top);
        self.draw_names(&mut svg, left, top);
        let _ = write!(
            svg,
            "<text fill=#333 x={:.1} y={:.1} text-anchor=middle>test class</text><text fill=#333 \
             transform=\"translate(11 {:.1}) rotate(-90)\" text-anchor=middle>training class</text>",
            left + width / 2.0,
            top + height + 18.0,
            top + height / 2.0
        );
        self.draw_bar(&mut svg, left + width + 22.0, top, height.max(90.0));
        svg.push_str("</svg>");
        titled_svg(&self.title, &svg)
    }

    fn draw_fields(&self, svg: &mut String, left: f64, top: f64) {
        for (row, values) in self.values.iter().enumerate() {
            for (column, value) in values.iter().enumerate() {
                let (x, y) = (left + FIELD_WIDTH * as_f64(column), top + FIELD_HEIGHT * as_f64(row));
                let (fill, ink) = value.map_or(("none".into(), "#888"), |value| self.colors(value));
                let _ = write!(
                    svg,
                    "<rect x={:.1} y={:.1} width={:.1} height={:.1} rx=2 fill=\"{fill}\"/><text class=in x={:.1} \
                     y={:.1} fill=\"{ink}\" text-anchor=middle>{}</text>",
                    x + 1.0,
                    y + 1.0,
                    FIELD_WIDTH - 2.0,
                    FIELD_HEIGHT - 2.0,
                    x + FIELD_WIDTH / 2.0,
                    y + FIELD_HEIGHT / 2.0 + 4.0,
                    percent(*value)
                );
            }
        }
    }

    fn draw_names(&self, svg: &mut String, left: f64, top: f64) {
        for (row, name) in self.rows.iter().enumerate() {
            let y = top + FIELD_HEIGHT * (as_f64(row) + 0.5) + 4.0;
            let _ = write!(
                svg,
                "<text fill=#333 x={:.1} y={y:.1} text-anchor=end>{}</text>",
                left - 6.0,
                escaped(name)
            );
        }
        for (column, name) in self.columns.iter().enumerate() {
            let x = left + FIELD_WIDTH * (as_f64(column) + 0.5);
            let _ = write!(
                svg,
                "<text fill=#333 transform=\"translate({x:.1} {:.1}) rotate(-42)\">{}</text>",
                top - 6.0,
                escaped(name)
            );
        }
    }

    /// The colour scale with its ends, its name and the mark of chance.
    fn draw_bar(&self, svg: &mut String, left: f64, top: f64, height: f64) {
        const STEPS: usize = 40;
        let [low, high] = self.range;
        let place = |value: f64| top + height * (1.0 - (value - low) / (high - low));
        for step in 0..STEPS {
            let share = (as_f64(step) + 0.5) / as_f64(STEPS);
            let y = top + height * (1.0 - (as_f64(step) + 1.0) / as_f64(STEPS));
            let _ = write!(
                svg,
                "<rect x={left:.1} y={y:.2} width={BAR_WIDTH} height={:.2} fill=\"{}\"/>",
                height / as_f64(STEPS) + 0.4,
                hex(color(share))
            );
        }
        let mut label = |value: f64, text: &str| {
            let _ = write!(
                svg,
                "<text fill=#333 x={:.1} y={:.1}>{text}</text>",
                left + BAR_WIDTH + 4.0,
                place(value) + 4.0
            );
        };
        label(low, &percent(Some(low)));
        label(high, &percent(Some(high)));
        if let Some(chance) = self.chance.filter(|c| low < *c && *c < high) {
            label(chance, "\u{25c2} noise");
        }
        let _ =
            write!(svg, "<text fill=#333 x={left:.1} y={:.1}>{}, %</text>", top - 9.0, escaped(self.figure));
    }

    /// Colour of a field and of the number in it.
    fn colors(&self, value: f64) -> (String, &'static str) {
        let [low, high] = self.range;
        let rgb = color((value - low) / (high - low));
        let lightness = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
        (hex(rgb), if lightness > 140.0 { "#111" } else { "#fff" })
    }
}

/// Colour at a place of the scale, clamped to it.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the scale's anchors")]
fn color(share: f64) -> [f64; 3] {
    let steps = COLORS.len() - 1;
    let along = share.clamp(0.0, 1.0) * as_f64(steps);
    let first = (along as usize).min(steps - 1);
    let between = along - as_f64(first);
    [0, 1, 2].map(|c| COLORS[first][c] + between * (COLORS[first + 1][c] - COLORS[first][c]))
}

fn hex(rgb: [f64; 3]) -> String {
    format!("rgb({:.0},{:.0},{:.0})", rgb[0], rgb[1], rgb[2])
}

fn longest(names: &[String]) -> f64 {
    as_f64(names.iter().map(|name| name.chars().count()).max().unwrap_or(0))
}

#[expect(clippy::cast_precision_loss, reason = "counts of classes")]
const fn as_f64(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_its_number_and_missing_ones_a_dash() {
        let names: Vec<String> = ["ring", "a<b"].map(Into::into).into();
        let map = HeatMap {
            title: "t".into(),
            rows: &names,
            columns: &names,
            values: vec![vec![None, Some(0.254)], vec![Some(0.75), None]],
            range: [0.0, 0.8],
            chance: Some(0.15),
            figure: "AUPRO-fg",
        };
        let svg = map.svg();
        assert!(svg.contains(">25.4<") && svg.contains(">75.0<") && svg.contains(">a&lt;b<"), "{svg}");
        assert_eq!(svg.matches("\u{2013}").count(), 2);
        assert!(svg.contains("noise") && svg.contains("training class") && svg.contains("test class"));
    }

    #[test]
    fn the_scale_grows_lighter() {
        let lightness = |share: f64| color(share).iter().sum::<f64>();
        assert!((0..20_i32).all(|i| lightness(f64::from(i) / 20.0) < lightness(f64::from(i + 1) / 20.0)));
    }
}
