//! `tables.md`: the evaluation in the paper's form, in percent.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use zal::metrics::Bootstrap;

use super::grid::{Grid, Method, Value, figures, methods};
use super::record::Record;
use super::{confounds, differences, published};
use crate::study::plan::Plan;
use crate::study::table::{Cell, Figure};

/// Marks what is not zero-shot.
const LEAKED: &str = "†";

/// What the tables are of.
struct Tables<'a> {
    record: &'a Record,
    cells: &'a [Cell],
    methods: Vec<Method>,
    comparable: bool,
}

/// Renders everything.
#[must_use]
pub fn render(plan: &Plan, record: &Record, cells: &[Cell]) -> String {
    let classes: BTreeSet<&str> = cells
        .iter()
        .flat_map(|cell| cell.place.training.split('+').chain([cell.figures.test_class.as_str()]))
        .collect();
    let methods = methods(plan, cells);
    let comparable = published::comparable(&classes);
    let tables = Tables { record, cells, methods, comparable };
    let mut text = tables.head();
    for (figure, head) in figures() {
        tables.overview(&mut text, figure, head);
    }
    text.push_str(&differences::markdown(plan, &tables.methods, cells, &Bootstrap::default()));
    for (figure, head) in figures() {
        for method in &tables.methods {
            tables.matrix(&mut text, figure, head, method);
        }
    }
    if comparable {
        published_matrices(&mut text);
    } else {
        tables.published_apart(&mut text);
    }
    tables.seen(&mut text);
    if !record.confounds.is_empty() {
        text.push_str(&confounds::markdown(&record.confounds));
    }
    tables.left_out(&mut text);
    text
}

impl Tables<'_> {
    fn head(&self) -> String {
        let request = &self.record.request;
        let data: Vec<String> =
            request.data.iter().map(|data| format!("{} ({})", data.name, &data.sha256[..12])).collect();
        let backbone = request.rgb_sha256.as_deref().map_or_else(
            || "no rgb branch".to_owned(),
            |sha256| format!("rgb backbone sha256 {}", &sha256[..12]),
        );
        let shard = self.record.shard.map_or_else(String::new, |shard| {
            format!("\n**This is shard {shard} alone: put all together with `zal-export eval --merge`.**\n")
        });
        format!(
            "# Every training class against every other class\n{shard}\n\
             In percent. Data: {}; seeds {:?}; {backbone}; engine {}. AUPRO by the published rule, limit 0.3: over all \
             pixels a bare object mask scores well already. AUPRO-fg counts good pixels of the object only, a random map \
             has 15.0. Values are means over seeds; a row's mean is over its test classes. Best of our methods **bold**, \
             second best <u>underlined</u>. {LEAKED}: not zero-shot, see below.\n",
            data.join(", "),
            request.seeds,
            request.engine
        )
    }

    /// Row means: a row a training, a column a method, the published ones last.
    fn overview(&self, text: &mut String, figure: Figure, head: &str) {
        let others = self.published(figure);
        let _ = writeln!(text, "\n## {head}: mean over the test classes\n");
        let names = self.methods.iter().map(|method| method.label.clone());
        let published = others.iter().map(|name| format!("{name} (published)"));
        let names: Vec<String> = names.chain(published).collect();
        let _ = writeln!(text, "| training | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
        let grids: Vec<Grid> =
            self.methods.iter().map(|m| Grid::new(self.cells, &self.record.seen, figure, m)).collect();
        let Some(first) = grids.first() else { return };
        for training in &first.trainings {
            let means: Vec<Option<Value>> =
                grids.iter().map(|grid| grid.row_mean(training).map(|(mean, _)| mean)).collect();
            let mut row = marked(&means);
            for (cell, grid) in row.iter_mut().zip(&grids) {
                let missing = grid.missing(training).len();
                if missing > 0 {
                    let _ = write!(cell, " (without {missing})");
                }
            }
            row.extend(
                others.iter().map(|m| percent(published::value(figure, m, training, published::MEAN))),
            );
            let _ = writeln!(text, "| {training} | {} |", row.join(" | "));
        }
        let mut row = marked(&grids.iter().map(Grid::grand_mean).collect::<Vec<_>>());
        row.extend(others.iter().map(|method| percent(published_grand_mean(figure, method))));
        let _ = writeln!(text, "| mean | {} |", row.join(" | "));
    }

    /// Published methods that have the figure, when they are of the same classes.
    fn published(&self, figure: Figure) -> Vec<&'static str> {
        let has = |method: &&str| published_grand_mean(figure, method).is_some();
        published::METHODS.into_iter().filter(has).filter(|_| self.comparable).collect()
    }

    fn matrix(&self, text: &mut String, figure: Figure, head: &str, method: &Method) {
        let grid = Grid::new(self.cells, &self.record.seen, figure, method);
        let _ = writeln!(text, "\n### {head}, {}\n", method.label);
        let _ = writeln!(text, "| training \\ test | {} | mean |", grid.tests.join(" | "));
        let _ = writeln!(text, "|---|{}---|", "---|".repeat(grid.tests.len()));
        for training in &grid.trainings {
            let cells: Vec<String> = grid.tests.iter().map(|test| words(grid.get(training, test))).collect();
            let mean = grid.row_mean(training).map(|(mean, _)| mean);
            let _ = writeln!(text, "| {training} | {} | {} |", cells.join(" | "), words(mean));
        }
        let means: Vec<String> = grid.tests.iter().map(|test| words(grid.column_mean(test))).collect();
        let _ = writeln!(text, "| mean | {} | {} |", means.join(" | "), words(grid.grand_mean()));
    }

    /// The published rows when they are of other classes.
    fn published_apart(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "\n## Published on MVTec 3D-AD, not comparable with the classes above\n\n\
             Row means as printed (WACV 2025, arXiv 2412.04304); this evaluation's classes are not those ten.\n"
        );
        for (figure, head) in [(Figure::Aupro, "AUPRO"), (Figure::ImageAuroc, "image AUROC")] {
            let _ = writeln!(text, "| {head}: training | {} |", published::METHODS.join(" | "));
            let _ = writeln!(text, "|---|{}", "---|".repeat(published::METHODS.len()));
            for training in published::CLASSES {
                let row = published::METHODS
                    .map(|method| percent(published::value(figure, method, training, published::MEAN)));
                let _ = writeln!(text, "| {training} | {} |", row.join(" | "));
            }
            let row = published::METHODS.map(|method| percent(published_grand_mean(figure, method)));
            let _ = writeln!(text, "| mean | {} |\n", row.join(" | "));
        }
    }

    /// Which classes the results have seen.
    fn seen(&self, text: &mut String) {
        text.push_str("\n## What the results have seen\n\n");
        let seen = &self.record.seen;
        let leaks: BTreeSet<String> = seen
            .iter()
            .flat_map(|seen| {
                let name = format!("{}, training on {}", seen.group.method, seen.group.training);
                seen.leaks.iter().map(move |(test, why)| format!("{LEAKED} {name}, test class {test}: {why}"))
            })
            .collect();
        if leaks.is_empty() {
            text.push_str(
                "Every value is zero-shot: no test class is in its training, its bank, the scans that pseudo anomalies \
                 were cut from, or the references, neither by name nor by a scan of the same bytes.\n",
            );
        } else {
            text.push_str("**Not zero-shot**, and not to be compared with zero-shot values:\n\n");
            leaks.iter().for_each(|leak| text.extend(["- ", leak, "\n"]));
        }
        let foreign: BTreeSet<&str> = seen
            .iter()
            .flat_map(|seen| seen.pool.iter().filter(|class| !seen.training.contains(class)))
            .map(String::as_str)
            .filter(|class| !class.starts_with("procedural "))
            .collect();
        if !foreign.is_empty() {
            let classes = foreign.into_iter().collect::<Vec<_>>().join(", ");
            let _ = writeln!(
                text,
                "\nPool `paper_like`: pseudo anomalies were cut from other classes of the data set ({classes})."
            );
        }
    }

    fn left_out(&self, text: &mut String) {
        if self.record.left_out.is_empty() {
            return;
        }
        text.push_str("\n## Left out\n\n");
        for left_out in &self.record.left_out {
            let _ = writeln!(text, "- {}: {}", left_out.what, left_out.why.replace('\n', " "));
        }
    }
}

