//! Where artifacts come from: recorded inside every ONNX file, gathered into the manifest.

use anyhow::Context;
use prost::Message;
use zal::features::pointnet::PatchParams;

use crate::onnx::proto::ModelProto;

/// Metadata key of the command that wrote a graph.
pub const COMMAND_KEY: &str = "zal.command";
/// Metadata key of the origin of a graph's weights, in words.
pub const WEIGHTS_KEY: &str = "zal.weights";

/// Metadata key of how the patches of a point network are cut, as JSON of `zal::features::pointnet::PatchParams`.
pub const PATCH_KEY: &str = "zal.patch";

/// Metadata key of the classes and solids that a training's pseudo anomalies took material from, as a
/// JSON list.
pub const POOL_KEY: &str = "zal.pool";

/// What a graph says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphOrigin {
    /// The command that wrote it, when it says so.
    pub command: Option<String>,
    /// Where its weights came from.
    pub weights: String,
}

/// Metadata of a graph written by the running command.
#[must_use]
pub fn metadata(weights: &str) -> Vec<(String, String)> {
    metadata_of(weights, &command_line(std::env::args()))
}

/// Metadata of a graph that a command of these words writes again.
#[must_use]
pub fn metadata_of(weights: &str, command: &str) -> Vec<(String, String)> {
    vec![(WEIGHTS_KEY.into(), weights.into()), (COMMAND_KEY.into(), command.into())]
}

/// Reads the origin that a graph carries.
///
/// # Errors
/// When the bytes are not ONNX.
pub fn of_graph(onnx: &[u8]) -> anyhow::Result<GraphOrigin> {
    let model = ModelProto::decode(onnx).context("the protobuf does not parse")?;
    let find = |key: &str| model.metadata_props.iter().find(|p| p.key == key).map(|p| p.value.clone());
    let weights = find(WEIGHTS_KEY).unwrap_or_else(|| "unknown: the graph does not say".into());
    Ok(GraphOrigin { command: find(COMMAND_KEY), weights })
}

/// How the patches of a point network are cut; the default for a graph that does not say.
///
/// # Errors
/// When the bytes are not ONNX, or say something that is not known.
pub fn patch_of_graph(onnx: &[u8]) -> anyhow::Result<PatchParams> {
    let model = ModelProto::decode(onnx).context("the protobuf does not parse")?;
    match model.metadata_props.iter().find(|p| p.key == PATCH_KEY) {
        None => Ok(PatchParams::default()),
        Some(found) => serde_json::from_str(&found.value)
            .with_context(|| format!("metadata `{PATCH_KEY}` is `{}`; update zal-export", found.value)),
    }
}

/// What the pseudo anomalies of a graph's training were made of; none for a graph that does not say.
///
/// # Errors
/// When the bytes are not ONNX, or the list is none.
pub fn pool_of_graph(onnx: &[u8]) -> anyhow::Result<Option<Vec<String>>> {
    let model = ModelProto::decode(onnx).context("the protobuf does not parse")?;
    let found = model.metadata_props.iter().find(|p| p.key == POOL_KEY);
    let list =
        |found: &str| serde_json::from_str(found).context(format!("metadata `{POOL_KEY}` is `{found}`"));
    found.map(|property| list(&property.value)).transpose()
}

/// The command line as one would type it, without the program's folder.
#[must_use]
pub fn command_line(args: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = args
        .enumerate()
        .map(|(i, word)| match i {
            0 => "zal-export".to_owned(),
            _ if word.is_empty() || word.contains(char::is_whitespace) => format!("'{word}'"),
            _ => word,
        })
        .collect();
    words.join(" ")
}
