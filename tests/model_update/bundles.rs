//! Bundles for these tests, made of the demo bundle's parts and signed here.

use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::OnceLock;

use minisign::{KeyPair, SecretKey, SecretKeyBox};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use zal::bank::file::{self, RowDtype};
use zal::bank::{Block, MemoryBank};
use zal::bundle::{Bundle, GoldenResult, TrustedKeys, write_archive};
use zal::detector::Mode;
use zal::engine::{EngineChoice, EngineOptions};
use zal::features::Branch;
use zal::synth::{Family, SynthParams, generate};

/// The repository's demo bundle: every branch, so it is many times slower than [`light`].
pub const DEMO: &[u8] = include_bytes!("../../models/demo.zalb");

/// A bundle before it is signed.
#[derive(Clone)]
pub struct Parts {
    pub manifest: Value,
    pub files: Vec<(String, Vec<u8>)>,
}

/// Who signs.
pub enum Key {
    /// The development key, which everybody has.
    Development,
    /// The key that the test devices trust.
    Plant,
    /// Another one.
    Own(Box<KeyPair>),
}

/// The plant's key of this run.
fn plant() -> &'static KeyPair {
    static KEY: OnceLock<KeyPair> = OnceLock::new();
    KEY.get_or_init(|| KeyPair::generate_unencrypted_keypair().unwrap())
}

/// The text of the plant's `.pub` file.
pub fn plant_public() -> String {
    plant().pk.to_box().unwrap().into_string()
}

impl Parts {
    /// Takes a bundle apart.
    pub fn of(bundle: &[u8]) -> Self {
        let mut archive = tar::Archive::new(bundle);
        let mut files = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.push((name, bytes));
        }
        let manifest = serde_json::from_slice(&files[0].1).unwrap();
        files.drain(..2);
        Self { manifest, files }
    }

    /// Changes the manifest.
    pub fn with(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.manifest);
        self
    }

    /// Another version.
    pub fn version(self, version: &str) -> Self {
        self.with(|manifest| manifest["version"] = version.into())
    }

    /// Replaces or adds a payload file.
    pub fn file(mut self, path: &str, role: &str, bytes: Vec<u8>) -> Self {
        self.files.retain(|(name, _)| name != path);
        let entries = self.manifest["files"].as_array_mut().unwrap();
        entries.retain(|entry| entry["path"] != path);
        let sha256: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        entries.push(json!({"path": path, "role": role, "size_bytes": bytes.len(), "sha256": sha256}));
        self.files.push((path.into(), bytes));
        self
    }

    /// Signs it.
    pub fn signed(&self, key: &Key) -> Vec<u8> {
        let text = serde_json::to_vec_pretty(&self.manifest).unwrap();
        let signature = signature_of(&text, key);
        let mut files: Vec<(&str, &[u8])> =
            vec![("manifest.json", &text), ("manifest.json.minisig", signature.as_bytes())];
        files.extend(self.files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())));
        let mut out = Vec::new();
        write_archive(&mut out, &files).unwrap();
        out
    }

    /// Signs it with the plant's key.
    pub fn release(&self) -> Vec<u8> {
        self.signed(&Key::Plant)
    }
}

/// A minisign signature over bytes.
pub fn signature_of(bytes: &[u8], key: &Key) -> String {
    let development: SecretKey;
    let secret = match key {
        Key::Plant => &plant().sk,
        Key::Own(pair) => &pair.sk,
        Key::Development => {
            let text = include_str!("../../models/dev.key");
            development = SecretKeyBox::from_string(text).unwrap().into_unencrypted_secret_key().unwrap();
            &development
        }
    };
    minisign::sign(None, secret, Cursor::new(bytes), Some("test"), Some("test")).unwrap().into_string()
}

/// A whole, fast bundle: FPFH alone, one small golden scan, expected results as this machine gives them.
pub fn light() -> Parts {
    static LIGHT: OnceLock<Parts> = OnceLock::new();
    LIGHT.get_or_init(make_light).clone()
}

fn make_light() -> Parts {
    let demo = Parts::of(DEMO);
    let bank = &demo.files.iter().find(|(name, _)| name == "line.bank").unwrap().1;
    let params = demo.manifest["modes"].as_array().unwrap().iter().find(|m| m["mode"] == "line").unwrap();
    let mut params = params["params"].clone();
    params["describe"]["branches"] = json!(["fpfh"]);
    params["scoring"]["late"]["branches"].as_array_mut().unwrap().retain(|term| term["branch"] == "fpfh");
    let spread = params["scoring"]["late"]["repetition"]["spreads"][1].clone();
    params["scoring"]["late"]["repetition"]["spreads"] = json!([spread]);
    let manifest = json!({
        "format": "zal.bundle/1", "name": "light", "version": "1.0", "security_epoch": 0,
        "sensor": demo.manifest["sensor"], "files": [], "provenance": demo.manifest["provenance"],
        "modes": [{"mode": "line", "bank": "line.bank", "params": params}],
    });
    let parts = Parts { manifest, files: Vec::new() };
    let parts = parts.file("line.bank", "bank", fpfh_bank(bank)).file("golden-0.npy", "golden", scan(200, 1));
    with_expected_results(parts)
}

