//! Drift: whether brightness, missing points, distance from the sensor or patch distances have moved from
//! where they stood when the line began to be judged.
//!
//! A rolling buffer drifts along with the line, so the scores do not show it. The level at the end of
//! warm-up is kept; the last [`RECENT_COUNT`] scans are compared with it, median against median.

use serde::{Deserialize, Serialize};

use super::limit::{center_and_spread, middle};

/// Scans whose median is the present level.
pub const RECENT_COUNT: usize = 8;
/// A level has moved when it is so many spreads away ...
const SPREADS_MAX: f32 = 6.0;

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Mean brightness of the object.
    Brightness,
    /// Share of missing points.
    Missing,
    /// Distance from the sensor.
    Depth,
    /// Median distance of the patches to their references, in what was usual at first.
    PatchDistance,
}

impl Quantity {
    /// All, in the order of [`Drift::note`]'s values.
    pub const ALL: [Self; 4] = [Self::Brightness, Self::Missing, Self::Depth, Self::PatchDistance];

    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Brightness => "brightness",
            Self::Missing => "share of missing points",
            Self::Depth => "distance from the sensor",
            Self::PatchDistance => "patch distances",
        }
    }

    /// ... and by this share of itself at least. Patch distances fall by themselves while a buffer grows.
    const fn share(self) -> f32 {
        match self {
            Self::Brightness | Self::Missing => 0.05,
            Self::Depth => 0.01,
            Self::PatchDistance => 0.25,
        }
    }

    /// Movements below this mean nothing, whatever the level.
    const fn floor(self) -> f32 {
        match self {
            Self::Brightness => 4.0,
            Self::Missing => 0.02,
            Self::Depth => 0.002,
            Self::PatchDistance => 0.0,
        }
    }
}

/// A level and what is usual around it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Level {
    center: f32,
    spread: f32,
}

/// A level that has moved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moved {
    /// Which.
    pub quantity: Quantity,
    /// Where it stood.
    pub from: f32,
    /// Where it stands.
    pub to: f32,
}

/// The levels at the end of warm-up and the last scans.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drift {
    first: Option<[Option<Level>; 4]>,
    recent: Vec<[Option<f32>; 4]>,
}

impl Drift {
    /// Takes the level of these scans as the first one, unless there is one.
    pub fn begin(&mut self, scans: &[[Option<f32>; 4]]) {
        if self.first.is_some() {
            return;
        }
        let level = |index: usize| {
            let values: Vec<f32> = scans.iter().filter_map(|scan| scan[index]).collect();
            center_and_spread(&values).map(|(center, spread)| Level { center, spread })
        };
        self.first = Some([0, 1, 2, 3].map(level));
    }

    /// Forgets the first level: the present one is right.
    pub fn restart(&mut self) {
        *self = Self::default();
    }

    /// Takes one more scan.
    pub fn note(&mut self, scan: [Option<f32>; 4]) {
        self.recent.push(scan);
        let surplus = self.recent.len().saturating_sub(RECENT_COUNT);
        self.recent.drain(..surplus);
    }

    /// What has moved.
    #[must_use]
    pub fn moved(&self) -> Vec<Moved> {
        let Some(first) = self.first.filter(|_| self.recent.len() == RECENT_COUNT) else {
            return Vec::new();
        };
        let one = |(quantity, level): (Quantity, Option<Level>)| {
            let level = level?;
            let index = Quantity::ALL.iter().position(|other| *other == quantity)?;
            let to = middle(self.recent.iter().filter_map(|scan| scan[index]).collect())?;
            let usual = (SPREADS_MAX * level.spread).max(quantity.share() * level.center.abs());
            let moved = (to - level.center).abs() > usual.max(quantity.floor());
            moved.then_some(Moved { quantity, from: level.center, to })
        };
        Quantity::ALL.into_iter().zip(first).filter_map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(brightness: f32, missing: f32) -> [Option<f32>; 4] {
        [Some(brightness), Some(missing), Some(0.5), Some(1.0)]
    }

    fn begun() -> Drift {
        let mut drift = Drift::default();
        let scans: Vec<_> = (0..32_u8).map(|i| scan(100.0 + f32::from(i % 5), 0.1)).collect();
        drift.begin(&scans);
        drift
    }

    fn quantities(drift: &Drift) -> Vec<Quantity> {
        drift.moved().iter().map(|moved| moved.quantity).collect()
    }

    #[test]
    fn a_lamp_that_fades_is_noticed_and_one_dark_scan_is_not() {
        let mut drift = begun();
        for step in 0..8_u8 {
            drift.note(scan(if step == 3 { 20.0 } else { 102.0 }, 0.1));
        }
        assert_eq!(quantities(&drift), []);
        for _ in 0..5 {
            drift.note(scan(70.0, 0.1));
        }
        assert_eq!(quantities(&drift), [Quantity::Brightness]);
        for _ in 0..8 {
            drift.note(scan(102.0, 0.3));
        }
        assert_eq!(quantities(&drift), [Quantity::Missing], "the lamp is back, the lens is dirty");
        drift.restart();
        assert_eq!(quantities(&drift), [], "the present level is right");
    }

    #[test]
    fn nothing_is_said_before_there_is_a_level_and_enough_scans() {
        let mut drift = begun();
        for _ in 1..RECENT_COUNT {
            drift.note(scan(0.0, 0.9));
        }
        assert_eq!(quantities(&drift), []);
        drift.note(scan(0.0, 0.9));
        assert_eq!(quantities(&drift), [Quantity::Brightness, Quantity::Missing]);
        let mut colourless = Drift::default();
        colourless.begin(&[[None, None, None, None]]);
        (0..8).for_each(|_| colourless.note([None, Some(1.0), None, None]));
        assert_eq!(quantities(&colourless), []);
    }
}
