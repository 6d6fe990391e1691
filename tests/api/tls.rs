//! TLS of the listener, over real connections: versions, protocols, the renewal of the certificate, slow clients, and
//! files that cannot be used. None of it depends on the database, so it runs on the embedded stack only.

mod embedded {
    use std::fs;
    use std::io;
    use std::net::SocketAddr;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use seatlock::app::{App, Role};
    use seatlock::config::Config;
    use test_support::{Certificates, Folder, SOON, eventually};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
    use tokio_rustls::rustls::version::{TLS12, TLS13};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

    use crate::app::{Stack, TestApp};
    use crate::service::PROGRAM;

    /// The files that the service reads, which a test replaces.
    struct Files {
        folder: Folder,
    }

    impl Files {
        fn of(certificates: &Certificates) -> Self {
            let files = Self { folder: Folder::new() };
            files.replace_by(certificates);
            files
        }

        fn certificate(&self) -> String {
            self.folder.path().join("tls.crt").to_string_lossy().into_owned()
        }

        fn key(&self) -> String {
            self.folder.path().join("tls.key").to_string_lossy().into_owned()
        }

        fn replace_by(&self, certificates: &Certificates) {
            fs::copy(certificates.certificate(), self.certificate()).unwrap();
            fs::copy(certificates.key(), self.key()).unwrap();
        }

        async fn serve(&self, more: &[(&str, &str)]) -> TestApp {
            let (certificate, key) = (self.certificate(), self.key());
            let files = [("TLS_CERTIFICATE", &*certificate), ("TLS_KEY", &*key)];
            Stack::Embedded.start_with(&[&files, more].concat()).await
        }
    }

