//! Procedural parts and defects, as scans with masks: for the demo, tests and training.
//!
//! A scan is made as a sensor would make it: a piece of a [`Family`] lies on a table, a
//! pinhole camera with a projector beside it looks down from about 0.55 m, and noise,
//! quantisation and missing points are added. The mask is not drawn but measured: the piece is
//! rendered with and without its defect, and the mask marks the pixels whose depth, colour
//! or validity changed. Everywhere else the scan equals its good twin byte for byte.
//!
//! Coordinates inside this module are millimetres, as drawings are; scans are in metres.
//! What this does not do: undercuts (a part is a height field) and interreflection.

mod alteration;
mod camera;
mod color;
mod defects;
mod draw;
mod frame;
mod kinds;
mod mask;
mod noise;
mod parts;
mod relief;
mod scene;
mod sensor;
mod surface;

pub use camera::Intrinsics;
pub use kinds::{Defect, Family, UnknownName};

use self::camera::{Camera, field_of_view};
use self::color::Studio;
use self::defects::Flaw;
use self::draw::Draw;
use self::frame::{Frame, Pixel};
use self::relief::Relief;
use self::scene::{PART_REACH_MM, Scene};
use self::sensor::Sensor;
use crate::cloud::OrganizedCloud;
use crate::scan::{ColorImage, Scan};

/// Smallest altered area of a defect that is taken without another try: two thirds of a patch.
const ALTERED_AREA_MM2: f32 = 7.0;
/// Times a defect is placed before the largest result is taken.
const PLACEMENTS: u64 = 5;

/// What to make. The same parameters give the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SynthParams {
    /// Family of the part.
    pub family: Family,
    /// Its defect; none for a good part.
    pub defect: Option<Defect>,
    /// Rows of the scan.
    pub height: usize,
    /// Columns of the scan.
    pub width: usize,
    /// The product: nominal shape, size, surface and material, and the station it is seen at.
    /// Pieces of one line share it.
    pub variant: u64,
    /// Acquisition session: brightness and missing points drift between sessions.
    pub session: u64,
    /// Seed of piece, pose, defect and noise.
    pub seed: u64,
}

impl SynthParams {
    /// A good piece of the family's first variant in the first session, 400 x 400.
    #[must_use]
    pub const fn new(family: Family, seed: u64) -> Self {
        Self { family, defect: None, height: 400, width: 400, variant: 0, session: 0, seed }
    }

    /// The same piece in the same pose under the same noise, without its defect.
    #[must_use]
    pub const fn twin(&self) -> Self {
        Self { defect: None, ..*self }
    }
}

/// A procedural scan and its ground truth.
#[derive(Debug, Clone, PartialEq)]
pub struct SynthScan {
    /// The scan, with colour.
    pub scan: Scan,
    /// Row-major defect mask coded by [`Defect::code`] (255, 254, ...), 0 = good: exactly the
    /// pixels that differ from the good twin.
    pub mask: Vec<u8>,
}

/// Makes one scan. A defect that does not fit its family ([`Defect::fits`]) leaves the part
/// good and the mask empty.
///
/// # Panics
/// When height or width is zero.
#[must_use]
pub fn generate(params: &SynthParams) -> SynthScan {
    let [height, width] = [params.height, params.width];
    assert!(height > 0 && width > 0, "a scan has pixels, found {height} x {width}");
    let index = params.family.index();
    let station = &mut Draw::new([4, index, params.variant, 0]);
    let session = &mut Draw::new([5, index, params.variant, params.session]);
    let bench = Bench {
        camera: Camera::mount(Intrinsics::new(height, width), station, session),
        studio: Studio::set_up(station, session),
        scene: Scene::new(params.family, params.variant, params.seed),
    };
    let sensor = Sensor::new(
        [6 + (index << 8), params.variant, params.session, params.seed],
        session,
        height.max(width),
    );
    let mut relief = Relief::table(height, width, 1.16 * field_of_view(height, width));
    relief.bake(bench.scene.centre(), PART_REACH_MM, |x, y| bench.scene.sample(x, y));
    let mut frame = Frame::render(&relief, &bench.camera, &bench.studio, [height, width]);
    let fitting = params.defect.filter(|defect| defect.fits(params.family));
    let mask = fitting
        .map_or_else(|| vec![0; height * width], |defect| bench.spoil(params, defect, &relief, &mut frame));
    let readings = sensor.read(&frame, width, |u, v| bench.camera.direction(u, v));
    let (points, pixels) = readings.into_iter().unzip();
    let cloud = OrganizedCloud::new(height, width, points).expect("a reading was made for every pixel");
    SynthScan { scan: Scan { cloud, color: Some(ColorImage { height, width, pixels }) }, mask }
}

