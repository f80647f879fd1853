//! Colour scales as a few anchors with linear steps between them. Their lightness rises
//! evenly, so that they also read in grey and for colour-blind people.

/// A colour scale over 0..=1, anchors evenly spaced.
pub(super) struct ColorScale(&'static [[u8; 3]]);

/// Heights: dark blue over green to yellow.
pub(super) const HEIGHT: ColorScale = ColorScale(&[
    [62, 40, 120],
    [58, 84, 150],
    [42, 122, 158],
    [36, 158, 145],
    [82, 190, 112],
    [160, 214, 74],
    [246, 230, 62],
]);

/// Heat on a picture: violet over red and orange to pale yellow.
pub(super) const HEAT: ColorScale = ColorScale(&[
    [106, 23, 110],
    [165, 32, 98],
    [214, 56, 66],
    [244, 105, 26],
    [252, 165, 20],
    [250, 222, 90],
    [255, 250, 200],
]);

impl ColorScale {
    /// The colour at `position`, clamped to 0..=1.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positions on a scale of a few anchors, clamped first"
    )]
    pub(super) fn at(&self, position: f32) -> [u8; 3] {
        let steps = self.0.len() - 1;
        let along = position.clamp(0.0, 1.0) * steps as f32;
        let first = (along as usize).min(steps - 1);
        blend(self.0[first], self.0[first + 1], along - first as f32)
    }
}

/// `a` with a share of `b`.
pub(super) fn blend(a: [u8; 3], b: [u8; 3], share: f32) -> [u8; 3] {
    [0, 1, 2].map(|channel| to_u8(mix(f32::from(a[channel]), f32::from(b[channel]), share)))
}

/// `a` with a share of `b`.
pub(super) fn mix(a: f32, b: f32, share: f32) -> f32 {
    a + (b - a) * share
}

/// A colour made lighter or darker.
pub(super) fn scaled(color: [u8; 3], factor: f32) -> [u8; 3] {
    color.map(|channel| to_u8(f32::from(channel) * factor))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=255")]
pub(super) fn to_u8(value: f32) -> u8 {
    (value + 0.5).clamp(0.0, 255.0) as u8
}
