//! Updates of the model, black-box.
