//! Backbones as they are written: sizes, names, determinism, errors, and the import of a foreign one.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use ndarray::{Array4, ArrayD};
use prost::Message;
use safetensors::tensor::{Dtype, TensorView};
use zal::engine::{EngineChoice, EngineOptions, Input};
use zal_export::graphs::resnet::{ANCHOR, ResnetArch, ResnetWeights, resnet_model};
use zal_export::onnx::WeightStorage;
use zal_export::onnx::import::{OutputNames, import_backbone};
use zal_export::onnx::proto::{DimensionValue, ModelProto, TensorProto, ValueInfoProto};
use zal_export::weights::checkpoint::Checkpoint;
use zal_export::weights::seeded::SeededWeights;

fn seeded(arch: ResnetArch, seed: u64, storage: WeightStorage) -> ModelProto {
    resnet_model(arch, ResnetWeights::Seeded(SeededWeights::new(seed)), storage, Vec::new()).unwrap()
}

fn constants(model: &ModelProto) -> &[TensorProto] {
    &model.graph.as_ref().unwrap().initializer
}

fn sizes(info: &ValueInfoProto) -> Vec<Option<i64>> {
    let dims = &info.tensor().unwrap().shape.as_ref().unwrap().dim;
    let size = |value: &Option<DimensionValue>| match value {
        Some(DimensionValue::DimValue(size)) => Some(*size),
        _ => None,
    };
    dims.iter().map(|dim| size(&dim.value)).collect()
}

#[test]
fn each_network_has_the_layers_and_channels_of_torchvision() {
    // Convolutions and their weights up to layer3, counted in torchvision 0.14's own networks.
    let expected = [
        (ResnetArch::Resnet18, 15, 2_778_304, [128, 256]),
        (ResnetArch::Resnet50, 43, 8_512_704, [512, 1024]),
        (ResnetArch::WideResnet50x2, 43, 24_822_976, [512, 1024]),
    ];
    for (arch, convolutions, weights, channels) in expected {
        let model = seeded(arch, 1, WeightStorage::F32);
        let kernels: Vec<_> = constants(&model).iter().filter(|t| t.dims.len() == 4).collect();
        let elements = kernels.iter().map(|t| t.dims.iter().product::<i64>()).sum::<i64>();
        assert_eq!((kernels.len(), elements), (convolutions, weights), "{}", arch.name());
        let outputs = &model.graph.as_ref().unwrap().output;
        assert_eq!(sizes(&outputs[0]), [None, Some(channels[0]), Some(28), Some(28)]);
        assert_eq!(sizes(&outputs[1]), [None, Some(channels[1]), Some(14), Some(14)]);
    }
}

#[test]
fn the_stride_of_a_bottleneck_sits_in_its_3x3_convolution() {
    let model = seeded(ResnetArch::Resnet50, 1, WeightStorage::F32);
    let nodes = &model.graph.as_ref().unwrap().node;
    let strides = |name: &str| {
        let node = nodes.iter().find(|node| node.name == name).unwrap();
        node.ints_of("strides").unwrap().to_vec()
    };
    assert_eq!(strides("layer2.0.conv1"), [1, 1]);
    assert_eq!(strides("layer2.0.conv2"), [2, 2]);
    assert_eq!(strides("layer2.0.downsample.0"), [2, 2]);
    assert_eq!(strides("layer2.1.conv2"), [1, 1]);
}

#[test]
fn the_bytes_depend_on_the_seed_alone_and_16_bits_halve_them() {
    let bytes = |seed, storage| seeded(ResnetArch::Resnet18, seed, storage).encode_to_vec();
    let full = bytes(7, WeightStorage::F32);
    assert_eq!(full, bytes(7, WeightStorage::F32));
    assert_ne!(full, bytes(8, WeightStorage::F32));
    let half = bytes(7, WeightStorage::F16).len();
    assert!(2 * half < full.len() + 100_000, "{half} of {} bytes", full.len());
}

fn run(model: &ModelProto, image: &Array4<f32>) -> Vec<ArrayD<f32>> {
    let options = EngineOptions { choice: EngineChoice::Tract, ..EngineOptions::default() };
    let mut engine = zal::engine::load(&zal::contract::RGB, &model.encode_to_vec(), &options).unwrap();
    engine.run(&[Input::F32(image.view().into_dyn())]).unwrap()
}

