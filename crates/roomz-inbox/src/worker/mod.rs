mod attempt;
mod builder;
mod maintenance;
mod prefetch;
mod run;
mod settings;

pub use self::builder::WorkerBuilder;
pub use self::run::Worker;
