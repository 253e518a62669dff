//! The webhook secrets: from files that are read again on SIGHUP, or from an environment variable.

use std::path::PathBuf;

use presence_board::board_metrics;
use roomz_axum::{Secret, Secrets};

const VARIABLE: &str = "ROOMZ_WEBHOOK_SECRET";

/// Reads one secret from each file, in this order; without files, the environment variable.
pub(crate) fn load(files: &[PathBuf]) -> Result<Secrets, Box<dyn std::error::Error>> {
    if files.is_empty() {
        let secret = Secret::from_env(VARIABLE)
            .map_err(|error| format!("{error}; or use --secret-file FILE or --demo"))?;
        return Ok(secret.into());
    }
    Ok(Secrets::new(files.iter().map(Secret::from_file).collect::<Result<Vec<_>, _>>()?)?)
}

/// Reads the secrets again after each SIGHUP. If a file cannot be used, the previous secrets stay valid.
///
/// The signal is handled from this call on. Without it, the default action of SIGHUP would end the process.
#[cfg(unix)]
pub(crate) fn reload_on_hangup(
    files: Vec<PathBuf>,
    secrets: roomz_axum::SecretsHandle,
) -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        while hangup.recv().await.is_some() {
            if files.is_empty() {
                tracing::warn!(hint = "start the board with --secret-file FILE", "no secret file to reload");
                continue;
            }
            match load(&files) {
                Ok(loaded) => {
                    let count = loaded.count();
                    secrets.set(loaded);
                    board_metrics::secrets_loaded(count);
                    tracing::info!(secrets = count, "secrets reloaded");
                }
                Err(error) => {
                    board_metrics::reload_failed();
                    let error = crate::logs::with_causes(&*error);
                    tracing::error!(error, hint = "the previous secrets stay in use", "secrets not reloaded");
                }
            }
        }
    })
}
