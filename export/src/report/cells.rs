//! The cells of a run, and their means: over data sets and seeds for one field of a table, over test classes for a row.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::csv::Table;

/// Columns that say where a cell stands.
const PLACE: [&str; 6] = ["data_set", "seed", "training", "arm", "mode", "test_class"];
/// Columns that count scans.
const COUNTS: [&str; 3] = ["ok_scans", "defective_scans", "undecided_scans"];
/// Optional column: anything but yes says why a cell is not zero-shot.
const ZERO_SHOT: &str = "zero_shot";

/// A way to judge: an arm in a mode.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Method {
    /// The arm.
    pub arm: String,
    /// The mode.
    pub mode: String,
}

impl Method {
    /// Its name in tables.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}, {}", self.arm, self.mode)
    }

    /// Whether it looks at nothing but chance or the object's place: something to compare with, not a method.
    #[must_use]
    pub fn is_control(&self) -> bool {
        matches!(self.arm.as_str(), "random" | "random map" | "mask" | "foreground mask")
    }

    /// Whether it is the bare object mask.
    #[must_use]
    pub fn is_mask(&self) -> bool {
        self.is_control() && self.arm.contains("mask")
    }

    /// Whether its references are scans of the test class, as anchors and the rolling buffer are.
    #[must_use]
    pub fn sees_test_class(&self) -> bool {
        ["anchor", "buffer"].iter().any(|word| self.arm.contains(word))
    }
}

/// Where a cell stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Name of the data set.
    pub data_set: String,
    /// Seed of the training.
    pub seed: String,
    /// Training classes, joined by `+`.
    pub training: String,
    /// Arm and mode.
    pub method: Method,
    /// The class judged.
    pub test_class: String,
}

impl Place {
    /// Reads the place of a row; the columns are those of `columns`.
    #[must_use]
    pub fn of_row(row: &[String], columns: &[usize; 6]) -> Self {
        let [data_set, seed, training, arm, mode, test_class] = columns.map(|c| row[c].clone());
        Self { data_set, seed, training, method: Method { arm, mode }, test_class }
    }

    /// The columns of a table that say where a row stands.
    ///
    /// # Errors
    /// Names the column that is missing.
    pub fn columns(table: &Table) -> Result<[usize; 6]> {
        let mut columns = [0; 6];
        for (column, name) in columns.iter_mut().zip(PLACE) {
            *column = table.need(name)?;
        }
        Ok(columns)
    }
}

/// One row of `cells.csv`.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// Where it stands.
    pub place: Place,
    /// Good, defective and undecided scans.
    pub scans: [usize; 3],
    /// Why it is not zero-shot, if so.
    pub not_zero_shot: Option<String>,
    figures: Vec<Option<f64>>,
}

/// All cells of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Cells {
    /// Names of the figures' columns.
    pub figures: Vec<String>,
    /// The rows.
    pub cells: Vec<Cell>,
}

impl Cells {
    /// Reads `OUT/cells.csv`.
    ///
    /// # Errors
    /// When it is not there or is no such table.
    pub fn read(out: &Path) -> Result<Self> {
        let path = out.join("cells.csv");
        let table = Table::read(&path)?;
        let table = table.with_context(|| {
            format!("there is no {}: give the output folder of an evaluation or a study", path.display())
        })?;
        let cells = Self::of_table(&table)?;
        ensure!(!cells.cells.is_empty(), "{} has no cells", path.display());
        Ok(cells)
    }

    fn of_table(table: &Table) -> Result<Self> {
        let columns = Place::columns(table)?;
        let counts = [table.need(COUNTS[0])?, table.need(COUNTS[1])?, table.need(COUNTS[2])?];
        let zero_shot = table.column(ZERO_SHOT);
        let taken =
            |index: &usize| columns.contains(index) || counts.contains(index) || Some(*index) == zero_shot;
        let figure_columns: Vec<usize> = (0..table.names.len()).filter(|index| !taken(index)).collect();
        let mut cells = Vec::new();
        for (index, row) in table.rows.iter().enumerate() {
            let place = Place::of_row(row, &columns);
            let mut scans = [0; 3];
            for (count, column) in scans.iter_mut().zip(counts) {
                *count = row[column].parse().with_context(|| {
                    format!("cells.csv, line {}: found `{}`, expected a count", index + 2, row[column])
                })?;
            }
            let figures =
                figure_columns.iter().map(|column| table.number(index, *column)).collect::<Result<_>>()?;
            let not_zero_shot = why_not_zero_shot(&place, zero_shot.map(|column| row[column].as_str()));
            cells.push(Cell { place, scans, not_zero_shot, figures });
        }
        Ok(Self { figures: figure_columns.iter().map(|c| table.names[*c].clone()).collect(), cells })
    }

    /// All methods: by mode and name, the controls last.
    #[must_use]
    pub fn methods(&self) -> Vec<Method> {
        let found: BTreeSet<_> = self.cells.iter().map(|cell| &cell.place.method).collect();
        let mut methods: Vec<Method> = found.into_iter().cloned().collect();
        methods.sort_by_key(|m| (m.is_control(), m.mode.clone(), m.arm.clone()));
        methods
    }

    /// All trainings, by name.
    #[must_use]
    pub fn trainings(&self) -> Vec<String> {
        distinct(self.cells.iter().map(|cell| &cell.place.training))
    }

    /// All test classes, by name.
    #[must_use]
    pub fn test_classes(&self) -> Vec<String> {
        distinct(self.cells.iter().map(|cell| &cell.place.test_class))
    }

