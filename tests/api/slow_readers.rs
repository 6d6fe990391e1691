//! Readers that read nothing: for each the process holds a slice of the answer, not all of it.

mod embedded {
    use std::time::Duration;

    use serde_json::{Value, json};
    use test_support::{Client, Folder, Service};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpSocket, TcpStream};

    use crate::service::PROGRAM;

    const READERS: usize = 1_000;

    /// What a process may grow by, in kB, while that many readers read nothing.
    const GROWTH_MAX: u64 = 150_000;

    /// A request whose answer is not read: a small window, and nothing taken from it.
    async fn ask_and_read_nothing(client: &Client, (path, coding): (&str, &str)) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let mut stream = socket.connect(client.address()).await.unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\naccept-encoding: {coding}\r\n\
             connection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    /// The body of an answer, read to its end; its length has been announced.
    async fn body(mut reader: TcpStream) -> Vec<u8> {
        let mut answer = Vec::new();
        reader.read_to_end(&mut answer).await.unwrap();
        let end = answer.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4;
        let body = answer.split_off(end);
        let head = String::from_utf8(answer).unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
        body
    }

    /// Opens this many connections that read nothing, each with an answer that has begun.
    async fn stalled(client: &Client, asked: (&str, &str)) -> Vec<TcpStream> {
        let mut readers = Vec::new();
        for _ in 0..READERS {
            readers.push(ask_and_read_nothing(client, asked).await);
        }
        for reader in &readers {
            let mut first = [0; 12];
            assert_eq!(reader.peek(&mut first).await.unwrap(), first.len());
            assert_eq!(&first, b"HTTP/1.1 200");
        }
        // Meanwhile the server fills its buffers for each of them.
        tokio::time::sleep(Duration::from_secs(2)).await;
        readers
    }

    /// The memory that a process holds (`VmRSS:`), or the most that it has held since the last reset of the peak
    /// (`VmHWM:`), in kB.
    fn memory(pid: u32, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        value.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_thousand_readers_that_read_nothing_cost_a_slice_each() {
        rlimit::increase_nofile_limit(u64::MAX).unwrap();
        let folder = Folder::new();
        let path = folder.path().join("seatlock.db");
        let variables = [("SQLITE_PATH", &*path.to_string_lossy()), ("SEND_TIMEOUT", "300s")];
        let service = Service::start(&[PROGRAM], &variables).up().await;
        let pid = service.process().pid();
        let client = service.client();
        let schedule = client.schedule(&[("A", 500, 100)], Value::Null).await;
        let map = format!("/api/v1/schedules/{schedule}/seats");
        let bundle = "/docs/swagger-ui-bundle.js";
        for asked in [(&*map, "identity"), (bundle, "identity"), (bundle, "gzip")] {
            let whole = body(ask_and_read_nothing(client, asked).await).await;
            assert!(whole.len() > 400_000, "{asked:?}: {}", whole.len());
            let before = memory(pid, "VmRSS:");
            // Resets the peak (proc(5), `clear_refs`).
            std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
            let mut readers = stalled(client, asked).await;
            let growth = memory(pid, "VmHWM:").saturating_sub(before);
            println!("{READERS} readers of {asked:?} ({} bytes): {growth} kB", whole.len());
            assert!(growth < GROWTH_MAX, "{asked:?}: {growth} kB");
            // Other requests are served meanwhile, and a reader that continues gets the whole answer.
            client.post("/api/v1/events", &json!({"name": "Hamlet"})).await.expect(201);
            assert!(body(readers.pop().unwrap()).await == whole, "{asked:?}");
        }
    }
}
