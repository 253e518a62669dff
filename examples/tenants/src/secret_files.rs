//! Secrets in files: one folder per customer, with one secret in each file. The last file by name is the
//! newest secret.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use roomz_axum::{Secret, Secrets, Tenant, TenantMap};

/// Reads all customers and replaces the tenants of the map. Returns a summary, such as
/// `acme (2 secrets), globex (1 secret)`.
///
/// # Errors
///
/// A folder or a file cannot be read, a folder has no file, or a file is no valid secret. The map is then
/// unchanged.
pub fn load(directory: &Path, tenants: &TenantMap) -> Result<String, Box<dyn Error>> {
    let (mut loaded, mut summary) = (Vec::new(), Vec::new());
    for folder in sorted_entries(directory)? {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let files = sorted_entries(&folder)?;
        // The newest first, so that position 0 is the secret that stays.
        let secrets = files.iter().rev().map(Secret::from_file).collect::<Result<Vec<_>, _>>()?;
        let plural = if secrets.len() == 1 { "" } else { "s" };
        summary.push(format!("{name} ({} secret{plural})", secrets.len()));
        let secrets = Secrets::new(secrets)
            .map_err(|_| format!("{} has no file; write a secret into a file there", folder.display()))?;
        loaded.push((format!("/webhooks/{name}"), Tenant::new(&name, secrets)?));
    }
    if loaded.is_empty() {
        return Err(format!("{} has no folder; create one per customer", directory.display()).into());
    }
    tenants.replace_all(loaded)?;
    Ok(summary.join(", "))
}

/// The entries of a folder by name, without hidden ones.
fn sorted_entries(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let unreadable = |error| format!("cannot read the folder {}: {error}", folder.display());
    let entries = fs::read_dir(folder).map_err(unreadable)?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    paths.retain(|path| !path.file_name().unwrap_or_default().to_string_lossy().starts_with('.'));
    paths.sort();
    Ok(paths)
}
