//! `cargo run -p presence-board -- --demo`

mod options;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use metrics_exporter_prometheus::PrometheusBuilder;
use presence_board::board::Board;
use presence_board::names::Names;
use presence_board::{app, demo, serve, store};
use roomz_axum::{Secret, WebhookLayer};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

use crate::options::Options;

#[tokio::main]
async fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) if error.use_stderr() => {
            eprintln!("presence-board: {}", options::one_line(&error));
            return ExitCode::from(2);
        }
        Err(help) => {
            print!("{help}");
            return ExitCode::SUCCESS;
        }
    };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        .init();
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("presence-board: {}", with_source(&*error).replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let names = match &options.names {
        Some(file) => Names::read(file)?,
        None if options.demo => demo::names()?,
        None => Names::default(),
    };
    let secret = match &options.secret_file {
        Some(file) => Secret::from_file(file)?,
        None if options.demo => demo::secret()?,
        None => Secret::from_env("ROOMZ_WEBHOOK_SECRET")
            .map_err(|error| format!("{error}; or give --secret-file FILE, or try --demo"))?,
    };
    let store =
        store::connect(&options.store).await.map_err(|error| format!("--store: {}", with_source(&*error)))?;
    let webhook = WebhookLayer::builder(secret.clone()).with_store(store).build()?;
    let figures = PrometheusBuilder::new().install_recorder()?;

    let listener = TcpListener::bind(&options.listen).await.map_err(|error| {
        format!(
            "cannot listen on {:?}: {error}; give --listen HOST:PORT, port 0 for any free one",
            options.listen
        )
    })?;
    let (address, stop) = (listener.local_addr()?, stop_signal()?);
    println!("listening on http://{address}");

    let board = Board::new(names.clone());
    let app = app(board.clone(), webhook.clone(), figures.clone());
    tokio::spawn(async move {
        loop {
            // Histograms are summed up here; otherwise they grow until somebody asks for them.
            tokio::time::sleep(Duration::from_secs(5)).await;
            figures.run_upkeep();
        }
    });
    if options.demo {
        tokio::spawn(demo::run(address, secret, demo::secret()?, names));
    }
    let stop = async move {
        stop.await;
        board.close();
    };
    if serve::serve(listener, app, stop).await.is_err() {
        // A display that reads no more, most often. A delivery that was cut off got no 2xx, so nothing was promised.
        tracing::warn!("stopped while requests were under way");
    }
    // Handlers whose client went away may still be running. Both waits together stay below the ten seconds that most
    // supervisors give a process to end.
    tokio::time::timeout(Duration::from_secs(3), webhook.drain()).await.map_err(
        |_| "stopped while handlers were running; their events are claimed again when their leases end",
    )?;
    Ok(())
}

/// The error and what caused it, where that says anything more.
fn with_source(error: &dyn Error) -> String {
    let (mut text, mut source) = (error.to_string(), error.source());
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text} ({more})");
        }
        source = cause.source();
    }
    text
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