/// A piece under the camera.
struct Bench {
    camera: Camera,
    studio: Studio,
    scene: Scene,
}

impl Bench {
    /// Puts the defect into the frame and gives its mask. Placements that hardly show (behind
    /// an edge, in a shadow) are tried again.
    fn spoil(&self, params: &SynthParams, defect: Defect, relief: &Relief, frame: &mut Frame) -> Vec<u8> {
        let pixel_mm = pixel_mm(params);
        let index = params.family.index() << 8 | u64::from(defect.code());
        let mut best: (usize, Vec<Pixel>, Vec<bool>) = (0, Vec::new(), vec![false; frame.pixels.len()]);
        for attempt in 0..PLACEMENTS {
            let draw = &mut Draw::new([7 + attempt, index, params.variant, params.seed]);
            let mut flaw = Flaw::draw(defect, params.family, draw);
            self.scene.place(&mut flaw, relief, draw);
            let around = (flaw.centre, flaw.reach());
            let mut flawed = relief.clone();
            flawed.bake(around.0, around.1, |x, y| self.scene.sample_flawed(&flaw, x, y));
            let seen = frame.render_near(&flawed, &self.camera, &self.studio, around).pixels;
            let altered = alteration::altered(&seen, &frame.pixels, params.width, pixel_mm);
            let count = altered.iter().filter(|a| **a).count();
            if count > best.0 {
                best = (count, seen, altered);
            }
            if noise::coordinate(best.0) * pixel_mm * pixel_mm > ALTERED_AREA_MM2 {
                break;
            }
        }
        let (_, seen, altered) = best;
        for ((old, new), _) in
            frame.pixels.iter_mut().zip(seen).zip(&altered).filter(|(_, altered)| **altered)
        {
            *old = new;
        }
        altered.into_iter().map(|altered| if altered { defect.code() } else { 0 }).collect()
    }
}

