//! The container: reading and writing the plain tar, and nothing that a tar could do besides.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::BundleError;
use super::manifest::{FileEntry, Manifest};

/// Name of the first file.
pub const MANIFEST_PATH: &str = "manifest.json";
/// Name of the second file.
pub const SIGNATURE_PATH: &str = "manifest.json.minisig";
/// A manifest larger than this is refused unread.
const MANIFEST_SIZE_MAX: u64 = 1 << 20;
/// A signature larger than this is refused unread.
const SIGNATURE_SIZE_MAX: u64 = 4096;
/// Bytes hashed at a time.
const BLOCK_SIZE: usize = 1 << 16;

/// Where the bundle's bytes are.
#[derive(Debug)]
pub enum Source {
    /// A file on disk, held open.
    File {
        /// For messages.
        path: PathBuf,
        /// The open file.
        file: File,
    },
    /// Bytes within the program.
    Memory(&'static [u8]),
}

/// Reading with a position, over either source.
trait Input: Read + Seek {}
impl<T: Read + Seek> Input for T {}

impl Source {
    /// Opens a file.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn file(path: &Path) -> Result<Self, BundleError> {
        let file = File::open(path).map_err(|source| BundleError::Read { path: path.into(), source })?;
        Ok(Self::File { path: path.into(), file })
    }

    fn reader(&self) -> Result<Box<dyn Input + '_>, BundleError> {
        match self {
            Self::File { path, file } => {
                let mut reader = io::BufReader::with_capacity(BLOCK_SIZE, file);
                reader.rewind().map_err(|source| BundleError::Read { path: path.clone(), source })?;
                Ok(Box::new(reader))
            }
            Self::Memory(bytes) => Ok(Box::new(Cursor::new(*bytes))),
        }
    }
}

/// The two files before the payload, raw.
pub struct Head {
    /// Raw manifest.
    pub manifest: Vec<u8>,
    /// Raw signature.
    pub signature: Vec<u8>,
}

/// Reads manifest and signature without looking into them.
///
/// # Errors
/// When they are not the first two entries or too large.
pub fn read_head(source: &mut Source) -> Result<Head, BundleError> {
    let mut archive = tar::Archive::new(source.reader()?);
    let mut entries = archive.entries().map_err(damaged)?;
    let mut head = Vec::new();
    for (path, size_max) in [(MANIFEST_PATH, MANIFEST_SIZE_MAX), (SIGNATURE_PATH, SIGNATURE_SIZE_MAX)] {
        let mut entry = next_entry(&mut entries, path)?;
        if entry.size() > size_max {
            return Err(BundleError::Archive {
                found: format!("{path} of {} bytes", entry.size()),
                expected: format!("at most {size_max}"),
            });
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(damaged)?;
        if bytes.len() as u64 != entry.size() {
            return Err(truncated(path, bytes.len() as u64, entry.size()));
        }
        head.push(bytes);
    }
    let signature = head.pop().unwrap_or_default();
    let manifest = head.pop().unwrap_or_default();
    Ok(Head { manifest, signature })
}

/// Checks that the payload is exactly what the manifest says; gives where each file starts.
///
/// # Errors
/// When a file is missing, too many, out of order, of another size or content.
pub fn check_payload(source: &mut Source, manifest: &Manifest) -> Result<Vec<u64>, BundleError> {
    let mut archive = tar::Archive::new(source.reader()?);
    let mut entries = archive.entries().map_err(damaged)?;
    next_entry(&mut entries, MANIFEST_PATH)?;
    next_entry(&mut entries, SIGNATURE_PATH)?;
    let mut offsets = Vec::with_capacity(manifest.files.len());
    for file in &manifest.files {
        let mut entry = next_entry(&mut entries, &file.path)?;
        if entry.size() != file.size_bytes {
            return Err(BundleError::Payload {
                path: file.path.clone(),
                found: format!("{} bytes", entry.size()),
                expected: format!("{} bytes", file.size_bytes),
            });
        }
        offsets.push(entry.raw_file_position());
        check_hash(file, &hash_reader(&mut entry, file)?)?;
    }
    match entries.next() {
        None => Ok(offsets),
        Some(_) => Err(BundleError::Archive {
            found: "more files than the manifest names".into(),
            expected: format!("{} payload files", manifest.files.len()),
        }),
    }
}

/// Reads one payload file again and checks it.
///
/// # Errors
/// When its bytes are not what was signed.
pub fn read_payload(source: &Source, file: &FileEntry, offset: u64) -> Result<Vec<u8>, BundleError> {
    let mut reader = source.reader()?;
    reader.seek(SeekFrom::Start(offset)).map_err(damaged)?;
    let mut bytes = Vec::new();
    reader.take(file.size_bytes).read_to_end(&mut bytes).map_err(damaged)?;
    if bytes.len() as u64 != file.size_bytes {
        return Err(truncated(&file.path, bytes.len() as u64, file.size_bytes));
    }
    check_hash(file, &hex(&Sha256::digest(&bytes)))?;
    Ok(bytes)
}

/// Writes a bundle: the same input gives the same bytes.
///
/// # Errors
/// When writing fails.
pub fn write_archive(out: &mut dyn Write, files: &[(&str, &[u8])]) -> io::Result<()> {
    let mut builder = tar::Builder::new(out);
    for (path, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_path(path)?;
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        builder.append(&header, *bytes)?;
    }
    builder.finish()
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

type Entries<'a, 'b> = tar::Entries<'a, Box<dyn Input + 'b>>;

fn next_entry<'a, 'b>(
    entries: &mut Entries<'a, 'b>,
    path: &str,
) -> Result<tar::Entry<'a, Box<dyn Input + 'b>>, BundleError> {
    let Some(entry) = entries.next() else {
        return Err(BundleError::Archive {
            found: format!("the end before {path}"),
            expected: path.to_string(),
        });
    };
    let entry = entry.map_err(damaged)?;
    let (found, kind) = (entry.path_bytes().into_owned(), entry.header().entry_type());
    if kind != tar::EntryType::Regular || found != path.as_bytes() {
        return Err(BundleError::Archive {
            found: format!("{kind:?} entry `{}`", String::from_utf8_lossy(&found)),
            expected: format!("regular file `{path}`"),
        });
    }
    Ok(entry)
}

fn hash_reader(reader: &mut impl Read, file: &FileEntry) -> Result<String, BundleError> {
    let mut hasher = Sha256::new();
    let mut block = vec![0; BLOCK_SIZE];
    let mut total = 0;
    loop {
        let count = reader.read(&mut block).map_err(damaged)?;
        if count == 0 {
            break;
        }
        total += count as u64;
        hasher.update(&block[..count]);
    }
    if total != file.size_bytes {
        return Err(truncated(&file.path, total, file.size_bytes));
    }
    Ok(hex(&hasher.finalize()))
}

fn check_hash(file: &FileEntry, found: &str) -> Result<(), BundleError> {
    if found == file.sha256 {
        return Ok(());
    }
    Err(BundleError::Payload {
        path: file.path.clone(),
        found: format!("sha256 {found}"),
        expected: format!("sha256 {}", file.sha256),
    })
}

fn truncated(path: &str, found: u64, expected: u64) -> BundleError {
    BundleError::Archive {
        found: format!("{path} ends after {found} bytes"),
        expected: format!("{expected} bytes; copy the file again"),
    }
}

fn damaged(error: io::Error) -> BundleError {
    BundleError::Archive { found: error.to_string(), expected: "a plain tar; copy the file again".into() }
}
