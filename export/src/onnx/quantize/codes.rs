//! The arithmetic of 8-bit codes: value = scale (code - zero point).

/// Largest magnitude of a kernel's code. On x86 without VNNI the runtime adds two products of an activation's
/// and a kernel's code in 16 bits: 2 x 255 x 64 = 32,640 just fits, 2 x 255 x 127 would not.
pub(super) const KERNEL_CODE_MAX: f32 = 64.0;
/// Largest magnitude of a bias's code: far from the end of 32 bits, so that the sum of products fits too.
const BIAS_CODE_MAX: f32 = 1e9;

/// Scale and zero point of an activation in 8 unsigned bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Affine {
    pub(super) scale: f32,
    pub(super) zero_point: u8,
}

impl Affine {
    /// Spreads 256 codes over the range, widened so that 0 has a code of its own: padding and ReLU need it.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=255")]
    pub(super) fn of_range((low, high): (f32, f32)) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = (high - low) / 255.0;
        if !scale.is_normal() {
            return Self { scale: 1.0, zero_point: 0 };
        }
        Self { scale, zero_point: (-low / scale).round_ties_even().clamp(0.0, 255.0) as u8 }
    }
}

/// Codes of a kernel, one scale for each output channel.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kernel {
    /// In the order of the elements.
    pub(super) codes: Vec<i8>,
    /// One for each channel.
    pub(super) scales: Vec<f32>,
}

impl Kernel {
    /// Codes `elements` of shape `sizes` whose output channels lie along `axis`. `scale_min` keeps the bias
    /// of a channel with tiny weights within its 32 bits.
    #[expect(clippy::cast_possible_truncation, reason = "clamped to the range of the codes")]
    pub(super) fn of(elements: &[f32], sizes: &[usize], axis: usize, scale_min: &[f32]) -> Self {
        let inner: usize = sizes[axis + 1..].iter().product();
        let channel = |i: usize| i / inner % sizes[axis];
        let mut largest = vec![0.0_f32; sizes[axis]];
        for (i, element) in elements.iter().enumerate() {
            largest[channel(i)] = largest[channel(i)].max(element.abs());
        }
        let scales: Vec<f32> = largest
            .iter()
            .zip(scale_min)
            .map(|(largest, min)| (largest / KERNEL_CODE_MAX).max(*min).max(f32::MIN_POSITIVE))
            .collect();
        let code = |(i, element): (usize, &f32)| {
            let code = (element / scales[channel(i)]).round_ties_even();
            code.clamp(-KERNEL_CODE_MAX, KERNEL_CODE_MAX) as i8
        };
        Self { codes: elements.iter().enumerate().map(code).collect(), scales }
    }
}

/// The smallest scale of each channel at which its bias has a code.
pub(super) fn scale_min(bias: &[f32], input_scale: f32) -> Vec<f32> {
    bias.iter().map(|bias| bias.abs() / BIAS_CODE_MAX / input_scale).collect()
}

/// Codes of a bias at the scales of the products it is added to, and those scales.
#[expect(clippy::cast_possible_truncation, reason = "the scales keep the codes within 32 bits")]
pub(super) fn bias_codes(bias: &[f32], input_scale: f32, kernel_scales: &[f32]) -> (Vec<i32>, Vec<f32>) {
    let scales: Vec<f32> =
        kernel_scales.iter().map(|scale| (scale * input_scale).max(f32::MIN_POSITIVE)).collect();
    let code = |(bias, scale): (&f32, &f32)| (f64::from(*bias) / f64::from(*scale)).round_ties_even() as i32;
    (bias.iter().zip(&scales).map(code).collect(), scales)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_spread_over_all_codes_and_0_is_exact() {
        let relu = Affine::of_range((0.0, 5.1));
        assert_eq!(relu.zero_point, 0);
        assert!((relu.scale - 0.02).abs() < 1e-7);
        let signed = Affine::of_range((-1.0, 3.0));
        assert_eq!(signed.zero_point, 64, "-1 lies 63.75 steps below 0");
        assert_eq!(Affine::of_range((2.0, 5.1)), relu, "the range is widened to 0");
        assert_eq!(Affine::of_range((-2.55, -1.0)).zero_point, 255);
        assert_eq!(Affine::of_range((0.0, 0.0)), Affine { scale: 1.0, zero_point: 0 });
    }

    #[test]
    fn every_channel_has_its_own_scale_along_its_axis() {
        let elements = [1.0, -0.5, 0.25, 100.0, -200.0, 50.0];
        let rows = Kernel::of(&elements, &[2, 3], 0, &[0.0; 2]);
        assert_eq!(rows.codes, [64, -32, 16, 32, -64, 16]);
        assert_eq!(rows.scales, [1.0 / 64.0, 200.0 / 64.0]);
        let columns = Kernel::of(&elements, &[2, 3], 1, &[0.0; 3]);
        assert_eq!(columns.codes, [1, 0, 0, 64, -64, 64]);
    }

    #[test]
    fn a_channel_without_weights_still_has_a_bias() {
        let bias = [3.0, -7.0];
        let kernel = Kernel::of(&[0.0, 0.0, 0.5, -1.0], &[2, 2], 0, &scale_min(&bias, 0.01));
        assert_eq!(kernel.codes, [0, 0, 32, -64]);
        let (codes, scales) = bias_codes(&bias, 0.01, &kernel.scales);
        for ((code, scale), bias) in codes.iter().zip(&scales).zip(&bias) {
            assert!((f64::from(*code) * f64::from(*scale) - f64::from(*bias)).abs() < 1e-4);
        }
        assert!(codes[0].abs() <= 1_000_000_100);
    }
}
