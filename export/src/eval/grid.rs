//! The paper's tables as numbers: for one figure and one method, a row a training and a column a test
//! class.
//!
//! A value is the mean over seeds and data sets; a row's mean is over its test classes, so that each
//! class counts once. A value that any of its cells is not zero-shot for says so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::leakage::Seen;
use super::left_out::GroupId;
use crate::study::plan::Plan;
use crate::study::table::{Cell, Figure};

/// Figures with tables of their own, by the start of their column's name, and their heads. One that
/// the cells do not have is left out.
const FIGURES: [(&str, &str); 5] = [
    ("aupro_published", "AUPRO"),
    ("aupro_fg_published", "AUPRO-fg"),
    ("image_auroc", "image AUROC"),
    ("pixel_auroc", "pixel AUROC"),
    ("hit1", "hit1"),
];

/// The figures with tables, with their heads.
#[must_use]
pub fn figures() -> Vec<(Figure, &'static str)> {
    let find = |start: &str| Figure::ALL.into_iter().find(|figure| figure.name().starts_with(start));
    FIGURES.iter().filter_map(|(start, head)| Some((find(start)?, *head))).collect()
}

/// One way to judge: an arm in a mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method {
    /// The arm.
    pub arm: String,
    /// The mode.
    pub mode: String,
    /// Its name in the tables: the mode is said where the arm has several.
    pub label: String,
}

/// The methods of the cells, in the plan's order.
#[must_use]
pub fn methods(plan: &Plan, cells: &[Cell]) -> Vec<Method> {
    let mut found = Vec::new();
    for arm in &plan.arms {
        let of_arm = cells.iter().filter(|cell| cell.place.arm == arm.name);
        let modes: BTreeSet<&str> = of_arm.map(|cell| cell.place.mode.as_str()).collect();
        for mode in &modes {
            let label = if modes.len() > 1 { format!("{} ({mode})", arm.name) } else { arm.name.clone() };
            found.push(Method { arm: arm.name.clone(), mode: (*mode).to_owned(), label });
        }
    }
    found
}

/// A value of a table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Value {
    /// Its mean.
    pub mean: f64,
    /// Whether it is not zero-shot.
    pub leaked: bool,
}

/// One table.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// Rows.
    pub trainings: Vec<String>,
    /// Columns.
    pub tests: Vec<String>,
    values: BTreeMap<(String, String), Value>,
}

impl Grid {
    /// The table of a figure and a method. Rows and columns are those of all cells, so that all tables
    /// of an evaluation have the same.
    #[must_use]
    pub fn new(cells: &[Cell], seen: &[Seen], figure: Figure, method: &Method) -> Self {
        let names = |of: fn(&Cell) -> &String| {
            cells.iter().map(of).cloned().collect::<BTreeSet<String>>().into_iter().collect()
        };
        let leaks: BTreeMap<&GroupId, &BTreeMap<String, String>> =
            seen.iter().map(|seen| (&seen.group, &seen.leaks)).collect();
        let mut sums: BTreeMap<(String, String), (f64, f64, bool)> = BTreeMap::new();
        let of_method = |cell: &&Cell| cell.place.arm == method.arm && cell.place.mode == method.mode;
        for cell in cells.iter().filter(of_method) {
            let Some(value) = cell.figures.get(figure) else { continue };
            let test = &cell.figures.test_class;
            let leaked = leaks.get(&GroupId::from(&cell.place)).is_some_and(|leaks| leaks.contains_key(test));
            let sum = sums.entry((cell.place.training.clone(), test.clone())).or_default();
            *sum = (sum.0 + value, sum.1 + 1.0, sum.2 || leaked);
        }
        let value = |(sum, count, leaked)| Value { mean: sum / count, leaked };
        Self {
            trainings: names(|cell| &cell.place.training),
            tests: names(|cell| &cell.figures.test_class),
            values: sums.into_iter().map(|(key, sum)| (key, value(sum))).collect(),
        }
    }

    /// One value.
    #[must_use]
    pub fn get(&self, training: &str, test: &str) -> Option<Value> {
        self.values.get(&(training.to_owned(), test.to_owned())).copied()
    }

    /// A row's mean over its test classes, of how many; none of a row without values.
    #[must_use]
    pub fn row_mean(&self, training: &str) -> Option<(Value, usize)> {
        let values: Vec<Value> = self.tests.iter().filter_map(|test| self.get(training, test)).collect();
        mean(&values).map(|mean| (mean, values.len()))
    }

    /// The mean of a column over its trainings.
    #[must_use]
    pub fn column_mean(&self, test: &str) -> Option<Value> {
        mean(&self.trainings.iter().filter_map(|training| self.get(training, test)).collect::<Vec<_>>())
    }

    /// The mean of the rows' means.
    #[must_use]
    pub fn grand_mean(&self) -> Option<Value> {
        let rows = self.trainings.iter().filter_map(|training| Some(self.row_mean(training)?.0));
        mean(&rows.collect::<Vec<_>>())
    }

    /// Test classes that a training has no value of, though it could.
    #[must_use]
    pub fn missing(&self, training: &str) -> Vec<&str> {
        let trained: Vec<&str> = training.split('+').collect();
        let absent = |test: &&str| !trained.contains(test) && self.get(training, test).is_none();
        self.tests.iter().map(String::as_str).filter(absent).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of classes")]
fn mean(values: &[Value]) -> Option<Value> {
    let leaked = values.iter().any(|value| value.leaked);
    let sum: f64 = values.iter().map(|value| value.mean).sum();
    (!values.is_empty()).then(|| Value { mean: sum / values.len() as f64, leaked })
}

/// `tables.csv`: all tables one below the other, as shares of 1.
#[must_use]
pub fn csv(plan: &Plan, cells: &[Cell], seen: &[Seen]) -> String {
    let tests: BTreeSet<&str> = cells.iter().map(|cell| cell.figures.test_class.as_str()).collect();
    let tests: Vec<&str> = tests.into_iter().collect();
    let mut text = format!("figure,method,mode,training,{},mean,not_zero_shot_for\n", tests.join(","));
    for (figure, _) in figures() {
        for method in methods(plan, cells) {
            let grid = Grid::new(cells, seen, figure, &method);
            for training in &grid.trainings {
                let _ = write!(text, "{},{},{},{training}", figure.name(), method.arm, method.mode);
                for test in &tests {
                    push(&mut text, grid.get(training, test));
                }
                push(&mut text, grid.row_mean(training).map(|(mean, _)| mean));
                let leaked = tests.iter().filter(|t| grid.get(training, t).is_some_and(|v| v.leaked));
                let _ = writeln!(text, ",{}", leaked.copied().collect::<Vec<_>>().join("+"));
            }
        }
    }
    text
}

fn push(text: &mut String, value: Option<Value>) {
    text.push(',');
    if let Some(value) = value {
        let _ = write!(text, "{:.6}", value.mean);
    }
}
