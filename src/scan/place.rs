//! From a file's coordinates to metres in the camera frame, and which points were measured.

use serde::Serialize;

use super::profile::SensorProfile;

/// Number of points without a measurement, by the mark that says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MissingCounts {
    /// A coordinate is NaN.
    pub nan: usize,
    /// A coordinate is infinite.
    pub infinite: usize,
    /// All three coordinates are 0.
    pub zero: usize,
    /// The depth is the profile's sentinel.
    pub sentinel: usize,
    /// The depth is outside the profile's range.
    pub out_of_range: usize,
}

/// Whether a point was measured, and if not, which mark says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PointState {
    Valid,
    Nan,
    Infinite,
    Zero,
    Sentinel,
    OutOfRange,
}

/// Points in metres and the camera frame, and their states.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) points: Vec<[f32; 3]>,
    pub(crate) states: Vec<PointState>,
}

impl Placed {
    /// Applies the profile to the points of a file.
    pub(crate) fn new(mut points: Vec<[f32; 3]>, profile: &SensorProfile) -> Self {
        let per_metre = profile.unit.per_metre();
        let depth = profile.axes.depth_index();
        let mut states = Vec::with_capacity(points.len());
        for point in &mut points {
            let written = *point;
            *point = profile.axes.apply(written).map(|c| c / per_metre);
            states.push(state(written, *point, profile, depth));
        }
        Self { points, states }
    }

    /// Number of points of a state.
    pub(crate) fn count(&self, state: PointState) -> usize {
        self.states.iter().filter(|s| **s == state).count()
    }

    /// The points without a measurement, by reason.
    pub(crate) fn missing(&self) -> MissingCounts {
        MissingCounts {
            nan: self.count(PointState::Nan),
            infinite: self.count(PointState::Infinite),
            zero: self.count(PointState::Zero),
            sentinel: self.count(PointState::Sentinel),
            out_of_range: self.count(PointState::OutOfRange),
        }
    }

    /// The points that some sensor measured, within the expected range or not.
    pub(crate) fn measured(&self) -> impl Iterator<Item = [f32; 3]> + Clone {
        let seen = |state: PointState| matches!(state, PointState::Valid | PointState::OutOfRange);
        self.points.iter().zip(&self.states).filter(move |(_, s)| seen(**s)).map(|(p, _)| *p)
    }

    /// The points that count.
    pub(crate) fn valid(&self) -> impl Iterator<Item = [f32; 3]> + Clone {
        self.points.iter().zip(&self.states).filter(|(_, s)| **s == PointState::Valid).map(|(p, _)| *p)
    }

    /// The point at an index, when it counts.
    pub(crate) fn at(&self, index: usize) -> Option<[f32; 3]> {
        (self.states[index] == PointState::Valid).then(|| self.points[index])
    }
}

fn state(written: [f32; 3], placed: [f32; 3], profile: &SensorProfile, depth: usize) -> PointState {
    if written.iter().any(|c| c.is_nan()) {
        PointState::Nan
    } else if placed.iter().any(|c| c.is_infinite()) {
        PointState::Infinite
    } else if written.iter().all(|c| *c == 0.0) {
        PointState::Zero
    } else if profile.sentinel == Some(written[depth]) {
        PointState::Sentinel
    } else if (profile.extent.z_min_m..=profile.extent.z_max_m).contains(&placed[2]) {
        PointState::Valid
    } else {
        PointState::OutOfRange
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::profile::{Axes, Axis, LengthUnit};

    #[test]
    fn unit_axes_sentinel_and_range_become_one_mask() {
        let axes = Axes::new([Axis::X, Axis::MinusY, Axis::MinusZ]).expect("each once");
        let mut profile = SensorProfile { unit: LengthUnit::Millimetre, axes, ..SensorProfile::default() };
        profile.sentinel = Some(-9999.0);
        profile.extent.z_max_m = 1.0;
        let nan = f32::NAN;
        let points = vec![
            [10.0, 20.0, -500.0],
            [1.0, nan, -500.0],
            [1.0, 1.0, f32::INFINITY],
            [0.0; 3],
            [7.0, 7.0, -9999.0],
            [1.0, 1.0, -1500.0],
            [1.0, 1.0, 500.0],
        ];
        let placed = Placed::new(points, &profile);
        assert_eq!(placed.points[0].map(f32::to_bits), [0.01_f32, -0.02, 0.5].map(f32::to_bits));
        assert_eq!(placed.valid().count(), 1);
        assert_eq!(placed.measured().count(), 3);
        let expected = MissingCounts { nan: 1, infinite: 1, zero: 1, sentinel: 1, out_of_range: 2 };
        assert_eq!(placed.missing(), expected);
    }
}
