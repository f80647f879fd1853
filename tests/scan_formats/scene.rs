//! The small cloud that the tests write and expect back, and a folder to write it into.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use zal::scan::{self, Scan, ScanError, SensorProfile};

pub const HEIGHT: usize = 9;
pub const WIDTH: usize = 12;
/// Pixels where nothing was measured.
pub const MISSING: [(usize, usize); 2] = [(2, 3), (8, 11)];

/// The points of `tests/golden/scan/make.py`, in f64; `mark` stands where one is missing.
pub fn points(mark: f64) -> Vec<[f64; 3]> {
    pixels().map(|(r, c, missing)| if missing { [mark; 3] } else { point(r, c) }).collect()
}

/// A colour for every pixel.
pub fn colors() -> Vec<[u8; 3]> {
    pixels()
        .map(|(r, c, _)| [10 * r, 20 * c, 255 - r * c].map(|n| u8::try_from(n).expect("a byte")))
        .collect()
}

fn pixels() -> impl Iterator<Item = (usize, usize, bool)> {
    (0..HEIGHT * WIDTH).map(|i| (i / WIDTH, i % WIDTH, MISSING.contains(&(i / WIDTH, i % WIDTH))))
}

fn point(r: usize, c: usize) -> [f64; 3] {
    let [row, column] = [r, c].map(|n| f64::from(u32::try_from(n).expect("small")));
    [(column - 5.5) / 100.0, (row - 4.0) / 100.0, 0.5 + row * column / 1000.0]
}

/// Asserts that a scan is this scene, its coordinates to the last bit of f32.
pub fn assert_is_scene(scan: &Scan, with_color: bool) {
    assert_eq!((scan.cloud.height(), scan.cloud.width()), (HEIGHT, WIDTH));
    #[expect(clippy::cast_possible_truncation, reason = "what an f32 file holds")]
    let expected: Vec<[f32; 3]> = points(0.0).iter().map(|p| p.map(|c| c as f32)).collect();
    assert_eq!(scan.cloud.points(), expected);
    assert_eq!(scan.cloud.valid_count(), HEIGHT * WIDTH - MISSING.len());
    for (r, c) in MISSING {
        assert!(!scan.cloud.valid()[r * WIDTH + c]);
    }
    assert_eq!(scan.color.is_some(), with_color);
    if let Some(color) = &scan.color {
        assert_eq!((color.height, color.width, &color.pixels), (HEIGHT, WIDTH, &colors()));
    }
}

/// A folder with one file that can be written again and again.
pub struct Desk {
    pub folder: TempDir,
    pub path: PathBuf,
}

impl Desk {
    pub fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(name);
        Self { folder, path }
    }

    pub fn read(&self, bytes: &[u8]) -> Result<Scan, ScanError> {
        self.read_with(bytes, &SensorProfile::default())
    }

    pub fn read_with(&self, bytes: &[u8], profile: &SensorProfile) -> Result<Scan, ScanError> {
        std::fs::write(&self.path, bytes).expect("writing to the temporary folder");
        let scan = scan::read(&self.path, profile);
        if let (Ok(file), Ok(memory)) = (&scan, scan::decode(&self.path, bytes, profile)) {
            assert_eq!(file.cloud, memory.cloud, "from a file or from memory");
        }
        scan
    }

    /// The reason why the bytes are refused.
    pub fn refusal(&self, bytes: &[u8]) -> &'static str {
        self.refusal_with(bytes, &SensorProfile::default())
    }

    pub fn refusal_with(&self, bytes: &[u8], profile: &SensorProfile) -> &'static str {
        let Err(error) = self.read_with(bytes, profile) else { panic!("the file should be refused") };
        let text = error.to_string();
        assert!(
            text.contains(&*self.path.to_string_lossy()) || text.contains(".png"),
            "names the file: {text}"
        );
        let inspection = scan::inspect(&self.path, profile);
        assert!(!inspection.accepted);
        assert_eq!(inspection.findings[0].code, error.code(), "read and inspect agree");
        error.code()
    }
}

pub fn read(path: &Path) -> Result<Scan, ScanError> {
    scan::read(path, &SensorProfile::default())
}
