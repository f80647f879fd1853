"""Writes the xyz images of this folder with tifffile, independently of the program under test.

Every image shows the same 9 x 12 points: pixel (r, c) is
x = (c - 5.5) / 100, y = (r - 4) / 100, z = 0.5 + r * c / 1000, in metres and rounded to f32,
and (0, 0, 0) at (2, 3) and (8, 11). Run in this folder: python make.py
"""

import struct
from pathlib import Path

import numpy as np
import tifffile

r, c = np.mgrid[0:9, 0:12].astype(np.float64)
xyz = np.stack([(c - 5.5) / 100, (r - 4) / 100, 0.5 + r * c / 1000], axis=-1)
xyz[2, 3] = xyz[8, 11] = 0
f32 = xyz.astype(np.float32)
rgb = dict(photometric="rgb", planarconfig="contig")

# Accepted.
tifffile.imwrite("plain.tiff", f32, **rgb)
tifffile.imwrite("deflate.tiff", f32, compression="zlib", **rgb)
tifffile.imwrite("deflate_float_predictor.tiff", f32, compression="zlib", predictor=3, **rgb)
tifffile.imwrite("lzw.tiff", f32, compression="lzw", rowsperstrip=4, **rgb)
# tifffile writes predictor 2 for integers only: the bits are written as u32 and then called floats.
tifffile.imwrite("lzw_horizontal_predictor.tiff", f32.view(np.uint32), compression="lzw", predictor=2,
                 extratags=[(65339, "H", 3, (3, 3, 3), True)], **rgb)
path = Path("lzw_horizontal_predictor.tiff")
path.write_bytes(path.read_bytes().replace(struct.pack("<HH", 65339, 3), struct.pack("<HH", 339, 3)))
tifffile.imwrite("packbits_grey.tiff", f32, compression="packbits", photometric="minisblack", planarconfig="contig")
tifffile.imwrite("tiled.tiff", f32, tile=(16, 16), **rgb)
tifffile.imwrite("tiled_deflate_float_predictor.tiff", f32, tile=(16, 16), compression="zlib", predictor=3, **rgb)
tifffile.imwrite("bigtiff.tiff", f32, bigtiff=True, **rgb)
tifffile.imwrite("bigtiff_big_endian_tiled_lzw.tiff", f32, bigtiff=True, byteorder=">", tile=(16, 16), compression="lzw", **rgb)
tifffile.imwrite("f64_big_endian.tiff", xyz, byteorder=">", **rgb)
# Refused.
tifffile.imwrite("planar.tiff", np.moveaxis(f32, -1, 0), photometric="rgb", planarconfig="separate")
tifffile.imwrite("three_pages.tiff", np.moveaxis(f32, -1, 0), photometric="minisblack")
tifffile.imwrite("page_per_row.tiff", f32, photometric="minisblack")
tifffile.imwrite("depth.tiff", f32[..., 2], photometric="minisblack")
tifffile.imwrite("u16.tiff", (f32 * 1000 + 500).astype(np.uint16), **rgb)