    /// A client that trusts one authority.
    fn client(
        authority: &Path,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
    ) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }

    async fn connect(to: SocketAddr, client: &TlsConnector) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(to).await?;
        client.connect(ServerName::try_from("localhost").unwrap(), stream).await
    }

    async fn open(to: SocketAddr, certificates: &Certificates) -> io::Result<TlsStream<TcpStream>> {
        connect(to, &client(&certificates.ca(), &[&TLS13], &["http/1.1"])).await
    }

    /// The head and the body of the answer to a request that keeps its connection open.
    async fn get(stream: &mut TlsStream<TcpStream>, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok\n") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "the connection is open");
        }
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn tls_1_2_and_1_3_are_answered_in_http_1_1_alone() {
        let certificates = Certificates::new();
        let app = Files::of(&certificates).serve(&[]).await;
        let ca = certificates.ca();
        for version in [&TLS12, &TLS13] {
            let offered = client(&ca, &[version], &["h2", "http/1.1"]);
            let mut stream = connect(app.address(), &offered).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
            assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
            let answer = get(&mut stream, "/livez").await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(
                answer.contains("\r\nstrict-transport-security: max-age=31536000\r\n"),
                "{answer}"
            );
        }
        let refused = connect(app.address(), &client(&ca, &[&TLS13], &["h2"])).await;
        assert!(refused.unwrap_err().to_string().contains("NoApplicationProtocol"));
        // A plain request gets no answer.
        let mut plain = TcpStream::connect(app.address()).await.unwrap();
        plain.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        drop(plain.read_to_end(&mut answer).await);
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_unencrypted_answer_demands_no_encryption() {
        let app = Stack::Embedded.start().await;
        assert_eq!(app.get("/livez").await.header("strict-transport-security"), None);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_renewed_certificate_is_used_and_no_connection_is_dropped() {
        let before = Certificates::new();
        let files = Files::of(&before);
        let app = files.serve(&[]).await;
        let mut open_before = open(app.address(), &before).await.unwrap();
        get(&mut open_before, "/livez").await;

        let renewed = Certificates::new();
        files.replace_by(&renewed);
        let began = Instant::now();
        while open(app.address(), &renewed).await.is_err() {
            assert!(began.elapsed() < SOON, "the renewed certificate is used");
            // An idle connection would be closed.
            get(&mut open_before, "/livez").await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        assert!(open(app.address(), &before).await.is_err(), "another authority");
        get(&mut open_before, "/livez").await;

        // Files that cannot be used leave it in use.
        let other = Certificates::new();
        let expired = Certificates::expired();
        for (certificate, key) in [
            (fs::read(other.certificate()).unwrap(), fs::read(renewed.key()).unwrap()),
            (fs::read(expired.certificate()).unwrap(), fs::read(expired.key()).unwrap()),
            (b"no certificate".to_vec(), fs::read(renewed.key()).unwrap()),
            (fs::read(renewed.certificate()).unwrap(), Vec::new()),
        ] {
            fs::write(files.certificate(), certificate).unwrap();
            fs::write(files.key(), key).unwrap();
            tokio::time::sleep(Duration::from_secs(3)).await;
            let mut stream = open(app.address(), &renewed).await.unwrap();
            get(&mut stream, "/livez").await;
        }
        files.replace_by(&other);
        eventually("a valid pair is used again", SOON, async || {
            open(app.address(), &other).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn slow_clients_are_cut_off_during_the_handshake_and_after_it() {
        let certificates = Certificates::new();
        let app = Files::of(&certificates).serve(&[("HEADER_TIMEOUT", "1s")]).await;
        let began = Instant::now();
        let mut silent = TcpStream::connect(app.address()).await.unwrap();
        let mut half = TcpStream::connect(app.address()).await.unwrap();
        half.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
        let mut slow = open(app.address(), &certificates).await.unwrap();
        slow.write_all(b"GET /livez HTTP/1.1\r\nX-A: ").await.unwrap();
        let mut read = Vec::new();
        drop(silent.read_to_end(&mut read).await);
        drop(half.read_to_end(&mut read).await);
        assert!(!read.starts_with(b"HTTP"), "{read:?}");
        let mut answer = Vec::new();
        drop(slow.read_to_end(&mut answer).await);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
        get(&mut open(app.address(), &certificates).await.unwrap(), "/livez").await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_health_check_of_the_program_accepts_the_certificate_of_its_file_alone() {
        let certificates = Certificates::of("DNS:seats.example");
        let app = Files::of(&certificates).serve(&[]).await;
        let folder = Folder::new();
        let check = |files: &Certificates| {
            let ended = std::process::Command::new(PROGRAM)
                .arg("healthcheck")
                .env_clear()
                .env("BIND", app.address().to_string())
                .env("TLS_CERTIFICATE", files.certificate())
                .env("TLS_KEY", files.key())
                .current_dir(folder.path())
                .output();
            let ended = ended.unwrap();
            (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
        };
        assert_eq!(check(&certificates), (Some(0), String::new()));
        let (code, error) = check(&Certificates::new());
        assert_eq!(code, Some(1), "{error}");
        assert!(error.contains("https://") && error.contains("certificate"), "{error}");
    }

    /// Why the service does not start with these files.
    fn refusal(certificate: &Path, key: &Path) -> String {
        let folder = Folder::new();
        let database = folder.path().join("seatlock.db");
        let variables = [
            ("BIND", "127.0.0.1:0".to_owned()),
            ("SQLITE_PATH", database.to_string_lossy().into_owned()),
            ("TLS_CERTIFICATE", certificate.to_string_lossy().into_owned()),
            ("TLS_KEY", key.to_string_lossy().into_owned()),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value)).into();
        let config = Config::from_vars(&variables).unwrap();
        let start = move || {
            actix_web::rt::System::new().block_on(async {
                App::build(&config, Role::Serve).await.err().map(|error| error.to_string())
            })
        };
        std::thread::spawn(start).join().unwrap().unwrap()
    }

    #[test]
    fn files_that_cannot_be_used_are_named_with_the_remedy() {
        let valid = Certificates::new();
        let other = Certificates::new();
        let expired = Certificates::expired();
        let (certificate, key) = (valid.certificate(), valid.key());
        let missing = Path::new("/nonexistent/tls.pem");
        for (certificate, key, variable, words) in [
            (missing, &*key, "TLS_CERTIFICATE=/nonexistent/tls.pem: ", "readable PEM file"),
            (&*certificate, missing, "TLS_KEY=/nonexistent/tls.pem: ", "readable PEM file"),
            (&*key, &*key, "TLS_CERTIFICATE=", "it has no certificate"),
            (&*certificate, &*certificate, "TLS_KEY=", "without a passphrase"),
            (&*certificate, &*other.key(), "TLS_KEY=", "it is not the key of"),
            (&*expired.certificate(), &*expired.key(), "TLS_CERTIFICATE=", "renew the certificate"),
        ] {
            let refusal = refusal(certificate, key);
            assert!(refusal.starts_with(variable) && refusal.contains(words), "{refusal}");
            assert!(!refusal.contains("BEGIN"), "no content of a file: {refusal}");
        }
    }
}
