//! Rules of the operators that slide a window over an image: convolution and pooling.

use super::rules::Inferred;
use super::{Extent, Mismatch, TensorType};
use crate::onnx::proto::NodeProto;

/// Kernel, strides, dilations and pads of a window over `rank` spatial axes.
struct Window<'a> {
    node: &'a NodeProto,
    kernel: Vec<usize>,
}

pub(super) fn convolution(node: &NodeProto, data: &TensorType, kernel: Option<&TensorType>) -> Inferred {
    let Some(kernel) = kernel else { return Ok(None) };
    let ([batch, channels, spatial @ ..], [out, per_group, sizes @ ..]) = (&data.dims[..], &kernel.dims[..])
    else {
        return Err(Mismatch::new(format!("{:?} and {:?}", data.dims, kernel.dims), "an image and a kernel"));
    };
    let groups = usize::try_from(node.int_or("group", 1)).unwrap_or(0);
    if let (Extent::Fixed(found), Extent::Fixed(per_group)) = (channels, per_group)
        && per_group.checked_mul(groups) != Some(*found)
    {
        return Err(Mismatch::new(
            format!("an image of {found} channels"),
            format!("{per_group} channels in each of {groups} groups, as the kernel has"),
        ));
    }
    let Some(sizes) = sizes.iter().map(fixed).collect::<Option<Vec<_>>>() else { return Ok(None) };
    let mut dims = vec![*batch, *out];
    dims.extend(Window { node, kernel: sizes }.slide(spatial)?);
    Ok(Some(TensorType::new(data.elem, dims)))
}

pub(super) fn pool(node: &NodeProto, data: &TensorType) -> Inferred {
    let [batch, channels, spatial @ ..] = &data.dims[..] else {
        return Err(Mismatch::new(format!("{:?}", data.dims), "an image"));
    };
    let kernel = node.ints_of("kernel_shape").unwrap_or_default();
    let Some(kernel) = kernel.iter().map(|&size| usize::try_from(size).ok()).collect::<Option<Vec<_>>>()
    else {
        return Ok(None);
    };
    let mut dims = vec![*batch, *channels];
    dims.extend(Window { node, kernel }.slide(spatial)?);
    Ok(Some(TensorType::new(data.elem, dims)))
}

pub(super) fn global_pool(data: &TensorType) -> TensorType {
    let dims = data.dims.iter().enumerate().map(|(i, &extent)| if i < 2 { extent } else { Extent::Fixed(1) });
    TensorType::new(data.elem, dims.collect())
}

fn fixed(extent: &Extent) -> Option<usize> {
    match extent {
        Extent::Fixed(size) => Some(*size),
        Extent::PerBatch(_) | Extent::Unknown => None,
    }
}

impl Window<'_> {
    /// Output sizes of all spatial axes.
    fn slide(&self, spatial: &[Extent]) -> Result<Vec<Extent>, Mismatch> {
        if spatial.len() != self.kernel.len() {
            let found = format!("a kernel over {} axes", self.kernel.len());
            return Err(Mismatch::new(found, format!("{} spatial axes", spatial.len())));
        }
        spatial.iter().enumerate().map(|(i, extent)| self.slide_axis(i, *extent)).collect()
    }

    /// Output size of one axis: the number of places where the window fits.
    fn slide_axis(&self, i: usize, extent: Extent) -> Result<Extent, Mismatch> {
        let Extent::Fixed(size) = extent else { return Ok(Extent::Unknown) };
        let stride = self.entry("strides", i, 1).max(1);
        let reach = self.entry("dilations", i, 1).saturating_mul(self.kernel[i].max(1) - 1).saturating_add(1);
        let padded = match self.automatic_padding() {
            Some("SAME_UPPER" | "SAME_LOWER") => return Ok(Extent::Fixed(size.div_ceil(stride))),
            Some("VALID") => size,
            _ => [i, i + self.kernel.len()]
                .iter()
                .fold(size, |sum, &i| sum.saturating_add(self.entry("pads", i, 0))),
        };
        let Some(room) = padded.checked_sub(reach) else {
            return Err(Mismatch::new(format!("size {padded} with pads"), format!("at least {reach}")));
        };
        let steps = if self.node.int_or("ceil_mode", 0) == 0 { room / stride } else { room.div_ceil(stride) };
        Ok(Extent::Fixed(steps.saturating_add(1)))
    }

    fn entry(&self, attribute: &str, i: usize, default: usize) -> usize {
        let values = self.node.ints_of(attribute).unwrap_or_default();
        values.get(i).and_then(|&value| usize::try_from(value).ok()).unwrap_or(default)
    }

    fn automatic_padding(&self) -> Option<&str> {
        let text = self.node.attribute("auto_pad")?.s.as_deref()?;
        std::str::from_utf8(text).ok()
    }
}
