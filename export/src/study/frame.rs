//! What judging needs of a prepared scan besides its descriptors: which pixels of the frame show the
//! object, and where the frame lies. Small enough to be kept for every scan, so that a scan whose
//! descriptors are kept is not read again.
//!
//! Kept as one list of f32, empty when the scan shows no object:
//! ```text
//! top_px, left_px, px_per_frame_px, scan_height, scan_width,
//! lengths of the runs of equal pixels in row order, the first of pixels without object
//! ```

use zal::cloud::OrganizedCloud;
use zal::preprocess::{FRAME_SIZE, FrameWindow, PreparedScan};

/// A frame without its points.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// `[224 * 224]`, row-major.
    pub object: Vec<bool>,
    /// Where the frame lies in the scan.
    pub window: FrameWindow,
}

impl Frame {
    /// The frame of a prepared scan.
    pub fn of(prepared: &PreparedScan) -> Self {
        Self { object: prepared.cloud.valid().to_vec(), window: prepared.window }
    }

    /// A cloud with the frame's mask: the grid and the map look at no more than that.
    pub fn mask_cloud(&self) -> OrganizedCloud {
        let points = vec![[0.0, 0.0, 1.0]; FRAME_SIZE * FRAME_SIZE];
        OrganizedCloud::with_mask(FRAME_SIZE, FRAME_SIZE, points, self.object.clone())
            .expect("the mask fills the frame")
    }

    /// The numbers that are kept.
    #[expect(clippy::cast_precision_loss, reason = "pixel counts are below 2^24, as readers check")]
    pub fn to_values(&self) -> Vec<f32> {
        let window = &self.window;
        let size = [window.scan_height as f32, window.scan_width as f32];
        let mut values = vec![window.top_px, window.left_px, window.px_per_frame_px, size[0], size[1]];
        let (mut last, mut run) = (false, 0_usize);
        for pixel in &self.object {
            if *pixel != last {
                values.push(run as f32);
                (last, run) = (*pixel, 0);
            }
            run += 1;
        }
        values.push(run as f32);
        values
    }

    /// The frame of kept numbers; none when they are not those of a frame.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole numbers, checked")]
    pub fn from_values(values: &[f32]) -> Option<Self> {
        let ([top_px, left_px, px_per_frame_px, height, width], runs) = values.split_first_chunk::<5>()?;
        let whole =
            |v: &f32| (v.fract().abs() <= 0.0 && (0.0..16_777_216.0).contains(v)).then_some(*v as usize);
        let mut object = Vec::with_capacity(FRAME_SIZE * FRAME_SIZE);
        for (index, run) in runs.iter().enumerate() {
            let run = whole(run).filter(|run| object.len() + run <= FRAME_SIZE * FRAME_SIZE)?;
            object.extend(std::iter::repeat_n(index % 2 == 1, run));
        }
        let window = FrameWindow {
            top_px: *top_px,
            left_px: *left_px,
            px_per_frame_px: *px_per_frame_px,
            scan_height: whole(height)?,
            scan_width: whole(width)?,
        };
        (object.len() == FRAME_SIZE * FRAME_SIZE).then_some(Self { object, window })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_from_its_numbers() {
        let window = FrameWindow {
            top_px: -3.5,
            left_px: 20.0,
            px_per_frame_px: 1.25,
            scan_height: 400,
            scan_width: 301,
        };
        let masks: [fn(usize) -> bool; 4] = [|_| false, |_| true, |i| i % 7 < 2, |i| i == 0 || i > 50_000];
        for mask in masks {
            let object = (0..FRAME_SIZE * FRAME_SIZE).map(mask).collect();
            let frame = Frame { object, window };
            let values = frame.to_values();
            assert_eq!(Frame::from_values(&values), Some(frame.clone()));
            assert_eq!(Frame::from_values(&values[..values.len() - 1]), None);
            assert_eq!(frame.mask_cloud().valid(), frame.object);
        }
        assert_eq!(Frame::from_values(&[]), None);
    }
}
