//! `cells.csv`: one row a data set, seed, training, arm, mode and test class.
//!
//! The figures of a group are kept as the very text that stands in `cells.csv`, and the summary is
//! computed from what that text says: a study that went on cannot differ in the last digit.

use std::cmp::Ordering;
use std::fmt::{self, Write as _};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::read_file;

/// A figure of a cell, in the columns' order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// AUPRO over the object's pixels, published rule, limit 0.3.
    AuproFg,
    /// AUPRO over all pixels, published rule, limit 0.3.
    Aupro,
    /// AUPRO over the object's pixels, exact area, limit 0.3.
    AuproFgExact,
    /// AUPRO over all pixels, exact area, limit 0.3.
    AuproExact,
    /// Image AUROC, ties half.
    ImageAuroc,
    /// Lower end of its bootstrap interval.
    ImageAurocLow,
    /// Upper end of its bootstrap interval.
    ImageAurocHigh,
    /// Highest F1 of any threshold on the image scores.
    ImageF1Max,
    /// Image AUROC of good scans against defective ones whose defect's patches, and those beside them, are
    /// erased: what the acquisition alone gives. 0.5 is as it should be.
    Conf,
    /// Image AUROC of the same defective scans without those patches against with them.
    Cf,
    /// Area under the ROC curve of all pixels, ties half.
    PixelAuroc,
    /// The same with the object's pixels alone.
    PixelAurocFg,
    /// Share of the defective scans whose map's maximum lies on the defect.
    Hit1,
}

impl Figure {
    /// All figures.
    pub const ALL: [Self; 13] = [
        Self::AuproFg,
        Self::Aupro,
        Self::AuproFgExact,
        Self::AuproExact,
        Self::ImageAuroc,
        Self::ImageAurocLow,
        Self::ImageAurocHigh,
        Self::ImageF1Max,
        Self::Conf,
        Self::Cf,
        Self::PixelAuroc,
        Self::PixelAurocFg,
        Self::Hit1,
    ];

    /// Name of its column; the rule and the limit are part of it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AuproFg => "aupro_fg_published_0.3",
            Self::Aupro => "aupro_published_0.3",
            Self::AuproFgExact => "aupro_fg_exact_0.3",
            Self::AuproExact => "aupro_exact_0.3",
            Self::ImageAuroc => "image_auroc",
            Self::ImageAurocLow => "image_auroc_low",
            Self::ImageAurocHigh => "image_auroc_high",
            Self::ImageF1Max => "image_f1_max",
            Self::Conf => "conf_image_auroc_erased_margin_1",
            Self::Cf => "cf_image_auroc_erased_margin_1",
            Self::PixelAuroc => "pixel_auroc",
            Self::PixelAurocFg => "pixel_auroc_fg",
            Self::Hit1 => "hit1",
        }
    }
}

/// The figures of one test class.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassFigures {
    /// The class.
    pub test_class: String,
    /// Good test scans.
    pub ok_scans: usize,
    /// Defective test scans.
    pub defective_scans: usize,
    /// Scans of both kinds that could not be judged: their maps count as zeros, and they are left out
    /// of the image figures.
    pub undecided_scans: usize,
    /// By [`Figure::ALL`]; none where the class has too few scans or regions for it.
    pub values: [Option<f64>; Figure::ALL.len()],
}

impl ClassFigures {
    /// One figure.
    #[must_use]
    pub const fn get(&self, figure: Figure) -> Option<f64> {
        self.values[figure as usize]
    }

    /// Sets one figure.
    pub const fn set(&mut self, figure: Figure, value: Option<f64>) {
        self.values[figure as usize] = value;
    }
}

/// Where a cell stands in the study.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Name of the data set.
    pub data_set: String,
    /// Seed of the training.
    pub seed: u64,
    /// Training classes, joined by `+`.
    pub training: String,
    /// The arm.
    pub arm: String,
    /// The mode.
    pub mode: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { data_set, seed, training, arm, mode } = self;
        write!(f, "{data_set}, seed {seed}, training on {training}, arm {arm}, mode {mode}")
    }
}

/// One row of `cells.csv`.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// All but the class.
    pub place: Place,
    /// Class and figures.
    pub figures: ClassFigures,
}

impl Cell {
    /// The table's order.
    #[must_use]
    pub fn order(&self, other: &Self) -> Ordering {
        self.place.cmp(&other.place).then_with(|| self.figures.test_class.cmp(&other.figures.test_class))
    }
}

/// Names stand in the tables unquoted.
pub(super) fn check_name(name: &str) -> Result<()> {
    let fits = |c: char| !c.is_control() && !"\",|\n+".contains(c);
    if name.is_empty() || !name.chars().all(fits) {
        bail!(
            "`{name}` cannot stand in the tables: expected a name without quotes, commas, bars and plus signs"
        );
    }
    Ok(())
}

/// `cells.csv` of sorted cells.
///
/// # Errors
/// When a cell has no place in a table.
pub fn cells_text(cells: &[Cell]) -> Result<String> {
    let mut text =
        String::from("data_set,seed,training,arm,mode,test_class,ok_scans,defective_scans,undecided_scans");
    Figure::ALL.iter().for_each(|figure| text.extend([",", figure.name()]));
    text.push('\n');
    for Cell { place, figures } in cells {
        let Place { data_set, seed, training, arm, mode } = place;
        write!(text, "{data_set},{seed},{training},{arm},{mode},")?;
        push_figures(&mut text, figures)?;
    }
    Ok(text)
}

