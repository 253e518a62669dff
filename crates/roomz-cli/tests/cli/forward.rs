//! `listen --forward`.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use axum::response::IntoResponse as _;
use http::StatusCode;

use crate::support::{
    ListenProcess, ReceivedRequest, TestDir, TestReceiver, path_text, run, run_with_secret,
};

const BODY: &str = " {\"id\": \"\u{202e}é\", \"n\": 1.50}\r\n";

/// Sends a request with these header lines and returns the response with its head.
fn exchange(url: &str, headers: &str, body: &str) -> String {
    let address = url.strip_prefix("http://").unwrap().split('/').next().unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let request = format!(
        "POST /hook?a=b HTTP/1.1\r\nHost: sender.example\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n{headers}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

#[test]
fn passes_delivery_and_answer_on() {
    let receiver = TestReceiver::responding(|_, _| {
        let headers = [("x-answer", "1"), ("x-hop", "2"), ("connection", "x-hop"), ("retry-after", "7")];
        (StatusCode::IM_A_TEAPOT, headers, "the answer")
    });
    let listener = ListenProcess::start(&["--forward", &receiver.url]);
    let response = exchange(&listener.url, "Roomz-Signature: x\r\nX-Mine: a\r\nX-Mine: b\r\n", BODY);
    assert!(response.starts_with("HTTP/1.1 418 "), "{response}");
    for line in
        ["\r\nx-answer: 1\r\n", "\r\nretry-after: 7\r\n", "\r\ncontent-length: 10\r\n", "\r\n\r\nthe answer"]
    {
        assert!(response.contains(line), "{response}");
    }
    assert!(!response.contains("x-hop"), "{response}");
    let output = listener.stop("-TERM");
    output.assert_succeeds();
    let first = output.stdout.lines().next().unwrap();
    assert!(first.contains("NOT VERIFIED: ") && first.contains(", the receiver answered 418 in "), "{first}");

    let ReceivedRequest { headers, body } = &receiver.requests()[0];
    assert_eq!(body, BODY.as_bytes());
    assert_eq!(headers["roomz-signature"], "x");
    assert_eq!(headers.get_all("x-mine").iter().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(headers["content-length"], BODY.len().to_string());
    assert!(receiver.url.contains(headers["host"].to_str().unwrap()), "{headers:?}");
    assert!(!headers.contains_key("x-hop") && !headers.contains_key("connection"), "{headers:?}");
}

#[test]
fn forwards_to_receiver_with_layer_and_saves() {
    let directory = TestDir::new();
    let save = path_text(&directory.path("saved.jsonl"));
    let receiver = TestReceiver::with_layer();
    let listener = ListenProcess::start(&[
        "--forward",
        &receiver.url,
        "--save",
        &save,
        "--header",
        "X-Environment: test",
        "--header",
        "Host: other.example",
    ]);
    let arguments = [
        "send",
        &listener.url,
        "--count",
        "50",
        "--connections",
        "8",
        "--duplicates",
        "0.2",
        "--forged",
        "0.1",
    ];
    let output = run_with_secret(&arguments);
    output.assert_succeeds();
    assert_eq!((output.row("accepted"), output.row("skipped")), (60, 10));
    assert_eq!(output.row("401 signature-mismatch"), 5);
    let listened = listener.stop("-TERM");
    assert_eq!(listened.assert_succeeds().stdout.matches("the receiver answered 200 in ").count(), 60);
    assert_eq!(listened.stdout.matches("NOT VERIFIED").count(), 5);
    assert_eq!(receiver.handled().len(), 50);
    for request in receiver.requests() {
        assert_eq!(
            (&request.headers["x-environment"], &request.headers["host"]),
            (&"test".parse().unwrap(), &"other.example".parse().unwrap())
        );
    }
    // The forged deliveries were saved as such.
    run_with_secret(&["verify", &save]).assert_fails(1, &["5 of 65 deliveries"]);
    assert_eq!(run(&["replay", &save, &receiver.url]).assert_succeeds().row("unverified_not_sent"), 5);
}

#[test]
fn unreachable_receiver_is_answered_502() {
    let directory = TestDir::new();
    let save = path_text(&directory.path("saved.jsonl"));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listener = ListenProcess::start(&["--forward", &format!("http://{closed}/"), "--save", &save]);
    run_with_secret(&["send", &listener.url]).assert_fails(1, &["1 × 502)"]);
    let response = exchange(&listener.url, "", "{}");
    assert!(
        response.starts_with("HTTP/1.1 502 ") && response.contains("Connection refused (os error 111)\n"),
        "{response}"
    );
    let output = listener.stop("-TERM");
    assert_eq!(output.code, 0);
    let line = format!(
        "roomz: cannot forward a delivery to {closed}: Connection refused (os error 111); check that the receiver is running, the \
         scheme, host and port of the URL, and HTTPS_PROXY, HTTP_PROXY and ALL_PROXY if they are set\n"
    );
    assert_eq!(output.stderr, line.repeat(2));
    assert_eq!(output.stdout.matches(", not forwarded, answered 502").count(), 2, "{}", output.stdout);
    // Nothing is lost: the deliveries were saved before.
    assert_eq!(std::fs::read_to_string(&save).unwrap().lines().count(), 2);
}

#[test]
fn silent_and_endless_receivers_are_answered_502() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let listener = ListenProcess::start(&["--forward", &url, "--timeout", "0.05"]);
    assert!(exchange(&listener.url, "", "{}").contains("no response within 0.05 s"));
    assert!(listener.stop("-TERM").stderr.contains("raise --timeout"));
    let endless = TestReceiver::responding(|_, _| {
        let chunks = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'x'; 64 * 1024]));
        axum::body::Body::from_stream(chunks).into_response()
    });
    let listener = ListenProcess::start(&["--forward", &endless.url]);
    assert!(exchange(&listener.url, "", "{}").contains("the response is larger than 1 MiB"));
    listener.stop("-TERM");
}

