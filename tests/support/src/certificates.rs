//! Certificates for servers with encrypted connections. They are created when they are needed, and valid for a day.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::folder::Folder;
use crate::tool::{command, run};

/// A certificate authority of the test, and a server certificate that it has signed. The
/// files are deleted on drop and when the test process ends.
pub struct Certificates {
    folder: Folder,
}

const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
/// The configuration of an authority that chooses the dates of a certificate.
const AUTHORITY: &str = "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nnew_certs_dir=.\nrand_serial=yes\n\
                         policy=p\n[p]\ncommonName=supplied\n";

const DAY: [&str; 2] = ["-days", "1"];

impl Certificates {
    /// Creates the certificates with openssl(1).
    #[must_use]
    pub fn new() -> Self {
        Self::of("IP:127.0.0.1,DNS:localhost")
    }

    /// Like [`Certificates::new`], with a server certificate for these names (as `subjectAltName` of openssl(1)).
    #[must_use]
    pub fn of(names: &str) -> Self {
        let folder = Folder::new();
        let path = folder.path();
        let names = format!("subjectAltName={names}\n");
        fs::write(path.join("names"), names).expect("the folder is ours to write");
        let openssl = |words: &[&[&str]]| {
            let words: Vec<_> = words.concat();
            let mut command = command!["openssl"].to_vec();
            command.extend(words.iter().map(std::ffi::OsString::from));
            run(path, &command);
        };
        // Another authority has another name, as in practice.
        static AUTHORITIES: AtomicU32 = AtomicU32::new(0);
        let name = format!("/CN=authority {}", AUTHORITIES.fetch_add(1, Ordering::Relaxed));
        let authority = ["-keyout", "ca.key", "-out", "ca.pem", "-subj", &name];
        openssl(&[&["req", "-x509"], &KEY, &DAY, &authority]);
        let server = ["-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=a server"];
        openssl(&[&["req"], &KEY, &server]);
        let signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "server.pem"];
        let request = ["x509", "-req", "-in", "server.csr", "-extfile", "names"];
        openssl(&[&request, &signed, &DAY]);
        Self { folder }
    }

    /// Like [`Certificates::new`], with a server certificate that has expired years ago.
    #[must_use]
    pub fn expired() -> Self {
        let certificates = Self::new();
        let path = certificates.folder.path();
        fs::write(path.join("ca.cnf"), AUTHORITY).expect("the folder is ours to write");
        fs::write(path.join("index.txt"), "").expect("the folder is ours to write");
        let sign = ["openssl", "ca", "-batch", "-notext", "-config", "ca.cnf", "-md", "sha256"];
        let dates = ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"];
        let files =
            ["-cert", "ca.pem", "-keyfile", "ca.key", "-in", "server.csr", "-out", "server.pem"];
        let words = [&sign[..], &dates, &files, &["-extfile", "names"]].concat();
        run(path, &words.into_iter().map(std::ffi::OsString::from).collect::<Vec<_>>());
        certificates
    }

    /// The authority's certificate, for clients.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The server's certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("server.pem")
    }

    /// The server's private key.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("server.key")
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}
