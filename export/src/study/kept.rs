//! What is kept of a judged group, and the finer tables that follow from it.
//!
//! ```text
//! OUT/cells/KEY.csv           figures, a row a class
//! OUT/cells/KEY.scans.csv     test_class,scan,defective,score,score_erased,peak_on_defect,undecided
//! OUT/cells/KEY.curves.csv    test_class,curve,x,y
//! OUT/scans.csv, curves.csv   the rows of all groups, with the columns of cells.csv in front
//! ```
//!
//! `score_erased` is the image score without the defect's patches and those beside them. The curves are
//! `roc` (image scores), `pro_fg` and `pro` (mean overlap of the regions over the false positive rate up
//! to 0.3, pixels of the object or all; exact rule). The figures are written last: a group whose figures
//! are there has its other rows too.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use zal::metrics::{Domain, FPR_LIMIT, PixelPool, roc};

use super::table::{self, ClassFigures, Place};
use super::verdict::Judged;
use crate::onnx::write_bytes;

/// Steps of a curve along its false positive rate.
const CURVE_STEPS: usize = 58;

/// Rows of one group, without the columns that say which group it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Details {
    /// Of `scans.csv`.
    pub scans: String,
    /// Of `curves.csv`.
    pub curves: String,
}

impl Details {
    /// Adds the scans of a class.
    pub(super) fn push_scans(&mut self, class: &str, judged: &[Judged]) {
        let number = |value: Option<f32>| value.map(|value| value.to_string()).unwrap_or_default();
        for j in judged {
            let hit = j.peak_on_defect.map(|hit| hit.to_string()).unwrap_or_default();
            let (score, erased) = (number(j.score), number(j.score_erased));
            let Judged { name, defective, undecided, .. } = j;
            let _ = writeln!(self.scans, "{class},{name},{defective},{score},{erased},{hit},{undecided}");
        }
    }

    /// Adds the curves of a class: its image scores, good and defective, and its pixels.
    pub(super) fn push_curves(&mut self, class: &str, [good, defective]: [&[f32]; 2], pool: &PixelPool) {
        let overlap = |domain: Domain| Some(pool.rank(domain, FPR_LIMIT)?.curve(CURVE_STEPS));
        for (name, curve) in [
            ("roc", roc(good, defective, CURVE_STEPS)),
            ("pro_fg", overlap(Domain::Object)),
            ("pro", overlap(Domain::Image)),
        ] {
            for [x, y] in curve.unwrap_or_default() {
                let _ = writeln!(self.curves, "{class},{name},{x:.6},{y:.6}");
            }
        }
    }
}

/// The files of one group.
pub(super) struct GroupFiles {
    folder: PathBuf,
    key: String,
}

impl GroupFiles {
    pub(super) fn new(out: &Path, key: String) -> Self {
        Self { folder: out.join("cells"), key }
    }

    fn path(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}.{ending}", self.key))
    }

    /// Whether all of them are there.
    pub(super) fn exist(&self) -> bool {
        ["scans.csv", "curves.csv", "csv"].iter().all(|ending| self.path(ending).exists())
    }

    pub(super) fn write(&self, figures: &[ClassFigures], details: &Details) -> Result<()> {
        fs::create_dir_all(&self.folder).with_context(|| format!("cannot make {}", self.folder.display()))?;
        write_bytes(&self.path("scans.csv"), details.scans.as_bytes())?;
        write_bytes(&self.path("curves.csv"), details.curves.as_bytes())?;
        Ok(write_bytes(&self.path("csv"), table::figures_text(figures)?.as_bytes())?)
    }

    /// Reads them back, also when just written: a study that went on has the same digits.
    pub(super) fn read(&self) -> Result<(Vec<ClassFigures>, Details)> {
        let text = |ending: &str| {
            let path = self.path(ending);
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let details = Details { scans: text("scans.csv")?, curves: text("curves.csv")? };
        Ok((table::read_figures(&self.path("csv"))?, details))
    }
}

/// Writes `scans.csv` and `curves.csv` of all groups.
///
/// # Errors
/// When a file cannot be written.
pub fn write_tables(out: &Path, groups: &BTreeMap<Place, Details>) -> Result<()> {
    let place = "data_set,seed,training,arm,mode,test_class";
    let mut scans = format!("{place},scan,defective,score,score_erased,peak_on_defect,undecided\n");
    let mut curves = format!("{place},curve,x,y\n");
    for (Place { data_set, seed, training, arm, mode }, details) in groups {
        let prefix = format!("{data_set},{seed},{training},{arm},{mode}");
        for (text, rows) in [(&mut scans, &details.scans), (&mut curves, &details.curves)] {
            for row in rows.lines() {
                writeln!(text, "{prefix},{row}")?;
            }
        }
    }
    write_bytes(&out.join("scans.csv"), scans.as_bytes())?;
    Ok(write_bytes(&out.join("curves.csv"), curves.as_bytes())?)
}
