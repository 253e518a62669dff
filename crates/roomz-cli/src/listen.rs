use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use roomz_protocol::{Secrets, Timestamp};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::args::ListenArgs;
use crate::failure::Failure;
use crate::save_file::SaveFile;
use crate::saved::{HEADERS, Saved};
use crate::shown::{Verdict, shown};
use crate::text::{safe_json, safe_start};
use crate::{out, secret};

/// Longer bodies are answered 413: four times what a receiver takes.
const LONGEST_BODY: usize = 1024 * 1024;
/// How long a client may take for the head of a request, and again for its body.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests may take to end once it stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) async fn run(args: &ListenArgs) -> Result<(), Failure> {
    let secret = secret::optional(&args.secret)?;
    if secret.is_none() {
        out::note(
            "no secret: signatures are not verified; name one with --secret-file or ROOMZ_WEBHOOK_SECRET",
        );
    }
    let save = args.save.as_deref().map(SaveFile::open).transpose()?;
    let listener = TcpListener::bind(&args.listen).await.map_err(|error| {
        let address = &args.listen;
        Failure::failed(format!(
            "cannot listen on {address:?}: {error}; give --listen HOST:PORT, port 0 for any free one"
        ))
    })?;
    let stop = CancellationToken::new();
    let signal =
        stop_signal().map_err(|error| Failure::failed(format!("cannot wait for signals: {error}")))?;
    let address =
        listener.local_addr().map_err(|error| Failure::failed(format!("cannot listen: {error}")))?;
    // With --json, standard output is for deliveries alone.
    let hello = format!("listening on http://{address}");
    if args.json {
        out::note(&hello);
    } else {
        out::line(&hello)?;
    }

    let receiver = Arc::new(Receiver {
        secrets: secret.map(Secrets::from),
        path: args.path.clone(),
        status: args.status,
        json: args.json,
        save: save.map(Mutex::new),
        stop: stop.clone(),
    });
    serve(listener, receiver, signal, stop).await;
    Ok(())
}

async fn serve(
    listener: TcpListener,
    receiver: Arc<Receiver>,
    signal: impl Future<Output = ()>,
    stop: CancellationToken,
) {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(READ_TIMEOUT);
    let connections = GracefulShutdown::new();
    let mut signal = pin!(signal);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Most often too many open files: give connections the time to end.
                    out::complain(&format!("cannot accept a connection: {error}"));
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = &mut signal => break,
            () = stop.cancelled() => break,
        };
        let _ = stream.set_nodelay(true);
        let receiver = Arc::clone(&receiver);
        let service = service_fn(move |request| {
            let receiver = Arc::clone(&receiver);
            async move { Ok::<_, Infallible>(receiver.answer(request).await) }
        });
        tokio::spawn(connections.watch(server.serve_connection(TokioIo::new(stream), service)));
    }
    drop(listener);
    // What is still under way then is cut off: nothing here is lost that was answered.
    let _ = tokio::time::timeout(STOP_TIMEOUT, connections.shutdown()).await;
}

struct Receiver {
    secrets: Option<Secrets>,
    path: String,
    status: Option<StatusCode>,
    json: bool,
    save: Option<Mutex<SaveFile>>,
    stop: CancellationToken,
}

impl Receiver {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let elsewhere = head.uri.path() != self.path;
        if elsewhere || head.method != Method::POST {
            let (status, what) = if elsewhere {
                (StatusCode::NOT_FOUND, format!("not {}", self.path))
            } else {
                (StatusCode::METHOD_NOT_ALLOWED, "not POST".to_owned())
            };
            self.remark(head.method.as_str(), &path, status, &what);
            return refusal(status, if elsewhere { "not-found" } else { "method-not-allowed" });
        }
        let body = match read(body).await {
            Ok(body) => body,
            Err((status, reason, what)) => {
                self.remark("POST", &path, status, what);
                return refusal(status, reason);
            }
        };
        let saved = Saved {
            received: format!("{:.3}", Timestamp::now()),
            method: head.method,
            path,
            headers: of_interest(&head.headers),
            body,
        };
        self.take(&saved)
    }

    fn take(&self, saved: &Saved) -> Response<Full<Bytes>> {
        let verdict = Verdict::of(self.secrets.as_ref(), saved);
        let status = self.status.unwrap_or_else(|| verdict.status());
        let text = if self.json {
            let mut object = saved.to_json();
            if let Some(object) = object.as_object_mut() {
                object.insert("verified".to_owned(), verdict.json());
            }
            safe_json(&object.to_string()) + "\n"
        } else {
            shown(saved, &verdict, status)
        };
        if let Some(file) = &self.save {
            let kept = file.lock().unwrap_or_else(PoisonError::into_inner).append(saved);
            if let Err(error) = kept {
                out::complain(&format!("cannot save a delivery: {error}; see the space of its file system"));
                return refusal(StatusCode::INTERNAL_SERVER_ERROR, "not-saved");
            }
        }
        self.print(&text);
        match verdict.reason() {
            Some(reason) if !status.is_success() => refusal(status, reason),
            _ if status.is_success() => response(status, Bytes::new()),
            _ => refusal(status, "as-asked"),
        }
    }

    fn remark(&self, method: &str, path: &str, status: StatusCode, what: &str) {
        let text = format!("{method} {path} answered {} ({what})", status.as_u16());
        if self.json {
            out::note(&text);
        } else {
            self.print(&format!("{}\n", safe_start(&text, 300)));
        }
    }

    /// Whoever reads the output may end the program by going away.
    fn print(&self, text: &str) {
        if out::try_write(text.as_bytes()).is_err() {
            self.stop.cancel();
        }
    }
}

async fn read(body: Incoming) -> Result<Bytes, (StatusCode, &'static str, &'static str)> {
    match tokio::time::timeout(READ_TIMEOUT, Limited::new(body, LONGEST_BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err((StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "longer than 1 MiB"))
        }
        Ok(Err(_)) => Err((StatusCode::BAD_REQUEST, "body-broken", "the connection broke")),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "body-timeout", "not complete within 10 s")),
    }
}

fn of_interest(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in HEADERS {
        for value in headers.get_all(name) {
            kept.append(name, value.clone());
        }
    }
    kept
}

fn response(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}

/// As receivers refuse: a problem with a reason, which `roomz send` counts.
fn refusal(status: StatusCode, reason: &str) -> Response<Full<Bytes>> {
    let problem = serde_json::json!({
        "type": "about:blank", "title": status.canonical_reason(), "status": status.as_u16(), "reason": reason,
    });
    let mut response = response(status, problem.to_string().into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

/// Resolves when the process is asked to end: Ctrl-C, or a service manager's SIGTERM.
#[cfg(unix)]
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Resolves when the process is asked to end.
#[cfg(not(unix))]
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}
