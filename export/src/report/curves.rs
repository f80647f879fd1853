//! `curves.csv`: ROC of the image scores and the overlap curves, averaged for a picture a method.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

use super::cells::{Method, Place, mean};
use super::csv::Table;
use super::plot::{Curve, Plot, Style};

/// Points of an averaged curve.
const GRID: u32 = 80;

/// Kinds of curves: name in the table, title, names of the axes.
const KINDS: [(&str, &str, &str, &str); 3] = [
    (
        "pro_fg",
        "PRO over the object",
        "false positive rate, pixels of the object",
        "mean overlap of the regions",
    ),
    ("pro", "PRO over all pixels", "false positive rate, all pixels", "mean overlap of the regions"),
    ("roc", "ROC of the image scores", "false positive rate, scans", "true positive rate, scans"),
];

/// Points of a curve.
type Points = Vec<[f64; 2]>;

/// Curves by kind and place.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Curves(BTreeMap<(String, Place), Points>);

impl Curves {
    /// Reads `OUT/curves.csv`; none without one.
    ///
    /// # Errors
    /// When it is no such table.
    pub fn read(out: &Path) -> Result<Option<Self>> {
        Table::read(&out.join("curves.csv"))?.map(|table| Self::of_table(&table)).transpose()
    }

    fn of_table(table: &Table) -> Result<Self> {
        let columns = Place::columns(table)?;
        let [kind, x, y] = [table.need("curve")?, table.need("x")?, table.need("y")?];
        let mut curves: BTreeMap<(String, Place), Points> = BTreeMap::new();
        for (index, row) in table.rows.iter().enumerate() {
            let number = |column: usize| {
                table
                    .number(index, column)?
                    .with_context(|| format!("curves.csv, line {}: no number", index + 2))
            };
            let point = [number(x)?, number(y)?];
            curves.entry((row[kind].clone(), Place::of_row(row, &columns))).or_default().push(point);
        }
        Ok(Self(curves))
    }

    /// The pictures of a method; `mask` is the control that shows the object alone.
    #[must_use]
    pub fn plots(&self, method: &Method, mask: Option<&Method>) -> String {
        KINDS.iter().filter_map(|kind| self.plot(method, mask, kind)).map(|plot| plot.svg()).collect()
    }

    fn plot(
        &self,
        method: &Method,
        mask: Option<&Method>,
        &(kind, title, x_name, y_name): &(&str, &str, &str, &str),
    ) -> Option<Plot> {
        let own = self.of(kind, method);
        let x_end = own.iter().flat_map(|(_, points)| points.last()).map(|p| p[0]).fold(0.0, f64::max);
        if x_end <= 0.0 {
            return None;
        }
        let all: Vec<&Points> = own.iter().map(|(_, points)| *points).collect();
        let mut by_class: BTreeMap<&str, Vec<&Points>> = BTreeMap::new();
        own.iter().for_each(|(place, points)| by_class.entry(&place.test_class).or_default().push(points));
        let mut curves: Vec<Curve> = Vec::new();
        for (index, (class, points)) in by_class.iter().enumerate() {
            let legend = if index == 0 { "test classes" } else { "" };
            curves.push(curve(legend, class, averaged(points, x_end), Style::Thin));
        }
        curves.push(curve("noise", "noise", vec![[0.0, 0.0], [x_end, x_end]], Style::Dashed));
        let control = mask.filter(|mask| *mask != method).map(|mask| self.of(kind, mask)).unwrap_or_default();
        if !control.is_empty() {
            let points: Vec<&Points> = control.iter().map(|(_, points)| *points).collect();
            curves.push(curve("object mask", "object mask", averaged(&points, x_end), Style::Dotted));
        }
        curves.push(curve("mean", "mean of all cells", averaged(&all, x_end), Style::Main));
        Some(Plot {
            title: format!("{title}: {}", method.name()),
            x_name: x_name.into(),
            y_name: y_name.into(),
            ends: [x_end, 1.0],
            curves,
        })
    }

    fn of(&self, kind: &str, method: &Method) -> Vec<(&Place, &Points)> {
        let fits = |((k, place), _): &(&(String, Place), &Points)| k == kind && place.method == *method;
        self.0.iter().filter(fits).map(|((_, place), points)| (place, points)).collect()
    }
}

fn curve(legend: &str, name: &str, points: Points, style: Style) -> Curve {
    Curve { legend: legend.into(), name: name.into(), points, style }
}

/// Mean of curves at places that stand close where curves rise.
fn averaged(curves: &[&Points], x_end: f64) -> Points {
    let places = (0..=GRID).map(|i| x_end * (f64::from(i) / f64::from(GRID)).powi(2));
    places.filter_map(|x| Some([x, mean(curves.iter().filter_map(|points| value_at(points, x)))?])).collect()
}

/// Height of a curve of rising x; the upper one where it jumps. A curve that ends before goes on level.
fn value_at(points: &Points, x: f64) -> Option<f64> {
    let after = points.partition_point(|p| p[0] <= x);
    let Some(left) = points[..after].last() else { return points.first().map(|p| p[1]) };
    let Some(right) = points.get(after) else { return Some(left[1]) };
    Some(left[1] + (right[1] - left[1]) * (x - left[0]) / (right[0] - left[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_read_between_their_points() {
        let points = vec![[0.0, 0.0], [0.0, 0.4], [0.2, 0.8]];
        let close = |x: f64, y: f64| (value_at(&points, x).expect("a curve") - y).abs() < 1e-12;
        assert!(close(0.0, 0.4) && close(0.1, 0.6) && close(0.3, 0.8));
        assert_eq!(value_at(&Vec::new(), 0.1), None);
    }

    #[test]
    fn a_method_has_a_picture_for_each_kind_with_both_controls() {
        let text = "data_set,seed,training,arm,mode,test_class,curve,x,y\n\
            d,1,ring,x,line,rope,pro,0,0\nd,1,ring,x,line,rope,pro,0.3,0.9\n\
            d,1,ring,x,line,tyre,pro,0,0\nd,1,ring,x,line,tyre,pro,0.3,0.5\n\
            d,1,ring,mask,line,tyre,pro,0,0\nd,1,ring,mask,line,tyre,pro,0.3,0.7\n";
        let table = Table::parse(Path::new("curves.csv"), text).expect("a table");
        let curves = Curves::of_table(&table).expect("curves");
        let [x, mask] = ["x", "mask"].map(|arm| Method { arm: arm.into(), mode: "line".into() });
        let plot = curves.plot(&x, Some(&mask), &KINDS[1]).expect("a picture");
        let names: Vec<&str> = plot.curves.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["rope", "tyre", "noise", "object mask", "mean of all cells"]);
        let last = plot.curves[4].points.last().expect("points");
        assert!((last[1] - 0.7).abs() < 1e-12, "{last:?}");
        assert!(curves.plots(&x, None).matches("<svg").count() == 1, "other kinds are not there");
    }
}
