mod attempt;
mod builder;
mod load;
mod maintenance;
mod run;
mod settings;

pub use self::builder::WorkerBuilder;
pub use self::run::Worker;
