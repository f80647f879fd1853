//! The tables in the published form: rows are training classes with a line a method, columns are test classes and their
//! mean, in percent with one decimal; the best of the methods in bold, the second best underlined.

use std::fmt::Write as _;

use super::cells::{Cells, Method, mean};
use super::figure::Figure;
use super::markup::{escaped, percent};
use super::published::{PublishedRow, SOURCE};

/// How a number is set off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    None,
    Best,
    Second,
}

/// One line of a table.
struct Line {
    head: String,
    class: &'static str,
    /// Test classes, then their mean.
    values: Vec<Option<f64>>,
    /// Why a field is not zero-shot, by the same places.
    not_zero_shot: Vec<bool>,
    /// Whether it takes part in best and second best.
    ranked: bool,
}

/// The table of a figure: a block of lines a training, and their means at the end.
#[must_use]
pub fn paper_form(cells: &Cells, figure: &Figure, published: &[PublishedRow], number: usize) -> String {
    let (methods, classes) = (cells.methods(), cells.test_classes());
    let mut html = open_table(&caption(cells, figure, number), &classes);
    for training in cells.trainings() {
        let mut lines: Vec<Line> =
            methods.iter().filter_map(|method| line(cells, figure, method, &training)).collect();
        lines
            .extend(published.iter().filter(|p| p.training == training).map(|p| published_line(p, &classes)));
        push_block(&mut html, &training, &lines);
    }
    if cells.trainings().len() > 1 {
        let lines: Vec<Line> = methods.iter().filter_map(|method| mean_line(cells, figure, method)).collect();
        push_block(&mut html, "mean of the trainings", &lines);
    }
    html.push_str("</table></div>\n");
    html
}

fn caption(cells: &Cells, figure: &Figure, number: usize) -> String {
    let over = [("data sets", cells.data_sets()), ("seeds", cells.seeds())];
    let over: Vec<String> = over
        .iter()
        .filter(|(_, names)| names.len() > 1)
        .map(|(what, names)| format!("{what} {}", names.join(", ")))
        .collect();
    let means = if over.is_empty() { String::new() } else { format!("; means over {}", over.join(" and ")) };
    let chance = figure.chance.map_or_else(String::new, |c| format!("; noise has {:.1}", 100.0 * c));
    let note = if figure.note.is_empty() { String::new() } else { format!(" ({})", figure.note) };
    format!(
        "<b>Table {number}. {} in %</b>{}{}",
        escaped(&figure.name),
        escaped(&note),
        escaped(&(means + &chance))
    )
}

fn open_table(caption: &str, classes: &[String]) -> String {
    let mut html = format!(
        "<div class=wide><table class=grid><caption>{caption}</caption>\n<thead><tr><th scope=col class=name>training class<th \
         scope=col class=name>method"
    );
    for class in classes {
        let _ = write!(html, "<th scope=col>{}", escaped(class));
    }
    html.push_str("<th scope=col>mean</thead>\n");
    html
}

/// None when the method was not run with the training.
fn line(cells: &Cells, figure: &Figure, method: &Method, training: &str) -> Option<Line> {
    let classes = cells.test_classes();
    let field = |class: &String| cells.field(&figure.column, method, training, class);
    let mut values: Vec<Option<f64>> = classes.iter().map(field).collect();
    values.iter().flatten().next()?;
    let mut not_zero_shot: Vec<bool> =
        classes.iter().map(|class| cells.not_zero_shot(method, training, class).is_some()).collect();
    not_zero_shot.push(values.iter().zip(&not_zero_shot).any(|(value, not)| value.is_some() && *not));
    values.push(cells.row_mean(&figure.column, method, training));
    Some(Line {
        head: escaped(&method.name()),
        class: if method.is_control() { "control" } else { "" },
        values,
        not_zero_shot,
        ranked: !method.is_control(),
    })
}

