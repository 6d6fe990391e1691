//! Requests whose body could end at different places for a proxy and for this service (request smuggling, RFC 9112
//! §11.2): they are refused and their connection is closed, so that no second request is read from their bytes. None of
//! it depends on the database, so it runs on the embedded stack only.

mod embedded {
    use crate::app::Stack;
    use crate::problems::raw;

    /// Heads that two readers could understand in different ways.
    const AMBIGUOUS: [&str; 15] = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x5\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding:\u{b}chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "X-Folded: a\r\n Transfer-Encoding: chunked\r\n",
    ];

    /// Bodies in chunks that are none.
    const CHUNKS: [&str; 3] = ["FFFFFFFFFFFFFFFFF\r\nx", "-1\r\nx", "5;x=1\r\n{\"a\"\r\n0\r\n\r\n"];

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_body_with_two_possible_ends_ends_the_connection() {
        let app = Stack::Embedded.start().await;
        let start =
            "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
        let second = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let heads = AMBIGUOUS.iter().map(|head| format!("{start}{head}\r\n0\r\n\r\n{second}"));
        let chunked = format!("{start}Transfer-Encoding: chunked\r\n\r\n");
        let bodies = CHUNKS.iter().map(|body| format!("{chunked}{body}{second}"));
        for request in heads.chain(bodies) {
            let answer = raw(&app, &request).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{request}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{request}: {answer}");
        }
        assert!(app.items("/api/v1/events").await.is_empty());
        // The same bytes with one meaning are two requests.
        let clear = format!("{start}Content-Length: 5\r\n\r\n0\r\n\r\n{second}");
        let closing =
            clear.replace("/livez HTTP/1.1\r\n", "/livez HTTP/1.1\r\nConnection: close\r\n");
        assert_eq!(raw(&app, &closing).await.matches("HTTP/1.1 ").count(), 2);
    }
}
