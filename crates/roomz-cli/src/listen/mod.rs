mod format;
mod forward;
mod handler;
mod responses;
mod save_file;
mod signature_check;

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use roomz_protocol::Secrets;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::forward::Forwarder;
use self::handler::Handler;
use self::save_file::SaveFile;
use crate::args::ListenArgs;
use crate::error::CliError;
use crate::{output, secret};

/// The timeout for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests in flight may take after a shutdown signal.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause after a failed `accept`, which is usually caused by too many open files.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

pub(crate) async fn run(args: &ListenArgs) -> Result<(), CliError> {
    if args.forward.is_none() && (!args.connect.header.is_empty() || args.connect.cacert.is_some()) {
        return Err(CliError::usage(
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
    let listener = TcpListener::bind(&args.listen).await.map_err(|error| bind_error(&args.listen, &error))?;
    let shutdown = roomz_webhook::shutdown_signal()
        .map_err(|error| CliError::failed(format!("cannot install signal handlers: {error}")))?;
    let address = listener
        .local_addr()
        .map_err(|error| CliError::failed(format!("cannot read the listen address: {error}")))?;
    let forwarder =
        args.forward.as_deref().map(|url| Forwarder::new(url, &args.connect, address)).transpose()?;
    let listening = format!("listening on http://{address}");
    // With --json, standard output contains only deliveries.
    if args.json {
        output::print_notice(&listening);
    } else {
        output::print_line(&listening)?;
    }

    let handler = Handler {
        secrets: secret.map(Secrets::from),
        path: args.path.clone(),
        status: args.status,
        forwarder,
        json: args.json,
        save_file: save_file.map(Mutex::new),
        stop: CancellationToken::new(),
    };
    serve(listener, Arc::new(handler), shutdown).await;
    Ok(())
}

fn bind_error(address: &str, error: &io::Error) -> CliError {
    let problem = match error.kind() {
        io::ErrorKind::InvalidInput => "it is not HOST:PORT with a port from 0 to 65535".to_owned(),
        io::ErrorKind::AddrInUse => "another program uses the port".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have the address".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "this user may not use the port; ports below 1024 need root".to_owned()
        }
        // The resolver's errors have no kind.
        _ if error.raw_os_error().is_none() => "the host name cannot be resolved".to_owned(),
        _ => error.to_string(),
    };
    CliError::failed(format!(
        "cannot listen on {address:?}: {problem}; use --listen HOST:PORT, with port 0 for a free port"
    ))
}

async fn serve(listener: TcpListener, handler: Arc<Handler>, shutdown: impl Future<Output = ()>) {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let connections = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    output::print_error(&format!("cannot accept a connection: {error}"));
                    tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                    continue;
                }
            },
            () = &mut shutdown => break,
            () = handler.stop.cancelled() => break,
        };
        let _ = stream.set_nodelay(true);
        let handler = Arc::clone(&handler);
        let service = service_fn(move |request| {
            let handler = Arc::clone(&handler);
            async move { Ok::<_, Infallible>(Handler::handle(&handler, request).await) }
        });
        tokio::spawn(connections.watch(server.serve_connection(TokioIo::new(stream), service)));
    }
    drop(listener);
    // Aborting the remaining requests loses nothing that was acknowledged: a delivery is saved before its response.
    let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, connections.shutdown()).await;
}