    /// All seeds.
    #[must_use]
    pub fn seeds(&self) -> Vec<String> {
        distinct(self.cells.iter().map(|cell| &cell.place.seed))
    }

    /// All data sets.
    #[must_use]
    pub fn data_sets(&self) -> Vec<String> {
        distinct(self.cells.iter().map(|cell| &cell.place.data_set))
    }

    /// Whether any cell has the figure.
    #[must_use]
    pub fn has(&self, figure: &str) -> bool {
        let column = self.figures.iter().position(|name| name == figure);
        column.is_some_and(|column| self.cells.iter().any(|cell| cell.figures[column].is_some()))
    }

    /// Mean of a figure over the cells that `keep` lets through and that have it.
    #[must_use]
    pub fn mean(&self, figure: &str, keep: impl Fn(&Cell) -> bool) -> Option<f64> {
        let column = self.figures.iter().position(|name| name == figure)?;
        mean(self.cells.iter().filter(|cell| keep(cell)).filter_map(|cell| cell.figures[column]))
    }

    /// A field of a table: mean over data sets and seeds.
    #[must_use]
    pub fn field(&self, figure: &str, method: &Method, training: &str, test_class: &str) -> Option<f64> {
        self.mean(figure, |cell| {
            let place = &cell.place;
            place.method == *method && place.training == training && place.test_class == test_class
        })
    }

    /// A row's mean: over the test classes, each with the mean over data sets and seeds.
    #[must_use]
    pub fn row_mean(&self, figure: &str, method: &Method, training: &str) -> Option<f64> {
        mean(self.test_classes().iter().filter_map(|class| self.field(figure, method, training, class)))
    }

    /// Why a field is not zero-shot, if any of its cells is not.
    #[must_use]
    pub fn not_zero_shot(&self, method: &Method, training: &str, test_class: &str) -> Option<&str> {
        let mut here = self.cells.iter().filter(|cell| {
            let place = &cell.place;
            place.method == *method && place.training == training && place.test_class == test_class
        });
        here.find_map(|cell| cell.not_zero_shot.as_deref())
    }
}

/// Mean of numbers; none of none.
pub fn mean(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = numbers.fold((0.0, 0.0), |(sum, count), number| (sum + number, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

fn distinct<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    names.collect::<BTreeSet<_>>().into_iter().cloned().collect()
}

/// A class is judged zero-shot when none of its scans was learned from or serves as a reference.
fn why_not_zero_shot(place: &Place, said: Option<&str>) -> Option<String> {
    if place.training.split('+').any(|class| class == place.test_class) {
        return Some("the class is in the training".into());
    }
    if place.method.sees_test_class() {
        return Some("the references are scans of the class".into());
    }
    said.filter(|said| !["", "yes", "true", "1"].contains(said)).map(|said| match said {
        "no" | "false" | "0" => "the run says so".into(),
        reason => reason.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "data_set,seed,training,arm,mode,test_class,ok_scans,defective_scans,undecided_scans,a,b\n\
        d,1,ring,x,line,rope,8,22,0,0.5,\n\
        d,2,ring,x,line,rope,8,22,1,0.7,\n\
        d,1,ring,x,line,tyre,8,22,0,0.2,0.9\n\
        d,1,ring+tyre,x,line,tyre,8,22,0,0.4,0.8\n\
        d,1,ring,line buffer 32 at 0.1,line,rope,8,22,0,0.1,\n\
        d,1,ring,mask,line,rope,8,22,0,0.15,\n";

    fn cells(text: &str) -> Cells {
        Cells::of_table(&Table::parse(Path::new("cells.csv"), text).expect("a table")).expect("cells")
    }

    fn method(arm: &str) -> Method {
        Method { arm: arm.into(), mode: "line".into() }
    }

    #[test]
    fn fields_are_means_over_seeds_and_rows_means_over_classes() {
        let cells = cells(TEXT);
        let close = |found: Option<f64>, expected: f64| (found.expect("a mean") - expected).abs() < 1e-12;
        assert!(close(cells.field("a", &method("x"), "ring", "rope"), 0.6));
        assert!(close(cells.row_mean("a", &method("x"), "ring"), 0.4), "classes weigh the same");
        assert_eq!(cells.field("b", &method("x"), "ring", "rope"), None);
        assert_eq!((cells.has("b"), cells.has("c")), (true, false));
        assert_eq!(cells.figures, ["a", "b"]);
        assert_eq!(cells.cells[1].scans, [8, 22, 1]);
    }

    #[test]
    fn what_is_not_zero_shot_says_why() {
        let mut text = TEXT.replace(",a,b\n", ",a,zero_shot\n");
        text = text.replace("tyre,8,22,0,0.2,0.9", "tyre,8,22,0,0.2,pool paper_like").replace("0.8\n", "\n");
        let cells = cells(&text);
        let why = |arm: &str, training: &str, class: &str| {
            cells.not_zero_shot(&method(arm), training, class).map(str::to_owned)
        };
        assert_eq!(why("x", "ring", "rope"), None);
        assert_eq!(why("x", "ring", "tyre").as_deref(), Some("pool paper_like"));
        assert!(why("x", "ring+tyre", "tyre").is_some_and(|why| why.contains("in the training")));
        assert!(why("line buffer 32 at 0.1", "ring", "rope").is_some_and(|why| why.contains("references")));
        assert_eq!(cells.figures, ["a"], "the column is no figure");
    }

    #[test]
    fn controls_come_last() {
        let names: Vec<String> = cells(TEXT).methods().iter().map(Method::name).collect();
        assert_eq!(names, ["line buffer 32 at 0.1, line", "x, line", "mask, line"]);
    }
}
