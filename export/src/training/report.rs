//! The page that a training leaves: curves of the losses, the embedding's spread, the classifier's ROC, in one HTML
//! file that needs no network.

use std::fmt::Write as _;

use super::{EpochRecord, TrainParams, Trained};

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 260.0;
const MARGIN: f64 = 46.0;
const COLORS: [&str; 4] = ["#1f5fa8", "#c4501b", "#2b8a3e", "#7a3e9d"];

/// One curve of a chart.
struct Curve<'a> {
    name: &'a str,
    points: Vec<[f64; 2]>,
}

/// What the page is about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Such as `ring`.
    pub title: &'a str,
    /// The command that trained.
    pub command: &'a str,
    /// Scans and their hash, in words.
    pub data: &'a str,
}

/// The page.
#[must_use]
pub fn page(subject: &Subject<'_>, params: &TrainParams, trained: &Trained) -> String {
    let history = &trained.history;
    let of = |name: &'static str, value: &dyn Fn(&EpochRecord) -> f64| Curve {
        name,
        points: history.iter().map(|r| [to_f64(r.epoch), value(r)]).collect(),
    };
    let losses = [
        of("contrastive", &|r| r.losses.contrastive),
        of("disentanglement", &|r| r.losses.disentanglement),
        of("classifier", &|r| r.losses.classifier),
    ];
    let spread = [of("spread of f_theta on normal patches", &|r| r.held_out.spread)];
    let directions = [of("directions that share it", &|r| r.held_out.directions)];
    let separation = [
        of("distance in f_theta", &|r| r.held_out.distance_auroc),
        of("classifier", &|r| r.held_out.classifier_auroc),
    ];
    let roc_points = trained.roc.points.iter().map(|p| p.map(f64::from)).collect();
    let roc = [Curve { name: "classifier", points: roc_points }];
    let mut html = head(subject, trained);
    html.push_str("<div class=charts>");
    chart(&mut html, "Losses (mean of the epoch's steps)", &losses, None);
    chart(&mut html, "Spread of the unit embeddings: 0 = collapsed", &spread, Some([0.0, 1.0]));
    chart(&mut html, "Effective number of directions of the embedding", &directions, None);
    chart(&mut html, "AUROC on held-out pseudo anomalies", &separation, Some([0.4, 1.0]));
    let title = format!("ROC of the classifier, step {}: area {:.3}", trained.epsilon, trained.roc.area);
    chart(&mut html, &title, &roc, Some([0.0, 1.0]));
    html.push_str("</div>");
    epsilon_table(&mut html, trained);
    history_table(&mut html, history);
    let settings = serde_json::to_string_pretty(params).unwrap_or_default();
    let _ = writeln!(html, "<h2>Settings</h2><pre>{}</pre></body></html>", escaped(&settings));
    html
}

fn head(subject: &Subject<'_>, trained: &Trained) -> String {
    let last = trained.history.last();
    let collapse = match last {
        Some(record) if record.held_out.spread < 0.01 => {
            "<p class=warning>The embedding has collapsed: normal patches share one direction to within 1 %, so \
             distances in it say little. See <code>positives = \"partner\"</code>.</p>"
        }
        _ => "",
    };
    format!(
        "<!DOCTYPE html><html lang=en><meta charset=utf-8><title>Training: {title}</title>\n<style>body{{font:15px/1.45 \
         system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}}.charts{{display:flex;\
         flex-wrap:wrap;gap:1.2rem}}figure{{margin:0}}figcaption{{font-weight:600;margin:.3rem 0}}td,th{{padding:.15rem \
         .7rem;text-align:right}}th{{border-bottom:1px solid #999}}pre{{background:#f5f5f3;padding:.8rem;overflow:auto}}\
         .warning{{background:#fbe9d8;padding:.6rem;border-left:4px solid #c4501b}}</style><body>\n<h1>Training: {title}\
         </h1><p><code>{command}</code><br>{data}</p>{collapse}\n",
        title = escaped(subject.title),
        command = escaped(subject.command),
        data = escaped(subject.data),
    )
}

