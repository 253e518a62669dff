mod format;
mod forward;
mod handler;
mod save_file;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use axum::handler::Handler as _;
use roomz_protocol::Secrets;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::forward::Forwarder;
use self::handler::{Receiver, receive};
use self::save_file::SaveFile;
use crate::args::ListenArgs;
use crate::error::usage;
use crate::{output, secret};

/// How long requests in flight may take after a shutdown signal.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) async fn run(args: ListenArgs) -> Result<()> {
    if args.forward.is_none() && (!args.connect.header.is_empty() || args.connect.cacert.is_some()) {
        return Err(usage(
            "--header and --cacert are for the receiver of --forward: add --forward URL, or remove them",
        ));
    }
    let secret = secret::load_optional(&args.secret)?;
    if secret.is_none() {
        output::print_notice(
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
    output::print_line(&format!("listening on http://{address}"))?;

    let stop = CancellationToken::new();
    let receiver = Receiver {
        secrets: secret.map(Secrets::from),
        path: args.path,
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
