//! A network that keeps its contract on paper and ends the process that loads it.
//!
//! ```text
//! stride8  = AveragePool(image, 8) + ReduceMean(Range(0, 1.6e13, 1))
//! stride16 = AveragePool(image, 16)
//! ```
//!
//! The range has 64 terabytes, and whoever loads the network or warms it up asks the system for them.

/// A protobuf message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn push(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(u8::try_from(value & 0x7F).unwrap() | 0x80);
            value >>= 7;
        }
        self.0.push(u8::try_from(value).unwrap());
    }

    fn varint(mut self, field: u64, value: u64) -> Self {
        self.push(field << 3);
        self.push(value);
        self
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.push(field << 3 | 2);
        self.push(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    fn message(self, field: u64, inner: Self) -> Self {
        self.bytes(field, &inner.0)
    }
}

fn value(name: &str, dims: &[Option<u64>]) -> Message {
    let shape = dims.iter().fold(Message::default(), |shape, dim| {
        let dim = match dim {
            Some(size) => Message::default().varint(1, *size),
            None => Message::default().text(2, "N"),
        };
        shape.message(1, dim)
    });
    let tensor = Message::default().varint(1, 1).message(2, shape);
    Message::default().text(1, name).message(2, Message::default().message(1, tensor))
}

fn ints(name: &str, values: &[u64]) -> Message {
    let with_values = values.iter().fold(Message::default().text(1, name), |m, v| m.varint(8, *v));
    with_values.varint(20, 7)
}

fn node(op: &str, inputs: &[&str], output: &str, attributes: Vec<Message>) -> Message {
    let with_inputs = inputs.iter().fold(Message::default(), |m, input| m.text(1, input));
    let with_output = with_inputs.text(2, output).text(3, output).text(4, op);
    attributes.into_iter().fold(with_output, |m, attribute| m.message(5, attribute))
}

fn pool(size: u64, output: &str) -> Message {
    let attributes = vec![ints("kernel_shape", &[size, size]), ints("strides", &[size, size])];
    node("AveragePool", &["image"], output, attributes)
}

fn scalar(name: &str, value: f32) -> Message {
    Message::default().varint(2, 1).text(8, name).bytes(9, &value.to_le_bytes())
}

/// The network.
pub fn fatal_rgb() -> Vec<u8> {
    let image = [None, Some(3), Some(224), Some(224)];
    let graph = Message::default()
        .message(1, pool(8, "pooled"))
        .message(1, node("Range", &["start", "limit", "delta"], "huge", vec![]))
        .message(1, node("ReduceMean", &["huge"], "mean", vec![ints("axes", &[0])]))
        .message(1, node("Add", &["pooled", "mean"], "stride8", vec![]))
        .message(1, pool(16, "stride16"))
        .text(2, "fatal")
        .message(5, scalar("start", 0.0))
        .message(5, scalar("limit", 1.6e13))
        .message(5, scalar("delta", 1.0))
        .message(11, value("image", &image))
        .message(12, value("stride8", &[None, Some(3), Some(28), Some(28)]))
        .message(12, value("stride16", &[None, Some(3), Some(14), Some(14)]));
    let opset = Message::default().text(1, "").varint(2, 17);
    Message::default().varint(1, 8).message(7, graph).message(8, opset).0
}
