//! `cargo run -p presence-board -- --demo`

mod options;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use metrics_exporter_prometheus::PrometheusBuilder;
use presence_board::board::Board;
use presence_board::names::Names;
use presence_board::{app, demo, inbox, serve, store};
use roomz_axum::{Secret, WebhookLayer, shutdown_signal};
use roomz_sql::PresencePoint;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

use crate::options::Options;

/// Time for handlers whose client has disconnected. With the server's six seconds this stays below the ten seconds that
/// most supervisors wait before they kill a process.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
/// How often recorded histogram values are aggregated. Without it they use more memory until `/metrics` is requested.
const METRICS_UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

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
            eprintln!("presence-board: {}", with_causes(&*error).replace('\n', " "));
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
        None if options.demo => demo::random_secret()?,
        None => Secret::from_env("ROOMZ_WEBHOOK_SECRET")
            .map_err(|error| format!("{error}; or use --secret-file FILE or --demo"))?,
    };
    let (store, presence) =
        store::connect(&options.store).await.map_err(|error| format!("--store: {}", with_causes(&*error)))?;
    let inbox = match &options.inbox {
        Some(url) => {
            Some(inbox::connect(url).await.map_err(|error| format!("--inbox: {}", with_causes(&error)))?)
        }
        None => None,
    };
    // Before the layer, which creates its series.
    let metrics = PrometheusBuilder::new().install_recorder()?;
    metrics::counter!("presence_board_late_total").increment(0);
    let webhook = WebhookLayer::builder(secret.clone()).with_store(store).build()?;
    let board = Board::new(names.clone());
    // Before the first request, so that no page shows an empty building.
    let point = match &presence {
        Some(presence) => presence
            .show_changes(&board, PresencePoint::default())
            .await
            .map_err(|error| format!("--store: cannot read the presence: {error}"))?,
        None => PresencePoint::default(),
    };
    let app = app(board.clone(), presence.clone(), webhook.clone(), metrics.clone());

    let listener = TcpListener::bind(&options.listen).await.map_err(|error| {
        format!(
            "cannot listen on {:?}: {error}; set --listen HOST:PORT to a free port (port 0 selects one)",
            options.listen
        )
    })?;
    let (address, signal) = (listener.local_addr()?, shutdown_signal()?);
    println!("listening on http://{address}");

    if let Some(presence) = presence {
        tokio::spawn(presence.follow(board.clone(), point));
    }
    if let Some(inbox) = inbox {
        tokio::spawn(inbox::follow(inbox, board.clone()));
    }
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(METRICS_UPKEEP_INTERVAL).await;
            metrics.run_upkeep();
        }
    });
    if options.demo {
        tokio::spawn(demo::run(address, secret, demo::random_secret()?, names));
    }
    let announced = webhook.clone();
    let shutdown = async move {
        signal.await;
        // Deliveries are still handled, while the load balancer notices that this instance stops.
        announced.begin_shutdown();
        tokio::time::sleep(options.shutdown_delay).await;
        board.close();
    };
    serve::serve(listener, app, shutdown).await?;
    tokio::time::timeout(DRAIN_TIMEOUT, webhook.drain()).await.map_err(|_| {
        "handlers were still running after the shutdown timeout; \
         their events can be handled again when their leases expire"
    })?;
    Ok(())
}

/// The error's message, followed by each cause that the message does not contain yet.
fn with_causes(error: &dyn Error) -> String {
    let (mut text, mut source) = (error.to_string(), error.source());
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text} ({cause_text})");
        }
        source = cause.source();
    }
    text
}
