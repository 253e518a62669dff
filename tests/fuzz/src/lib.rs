//! What the fuzz targets of `cargo fuzz` run. Each module has one target, `run`, which panics when a property
//! is violated.

pub mod event;
mod json;
pub mod layer;
pub mod rows;
pub mod saved;
pub mod signature;
pub mod tenants;
pub mod timestamp;
pub mod urls;

use std::sync::LazyLock;

use arbitrary::{Arbitrary, Unstructured};
use roomz_protocol::Secret;
use tokio::runtime::{Builder, Runtime};

static SECRETS: LazyLock<[Secret; 3]> = LazyLock::new(|| {
    ["the first secret", "the second secret", "the third secret"].map(|it| Secret::new(it).unwrap())
});

thread_local! {
    /// Its time advances only when every task waits.
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
}

/// An input that begins with the byte 1 is the source of a structure. Any other is used as it is.
fn generate<'a, T: Arbitrary<'a>>(input: &'a [u8]) -> Option<T> {
    let source = input.strip_prefix(&[1])?;
    T::arbitrary_take_rest(Unstructured::new(source)).ok()
}

#[cfg(test)]
mod tests {
    /// Runs every input of `corpora`, in a build without a fuzzer.
    #[test]
    fn replays_corpora() {
        for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/corpora")).unwrap() {
            let path = entry.unwrap().path();
            let run = match path.file_stem().unwrap().to_str().unwrap() {
                "event" => crate::event::run,
                "layer" => crate::layer::run,
                "rows" => crate::rows::run,
                "saved" => crate::saved::run,
                "signature" => crate::signature::run,
                "tenants" => crate::tenants::run,
                "timestamp" => crate::timestamp::run,
                "urls" => crate::urls::run,
                other => panic!("no target {other}"),
            };
            for line in std::fs::read_to_string(&path).unwrap().lines() {
                let byte = |at| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
                run(&(0..line.len()).step_by(2).map(byte).collect::<Vec<_>>());
            }
        }
    }
}