/// The kept text of a group: the last columns of its rows in `cells.csv`.
///
/// # Errors
/// Never for real figures.
pub fn figures_text(classes: &[ClassFigures]) -> Result<String> {
    let mut text = String::new();
    classes.iter().try_for_each(|figures| push_figures(&mut text, figures))?;
    Ok(text)
}

fn push_figures(text: &mut String, figures: &ClassFigures) -> Result<()> {
    let ClassFigures { test_class, ok_scans, defective_scans, undecided_scans, values } = figures;
    write!(text, "{test_class},{ok_scans},{defective_scans},{undecided_scans}")?;
    for value in values {
        text.push(',');
        if let Some(value) = value {
            write!(text, "{value:.6}")?;
        }
    }
    text.push('\n');
    Ok(())
}

/// Reads the text of [`figures_text`].
///
/// # Errors
/// When the file is not such a text.
pub fn read_figures(path: &Path) -> Result<Vec<ClassFigures>> {
    let text =
        String::from_utf8(read_file(path)?).with_context(|| format!("{} is no text", path.display()))?;
    let rows: Result<Vec<ClassFigures>> = text.lines().map(parse_figures).collect();
    rows.with_context(|| format!("{} is damaged: delete it", path.display()))
}

/// Reads the text of [`cells_text`].
///
/// # Errors
/// When the file is not such a text.
pub fn read_cells(path: &Path) -> Result<Vec<Cell>> {
    let text =
        String::from_utf8(read_file(path)?).with_context(|| format!("{} is no text", path.display()))?;
    let (head, rows) = text.split_once('\n').unwrap_or((&text, ""));
    let expected = cells_text(&[])?;
    ensure!(
        head == expected.trim_end(),
        "{}: found the columns `{head}`, expected `{}`",
        path.display(),
        expected.trim_end()
    );
    let cells: Result<Vec<Cell>> = rows.lines().map(parse_cell).collect();
    cells.with_context(|| format!("{} is damaged", path.display()))
}

fn parse_cell(line: &str) -> Result<Cell> {
    let fields: Vec<&str> = line.splitn(6, ',').collect();
    let [data_set, seed, training, arm, mode, figures] = fields[..] else {
        bail!("found the row `{line}`, expected more columns");
    };
    let place = Place {
        data_set: data_set.to_owned(),
        seed: seed.parse()?,
        training: training.to_owned(),
        arm: arm.to_owned(),
        mode: mode.to_owned(),
    };
    Ok(Cell { place, figures: parse_figures(figures)? })
}

fn parse_figures(line: &str) -> Result<ClassFigures> {
    let fields: Vec<&str> = line.split(',').collect();
    let expected = 4 + Figure::ALL.len();
    ensure!(fields.len() == expected, "found {} fields, expected {expected}", fields.len());
    let mut values = [None; Figure::ALL.len()];
    for (value, field) in values.iter_mut().zip(&fields[4..]) {
        *value = if field.is_empty() { None } else { Some(field.parse()?) };
    }
    Ok(ClassFigures {
        test_class: fields[0].to_owned(),
        ok_scans: fields[1].parse()?,
        defective_scans: fields[2].parse()?,
        undecided_scans: fields[3].parse()?,
        values,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> ClassFigures {
        let mut figures = ClassFigures {
            test_class: "rope".into(),
            ok_scans: 8,
            defective_scans: 22,
            undecided_scans: 1,
            values: [None; Figure::ALL.len()],
        };
        figures.set(Figure::AuproFg, Some(1.0 / 3.0));
        figures.set(Figure::Hit1, Some(0.5));
        figures
    }

    #[test]
    fn figures_come_back_as_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("group.csv");
        let text = figures_text(&[figures(), figures()]).expect("text");
        assert_eq!(text.lines().next(), Some("rope,8,22,1,0.333333,,,,,,,,,,,,0.500000"));
        std::fs::write(&path, &text).expect("written");
        let read = read_figures(&path).expect("its own text");
        assert_eq!(figures_text(&read).expect("text"), text);
        for broken in ["rope,8,22", "rope,8,22,1,x,,,,,,,,,,,,0.5"] {
            std::fs::write(&path, broken).expect("written");
            assert!(read_figures(&path).is_err(), "{broken}");
        }
    }

    #[test]
    fn every_column_has_a_name() {
        let place = Place {
            data_set: "d".into(),
            seed: 3,
            training: "ring+tyre".into(),
            arm: "trained".into(),
            mode: "line".into(),
        };
        let text = cells_text(&[Cell { place, figures: figures() }]).expect("text");
        let [names, row] = text.lines().collect::<Vec<_>>()[..] else { panic!("two lines: {text}") };
        assert_eq!(names.split(',').count(), row.split(',').count());
        assert!(row.starts_with("d,3,ring+tyre,trained,line,rope,8,22,1,"), "{row}");
        for (index, figure) in Figure::ALL.iter().enumerate() {
            assert_eq!(*figure as usize, index);
        }
        assert!(check_name("ring").is_ok() && check_name("a,b").is_err() && check_name("").is_err());
    }
}
