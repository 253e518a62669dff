use crate::args::SignArgs;
use crate::{input, output, secret};

pub(crate) fn run(args: &SignArgs) -> anyhow::Result<()> {
    let secret = secret::load(&args.secret)?;
    output::print_line(&secret.sign(&input::read_body(args.file.as_deref())?).to_base64())
}
