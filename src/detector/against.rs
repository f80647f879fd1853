//! The detector and a reference set: a scan judged against what its line has shown so far, and the
//! candidate that it makes for the set.
//!
//! The set is the caller's: one detector serves as many products as there are sets, and none is changed
//! by judging. What is admitted, and when it is kept on disk, is the caller's to say.

use super::references::{
    Candidate, DescribedScan, Judgement, Look, References, ScanFacts, Source, TurnedRows,
};
use super::{Compared, Detection, Detector, Evaluation, Laps, Reason, Seen, not_compared, not_described};
use crate::bank::search::Neighbor;
use crate::cloud::OrganizedCloud;
use crate::features::turned::Turn;
use crate::features::{Branch, PatchGrid};
use crate::preprocess::{FRAME_SIZE, PreparedScan};
use crate::scan::Scan;

/// What a part was judged against, when that is a reference set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JudgedAgainst {
    /// Confirmed good parts.
    pub anchor_count: usize,
    /// Unlabelled scans of the line.
    pub buffer_count: usize,
    /// Whether the bundle's bank was one more reference.
    pub bank: bool,
    /// Scans of the buffer that stand out themselves and do not count for the threshold.
    pub suspect_count: usize,
    /// The share of good parts that may be rejected, as far as the number of scans can promise.
    pub promised_rate: Option<f32>,
}

/// A judged scan.
#[derive(Debug)]
pub struct Sighting {
    /// What is said of it.
    pub detection: Detection,
    /// What the set needs to take it in; none when it could not be described.
    pub entrant: Option<Box<Entrant>>,
}

/// A scan on its way into a set, for [`References::admit`].
#[derive(Debug, Clone)]
pub struct Entrant {
    /// The scan.
    pub candidate: Candidate,
    /// Its distances to the references.
    pub look: Look,
    /// What these say.
    pub judgement: Judgement,
}

/// A confirmed good part on its way into a set, for [`References::anchor`].
#[derive(Debug, Clone)]
pub struct Confirmed {
    /// The scan, with its colour turned all round.
    pub candidate: Candidate,
    /// Its distances to the bundle's bank.
    pub bank: Option<Vec<Vec<Neighbor>>>,
}

impl Detector {
    /// Judges one scan against a set that is made for this detector's settings; a reference of the same
    /// name is left out. Never fails: what cannot be judged is `not_decidable` with reasons.
    pub fn detect_against(&mut self, scan: &Scan, name: &str, references: &References) -> Sighting {
        let mut laps = Laps::new(self.clock);
        let found = self.sight(scan, name, references, &mut laps);
        let (detection, entrant) = match found {
            Ok((detection, entrant)) => (detection, Some(Box::new(entrant))),
            Err(reason) => (Detection { reasons: vec![reason], ..Detection::empty() }, None),
        };
        let against = Some(judged_against(references));
        Sighting { detection: Detection { timing: laps.finish(), against, ..detection }, entrant }
    }

    fn sight(
        &mut self,
        scan: &Scan,
        name: &str,
        references: &References,
        laps: &mut Laps,
    ) -> Result<(Detection, Entrant), Reason> {
        let Seen { prepared, grid, described } = self.see(scan, laps)?;
        let bank = self.bank_distances(references.rules().bank, &described)?;
        let look = references.look(name, &described, bank).map_err(|e| not_compared(&e))?;
        let judgement = references.judge(&look);
        laps.lap("bank");
        if !judgement.compared.image_score.is_finite() {
            return Err(Reason {
                code: "score_not_finite".into(),
                text: "a score is not a finite number".into(),
            });
        }
        let nearest = judgement.compared.nearest.clone();
        let nearest = nearest.or_else(|| judgement.bank_row.map(|row| self.comparison.origin(row)));
        let compared = Compared { nearest, ..judgement.compared.clone() };
        let decision = references.decide(&judgement);
        let detection = Detection {
            evaluation: decision.evaluation,
            score: Some(judgement.compared.image_score),
            threshold: decision.threshold,
            p_value: decision.p_value,
            reasons: decision.reasons,
            ..self.drawn(&prepared, &grid, compared, laps)
        };
        let facts = ScanFacts::of(&prepared, &grid);
        let candidate = Candidate { name: name.into(), described, turned: Vec::new(), facts };
        Ok((detection, Entrant { candidate, look, judgement }))
    }

    /// Describes a confirmed good part for a set, its colour turned all round.
    ///
    /// # Errors
    /// Why it cannot be described.
    pub fn confirm(&mut self, scan: &Scan, name: &str, references: &References) -> Result<Confirmed, Reason> {
        let rules = *references.rules();
        let Seen { prepared, grid, described } = self.see(scan, &mut Laps::new(self.clock))?;
        let bank = self.bank_distances(rules.bank, &described)?;
        let turned = self.turned(&prepared, rules.rotations)?;
        let facts = ScanFacts::of(&prepared, &grid);
        Ok(Confirmed { candidate: Candidate { name: name.into(), described, turned, facts }, bank })
    }

    fn bank_distances(
        &self,
        wanted: bool,
        described: &DescribedScan,
    ) -> Result<Option<Vec<Vec<Neighbor>>>, Reason> {
        let nearest = wanted.then(|| self.comparison.nearest(&described.features)).transpose();
        nearest.map_err(|e| not_compared(&e))
    }

    /// Colour rows of the frame from the other sides; none without the colour branch.
    fn turned(&mut self, prepared: &PreparedScan, turns: usize) -> Result<Vec<TurnedRows>, Reason> {
        let Some(color) =
            prepared.color.as_ref().filter(|_| self.params.describe.branches.contains(&Branch::Rgb))
        else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        let mut frame = prepared.clone();
        for index in 1..turns {
            let turn = Turn::new(index, turns);
            let grid = PatchGrid::of(&masked(turn.mask(prepared.cloud.valid())));
            frame.color = Some(turn.color(color));
            let rows =
                self.describer.describe(Branch::Rgb, &frame, &grid).map_err(|e| not_described(&e))?.rows;
            let patches = grid.patches().iter().map(|patch| turn.patch(*patch)).collect();
            found.push(TurnedRows { patches, rows });
        }
        Ok(found)
    }
}

/// A frame with this mask: the grid looks at no more.
fn masked(object: Vec<bool>) -> OrganizedCloud {
    let points = vec![[0.0, 0.0, 1.0]; FRAME_SIZE * FRAME_SIZE];
    OrganizedCloud::with_mask(FRAME_SIZE, FRAME_SIZE, points, object).expect("the mask fills the frame")
}

fn judged_against(references: &References) -> JudgedAgainst {
    let limit = references.limit();
    JudgedAgainst {
        anchor_count: references.count(Source::Anchor),
        buffer_count: references.count(Source::Buffer),
        bank: references.rules().bank,
        suspect_count: limit.map_or(0, |limit| limit.suspect_count),
        promised_rate: limit.map(|limit| limit.calibration.promised_rate()),
    }
}

impl Detection {
    /// Whether a verdict was given.
    #[must_use]
    pub fn is_verdict(&self) -> bool {
        matches!(self.evaluation, Evaluation::Ok | Evaluation::NotOk)
    }
}
