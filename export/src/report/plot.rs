//! Curves over two axes as SVG.

use std::fmt::Write as _;

use super::markup::{escaped, titled_svg};

const WIDTH: f64 = 330.0;
const HEIGHT: f64 = 292.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 64.0;
const TICKS: usize = 5;
const LEGEND_LEFT: f64 = 8.0;
const LETTER_WIDTH: f64 = 5.8;

/// How a curve is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// What the picture is about.
    Main,
    /// One of many.
    Thin,
    /// Chance.
    Dashed,
    /// Another thing to compare with.
    Dotted,
}

impl Style {
    const fn attributes(self) -> &'static str {
        match self {
            Self::Main => "class=c1 stroke=#1f5fa8 stroke-width=2.4",
            Self::Thin => "class=c0 stroke=#8aa4c0 stroke-width=0.9",
            Self::Dashed => "class=c2 stroke=#777 stroke-width=1.3 stroke-dasharray=\"6 4\"",
            Self::Dotted => {
                "class=c3 stroke=#c4501b stroke-width=1.8 stroke-dasharray=\"1.5 3\" stroke-linecap=round"
            }
        }
    }
}

/// One curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// In the legend; empty: not there.
    pub legend: String,
    /// Shown when pointed at.
    pub name: String,
    /// Points in the axes' units.
    pub points: Vec<[f64; 2]>,
    /// How it is drawn.
    pub style: Style,
}

/// Curves over two axes that begin at 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    /// Above the picture.
    pub title: String,
    /// Name of the axis to the right, with its unit.
    pub x_name: String,
    /// Name of the axis upwards, with its unit.
    pub y_name: String,
    /// Ends of both axes.
    pub ends: [f64; 2],
    /// Drawn in order.
    pub curves: Vec<Curve>,
}

impl Plot {
    /// The picture as SVG.
    #[must_use]
    pub fn svg(&self) -> String {
        let mut svg = format!(
            "<svg class=plot viewBox=\"0 0 {WIDTH} {HEIGHT}\" width={WIDTH} \
             height={HEIGHT} font-family=sans-serif font-size=11 role=img>"
        );
        self.draw_axes(&mut svg);
        for curve in &self.curves {
            let points: Vec<String> =
                curve.points.iter().map(|[x, y]| format!("{:.1} {:.1}", self.x(*x), self.y(*y))).collect();
            let _ = write!(
                svg,
                "<path d=\"M{}\" fill=none {}><title>{}</title></path>",
                points.join("L"),
                curve.style.attributes(),
                escaped(&curve.name)
            );
        }
        self.draw_legend(&mut svg);
        svg.push_str("</svg>");
        titled_svg(&self.title, &svg)
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + (value / self.ends[0]).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - (value / self.ends[1]).clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }

    fn draw_axes(&self, svg: &mut String) {
        for tick in 0..=TICKS {
            let share = as_f64(tick) / as_f64(TICKS);
            let [x, y] = self.ends.map(|end| share * end);
            let _ = write!(
                svg,
                "<path class=g stroke=#ddd d=\"M{LEFT} {y_at:.1}H{:.1}M{x_at:.1} {TOP}V{bottom:.1}\" /><text fill=#333 \
                 x={:.1} y={:.1} text-anchor=end>{}</text><text fill=#333 x={x_at:.1} y={:.1} text-anchor=middle>{}\
                 </text>",
                WIDTH - RIGHT,
                LEFT - 5.0,
                self.y(y) + 4.0,
                short(y),
                HEIGHT - BOTTOM + 15.0,
                short(x),
                x_at = self.x(x),
                y_at = self.y(y),
                bottom = HEIGHT - BOTTOM,
            );
        }
        let _ = write!(
            svg,
            "<text fill=#333 x={:.1} y={:.1} text-anchor=middle>{}</text><text fill=#333 transform=\"translate(12 {:.1}) \
             rotate(-90)\" text-anchor=middle>{}</text>",
            f64::midpoint(LEFT, WIDTH - RIGHT),
            HEIGHT - 30.0,
            escaped(&self.x_name),
            f64::midpoint(TOP, HEIGHT - BOTTOM),
            escaped(&self.y_name)
        );
    }

    /// Names of the curves that have one, in a row below the axis.
    fn draw_legend(&self, svg: &mut String) {
        let (mut left, y) = (LEGEND_LEFT, HEIGHT - 8.0);
        for curve in self.curves.iter().filter(|curve| !curve.legend.is_empty()) {
            let _ = write!(
                svg,
                "<path d=\"M{left:.1} {:.1}h18\" fill=none {} /><text fill=#333 x={:.1} y={y:.1}>{}</text>",
                y - 4.0,
                curve.style.attributes(),
                left + 22.0,
                escaped(&curve.legend)
            );
            left += 34.0 + LETTER_WIDTH * as_f64(curve.legend.chars().count());
        }
    }
}

/// A number of an axis without zeros at its end.
fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[expect(clippy::cast_precision_loss, reason = "counts of curves and ticks")]
const fn as_f64(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_stay_within_the_axes_and_are_named() {
        let plot = Plot {
            title: "PRO".into(),
            x_name: "false positive rate".into(),
            y_name: "overlap".into(),
            ends: [0.3, 1.0],
            curves: vec![Curve {
                legend: "a & b".into(),
                name: "mean".into(),
                points: vec![[0.0, 0.0], [0.3, 1.0], [0.6, 2.0]],
                style: Style::Main,
            }],
        };
        let svg = plot.svg();
        let (right, top) = (WIDTH - RIGHT, TOP);
        assert!(svg.contains(&format!("L{right:.1} {top:.1}L{right:.1} {top:.1}")), "{svg}");
        assert!(svg.contains("a &amp; b") && svg.contains("overlap") && svg.contains("0.06"), "{svg}");
        assert_eq!([short(0.3), short(0.06), short(0.0), short(1.0)], ["0.3", "0.06", "0", "1"]);
    }
}
