//! Pictures of what the detector saw: overlays, coloured depth, contact sheets, as PNG bytes.
