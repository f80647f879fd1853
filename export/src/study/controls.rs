//! Maps and scores of something that knows nothing of defects: what the figures are worth by themselves.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};

use super::arm::Control;
use crate::pseudo::random::unit;

/// Step of the mask above its noise: ties are broken, nothing else changes.
const MASK_STEP: f32 = 2.0;

/// A control's score and map.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Controlled {
    /// The image score.
    pub(super) score: f32,
    /// The image score with the erased pixels taken out.
    pub(super) score_erased: f32,
    /// One score a pixel of the scan.
    pub(super) map: Vec<f32>,
}

/// Judges a scan of that name by its object mask (row-major, of the scan's size); `erased` says which
/// pixels belong to a defect.
pub(super) fn judge(control: Control, seed: u64, name: &str, object: &[bool], erased: &[bool]) -> Controlled {
    let mut rng = generator(seed, name);
    let noise = |rng: &mut ChaCha8Rng| unit(rng);
    match control {
        Control::Random => {
            let (score, score_erased) = (noise(&mut rng), noise(&mut rng));
            Controlled { score, score_erased, map: object.iter().map(|_| noise(&mut rng)).collect() }
        }
        Control::Mask => {
            let step = |on: &bool| if *on { MASK_STEP } else { 0.0 };
            let left = object.iter().zip(erased).filter(|(on, erased)| **on && !**erased).count();
            Controlled {
                score: to_f32(object.iter().filter(|on| **on).count()),
                score_erased: to_f32(left),
                map: object.iter().map(|on| step(on) + noise(&mut rng)).collect(),
            }
        }
    }
}

/// One stream a seed and scan, whatever the order of the scans.
fn generator(seed: u64, name: &str) -> ChaCha8Rng {
    let mut hasher = Sha256::new();
    hasher.update(seed.to_le_bytes());
    hasher.update(name.as_bytes());
    ChaCha8Rng::from_seed(hasher.finalize().into())
}

#[expect(clippy::cast_precision_loss, reason = "pixels of one scan are below 2^24, as readers check")]
const fn to_f32(count: usize) -> f32 {
    count as f32
}

#[cfg(test)]
mod tests {
    use zal::metrics::{Domain, MaskedMap, PixelPool};

    use super::*;

    /// AUPRO, exact, over all pixels and over the object, of a control on 16 scans: the object fills a
    /// quarter of the picture, the defect a hundredth.
    fn aupro(control: Control) -> [f64; 2] {
        let object: Vec<bool> = (0..10_000).map(|i| i % 100 < 50 && i / 100 < 50).collect();
        let mask: Vec<u8> = (0..10_000).map(|i| u8::from(i % 100 < 10 && i / 100 < 10)).collect();
        let mut pool = PixelPool::default();
        for number in 0..16 {
            let erased = vec![false; 10_000];
            let scores = judge(control, 3, &format!("scan {number}"), &object, &erased).map;
            pool.add(&MaskedMap { scores, mask: mask.clone(), width: 100, object: Some(object.clone()) });
        }
        [Domain::Image, Domain::Object].map(|domain| pool.rank(domain, 0.3).expect("regions").exact())
    }

    #[test]
    fn chance_scores_as_chance_and_the_mask_as_its_share() {
        let near = |found: [f64; 2], expected: [f64; 2]| {
            let close = found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 0.03);
            assert!(close, "found {found:?}, expected {expected:?}");
        };
        near(aupro(Control::Random), [0.15, 0.15]);
        // 2400 of the 9900 good pixels are the object's.
        near(aupro(Control::Mask), [1.0 - 2400.0 / 9900.0 / 0.6, 0.15]);
    }

    #[test]
    fn a_control_follows_seed_and_name() {
        let (object, erased) = (vec![true, true, false], vec![false, true, false]);
        let of = |control, seed, name| judge(control, seed, name, &object, &erased);
        assert_eq!(of(Control::Random, 1, "a"), of(Control::Random, 1, "a"));
        assert_ne!(of(Control::Random, 1, "a"), of(Control::Random, 2, "a"));
        assert_ne!(of(Control::Random, 1, "a"), of(Control::Random, 1, "b"));
        let mask = of(Control::Mask, 1, "a");
        assert!((mask.score - 2.0).abs() < 1e-6 && (mask.score_erased - 1.0).abs() < 1e-6);
        assert!(mask.map[1] >= MASK_STEP && mask.map[2] < 1.0);
    }
}
