//! The activation map on procedural scans: determinism, use, and how it follows the part.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};
use zal::cloud::OrganizedCloud;
use zal::preprocess::{FRAME_SIZE, PreprocessParams, prepare};
use zal::synth::{Family, SynthParams, generate};
use zal_export::attention::{AttentionError, AttentionNet, concentration};
use zal_export::graphs::attention::attention_model;
use zal_export::graphs::resnet::{ResnetArch, ResnetWeights};
use zal_export::onnx::proto::TensorProto;
use zal_export::weights::seeded::SeededWeights;

const PIXELS: usize = FRAME_SIZE * FRAME_SIZE;

fn frame_of(family: Family, seed: u64) -> OrganizedCloud {
    let scan = generate(&SynthParams::new(family, seed)).scan;
    prepare(&scan, &PreprocessParams::line()).unwrap().cloud
}

/// The same points `down` rows lower and `right` columns further right; what leaves the frame is lost.
fn shifted(cloud: &OrganizedCloud, down: isize, right: isize) -> OrganizedCloud {
    let source = |i: usize| {
        let row = (i / FRAME_SIZE).checked_add_signed(-down).filter(|row| *row < FRAME_SIZE)?;
        let column = (i % FRAME_SIZE).checked_add_signed(-right).filter(|column| *column < FRAME_SIZE)?;
        Some(cloud.points()[row * FRAME_SIZE + column])
    };
    let points = (0..PIXELS).map(|i| source(i).unwrap_or_default()).collect();
    OrganizedCloud::new(FRAME_SIZE, FRAME_SIZE, points).unwrap()
}

/// Keeps the middle of the frame, so that a shifted part stays within it.
fn cropped(cloud: &OrganizedCloud, rows: std::ops::Range<usize>) -> OrganizedCloud {
    let keep: Vec<bool> =
        (0..PIXELS).map(|i| rows.contains(&(i / FRAME_SIZE)) && rows.contains(&(i % FRAME_SIZE))).collect();
    cloud.masked(&keep)
}

#[test]
fn the_map_depends_on_the_seed_alone() {
    let cloud = frame_of(Family::Gland, 3);
    let map = |seed| AttentionNet::random(seed).unwrap().activation(&cloud).unwrap();
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
    let first = map(7);
    assert_eq!(bits(&first), bits(&map(7)));
    let other = map(8);
    let apart = first.iter().zip(&other).fold(0.0_f32, |max, (a, b)| max.max((a - b).abs()));
    let largest = first.iter().fold(0.0_f32, |max, v| max.max(*v));
    assert!(apart > 0.02 * largest, "another seed differs by {apart} of {largest}");
}

#[test]
fn the_map_varies_on_measured_pixels_and_is_0_elsewhere() {
    let mut net = AttentionNet::random(0).unwrap();
    for family in Family::ALL {
        let cloud = frame_of(family, 11);
        let map = net.activation(&cloud).unwrap();
        assert_eq!(map.len(), PIXELS);
        for (value, valid) in map.iter().zip(cloud.valid()) {
            let expected = if *valid { *value > 0.0 && value.is_finite() } else { value.to_bits() == 0 };
            assert!(expected, "{family}: {value} on a pixel with valid = {valid}");
        }
        let found = concentration(&map, &cloud).unwrap();
        assert!(cloud.valid()[found.peak], "{family}: the peak was measured");
        // Far above the limit of a constant map: the highest place stands out by a tenth at least.
        assert!(found.max > 1.1 * found.min, "{family}: {} to {}", found.min, found.max);
        assert!((0.001..0.95).contains(&found.upper_half_share), "{family}: {found:?}");
    }
}

#[test]
fn moving_the_scan_in_space_changes_nothing() {
    let mut net = AttentionNet::random(1).unwrap();
    let cloud = frame_of(Family::Tuber, 4);
    let moved_point = |(p, valid): (&[f32; 3], &bool)| {
        if *valid { [p[0] + 0.21, p[1] - 0.13, p[2] + 0.34] } else { [0.0; 3] }
    };
    let points = cloud.points().iter().zip(cloud.valid()).map(moved_point).collect();
    let moved = OrganizedCloud::new(FRAME_SIZE, FRAME_SIZE, points).unwrap();
    let (before, after) = (net.activation(&cloud).unwrap(), net.activation(&moved).unwrap());
    let largest = before.iter().fold(0.0_f32, |max, v| max.max(*v));
    let apart = before.iter().zip(&after).fold(0.0_f32, |max, (a, b)| max.max((a - b).abs()));
    // Coordinates near 1 m are rounded to 6e-8 m, about 1e-5 of the part's spread; 53 layers follow.
    assert!(apart < 2e-3 * largest, "{apart} of {largest}");
}