#[test]
fn weights_in_16_bits_give_nearly_the_same_features() {
    let image = Array4::from_shape_fn((1, 3, 224, 224), |(_, c, y, x)| {
        f32::from(u8::try_from((c * 97 + y * 31 + x * 7) % 251).unwrap()) / 125.0 - 1.0
    });
    let features = |storage| run(&seeded(ResnetArch::Resnet18, 2, storage), &image);
    for (full, half) in features(WeightStorage::F32).iter().zip(features(WeightStorage::F16)) {
        let largest = full.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
        let apart = full.iter().zip(&half).fold(0.0_f32, |max, (a, b)| max.max((a - b).abs()));
        // Weights are rounded to 2^-11: the features may move by about that, and must move at all.
        assert!(apart > 0.0 && apart < 2e-3 * largest, "{apart} of {largest}");
    }
}

/// A checkpoint of zeros with the shapes of a network's own tensors, but for `leave_out`.
fn zeros_checkpoint(folder: &Path, arch: ResnetArch, leave_out: &str) -> PathBuf {
    let model = seeded(arch, 1, WeightStorage::F32);
    let zeros = vec![0_u8; 4 * 1024 * 1024 * 4];
    let mut tensors = Vec::new();
    for tensor in constants(&model) {
        let shape: Vec<usize> = tensor.dims.iter().map(|&n| usize::try_from(n).unwrap()).collect();
        let bytes = &zeros[..4 * shape.iter().product::<usize>()];
        let convolution = tensor.name.rsplit_once('.').unwrap().0;
        let normalisation = convolution.replace("conv", "bn").replace("downsample.0", "downsample.1");
        let names: Vec<String> = if shape.len() == 4 {
            vec![tensor.name.clone()]
        } else {
            ["weight", "bias", "running_mean", "running_var"].map(|n| format!("{normalisation}.{n}")).into()
        };
        for name in names.into_iter().filter(|name| name != leave_out) {
            tensors.push((name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
        }
    }
    let path = folder.join("zeros.safetensors");
    std::fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
    path
}

fn from_checkpoint(path: &Path, arch: ResnetArch) -> Result<ModelProto, String> {
    let file = Checkpoint::open(path, ANCHOR).map_err(|error| error.to_string())?;
    resnet_model(arch, ResnetWeights::Checkpoint(file), WeightStorage::F32, Vec::new())
        .map_err(|error| error.to_string())
}

#[test]
fn a_checkpoint_with_every_tensor_fits_and_one_without_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let complete = zeros_checkpoint(folder.path(), ResnetArch::Resnet18, "");
    let model = from_checkpoint(&complete, ResnetArch::Resnet18).unwrap();
    assert!(constants(&model).iter().all(|t| t.raw_data.as_ref().unwrap().iter().all(|&byte| byte == 0)));
    let message = from_checkpoint(&complete, ResnetArch::Resnet50).expect_err("another network");
    assert!(message.contains("`layer1.0.conv1.weight`"), "{message}");
    assert!(message.contains("found shape [64, 64, 3, 3], expected [64, 64, 1, 1]"), "{message}");
    assert!(message.contains("--arch"), "{message}");
    let name = "layer3.1.bn2.running_var";
    let message =
        from_checkpoint(&zeros_checkpoint(folder.path(), ResnetArch::Resnet18, name), ResnetArch::Resnet18)
            .expect_err("a tensor is missing");
    assert!(message.contains(&format!("found no tensor `{name}`, expected one of shape [256]")), "{message}");
}

#[test]
fn the_given_imagenet_backbone_is_imported() {
    let Some(shared) = std::env::var_os("ZAL_SHARED") else {
        eprintln!("skipped: ZAL_SHARED is not set, so the ImageNet backbone is not at hand");
        return;
    };
    let path = Path::new(&shared).join("data/weights/resnet50v2_stages123.onnx");
    let source = zal_export::onnx::read(&path).unwrap();
    let names = OutputNames { stride8: "stage2", stride16: "stage3" };
    let model = import_backbone(source, &names, WeightStorage::F32, Vec::new()).unwrap();
    let graph = model.graph.as_ref().unwrap();
    assert_eq!(sizes(&graph.input[0]), [None, Some(3), Some(224), Some(224)]);
    assert_eq!(sizes(&graph.output[0]), [None, Some(512), Some(28), Some(28)]);
    assert_eq!(sizes(&graph.output[1]), [None, Some(1024), Some(14), Some(14)]);
    assert_eq!(graph.value_info.len() + 2, graph.node.len(), "every tensor in between is declared");
    let image = Array4::from_elem((2, 3, 224, 224), 0.5_f32);
    let features = run(&model, &image);
    let channels: Vec<usize> = features.iter().map(|map| map.shape()[1]).collect();
    assert_eq!(channels, [512, 1024]);
    assert!(features.iter().flatten().all(|x| x.is_finite()));
}