#[test]
fn wrong_forward_options_are_rejected() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let own = format!("http://localhost:{port}/hook");
    for (options, part) in [
        (&["--forward", "localhost:3000"][..], "does not begin with http:// or https://"),
        (&["--forward", &own], "is where this command listens"),
        (&["--forward", "http://h/", "--status", "200"], "cannot be used with '--status"),
        (&["--forward", "http://h/", "--header", "x"], "no colon"),
        (&["--header", "A: b"], "--forward <URL>"),
        (&["--cacert", "chain.pem"], "--forward <URL>"),
        (
            &["--forwrad", "http://h/"],
            "unexpected argument '--forwrad' found; tip: a similar argument exists: '--forward'",
        ),
    ] {
        run_with_secret(&[&["listen", "--listen", &address], options].concat()).assert_fails(2, &[part]);
    }
    run_with_secret(&[
        "listen",
        "--listen",
        &address,
        "--forward",
        "https://h/",
        "--cacert",
        "/no/such/file",
    ])
    .assert_fails(1, &["cannot use --cacert /no/such/file: ", "No such file", "check that it exists"]);
}

/// A receiver whose connections each answer so many requests; the next one ends the connection without an
/// answer, after the whole request was read. Returns its URL and a count of requests per connection.
fn closing_receiver(answers: &'static [usize]) -> (String, Arc<Mutex<Vec<usize>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    std::thread::spawn(move || {
        for (connection, answers) in answers.iter().enumerate() {
            let (mut stream, _) = listener.accept().unwrap();
            seen.lock().unwrap().push(0);
            let mut received = Vec::new();
            loop {
                let mut chunk = [0; 1024];
                let length = stream.read(&mut chunk).unwrap_or_default();
                received.extend_from_slice(&chunk[..length]);
                if length == 0 {
                    break;
                }
                if !received.ends_with(b"}") {
                    continue;
                }
                received.clear();
                let count = {
                    let mut seen = seen.lock().unwrap();
                    seen[connection] += 1;
                    seen[connection]
                };
                if count > *answers {
                    break;
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            }
        }
    });
    (url, requests)
}

/// A receiver that closes idle connections loses no delivery, and gets none twice.
#[test]
fn each_delivery_has_a_new_connection() {
    let (url, requests) = closing_receiver(&[1, 1, 0]);
    let listener = ListenProcess::start(&["--forward", &url]);
    let statuses = [(); 3].map(|()| exchange(&listener.url, "", "{}")[9..12].to_owned());
    assert_eq!(statuses, ["200", "200", "502"]);
    assert_eq!(listener.stop("-TERM").code, 0);
    assert_eq!(*requests.lock().unwrap(), [1, 1, 1]);
}
