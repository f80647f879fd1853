//! `summary.md`: the summary as tables for people.

use std::fmt::Write as _;

use super::plan::{Arm, Plan};
use super::summary::{ALL, Estimate, Row};
use super::table::Figure;

/// Figures in the overview, with their column heads.
const OVERVIEW: [(Figure, &str); 7] = [
    (Figure::AuproFg, "AUPRO-fg"),
    (Figure::Aupro, "AUPRO"),
    (Figure::PixelAurocFg, "pixel AUROC-fg"),
    (Figure::ImageAuroc, "image AUROC"),
    (Figure::Conf, "conf"),
    (Figure::Cf, "cf"),
    (Figure::Hit1, "hit1"),
];

/// Renders the tables.
pub fn render(plan: &Plan, backbone: &str, rows: &[Row]) -> String {
    let mut text = format!("# {}\n\n", plan.description.trim());
    let trainings: Vec<String> = plan.training.iter().map(|t| t.join("+")).collect();
    let _ = writeln!(
        text,
        "Training on {}; seeds {:?}; {backbone}. AUPRO by the published rule, limit 0.3; fg: good pixels of \
         the object only (a random map has 0.150). Means over cells (training, seed, test class) with 95 % \
         intervals; differences are cell by cell to `{}`, with 95 % intervals from resampling whole trainings. \
         An interval that holds 0 says that nothing is shown. conf: image AUROC with the defects' patches \
         erased, 0.5 when image scores do not see how a scan was taken; cf: the same defective scans without \
         those patches against with them.",
        trainings.join(", "),
        plan.seeds,
        plan.baseline()
    );
    let others: Vec<&Arm> = plan.arms.iter().filter(|arm| !arm.is_zero_shot()).collect();
    if !others.is_empty() {
        let names: Vec<String> = others.iter().map(|arm| format!("`{}`", arm.name)).collect();
        let _ = writeln!(
            text,
            "\nThese arms compare with scans of the test class and are not zero-shot: {}.",
            names.join(", ")
        );
    }
    for mode in modes(plan) {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.mode == mode).collect();
        let _ = writeln!(text, "\n## Mode `{mode}`\n");
        overview(&mut text, plan, &rows);
        for (head, scope) in [("test class", by_class as fn(&Row) -> Option<&str>), ("training", by_training)]
        {
            let _ = writeln!(text, "\nAUPRO-fg by {head}: mean, and difference to `{}`\n", plan.baseline());
            split(&mut text, plan, &rows, head, scope);
        }
    }
    text
}

/// The modes that any arm runs in, as the plan and its arms name them.
fn modes(plan: &Plan) -> Vec<&'static str> {
    let mut modes: Vec<&str> = Vec::new();
    for mode in plan.arms.iter().flat_map(|arm| arm.modes_of(plan)) {
        if !modes.contains(&mode.name()) {
            modes.push(mode.name());
        }
    }
    modes
}

fn by_class(row: &Row) -> Option<&str> {
    (row.training == ALL && row.test_class != ALL).then_some(&row.test_class)
}

fn by_training(row: &Row) -> Option<&str> {
    (row.training != ALL && row.test_class == ALL).then_some(&row.training)
}

/// Means of every arm, then its differences.
fn overview(text: &mut String, plan: &Plan, rows: &[&Row]) {
    line(text, "arm", OVERVIEW.iter().map(|(_, head)| (*head).to_owned()));
    rule(text, OVERVIEW.len());
    let find = |arm: &str, figure: Figure| {
        let here = |row: &&&Row| {
            row.arm == arm && row.figure == figure && row.training == ALL && row.test_class == ALL
        };
        rows.iter().find(here).copied()
    };
    for arm in plan.arm_names() {
        let mean = |(figure, _): &(Figure, _)| words(find(arm, *figure).map(|row| &row.mean), false);
        line(text, arm, OVERVIEW.iter().map(mean));
    }
    for arm in plan.arm_names().into_iter().filter(|arm| *arm != plan.baseline()) {
        let difference = |(figure, _): &(Figure, _)| {
            words(find(arm, *figure).and_then(|row| row.difference.as_ref()), true)
        };
        line(text, &format!("{arm} - {}", plan.baseline()), OVERVIEW.iter().map(difference));
    }
}

/// One line for each name that `scope` gives, one column an arm.
fn split(text: &mut String, plan: &Plan, rows: &[&Row], head: &str, scope: fn(&Row) -> Option<&str>) {
    let arms = plan.arm_names();
    line(text, head, arms.iter().map(|arm| (*arm).to_owned()));
    rule(text, arms.len());
    let rows: Vec<&Row> = rows.iter().copied().filter(|row| row.figure == Figure::AuproFg).collect();
    let mut names: Vec<&str> = rows.iter().filter_map(|row| scope(row)).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let cell = |arm: &&str| {
            let row = rows.iter().find(|row| row.arm == *arm && scope(row) == Some(name));
            row.map_or_else(String::new, |row| {
                let difference = row.difference.as_ref().map(|d| format!(" ({})", words(Some(d), true)));
                format!("{:.3}{}", row.mean.mean, difference.unwrap_or_default())
            })
        };
        line(text, name, arms.iter().map(cell));
    }
}

fn line(text: &mut String, head: &str, cells: impl Iterator<Item = String>) {
    let _ = writeln!(text, "| {head} | {} |", cells.collect::<Vec<_>>().join(" | "));
}

fn rule(text: &mut String, columns: usize) {
    let _ = writeln!(text, "|---|{}", "---|".repeat(columns));
}

/// `0.712 [0.650, 0.770]`, with signs for a difference.
fn words(estimate: Option<&Estimate>, signed: bool) -> String {
    let number = |value: f64| if signed { format!("{value:+.3}") } else { format!("{value:.3}") };
    match estimate {
        None => String::new(),
        Some(Estimate { mean, interval: None, .. }) => number(*mean),
        Some(Estimate { mean, interval: Some([low, high]), .. }) => {
            format!("{} [{}, {}]", number(*mean), number(*low), number(*high))
        }
    }
}
