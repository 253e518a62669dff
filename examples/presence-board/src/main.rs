//! `cargo run -p presence-board -- --demo`

mod logs;
mod options;
mod secret_files;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use presence_board::board::Board;
#[cfg(feature = "stores")]
use presence_board::inbox;
use presence_board::names::Names;
#[cfg(not(feature = "stores"))]
use presence_board::no_stores as inbox;
use presence_board::{app, board_metrics, demo, store, store_check};
use roomz_axum::{SecretsHandle, WebhookLayer, shutdown_signal};
use tokio::net::TcpListener;

use crate::logs::with_causes;
use crate::options::Options;

/// How often recorded histogram values are aggregated. Without it they use more memory until `/metrics` is
/// requested.
const METRICS_UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let format = options.log_format;
    if let Err(error) = logs::init(format) {
        eprintln!("presence-board: {error}");
        return ExitCode::from(2);
    }
    let Err(error) = run(options).await else { return ExitCode::SUCCESS };
    logs::report_failure(format, &*error);
    ExitCode::FAILURE
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let names = match &options.names {
        Some(file) => Names::read(file)?,
        None if options.demo => demo::names()?,
        None => Names::default(),
    };
    let demo_secret = options.demo.then(demo::random_secret).transpose()?;
    let secrets = match &demo_secret {
        Some(secret) => secret.clone().into(),
        None => secret_files::load(&options.secret_files)?,
    };
    // Before the layer, which creates its series.
    let metrics = board_metrics::install()?;
    let secret_count = secrets.count();
    board_metrics::secrets_loaded(secret_count);
    let secrets = SecretsHandle::new(secrets);
    // Before the store is connected, which can take seconds: the default action of SIGHUP ends the process.
    #[cfg(unix)]
    tokio::spawn(secret_files::reload_on_hangup(options.secret_files, secrets.clone())?);
    let (store, presence) =
        store::connect(&options.store).await.map_err(|error| format!("--store: {}", with_causes(&*error)))?;
    let webhook = WebhookLayer::builder(secrets).with_store(store).build()?;
    let board = if options.demo { Board::simulated(names.clone()) } else { Board::new(names.clone()) };
    // Before the first request, so that no page shows an empty building.
    if let Some(presence) = &presence {
        let started = presence.start(&board).await;
        started.map_err(|error| format!("--store: cannot read the presence: {error}"))?;
    }
    let mut app = app(board.clone(), presence, webhook.clone(), metrics.clone());
    if let Some(url) = &options.inbox {
        let routes = inbox::start(url, &board).await;
        app = app.merge(routes.map_err(|error| format!("--inbox: {}", with_causes(&error)))?);
    }

    let listener = TcpListener::bind(&options.listen).await.map_err(|error| {
        format!(
            "cannot listen on {:?}: {error}; set --listen HOST:PORT to a free port (port 0 selects one)",
            options.listen
        )
    })?;
    let (address, signal) = (listener.local_addr()?, shutdown_signal()?);
    let (version, store) = (env!("CARGO_PKG_VERSION"), store::without_credentials(&options.store));
    tracing::info!(version, %address, store, secrets = secret_count, "started");
    println!("listening on http://{address}");

    tokio::spawn(store_check::follow(webhook.clone(), board.clone()));
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(METRICS_UPKEEP_INTERVAL).await;
            metrics.run_upkeep();
        }
    });
    if let Some(secret) = demo_secret {
        tokio::spawn(demo::run(address, secret, demo::random_secret()?, names));
    }
    let announced = webhook.clone();
    let shutdown = async move {
        signal.await;
        tracing::info!(delay_seconds = options.shutdown_delay.as_secs(), "shutdown announced");
        // Deliveries are still handled, while the load balancer notices that this instance stops.
        announced.begin_shutdown();
        tokio::time::sleep(options.shutdown_delay).await;
        board.close();
    };
    roomz_axum::serve(listener, app, webhook).with_shutdown(shutdown).await?;
    tracing::info!(version, %address, store, "stopped");
    Ok(())
}
