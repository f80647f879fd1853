//! The report of a run: one HTML file that needs no network and no script, for reading and for taking tables and
//! pictures out of.
//!
//! It is made of what the run left in its folder, and of nothing else; what is not there is not in the report:
//! ```text
//! cells.csv       the tables in the published form, the matrices
//! curves.csv      ROC and overlap curves
//! scans.csv       the worst misses and false alarms; with pictures when scans can be judged again
//! confounds.csv   what tells good from defective scans without looking at the part
//! run.json, gate.json, summary.md, timing.txt     how it was made, time and memory
//! ```

pub mod cells;
mod csv;
mod curves;
mod figure;
pub mod gallery;
mod heat;
mod markup;
mod origin;
mod page;
mod plot;
mod published;
mod scans;
mod tables;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::onnx::write_bytes;
use cells::{Cells, Method};
use curves::Curves;
use figure::Figure;
use gallery::Explain;
use heat::HeatMap;
use markup::escaped;
use page::Page;

/// Scans in each list of mistakes.
const MISTAKES: usize = 6;

/// What the report says beside what the run left.
pub struct Options<'a> {
    /// Title of the page.
    pub title: String,
    /// The command that makes the page, as typed.
    pub command: Option<String>,
    /// Judges a scan again, for the pictures; none: the lists have no pictures.
    pub explain: Option<&'a mut Explain<'a>>,
}

/// Writes `OUT/report.html`.
///
/// # Errors
/// When a table of the run is missing or is none.
pub fn write(out: &Path, options: Options<'_>) -> Result<PathBuf> {
    let path = out.join("report.html");
    write_bytes(&path, html(out, options)?.as_bytes())?;
    Ok(path)
}

fn html(out: &Path, options: Options<'_>) -> Result<String> {
    let cells = Cells::read(out)?;
    let curves = Curves::read(out)?;
    let judged = scans::read(out)?;
    let mut page = Page::new(&options.title);
    page.section("Overview", overview(&cells));
    page.section("Tables", paper_tables(&cells)?);
    page.section("Not zero-shot", not_zero_shot(&cells));
    page.section("Training x test", heat_maps(&cells));
    page.section("Curves", curves.map(|curves| curve_plots(&cells, &curves)).unwrap_or_default());
    page.section("Guards", guards(&cells, out)?);
    if let Some(judged) = judged {
        page.section("Worst scans", worst_scans(&cells, &judged, options.explain));
    }
    page.section("Time and memory", origin::timing(out));
    page.section("How it was made", origin::records(out, options.command.as_deref())?);
    Ok(page.html(&lead(&cells)))
}

/// What was judged, in a sentence.
fn lead(cells: &Cells) -> String {
    let list = |names: &[String]| escaped(&names.join(", "));
    let scans: BTreeMap<_, _> =
        cells.cells.iter().map(|cell| ((&cell.place.data_set, &cell.place.test_class), cell.scans)).collect();
    let [good, defective] = [0, 1].map(|kind| scans.values().map(|s| s[kind]).sum::<usize>());
    format!(
        "<p>{} methods on {}: trained on {}; judged on {} ({good} good and {defective} defective scans). Seeds: {}.</p>\n\
         <p class=note>AUPRO over the whole picture mostly says how well the object is found: a bare object mask that \
         covers the share <i>f</i> of the picture has 1 - <i>f</i>/0.6. AUPRO-fg counts good pixels of the object alone. \
         Figures of different rules or limits cannot be compared.</p>",
        cells.methods().len(),
        list(&cells.data_sets()),
        list(&cells.trainings()),
        list(&cells.test_classes()),
        list(&cells.seeds()),
    )
}

fn overview(cells: &Cells) -> String {
    let figures = Figure::overview(cells);
    let mut html = tables::overview(cells, &figures);
    html.push_str("<p class=note>");
    for figure in figures.iter().filter(|figure| !figure.note.is_empty()) {
        let _ = write!(html, "<b>{}</b>: {}. ", escaped(&figure.name), escaped(&figure.note));
    }
    html.push_str("Best in bold, second best underlined; controls (random, mask) take no part.</p>\n");
    html
}

/// AUPRO, AUPRO-fg and image AUROC in the published form, with the published rows.
fn paper_tables(cells: &Cells) -> Result<String> {
    let (aupro, auroc) = (published::aupro(), published::auroc());
    let same_classes = cells.trainings().iter().all(|t| aupro.iter().any(|row| row.training == *t));
    let mut html = String::new();
    for (index, figure) in Figure::main(cells).iter().enumerate() {
        let rows = match figure.name.as_str() {
            "AUPRO" if same_classes => aupro.as_slice(),
            "image AUROC" if same_classes => auroc.as_slice(),
            _ => &[],
        };
        html.push_str(&tables::paper_form(cells, figure, rows, index + 1));
    }
    html.push_str(
        "<p class=note>Best in bold, second best underlined among the methods of a training; controls and published rows \
         take no part. \u{2020}: not zero-shot. \u{2013}: not judged.</p>\n",
    );
    if same_classes {
        let _ = writeln!(html, "<p class=note>Rows marked <i>published</i>: {}.</p>", published::SOURCE);
    } else {
        html.push_str("<details><summary>Published figures</summary>\n");
        html.push_str(&tables::published_alone(&aupro, "AUPRO (published rule, limit 0.3)"));
        html.push_str(&tables::published_alone(&auroc, "Image AUROC"));
        html.push_str("</details>\n");
    }
    Ok(html)
}