fn published_line(row: &PublishedRow, classes: &[String]) -> Line {
    let of = |class: &String| row.fields.iter().find(|(name, _)| name == class).map(|(_, value)| *value);
    let mut values: Vec<Option<f64>> = classes.iter().map(of).collect();
    values.push(Some(row.mean));
    Line {
        head: format!("{} <i>published</i>", row.method),
        class: "published",
        not_zero_shot: vec![false; values.len()],
        values,
        ranked: false,
    }
}

/// Means over the trainings, test class by test class, and of the rows' means.
fn mean_line(cells: &Cells, figure: &Figure, method: &Method) -> Option<Line> {
    let trainings = cells.trainings();
    let of_class =
        |class: &String| mean(trainings.iter().filter_map(|t| cells.field(&figure.column, method, t, class)));
    let mut values: Vec<Option<f64>> = cells.test_classes().iter().map(of_class).collect();
    values.push(overall(cells, figure, method));
    values.iter().flatten().next()?;
    Some(Line {
        head: escaped(&method.name()),
        class: if method.is_control() { "control" } else { "" },
        not_zero_shot: vec![false; values.len()],
        values,
        ranked: !method.is_control(),
    })
}

/// Mean of the rows' means.
#[must_use]
pub fn overall(cells: &Cells, figure: &Figure, method: &Method) -> Option<f64> {
    mean(cells.trainings().iter().filter_map(|t| cells.row_mean(&figure.column, method, t)))
}

fn push_block(html: &mut String, head: &str, lines: &[Line]) {
    let columns = lines.first().map_or(0, |line| line.values.len());
    let marks: Vec<Vec<Mark>> = (0..columns).map(|column| column_marks(lines, column)).collect();
    let _ = write!(html, "<tbody><tr><th scope=rowgroup rowspan={}>{}", lines.len(), escaped(head));
    for (row, line) in lines.iter().enumerate() {
        if row > 0 {
            html.push_str("<tr>");
        }
        let _ = write!(html, "<th scope=row class=\"{}\">{}", line.class, line.head);
        for (column, value) in line.values.iter().enumerate() {
            let class = if column + 1 == columns { " class=mean" } else { "" };
            let foreign =
                if line.not_zero_shot[column] && value.is_some() { "<sup>\u{2020}</sup>" } else { "" };
            let _ = write!(html, "<td{class}>{}{foreign}", marked(*value, marks[column][row]));
        }
        html.push('\n');
    }
}

fn marked(value: Option<f64>, mark: Mark) -> String {
    match mark {
        Mark::None => percent(value),
        Mark::Best => format!("<b>{}</b>", percent(value)),
        Mark::Second => format!("<u>{}</u>", percent(value)),
    }
}

/// Best and second best of a column among the ranked lines, as they are printed: equal digits share a mark.
fn column_marks(lines: &[Line], column: usize) -> Vec<Mark> {
    let values: Vec<Option<f64>> =
        lines.iter().map(|line| line.values[column].filter(|_| line.ranked)).collect();
    marks(&values)
}

fn marks(values: &[Option<f64>]) -> Vec<Mark> {
    let printed = |value: f64| (1000.0 * value).round();
    let mut distinct: Vec<f64> = values.iter().flatten().map(|value| printed(*value)).collect();
    let several = distinct.len() > 1;
    distinct.sort_by(|a, b| b.total_cmp(a));
    distinct.dedup_by(|a, b| a.total_cmp(b).is_eq());
    let is =
        |value: f64, place: usize| distinct.get(place).is_some_and(|d| d.total_cmp(&printed(value)).is_eq());
    let mark = |value: &Option<f64>| match value {
        Some(value) if several && is(*value, 0) => Mark::Best,
        Some(value) if several && is(*value, 1) => Mark::Second,
        _ => Mark::None,
    };
    values.iter().map(mark).collect()
}

