//! Weights stored in 16 bits.
//!
//! Each large 32-bit constant becomes a 16-bit one, followed by a Cast to 32 bits that the run-time libraries
//! fold when they load the graph. The arithmetic stays in 32 bits; only the weights are rounded, by at most
//! 2^-11 of their size. Biases and other vectors stay as they are: they cost nothing and shift every pixel.

use ::half::f16;

use super::OnnxError;
use super::proto::{AttributeProto, GraphProto, NodeProto, TensorProto, elem};

/// Stores every constant matrix or kernel of 32-bit floats in 16 bits.
///
/// # Errors
/// When a weight is too large for 16 bits.
pub fn store_weights(graph: &mut GraphProto) -> Result<(), OnnxError> {
    let mut casts = Vec::new();
    for tensor in &mut graph.initializer {
        let Some(raw) = tensor.raw_data.as_mut().filter(|_| worth_it(tensor.data_type, &tensor.dims)) else {
            continue;
        };
        *raw = narrowed(&tensor.name, raw)?;
        casts.push(widen(tensor));
    }
    graph.node.splice(0..0, casts);
    Ok(())
}

fn worth_it(data_type: i32, dims: &[i64]) -> bool {
    data_type == elem::FLOAT && dims.len() >= 2
}

/// Renames the constant and returns the node that makes the old name of it.
fn widen(tensor: &mut TensorProto) -> NodeProto {
    let name = std::mem::take(&mut tensor.name);
    tensor.name = format!("{name}.f16");
    tensor.data_type = elem::FLOAT16;
    NodeProto {
        input: vec![tensor.name.clone()],
        output: vec![name.clone()],
        name: format!("{name}.widen"),
        op_type: "Cast".into(),
        attribute: vec![AttributeProto::int("to", i64::from(elem::FLOAT))],
        ..NodeProto::default()
    }
}

fn narrowed(name: &str, raw: &[u8]) -> Result<Vec<u8>, OnnxError> {
    let mut bytes = Vec::with_capacity(raw.len() / 2);
    for (index, element) in raw.as_chunks::<4>().0.iter().enumerate() {
        let value = f32::from_le_bytes(*element);
        let narrow = f16::from_f32(value);
        if !narrow.is_finite() {
            return Err(OnnxError::WeightRange {
                tensor: name.into(),
                index,
                value,
                limit: f16::MAX.to_f32(),
                hint: "; store it with `--weights f32`",
            });
        }
        bytes.extend(narrow.to_le_bytes());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::builder::GraphBuilder;

    fn stored(weight: f32) -> Result<GraphProto, OnnxError> {
        let mut graph = GraphBuilder::new("test", "N");
        let x = graph.input("x", elem::FLOAT, &[2]);
        let w = graph.floats("w", &[2, 1], &[weight, -0.5]);
        let b = graph.floats("b", &[1], &[70_000.0]);
        let product = graph.node("MatMul", "product", &[&x, &w], &[]);
        graph.node("Add", "sum", &[&product, &b], &[]);
        let mut graph = graph.into_graph();
        store_weights(&mut graph).map(|()| graph)
    }

    #[test]
    fn matrices_are_narrowed_and_vectors_stay() {
        let graph = stored(1.5).unwrap();
        let [w, b] = &graph.initializer[..] else { panic!("two constants") };
        assert_eq!((w.name.as_str(), w.data_type), ("w.f16", elem::FLOAT16));
        assert_eq!(w.raw_data.as_deref(), Some(&[0x00, 0x3e, 0x00, 0xb8][..]), "1.5 and -0.5 in IEEE half");
        assert_eq!((b.name.as_str(), b.data_type), ("b", elem::FLOAT));
        assert_eq!((graph.node[0].op_type.as_str(), graph.node[0].output[0].as_str()), ("Cast", "w"));
    }

    #[test]
    fn a_weight_too_large_is_named() {
        let message = stored(65_536.0).expect_err("beyond the largest half").to_string();
        assert!(
            message.contains("`w` holds 6.5536e4 at index 0") && message.contains("--weights f32"),
            "{message}"
        );
    }
}