/// The bank's FPFH columns alone.
fn fpfh_bank(bytes: &[u8]) -> Vec<u8> {
    let bank = file::read(bytes).unwrap();
    let columns = bank.block_columns(Branch::Fpfh).unwrap();
    let block: Block = bank.blocks.iter().find(|block| block.branch == Branch::Fpfh).unwrap().clone();
    let rows = bank.rows.slice(ndarray::s![.., columns]).to_owned();
    let small = MemoryBank::new(vec![block], rows, bank.origins, bank.scans).unwrap();
    let mut out = Vec::new();
    file::write(&small, RowDtype::F32, &mut out).unwrap();
    out
}

/// Judges the golden scan here and writes what came out into the manifest.
fn with_expected_results(parts: Parts) -> Parts {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.zalb");
    let golden = |expected: Value| json!([{"points": "golden-0.npy", "expected": expected}]);
    let parts = parts.with(|manifest| manifest["golden"] = golden(json!([])));
    fs::write(&path, parts.signed(&Key::Development)).unwrap();
    let bundle = Bundle::open(&path, &TrustedKeys::new(&[]).unwrap()).unwrap();
    let options = EngineOptions { choice: EngineChoice::Tract, ..EngineOptions::default() };
    let mut detector = bundle.detector(Mode::Line, &options).unwrap();
    let detection = detector.detect(&bundle.golden_scan(&bundle.manifest().golden[0]).unwrap());
    let result = GoldenResult::of(Mode::Line, &detector.engine(), &detection).expect("the part has a score");
    parts.with(|manifest| manifest["golden"] = golden(serde_json::to_value([result]).unwrap()))
}

/// [`light`] with ten times the neighbours, so about ten times slower, and right in every other respect.
pub fn heavy() -> Parts {
    with_expected_results(light().with(|manifest| {
        manifest["name"] = "heavy".into();
        manifest["modes"][0]["params"]["describe"]["fpfh"]["k"] = 1000.into();
    }))
}

/// Many times slower than [`light`] and right in every other respect: all branches of the demo bundle.
pub fn slow() -> Parts {
    Parts::of(DEMO).with(|manifest| manifest["name"] = "slow".into())
}

/// Weighs a scan's repetition differently from [`light`], so its scores are others. It has no golden scan.
pub fn other() -> Parts {
    light().version("3.0").with(|manifest| {
        manifest["modes"][0]["params"]["scoring"]["late"]["repetition"]["weight"] = 0.25.into();
        manifest["golden"] = json!([]);
    })
}

/// Its golden scan is expected to score otherwise than it does.
pub fn wrong() -> Parts {
    light().version("9.0-wrong").with(|manifest| {
        let score = manifest["golden"][0]["expected"][0]["score"].as_f64().unwrap();
        manifest["golden"][0]["expected"][0]["score"] = (score * 1.5).into();
    })
}

/// Ends the process that loads it: its colour network asks for more memory than there is.
pub fn fatal() -> Parts {
    // `file` moves the entry to the end of both lists alike.
    let parts = slow().version("9.0").file("rgb.onnx", "rgb", super::onnx::fatal_rgb());
    parts.with(|manifest| manifest["name"] = "fatal".into())
}

/// Not a detector, but a whole bundle of a few kilobytes: for attacks on the container.
pub fn tiny() -> Parts {
    let params = light().manifest["modes"].clone();
    let manifest = json!({
        "format": "zal.bundle/1", "name": "tiny", "version": "1.0", "security_epoch": 0,
        "sensor": light().manifest["sensor"], "files": [], "modes": params,
        "provenance": {"commands": [], "weights": {}, "data": {}, "versions": {}},
    });
    let parts = Parts { manifest, files: Vec::new() };
    parts.file("line.bank", "bank", b"no real bank, but signed".to_vec()).file(
        "LICENCE",
        "licence",
        b"a text".to_vec(),
    )
}

/// A good part as `.npy`, so many pixels high and wide.
pub fn scan(size_px: usize, seed: u64) -> Vec<u8> {
    let params = SynthParams {
        family: Family::Ring,
        defect: None,
        height: size_px,
        width: size_px,
        variant: 3,
        session: 1,
        seed,
    };
    let scan = generate(&params).scan;
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({size_px}, {size_px}, 3), }}");
    header.push_str(&" ".repeat((64 - (11 + header.len()) % 64) % 64));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(scan.cloud.points().as_flattened().iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

/// Writes a bundle file.
pub fn write(folder: &Path, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}
