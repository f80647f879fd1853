//! Takes the background away from a cloud at the sensor's own resolution.

use crate::cloud::OrganizedCloud;

use super::components::{Components, components};
use super::plane::{self, Plane, median};
use super::{Background, PreprocessParams, Removed};

/// A cluster with fewer points cannot be told from noise, whatever its area.
const CLUSTER_POINTS_MIN: usize = 16;
/// Depth at which the cluster gap applies as given; it grows in proportion beyond.
const CLUSTER_GAP_DEPTH_M: f32 = 0.5;
/// Where the measured area ends within the picture, a "background" that leaves less than one
/// in this many points is rather a flat part on a background that was removed before.
const PART_OF_INSET_MIN: usize = 50;
/// What lies this much farther away than the plane's farthest point is the room behind it.
const DEPTH_MARGIN: f32 = 1.03;

/// A cloud without its background.
#[derive(Debug, Clone, PartialEq)]
pub struct Cleaned {
    /// Object points, on the scan's grid.
    pub cloud: OrganizedCloud,
    /// Background plane `n.p = d` with unit normal towards the camera, when one was found.
    pub plane: Option<([f32; 3], f32)>,
    /// What became of the background.
    pub background: Background,
    /// What was removed.
    pub removed: Removed,
}

/// Removes the background plane, what lies behind it, and specks. Without a plane along the
/// border the cloud is left exactly as it is, so that cleaning twice equals cleaning once.
///
/// A detached piece of at least `min_cluster_area_m2` stays: it may be the contamination
/// that the part is to be rejected for.
#[must_use]
pub fn clean(cloud: &OrganizedCloud, params: &PreprocessParams) -> Cleaned {
    let unchanged =
        |background| Cleaned { cloud: cloud.clone(), plane: None, background, removed: Removed::default() };
    let plane = match plane::find(cloud, params) {
        Ok(plane) => plane,
        Err(background) => return unchanged(background),
    };
    let (above, mut removed) = above_plane(cloud, &plane);
    let object = without_specks(&above, params);
    if plane.inset && object.valid_count() < cloud.valid_count() / PART_OF_INSET_MIN {
        return unchanged(Background::BorderMissing);
    }
    removed.cluster_count = above.valid_count() - object.valid_count();
    Cleaned {
        cloud: object,
        plane: Some((plane.normal, plane.offset)),
        background: Background::Removed,
        removed,
    }
}

/// The points on the camera's side of the plane, and how many were not.
fn above_plane(cloud: &OrganizedCloud, plane: &Plane) -> (OrganizedCloud, Removed) {
    let mut removed = Removed::default();
    let depth_max_m = DEPTH_MARGIN * plane.depth_max_m;
    let keep = |(point, valid): (&[f32; 3], &bool)| {
        let height = plane.height(*point);
        let behind = height < -plane.threshold_m || point[2] > depth_max_m;
        let on_plane = !behind && height <= plane.threshold_m;
        removed.behind_count += usize::from(*valid && behind);
        removed.plane_count += usize::from(*valid && on_plane);
        !behind && !on_plane
    };
    let keep: Vec<bool> = cloud.points().iter().zip(cloud.valid()).map(keep).collect();
    (cloud.masked(&keep), removed)
}

/// The cloud without clusters below the stated size.
fn without_specks(cloud: &OrganizedCloud, params: &PreprocessParams) -> OrganizedCloud {
    let points = cloud.points();
    let linked = |a: usize, b: usize| {
        let gap_m = params.cluster_gap_m * (points[a][2].min(points[b][2]) / CLUSTER_GAP_DEPTH_M).max(1.0);
        distance(points[a], points[b]) <= gap_m
    };
    let found = components(cloud.valid(), cloud.width(), linked);
    let keep_cluster = large_enough(cloud, &found, params.min_cluster_area_m2);
    let keep: Vec<bool> = found
        .labels
        .iter()
        .map(|label| keep_cluster.get(*label as usize).copied().unwrap_or(false))
        .collect();
    cloud.masked(&keep)
}

/// Which clusters are kept: by their number of points and their area.
fn large_enough(cloud: &OrganizedCloud, found: &Components, area_min_m2: f32) -> Vec<bool> {
    let mut members = vec![Vec::new(); found.count];
    for (pixel, label) in found.labels.iter().enumerate() {
        if let Some(cluster) = members.get_mut(*label as usize) {
            cluster.push(pixel);
        }
    }
    let same = |a: usize, b: usize| found.labels[a] == found.labels[b];
    let large = |cluster: &Vec<usize>| {
        cluster.len() >= CLUSTER_POINTS_MIN && cluster_area(cloud, cluster, same) >= area_min_m2
    };
    members.iter().map(large).collect()
}

/// Area of a cluster in m2: its points times the median step along rows and columns.
#[expect(clippy::cast_precision_loss, reason = "pixels of one scan are far below 2^24")]
fn cluster_area(cloud: &OrganizedCloud, cluster: &[usize], same: impl Fn(usize, usize) -> bool) -> f32 {
    let (points, width) = (cloud.points(), cloud.width());
    let step_to = |offset: usize| {
        let crosses = |i: usize| offset == 1 && (i + 1).is_multiple_of(width);
        let next = cluster.iter().filter(|i| **i + offset < points.len() && !crosses(**i));
        let mut steps: Vec<f32> = next
            .filter(|i| same(**i, **i + offset))
            .map(|i| distance(points[*i], points[*i + offset]))
            .collect();
        median(&mut steps)
    };
    let (along_row, along_column) = (step_to(1), step_to(width));
    // A cluster one pixel wide has steps in one direction only.
    let either = along_row.max(along_column);
    let or_either = |step: f32| if step > 0.0 { step } else { either };
    cluster.len() as f32 * or_either(along_row) * or_either(along_column)
}

/// Median distance of neighbouring measured points along rows and columns, metres; 0 when
/// no two neighbours were measured.
pub(super) fn median_pitch(cloud: &OrganizedCloud) -> f32 {
    let (points, valid, width) = (cloud.points(), cloud.valid(), cloud.width());
    let mut steps = Vec::new();
    for index in (0..points.len()).filter(|i| valid[*i]) {
        if !(index + 1).is_multiple_of(width) && valid[index + 1] {
            steps.push(distance(points[index], points[index + 1]));
        }
        if index + width < points.len() && valid[index + width] {
            steps.push(distance(points[index], points[index + width]));
        }
    }
    median(&mut steps)
}

fn distance(a: [f32; 3], b: [f32; 3]) -> f32 {
    let d = [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
    (d[0] * d[0] + d[1] * d[1] + d[2] * d[2]).sqrt()
}