/// Which rows must not be read as zero-shot, and why.
fn not_zero_shot(cells: &Cells) -> String {
    let mut reasons: BTreeMap<(String, &str), Vec<String>> = BTreeMap::new();
    for cell in &cells.cells {
        if let Some(why) = &cell.not_zero_shot {
            let place = &cell.place;
            let classes = reasons.entry((place.method.name(), why)).or_default();
            let words = format!("{} (trained on {})", place.test_class, place.training);
            if !classes.contains(&words) {
                classes.push(words);
            }
        }
    }
    if reasons.is_empty() {
        return "<p>All cells are zero-shot: no scan of a test class was learned from or is a reference.</p>\n".into();
    }
    let mut html = String::from("<ul class=warning>");
    for ((method, why), classes) in reasons {
        let _ = write!(
            html,
            "<li><b>{}</b>: {}: {}",
            escaped(&method),
            escaped(why),
            escaped(&classes.join(", "))
        );
    }
    html.push_str("</ul>\n");
    html
}

fn heat_maps(cells: &Cells) -> String {
    let main = Figure::main(cells);
    let shown: Vec<&Figure> = main.iter().filter(|figure| figure.name != "AUPRO").collect();
    let (trainings, classes) = (cells.trainings(), cells.test_classes());
    let mut html = String::from("<div class=figures>");
    for figure in shown {
        let of = |method: &Method| -> Vec<Vec<Option<f64>>> {
            let field = |t: &String, c: &String| cells.field(&figure.column, method, t, c);
            trainings.iter().map(|t| classes.iter().map(|c| field(t, c)).collect()).collect()
        };
        let matrices: Vec<(Method, _)> = cells.methods().into_iter().map(|m| (m.clone(), of(&m))).collect();
        let range = common_range(matrices.iter().flat_map(|(_, m)| m.iter().flatten().flatten().copied()));
        for (method, values) in matrices {
            if values.iter().flatten().any(Option::is_some) {
                let title = format!("{}: {}", figure.name, method.name());
                let map = HeatMap {
                    title,
                    rows: &trainings,
                    columns: &classes,
                    values,
                    range,
                    chance: figure.chance,
                    figure: &figure.name,
                };
                html.push_str(&map.svg());
            }
        }
    }
    html.push_str("</div>\n<p class=note>All matrices of a figure share one scale.</p>\n");
    html
}

/// The tenths around all values: one scale for all methods.
fn common_range(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let [low, high] = values.fold([1.0_f64, 0.0_f64], |[low, high], v| [low.min(v), high.max(v)]);
    let [low, high] = [(low * 10.0).floor() / 10.0, (high * 10.0).ceil() / 10.0];
    if low < high { [low, high] } else { [0.0, 1.0] }
}

fn curve_plots(cells: &Cells, curves: &Curves) -> String {
    let methods = cells.methods();
    let mask_of = |method: &Method| {
        let masks = || methods.iter().filter(|m| m.is_mask());
        masks().find(|m| m.mode == method.mode).or_else(|| masks().next())
    };
    let mut html = String::new();
    for method in &methods {
        let _ = writeln!(html, "<div class=figures>{}</div>", curves.plots(method, mask_of(method)));
    }
    html.push_str(
        "<p class=note>Thin lines: test classes (means over data sets, seeds and trainings); a map or score of noise has \
         the dashed line.</p>\n",
    );
    html
}

/// conf, cf and hit1 by method, and the confounds.
fn guards(cells: &Cells, out: &Path) -> Result<String> {
    let figures: Vec<Figure> = Figure::overview(cells)
        .into_iter()
        .filter(|figure| ["conf", "cf", "hit1"].contains(&figure.name.as_str()))
        .collect();
    let mut html = String::new();
    for (index, figure) in figures.iter().enumerate() {
        html.push_str(&tables::paper_form(cells, figure, &[], 4 + index));
    }
    html.push_str(&origin::confounds(out)?);
    Ok(html)
}

/// The mistakes of the best method by AUPRO-fg.
fn worst_scans(cells: &Cells, judged: &[scans::JudgedScan], explain: Option<&mut Explain<'_>>) -> String {
    let Some(method) = best_method(cells, judged) else { return String::new() };
    let [misses, alarms] = scans::worst(judged, &method, MISTAKES);
    let mut html = format!(
        "<p>Of <b>{}</b>, the method with the highest AUPRO-fg. A score is held against the other kind of scans of its \
         own class and training; at most two scans a class.</p>\n",
        escaped(&method.name())
    );
    let mut explain = explain;
    let mut list = |title: &str, unit: &str, mistakes: &[scans::Mistake]| {
        let again = explain.as_mut().map(|explain| &mut **explain as &mut Explain<'_>);
        html.push_str(&gallery::mistakes(title, unit, mistakes, again));
    };
    list("Worst misses: defective parts that look good", "good scans score as high or higher", &misses);
    list(
        "Worst false alarms: good parts that look defective",
        "defective scans score as low or lower",
        &alarms,
    );
    html
}

fn best_method(cells: &Cells, judged: &[scans::JudgedScan]) -> Option<Method> {
    let figure =
        Figure::find(cells, "aupro_fg_published").or_else(|| Figure::main(cells).into_iter().next())?;
    let has_scans = |method: &Method| judged.iter().any(|scan| scan.place.method == *method);
    let candidates = cells.methods().into_iter().filter(|m| !m.is_control() && has_scans(m));
    let scored = candidates.filter_map(|m| tables::overall(cells, &figure, &m).map(|value| (m, value)));
    scored.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(method, _)| method)
}

#[cfg(test)]
mod tests;