/// A line chart; the vertical range is the data's own without `range`.
fn chart(html: &mut String, title: &str, curves: &[Curve<'_>], range: Option<[f64; 2]>) {
    let xs = bounds(curves.iter().flat_map(|c| c.points.iter().map(|p| p[0])));
    let ys = range.unwrap_or_else(|| {
        let [low, high] = bounds(curves.iter().flat_map(|c| c.points.iter().map(|p| p[1])));
        [low.min(0.0), high]
    });
    let x = |v: f64| MARGIN + (v - xs[0]) / (xs[1] - xs[0]) * (WIDTH - 1.5 * MARGIN);
    let y = |v: f64| {
        HEIGHT - MARGIN - (v.clamp(ys[0], ys[1]) - ys[0]) / (ys[1] - ys[0]) * (HEIGHT - 1.6 * MARGIN)
    };
    let _ = write!(
        html,
        "<figure><figcaption>{}</figcaption><svg width={WIDTH} height={HEIGHT} viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-size=11>",
        escaped(title)
    );
    for step in 0..=4 {
        let (at_y, at_x) = (
            ys[0] + f64::from(step) / 4.0 * (ys[1] - ys[0]),
            xs[0] + f64::from(step) / 4.0 * (xs[1] - xs[0]),
        );
        let _ = write!(
            html,
            "<path d=\"M{:.1} {:.1}H{:.1}\" stroke=#ddd /><text x={:.1} y={:.1} text-anchor=end>{}</text><text x={:.1} \
             y={:.1} text-anchor=middle>{}</text>",
            x(xs[0]),
            y(at_y),
            x(xs[1]),
            MARGIN - 5.0,
            y(at_y) + 4.0,
            short(at_y),
            x(at_x),
            HEIGHT - MARGIN + 15.0,
            short(at_x)
        );
    }
    for (index, curve) in curves.iter().enumerate() {
        let color = COLORS[index % COLORS.len()];
        let path: Vec<String> =
            curve.points.iter().map(|p| format!("{:.1} {:.1}", x(p[0]), y(p[1]))).collect();
        let _ = write!(
            html,
            "<path d=\"M{}\" fill=none stroke={color} stroke-width=1.8 /><text x={:.1} y={:.1} fill={color}>{}</text>",
            path.join("L"),
            MARGIN + 110.0 * to_f64(index),
            HEIGHT - 8.0,
            escaped(curve.name)
        );
    }
    html.push_str("</svg></figure>");
}

fn bounds(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let finite = values.filter(|v| v.is_finite());
    let [low, high] = finite.fold([f64::INFINITY, f64::NEG_INFINITY], |[a, b], v| [a.min(v), b.max(v)]);
    if low < high {
        [low, high]
    } else if low.is_finite() {
        [low - 0.5, low + 0.5]
    } else {
        [0.0, 1.0]
    }
}

fn short(value: f64) -> String {
    if value.abs() >= 10.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn epsilon_table(html: &mut String, trained: &Trained) {
    html.push_str("<h2>Perturbation</h2><table><tr><th>step, patch units<th>AUROC of the classifier</tr>");
    for (epsilon, area) in &trained.epsilons {
        let _ = write!(html, "<tr><td>{epsilon}<td>{area:.4}</tr>");
    }
    let _ = write!(html, "</table><p>Taken: {}.</p>", trained.epsilon);
}

fn history_table(html: &mut String, history: &[EpochRecord]) {
    html.push_str(
        "<h2>Epochs</h2><table><tr><th>epoch<th>contrastive<th>disentanglement<th>classifier<th>spread<th>directions\
         <th>AUROC, distance<th>AUROC, classifier</tr>",
    );
    for record in history {
        let (losses, held_out) = (record.losses, record.held_out);
        let _ = write!(
            html,
            "<tr><td>{}<td>{:.4}<td>{:.4}<td>{:.4}<td>{:.3}<td>{:.1}<td>{:.3}<td>{:.3}</tr>",
            record.epoch,
            losses.contrastive,
            losses.disentanglement,
            losses.classifier,
            held_out.spread,
            held_out.directions,
            held_out.distance_auroc,
            held_out.classifier_auroc
        );
    }
    html.push_str("</table>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[expect(clippy::cast_precision_loss, reason = "counts of epochs")]
const fn to_f64(count: usize) -> f64 {
    count as f64
}