#[test]
fn the_peak_moves_with_the_object() {
    let mut net = AttentionNet::random(2).unwrap();
    let cloud = cropped(&frame_of(Family::Block, 6), 72..152);
    assert!(cloud.valid_count() > 2000, "the crop shows the part: {} points", cloud.valid_count());
    let mut peak = |cloud: &OrganizedCloud| {
        let map = net.activation(cloud).unwrap();
        let peak = concentration(&map, cloud).unwrap().peak;
        [peak / FRAME_SIZE, peak % FRAME_SIZE].map(|i| f32::from(u16::try_from(i).unwrap()))
    };
    let before = peak(&cloud);
    for (down, right) in [(64_i16, 0_i16), (0, -64), (-64, 64)] {
        let after = peak(&shifted(&cloud, isize::from(down), isize::from(right)));
        let off = [after[0] - before[0] - f32::from(down), after[1] - before[1] - f32::from(right)];
        // Padding at the frame's edge and the statistics of the whole image change a little: a cell of 32.
        assert!(off.iter().all(|o| o.abs() <= 32.0), "moved by {down}, {right}: off by {off:?}");
    }
}

#[test]
fn what_shows_no_shape_is_refused() {
    let mut net = AttentionNet::random(0).unwrap();
    let single = |count: usize| {
        let points = (0..PIXELS).map(|i| if i < count { [0.1, 0.2, 0.5] } else { [0.0; 3] }).collect();
        OrganizedCloud::new(FRAME_SIZE, FRAME_SIZE, points).unwrap()
    };
    let error = net.activation(&single(63)).map(drop).expect_err("too few points");
    assert_eq!(error.to_string(), "found 63 measured points in the frame, expected at least 64");
    let error = net.activation(&single(5000)).map(drop).expect_err("all points coincide");
    let AttentionError::Constant { count, min, max } = error else { panic!("{error}") };
    assert_eq!((count, min.to_bits(), max.to_bits()), (5000, 0, 0));
}

fn constants(arch: ResnetArch) -> Vec<TensorProto> {
    let weights = ResnetWeights::Seeded(SeededWeights::new(9));
    attention_model(arch, weights, Vec::new()).unwrap().graph.unwrap().initializer
}

/// A checkpoint with the weights of a seeded network, running mean 0 and variance 1, times `factor`.
fn checkpoint(folder: &Path, arch: ResnetArch, factor: f32) -> PathBuf {
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for tensor in constants(arch).into_iter().filter(|tensor| tensor.name != "channels.axis") {
        let shape: Vec<usize> = tensor.dims.iter().map(|&n| usize::try_from(n).unwrap()).collect();
        let raw = tensor.raw_data.unwrap();
        let scaled = raw.as_chunks().0.iter().flat_map(|b| (factor * f32::from_le_bytes(*b)).to_le_bytes());
        if let (1, Some(norm)) = (shape.len(), tensor.name.strip_suffix(".weight")) {
            let (zeros, ones) = (vec![0; raw.len()], 1.0_f32.to_le_bytes().repeat(shape[0]));
            tensors.push((format!("{norm}.running_mean"), shape.clone(), zeros));
            tensors.push((format!("{norm}.running_var"), shape.clone(), ones));
        }
        tensors.push((tensor.name, shape, scaled.collect()));
    }
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    let path = folder.join("net.safetensors");
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    path
}

#[test]
fn a_checkpoint_is_used_and_a_useless_one_refused() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = frame_of(Family::Ring, 2);
    let path = checkpoint(folder.path(), ResnetArch::Resnet50, 1.0);
    let map = AttentionNet::from_checkpoint(&path).unwrap().activation(&cloud).unwrap();
    let found = concentration(&map, &cloud).unwrap();
    assert!(found.max > 1.05 * found.min, "{found:?}");
    // The same kernels with the image's own statistics give another map: the file's were used.
    let own = AttentionNet::random(9).unwrap().activation(&cloud).unwrap();
    let shape = |map: &[f32], max: f32| map.iter().map(|v| v / max).collect::<Vec<f32>>();
    let own_max = concentration(&own, &cloud).unwrap().max;
    let pairs = shape(&map, found.max).into_iter().zip(shape(&own, own_max));
    assert!(pairs.fold(0.0_f32, |apart, (a, b)| apart.max((a - b).abs())) > 0.01);

    let path = checkpoint(folder.path(), ResnetArch::Resnet50, 0.0);
    let error = AttentionNet::from_checkpoint(&path)
        .unwrap()
        .activation(&cloud)
        .map(drop)
        .expect_err("all weights are 0");
    assert!(matches!(error, AttentionError::Constant { .. }), "{error}");
    let path = checkpoint(folder.path(), ResnetArch::Resnet18, 1.0);
    let error = AttentionNet::from_checkpoint(&path).expect_err("another network").to_string();
    assert!(error.contains("`layer1.0.conv1.weight`"), "{error}");
}
