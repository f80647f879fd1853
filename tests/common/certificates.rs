//! Certificates made by the openssl command for one test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder with an authority `ca.pem` and what it has signed.
pub struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    /// Makes an authority. None, with a line on stderr, where there is no openssl.
    pub fn new() -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            eprintln!("skipped: there is no openssl command");
            return None;
        }
        let made = Self { folder: tempfile::tempdir().unwrap() };
        made.authority("ca");
        Some(made)
    }

    /// A file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes another authority, `NAME.pem`.
    pub fn authority(&self, name: &str) {
        let subject = format!("/CN={name}");
        let (key, cert) = (format!("{name}.key"), format!("{name}.pem"));
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let mut args =
            vec!["req", "-x509", "-days", "3650", "-subj", &subject, "-keyout", &key, "-out", &cert];
        args.extend(curve);
        self.openssl(&args);
    }

    /// Makes `NAME.pem` and `NAME.key`, signed by `ca`, for a subject and names such as
    /// `DNS:localhost`, valid for so many days from now.
    pub fn issue(&self, name: &str, ca: &str, subject: &str, names: &str, days: i32) {
        let (key, request, cert) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
        let subject = format!("/CN={subject}");
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let mut args = vec!["req", "-new", "-subj", &subject, "-keyout", &key, "-out", &request];
        args.extend(curve);
        self.openssl(&args);
        fs::write(self.path("names"), format!("subjectAltName={names}\n")).unwrap();
        let (ca_cert, ca_key, days) = (format!("{ca}.pem"), format!("{ca}.key"), days.to_string());
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &ca_cert,
            "-CAkey",
            &ca_key,
            "-CAcreateserial",
            "-days",
            &days,
            "-extfile",
            "names",
            "-out",
            &cert,
        ]);
    }

    /// Puts all files where a broker looks for them.
    pub fn copy_to(&self, folder: &Path) {
        for entry in fs::read_dir(self.folder.path()).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
    }

    fn openssl(&self, args: &[&str]) {
        let output = Command::new("openssl").args(args).current_dir(self.folder.path()).output().unwrap();
        assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
