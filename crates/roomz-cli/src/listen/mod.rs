mod forward;
mod handler;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use axum::handler::Handler as _;
use clap::{Args, ValueHint};
use http::StatusCode;
use roomz_protocol::Secrets;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::forward::Forwarder;
use self::handler::{Receiver, receive};
use crate::args::{ConnectArgs, SecretArgs};
use crate::saved::SaveFile;
use crate::values::parse_status;
use crate::{output, secret};

const LISTEN_HELP: &str = "\
Examples:
  roomz listen --secret-file secret
  roomz listen --listen 0.0.0.0:8080 --save deliveries.jsonl
  roomz listen --status 503
  roomz listen --listen 0.0.0.0:3009 --forward http://127.0.0.1:3000/hook

Takes deliveries at every path, and prints the path of each. Answers 200 to a delivery with a valid signature and 401 to any other. Without a secret, answers 200 to all. Does not \
detect duplicates. Stop it with Ctrl-C or SIGTERM.

With --forward, every delivery is sent to the URL, also one with a wrong signature, and the sender gets the receiver's \
answer, or 502 when the receiver cannot be reached. The body and the headers stay as they are, except for Host and the \
headers of the connection. The options --header, --cacert and --timeout are for this URL.";

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
    /// Send each delivery to the receiver at this URL, and answer as it does
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, conflicts_with = "status")]
    forward: Option<String>,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    secret: SecretArgs,
}

/// How long requests in flight may take after a shutdown signal.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) async fn run(args: ListenArgs) -> Result<()> {
    let secret = secret::load_optional(&args.secret)?;
    if secret.is_none() {
        output::print_error(
            "no secret: signatures are not verified; set one with --secret-file or ROOMZ_WEBHOOK_SECRET",
        );
    }
    let save_file = args.save.as_deref().map(SaveFile::open).transpose()?;
    let listener = TcpListener::bind(&args.listen).await.map_err(|error| {
        anyhow!(
            "cannot listen on {:?}: {error}; use --listen HOST:PORT, with port 0 for a free port",
            args.listen
        )
    })?;
    let shutdown = roomz_webhook::shutdown_signal().context("cannot install signal handlers")?;
    let address = listener.local_addr().context("cannot read the listen address")?;
    let forwarder =
        args.forward.as_deref().map(|url| Forwarder::new(url, &args.connect, address)).transpose()?;
    output::print_line(&format!("listening on http://{address} (every path)"))?;

    let stop = CancellationToken::new();
    let receiver = Receiver {
        secrets: secret.map(Secrets::from),
        status: args.status,
        forwarder,
        save_file: save_file.map(Mutex::new),
        stop: stop.clone(),
    };
    let server = axum::serve(listener, receive.with_state(Arc::new(receiver)).into_make_service())
        .with_graceful_shutdown(stop.clone().cancelled_owned());
    let timeout = async {
        tokio::select! {
            () = shutdown => stop.cancel(),
            () = stop.cancelled() => {}
        }
        tokio::time::sleep(SHUTDOWN_TIMEOUT).await;
    };
    // Aborting the remaining requests loses nothing that was acknowledged: a delivery is saved before its
    // response.
    tokio::select! {
        served = server.into_future() => served.context("cannot serve requests"),
        () = timeout => Ok(()),
    }
}
