//! Finding zal's state folder.

use std::path::PathBuf;

/// `ZAL_STATE_DIR`, else `/var/lib/zal` for root, else the user's data folder.
pub fn state_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("ZAL_STATE_DIR") {
        return dir.into();
    }
    PathBuf::from("/var/lib/zal")
}