/// All figures of all methods, as means of the rows' means.
#[must_use]
pub fn overview(cells: &Cells, figures: &[Figure]) -> String {
    let methods = cells.methods();
    let mut html = String::from(
        "<div class=wide><table class=grid><caption><b>Overview, in %</b>: means over test classes, then over \
         trainings</caption>\n<thead><tr><th scope=col class=name>method",
    );
    for figure in figures {
        let _ = write!(html, "<th scope=col title=\"{}\">{}", escaped(&figure.note), escaped(&figure.name));
    }
    html.push_str("<th scope=col>cells<th scope=col>undecided scans</thead>\n<tbody>");
    let columns: Vec<Vec<Option<f64>>> = figures
        .iter()
        .map(|figure| methods.iter().map(|method| overall(cells, figure, method)).collect())
        .collect();
    let ranked = |column: &Vec<Option<f64>>| -> Vec<Mark> {
        let values =
            column.iter().zip(&methods).map(|(v, m)| v.filter(|_| !m.is_control())).collect::<Vec<_>>();
        marks(&values)
    };
    let all_marks: Vec<Vec<Mark>> = figures
        .iter()
        .zip(&columns)
        .map(|(figure, column)| match figure.name.as_str() {
            // More is not better: 0.5 says that the acquisition gives nothing away.
            "conf" => vec![Mark::None; column.len()],
            _ => ranked(column),
        })
        .collect();
    for (row, method) in methods.iter().enumerate() {
        let class = if method.is_control() { "control" } else { "" };
        let _ = write!(html, "<tr><th scope=row class=\"{class}\">{}", escaped(&method.name()));
        for (column, marks) in columns.iter().zip(&all_marks) {
            let _ = write!(html, "<td>{}", marked(column[row], marks[row]));
        }
        let own = cells.cells.iter().filter(|cell| cell.place.method == *method);
        let [mut count, mut undecided] = [0, 0];
        own.for_each(|cell| {
            count += 1;
            undecided += cell.scans[2];
        });
        let _ = writeln!(html, "<td>{count}<td>{undecided}");
    }
    html.push_str("</table></div>\n");
    html
}

/// The published tables by themselves, where the classes are others than theirs.
#[must_use]
pub fn published_alone(rows: &[PublishedRow], name: &str) -> String {
    let mut trainings: Vec<&str> = rows.iter().map(|row| row.training.as_str()).collect();
    trainings.dedup();
    let classes: Vec<String> = trainings.iter().map(|&t| t.to_owned()).collect();
    let caption = format!(
        "<b>{} in %, published</b> on MVTec 3D-AD ({SOURCE}): other classes, not comparable with the tables above",
        escaped(name)
    );
    let mut html = open_table(&caption, &classes);
    for training in trainings {
        let lines: Vec<Line> =
            rows.iter().filter(|r| r.training == training).map(|r| published_line(r, &classes)).collect();
        push_block(&mut html, training, &lines);
    }
    html.push_str("</table></div>\n");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_and_second_best_are_marked_as_printed() {
        let of = |values: &[f64]| marks(&values.iter().map(|v| Some(*v)).collect::<Vec<_>>());
        assert_eq!(of(&[0.5, 0.7, 0.6]), [Mark::None, Mark::Best, Mark::Second]);
        assert_eq!(of(&[0.7001, 0.7, 0.6, 0.6]), [Mark::Best, Mark::Best, Mark::Second, Mark::Second]);
        assert_eq!(of(&[0.7]), [Mark::None], "one alone is not the best of anything");
        assert_eq!(marks(&[None, Some(0.1), Some(0.2)]), [Mark::None, Mark::Second, Mark::Best]);
    }

    #[test]
    fn published_rows_stand_apart_and_are_never_the_best() {
        let row = PublishedRow {
            method: "3DzAL",
            training: "bagel".into(),
            fields: vec![("rope".into(), 0.82)],
            mean: 0.829,
        };
        let line = published_line(&row, &["rope".into(), "tire".into()]);
        assert_eq!(line.values, [Some(0.82), None, Some(0.829)]);
        assert!(!line.ranked && line.head.contains("published"));
        let html = published_alone(&[row], "AUPRO");
        assert!(
            html.contains("not comparable") && html.contains("82.9") && !html.contains("<td><b>"),
            "{html}"
        );
    }
}
