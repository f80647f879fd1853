//! The figures of one test class from its judged scans.

use zal::metrics::{Bootstrap, Domain, FPR_LIMIT, PixelPool, auroc, auroc_interval, f1_max};

use super::kept::Details;
use super::table::{ClassFigures, Figure};
use super::verdict::Judged;

/// Image scores, sorted out.
struct Scores {
    good: Vec<f32>,
    defective: Vec<f32>,
    /// Defective scans that have a score without their defect: with it and without it.
    pairs: [Vec<f32>; 2],
}

impl Scores {
    fn of(judged: &[Judged]) -> Self {
        let of = |defective: bool| judged.iter().filter(move |j| j.defective == defective);
        let scores = |defective: bool| of(defective).filter_map(|j| j.score).collect();
        let pairs = of(true).filter_map(|j| Some((j.score?, j.score_erased?))).unzip();
        Self { good: scores(false), defective: scores(true), pairs: [pairs.0, pairs.1] }
    }
}

/// The figures of a class; its curves are added to the details.
pub(super) fn figures(
    class: &str,
    judged: Vec<Judged>,
    settings: &Bootstrap,
    details: &mut Details,
) -> ClassFigures {
    let count = |defective: bool| judged.iter().filter(|j| j.defective == defective).count();
    let mut figures = ClassFigures {
        test_class: class.to_owned(),
        ok_scans: count(false),
        defective_scans: count(true),
        undecided_scans: judged.iter().filter(|j| j.score.is_none()).count(),
        values: [None; Figure::ALL.len()],
    };
    let scores = Scores::of(&judged);
    let hits: Vec<bool> = judged.iter().filter_map(|j| j.peak_on_defect).collect();
    image_figures(&mut figures, &scores, settings);
    figures.set(Figure::Hit1, share(&hits));
    let mut pool = PixelPool::default();
    judged.into_iter().for_each(|j| pool.append(j.pixels));
    for (domain, [published, exact, pixels]) in [
        (Domain::Object, [Figure::AuproFg, Figure::AuproFgExact, Figure::PixelAurocFg]),
        (Domain::Image, [Figure::Aupro, Figure::AuproExact, Figure::PixelAuroc]),
    ] {
        let ranked = pool.rank(domain, FPR_LIMIT);
        figures.set(published, ranked.as_ref().map(|r| r.published()));
        figures.set(exact, ranked.as_ref().map(|r| r.exact()));
        figures.set(pixels, pool.auroc(domain));
    }
    details.push_curves(class, [&scores.good, &scores.defective], &pool);
    figures
}

fn image_figures(figures: &mut ClassFigures, scores: &Scores, settings: &Bootstrap) {
    let Scores { good, defective, pairs: [with, without] } = scores;
    let interval = auroc_interval(good, defective, settings);
    for (figure, value) in [
        (Figure::ImageAuroc, auroc(good, defective)),
        (Figure::ImageAurocLow, interval.map(|[low, _]| low)),
        (Figure::ImageAurocHigh, interval.map(|[_, high]| high)),
        (Figure::ImageF1Max, f1_max(good, defective)),
        (Figure::Conf, auroc(good, without)),
        (Figure::Cf, auroc(without, with)),
    ] {
        figures.set(figure, value);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of scans")]
fn share(hits: &[bool]) -> Option<f64> {
    let hit_count = hits.iter().filter(|hit| **hit).count();
    (!hits.is_empty()).then(|| hit_count as f64 / hits.len() as f64)
}