/// The published matrix, when it is of the same classes.
fn published_matrices(text: &mut String) {
    for (figure, head) in [(Figure::Aupro, "AUPRO"), (Figure::ImageAuroc, "image AUROC")] {
        let _ = writeln!(text, "\n### {head}, 3DzAL (published)\n");
        let _ = writeln!(text, "| training \\ test | {} | mean |", published::CLASSES.join(" | "));
        let _ = writeln!(text, "|---|{}---|", "---|".repeat(published::CLASSES.len()));
        for training in published::CLASSES {
            let value = |test| percent(published::value(figure, "3DzAL", training, test));
            let row = published::CLASSES.map(value).join(" | ");
            let _ = writeln!(text, "| {training} | {row} | {} |", value(published::MEAN));
        }
    }
}

fn published_grand_mean(figure: Figure, method: &str) -> Option<f64> {
    let rows = published::CLASSES.map(|training| published::value(figure, method, training, published::MEAN));
    let sum = rows.into_iter().sum::<Option<f64>>()?;
    Some(sum / 10.0)
}

/// Values with the best and the second best marked; what is not zero-shot takes no part.
fn marked(values: &[Option<Value>]) -> Vec<String> {
    // As printed, so that values that look the same are marked the same.
    let shown = |value: &Value| format!("{:.1}", 100.0 * value.mean);
    let mut ranks: Vec<&Value> = values.iter().flatten().filter(|value| !value.leaked).collect();
    ranks.sort_by(|a, b| b.mean.total_cmp(&a.mean));
    let mut ranks: Vec<String> = ranks.into_iter().map(shown).collect();
    ranks.dedup();
    let mark = |value: &Option<Value>| {
        let Some(value) = value.as_ref().filter(|value| !value.leaked) else { return words(*value) };
        let text = shown(value);
        match ranks.iter().position(|rank| *rank == text) {
            Some(0) => format!("**{text}**"),
            Some(1) => format!("<u>{text}</u>"),
            _ => text,
        }
    };
    values.iter().map(mark).collect()
}

fn words(value: Option<Value>) -> String {
    let mark = if value.is_some_and(|value| value.leaked) { LEAKED } else { "" };
    format!("{}{mark}", percent(value.map(|value| value.mean)))
}

fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{:.1}", 100.0 * value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(mean: f64, leaked: bool) -> Option<Value> {
        Some(Value { mean, leaked })
    }

    #[test]
    fn best_and_second_best_are_marked_among_zero_shot_values() {
        let found =
            marked(&[value(0.5, false), value(0.9, true), value(0.7, false), None, value(0.6, false)]);
        assert_eq!(found, ["50.0", "90.0†", "**70.0**", "-", "<u>60.0</u>"]);
        let ties = marked(&[value(0.7, false), value(0.70004, false), value(0.1, false)]);
        assert_eq!(ties, ["**70.0**", "**70.0**", "<u>10.0</u>"]);
    }
}
