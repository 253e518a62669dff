//! Checks 1 to 4: method, encoding, signature header, length. None of them reads the body.

use axum::body::Body;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};

use super::{Unread, signed, with_body};
use crate::support::TestReceiver;

#[tokio::test]
async fn rejects_other_methods() {
    let receiver = TestReceiver::new();
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "post", "ROOMZ"] {
        let mut request = with_body(signed(), Body::new(Unread));
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        let response = receiver.send(request).await;
        assert_eq!(response.outcome(), (405, "method-not-allowed".into()), "{method}");
        assert_eq!(response.headers[header::ALLOW], "POST");
    }
    assert_eq!((receiver.runs(), receiver.store.total_calls()), (0, 0));
}

#[tokio::test]
async fn rejects_compressed_body() {
    let receiver = TestReceiver::new();
    for encoding in [
        "gzip",
        "br",
        "x-GZIP",
        "identity, Deflate",
        "zstd ,identity",
        "compress",
        "x-compress",
        "UTF-8,\tbr",
    ] {
        let mut request = with_body(signed(), Body::new(Unread));
        request.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        let response = receiver.send(request).await;
        assert_eq!(response.outcome(), (415, "content-encoding".into()), "{encoding:?}");
        assert!(response.body.contains("compressed with "), "{}", response.body);
        assert_eq!(response.headers[header::ACCEPT_ENCODING], "identity");
    }
    let mut second_line = with_body(signed(), Body::new(Unread));
    second_line.headers_mut().append(header::CONTENT_ENCODING, HeaderValue::from_static("identity"));
    second_line.headers_mut().append(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    assert_eq!(receiver.send(second_line).await.status, 415);
}

/// Values that are not a compression, and that senders and proxies set by mistake.
#[tokio::test]
async fn signature_decides_about_other_encodings() {
    let receiver = TestReceiver::new();
    for encoding in [
        &b"Identity"[..],
        b"identity, identity",
        b"",
        b",",
        b"UTF-8",
        b"none",
        b"base64",
        b"gzipped",
        b"7bit",
        b"aws-chunked",
        b"\xff",
    ] {
        for (signed, status) in [(true, 200), (false, 401)] {
            let mut request = signed_with(signed);
            let encoding = HeaderValue::from_bytes(encoding).unwrap();
            request.headers_mut().insert(header::CONTENT_ENCODING, encoding.clone());
            assert_eq!(receiver.send(request).await.status, status, "{encoding:?}");
        }
    }
}

/// An event with a valid signature, or with that of another body.
fn signed_with(is_valid: bool) -> Request<Body> {
    if is_valid { signed() } else { with_body(signed(), Body::from("{}")) }
}

/// Exactly one well-formed header is required.
#[tokio::test]
async fn rejects_malformed_signature_header() {
    let receiver = TestReceiver::new();
    let valid = signed().headers()["roomz-signature"].clone();
    let cases: [(&str, Vec<Vec<u8>>); 10] = [
        ("signature-missing", vec![]),
        ("signature-repeated", vec![valid.as_bytes().to_vec(), valid.as_bytes().to_vec()]),
        ("signature-repeated", vec![valid.as_bytes().to_vec(), vec![]]),
        ("signature-malformed", vec![vec![]]),
        ("signature-repeated", vec![[valid.as_bytes(), b", ", valid.as_bytes()].concat()]),
        ("signature-repeated", vec![[valid.as_bytes(), b","].concat()]),
        ("signature-malformed", vec![[b"sha512=", valid.as_bytes()].concat()]),
        ("signature-malformed", vec![vec![0xe9; 88]]),
        ("signature-malformed", vec![vec![b'A'; 8 * 1024]]),
        ("signature-malformed", vec![[&valid.as_bytes()[..86], b"= "].concat()]),
    ];
    for (reason, values) in cases {
        let mut request = with_body(signed(), Body::new(Unread));
        request.headers_mut().remove("roomz-signature");
        for value in values {
            request.headers_mut().append("roomz-signature", HeaderValue::from_bytes(&value).unwrap());
        }
        let response = receiver.send(request).await;
        assert_eq!(response.outcome(), (401, reason.into()));
        assert_eq!(response.headers[header::WWW_AUTHENTICATE], "Roomz-Signature");
    }
    assert_eq!((receiver.runs(), receiver.store.total_calls()), (0, 0));
}

#[tokio::test]
async fn accepts_custom_signature_header() {
    let name = HeaderName::from_static("x-roomz-signature");
    let receiver =
        TestReceiver::with(|builder| builder.with_signature_header(name), async |_| Ok(StatusCode::OK));
    let response = receiver.send(signed()).await;
    assert_eq!(response.outcome(), (401, "signature-missing".into()));
    assert!(response.body.contains("x-roomz-signature"), "{}", response.body);
    let mut request = signed();
    let signature = request.headers_mut().remove("roomz-signature").unwrap();
    request.headers_mut().insert("x-roomz-signature", signature);
    assert_eq!(receiver.send(request).await.status, 200);
}

#[tokio::test]
async fn rejects_content_length_over_limit() {
    let receiver = TestReceiver::new();
    for length in ["262145", "18446744073709551615"] {
        let mut request = with_body(signed(), Body::new(Unread));
        request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static(length));
        assert_eq!(receiver.send(request).await.outcome(), (413, "body-too-large".into()), "{length}");
    }
    assert_eq!(receiver.store.total_calls(), 0);
}