/// Side of a pixel on the table at the nominal distance, mm.
fn pixel_mm(params: &SynthParams) -> f32 {
    field_of_view(params.height, params.width) / noise::coordinate(params.height.max(params.width))
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn small(family: Family, seed: u64) -> SynthParams {
        SynthParams { height: 160, width: 160, ..SynthParams::new(family, seed) }
    }

    fn fingerprint(made: &SynthScan) -> Vec<u8> {
        let mut hash = Sha256::new();
        made.scan.cloud.points().as_flattened().iter().for_each(|c| hash.update(c.to_le_bytes()));
        hash.update(colors(made).as_flattened());
        hash.update(&made.mask);
        hash.finalize().to_vec()
    }

    fn colors(made: &SynthScan) -> &[[u8; 3]] {
        &made.scan.color.as_ref().expect("a procedural scan has colour").pixels
    }

    #[test]
    fn the_same_parameters_give_the_same_bytes_on_any_number_of_threads() {
        let pool =
            |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start");
        let params = SynthParams { defect: Some(Defect::Dent), ..small(Family::Gland, 3) };
        let alone = pool(1).install(|| fingerprint(&generate(&params)));
        assert_eq!(alone, pool(3).install(|| fingerprint(&generate(&params))));
        assert_ne!(alone, fingerprint(&generate(&SynthParams { seed: 4, ..params.clone() })));
        assert_ne!(alone, fingerprint(&generate(&SynthParams { session: 1, ..params })));
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "equal to the last bit is what is promised")]
    fn every_fitting_defect_is_marked_and_leaves_the_rest_of_its_twin_alone() {
        for family in Family::ALL {
            let good = generate(&small(family, 11));
            assert!(good.mask.iter().all(|m| *m == 0));
            for defect in Defect::ALL.into_iter().filter(|d| d.fits(family)) {
                let params = SynthParams { defect: Some(defect), ..small(family, 11) };
                assert_eq!(params.twin(), small(family, 11));
                let spoiled = generate(&params);
                let marked = spoiled.mask.iter().filter(|m| **m == defect.code()).count();
                // A pixel is 1.06 mm: 4 of them are a little more than a third of a patch.
                assert!(marked >= 4, "{family} {defect}: {marked} pixels");
                assert!(spoiled.mask.iter().all(|m| *m == 0 || *m == defect.code()));
                for (i, mask) in spoiled.mask.iter().enumerate().filter(|(_, m)| **m == 0) {
                    let same = spoiled.scan.cloud.points()[i] == good.scan.cloud.points()[i]
                        && colors(&spoiled)[i] == colors(&good)[i];
                    assert!(same, "{family} {defect} changed pixel {i} outside its mask {mask}");
                }
            }
        }
    }

    #[test]
    fn a_defect_that_does_not_fit_leaves_the_part_good() {
        let params = SynthParams { defect: Some(Defect::Bend), ..small(Family::Ball, 2) };
        assert!(!Defect::Bend.fits(Family::Ball));
        assert_eq!(generate(&params), generate(&params.twin()));
    }

    #[test]
    fn points_lie_on_the_rays_of_the_pinhole_camera() {
        let made = generate(&SynthParams { height: 90, width: 140, ..SynthParams::new(Family::Tuber, 5) });
        let camera = Intrinsics::new(90, 140);
        let cloud = &made.scan.cloud;
        for index in cloud.valid_indices() {
            let [x, y, z] = cloud.points()[index];
            let (u, v) = (noise::coordinate(index % 140), noise::coordinate(index / 140));
            assert!((x / z * camera.focal_px + camera.cx - u).abs() < 1e-3);
            assert!((y / z * camera.focal_px + camera.cy - v).abs() < 1e-3);
            assert!((0.45..0.65).contains(&z), "{z}");
        }
    }

    #[test]
    fn parts_stand_on_the_table_and_most_of_the_scan_is_measured() {
        for family in Family::ALL {
            let made = generate(&small(family, 21));
            let cloud = &made.scan.cloud;
            let share = noise::coordinate(cloud.valid_count()) / noise::coordinate(160 * 160);
            assert!((0.5..0.995).contains(&share), "{family}: {share} measured");
            let depths = cloud.valid_indices().into_iter().map(|i| cloud.points()[i][2]);
            let (nearest, furthest) = depths.fold((1.0_f32, 0.0_f32), |(a, b), z| (a.min(z), b.max(z)));
            assert!((0.008..0.09).contains(&(furthest - nearest)), "{family}: {nearest} to {furthest}");
        }
    }

    #[test]
    fn one_variant_is_one_product() {
        let size = |variant, seed| {
            let params = SynthParams { variant, ..small(Family::Disc, seed) };
            noise::coordinate(generate(&params).scan.cloud.valid_count())
        };
        let others: Vec<f32> = (0..6).map(|variant| size(variant, 1)).collect();
        assert!(others.windows(2).any(|w| (w[0] - w[1]).abs() > 100.0), "{others:?}");
    }

    #[test]
    fn a_stain_is_colour_only_and_a_bump_rises() {
        let stain = SynthParams { defect: Some(Defect::Stain), ..small(Family::Block, 8) };
        let (spoiled, good) = (generate(&stain), generate(&stain.twin()));
        let moved = |i: usize| (spoiled.scan.cloud.points()[i][2] - good.scan.cloud.points()[i][2]).abs();
        let both = |i: &usize| spoiled.scan.cloud.valid()[*i] && good.scan.cloud.valid()[*i];
        assert!((0..160 * 160).filter(both).all(|i| moved(i) < 1e-6));

        let bump = SynthParams { defect: Some(Defect::Bump), ..small(Family::Block, 8) };
        let (spoiled, good) = (generate(&bump), generate(&bump.twin()));
        let rise = |i: usize| good.scan.cloud.points()[i][2] - spoiled.scan.cloud.points()[i][2];
        let marked =
            |i: &usize| spoiled.mask[*i] > 0 && spoiled.scan.cloud.valid()[*i] && good.scan.cloud.valid()[*i];
        assert!((0..160 * 160).filter(marked).map(rise).fold(0.0, f32::max) > 4e-4);
    }

    #[test]
    fn tiny_and_narrow_scans_are_made_too() {
        for (height, width) in [(1, 1), (1, 40), (30, 90)] {
            let params = SynthParams {
                height,
                width,
                defect: Some(Defect::Stain),
                ..SynthParams::new(Family::Ring, 1)
            };
            assert_eq!(generate(&params).mask.len(), height * width);
        }
    }
}
