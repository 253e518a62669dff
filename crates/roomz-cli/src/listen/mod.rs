mod forward;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, anyhow};
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use bytes::Bytes;
use clap::{Args, ValueHint};
use http::{HeaderMap, StatusCode, Uri};
use roomz_protocol::{Secrets, Timestamp};
use roomz_webhook::Rejection;
use tokio::net::TcpListener;

use self::forward::Forwarder;
use crate::args::{ConnectArgs, SecretArgs};
use crate::escape::escape_truncated;
use crate::event_text::describe;
use crate::output::{self, DIM_STYLE, ERROR_STYLE, SUCCESS_STYLE};
use crate::saved::SaveFile;
use crate::saved_delivery::SavedDelivery;
use crate::values::parse_status;
use crate::{secret, signature};

const LISTEN_HELP: &str = "\
Examples:
  roomz listen --secret-file secret
  roomz listen --listen 0.0.0.0:8080 --save deliveries.jsonl
  roomz listen --status 503
  roomz listen --listen 0.0.0.0:3009 --forward http://127.0.0.1:3000/hook

Takes deliveries at every path. Answers 200 to a delivery with a valid signature and 401 to any other; without a secret, \
200 to all. Does not detect duplicates.

With --forward, every delivery is sent to the URL, also one with a wrong signature, with the same body and headers except \
for Host and those of the connection. --header, --cacert and --timeout are for this URL.";

#[derive(Args)]
#[command(after_help = LISTEN_HELP, mut_args(|arg| match arg.get_id().as_str() {
    "header" | "cacert" => arg.requires("forward"),
    _ => arg,
}))]
pub(crate) struct ListenArgs {
    /// Address to listen on; port 0 selects a free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:3009")]
    listen: String,
    /// Append each delivery to this file, one JSON object per line
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    save: Option<PathBuf>,
    /// Answer every POST with this status
    #[arg(long, value_name = "CODE", value_parser = parse_status)]
    status: Option<StatusCode>,
    /// Send each delivery to the receiver at this URL, and answer as it does, or 502 when it cannot be
    /// reached
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, conflicts_with = "status")]
    forward: Option<String>,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    secret: SecretArgs,
}

/// Larger than the limit of a receiver (256 KiB by default), so that a body that it rejects can be saved.
const MAX_BODY: usize = 1024 * 1024;
/// A longer body is cut on the terminal.
const MAX_BODY_CHARS: usize = 2_000;

pub(crate) async fn run(args: ListenArgs) -> Result<()> {
    let secret = secret::load_optional(&args.secret)?;
    if secret.is_none() {
        output::print_error("no secret: signatures are not verified; use --secret-file");
    }
    let save_file = args.save.as_deref().map(SaveFile::open).transpose()?;
    let address = &args.listen;
    let listener = TcpListener::bind(address).await.map_err(|error| {
        anyhow!("cannot listen on {address:?}: {error}; use --listen HOST:PORT, with port 0 for a free port")
    })?;
    let shutdown = roomz_webhook::shutdown_signal().context("cannot install signal handlers")?;
    let address = listener.local_addr().context("cannot read the listen address")?;
    let forwarder = args.forward.as_deref().map(|url| Forwarder::new(url, &args.connect, address));
    let forwarder = forwarder.transpose()?;
    output::print_line(&format!("listening on http://{address} (every path)"))?;

    let receiver = Receiver {
        secrets: secret.map(Secrets::from),
        status: args.status,
        forwarder,
        save_file: save_file.map(Mutex::new),
    };
    let app = post(receive).layer(DefaultBodyLimit::max(MAX_BODY)).with_state(Arc::new(receiver));
    // Ending the requests in flight loses nothing that was acknowledged: a delivery is saved before its
    // response.
    tokio::select! {
        served = axum::serve(listener, app.into_make_service()).into_future() => served.context("cannot serve requests"),
        () = shutdown => Ok(()),
    }
}

/// The result of verifying a signature; `None` when there is no secret to verify it with.
type Check = Option<Result<(), Rejection>>;

/// Answers, prints and saves the requests to `listen`.
struct Receiver {
    /// `None` accepts every signature.
    secrets: Option<Secrets>,
    /// Replaces the status of every delivery.
    status: Option<StatusCode>,
    /// Passes every delivery on; `None` answers it here.
    forwarder: Option<Forwarder>,
    save_file: Option<Mutex<SaveFile>>,
}

async fn receive(
    State(receiver): State<Arc<Receiver>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let secrets = receiver.secrets.as_ref();
    let check = secrets.map(|secrets| signature::verify(secrets, &headers, &body));
    let delivery = SavedDelivery {
        received: format!("{:.3}", Timestamp::now()),
        verified: check.as_ref().map(Result::is_ok),
        headers: SavedDelivery::select_headers(&headers),
        path: uri.to_string(),
        body,
    };
    // A task of its own, so that a delivery is forwarded and printed also when the sender disconnects.
    let task = async move { receiver.handle_delivery(&delivery, &check, headers).await };
    tokio::spawn(task).await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

impl Receiver {
    async fn handle_delivery(&self, delivery: &SavedDelivery, check: &Check, headers: HeaderMap) -> Response {
        if let Some(file) = &self.save_file {
            let saved = file.lock().unwrap_or_else(PoisonError::into_inner).append(delivery);
            if let Err(error) = saved {
                output::print_error(&format!("cannot save a delivery: {error}; check the free disk space"));
                return (StatusCode::INTERNAL_SERVER_ERROR, "the delivery could not be saved\n")
                    .into_response();
            }
        }
        let (response, answer) = match &self.forwarder {
            None => {
                let response: Response = match (self.status, check) {
                    (None, Some(Err(rejection))) => rejection.clone().into_response(),
                    (status, _) => status.unwrap_or_default().into_response(),
                };
                let answer = format!("answered {}", response.status().as_u16());
                (response, answer)
            }
            Some(forwarder) => forwarder.forward(delivery, headers).await,
        };
        let check = match check {
            None => "not verified (no secret)".to_owned(),
            Some(Ok(())) => format!("{SUCCESS_STYLE}verified{SUCCESS_STYLE:#}"),
            Some(Err(rejection)) => format!("{ERROR_STYLE}NOT VERIFIED{ERROR_STYLE:#}: {rejection}"),
        };
        let text = format!(
            "{} POST {} {check}, {answer}\n  {}\n  {DIM_STYLE}{}{DIM_STYLE:#}\n",
            delivery.received,
            escape_truncated(&delivery.path, 200),
            escape_truncated(&describe(&delivery.body), 500),
            escape_truncated(&String::from_utf8_lossy(&delivery.body), MAX_BODY_CHARS),
        );
        if let Err(error) = output::try_print(text.as_bytes()) {
            // `roomz listen | head` ends when `head` has read enough.
            if error.kind() == ErrorKind::BrokenPipe {
                std::process::exit(0);
            }
            output::print_error(&format!("cannot print a delivery: {error}; check the free disk space"));
        }
        response
    }
}
