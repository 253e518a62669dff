use std::sync::atomic::{AtomicUsize, Ordering};

use http::header;
use roomz_protocol::{SIGNATURE_HEADER, Secret};

use crate::args::ReplayArgs;
use crate::client::Outgoing;
use crate::deliver::{self, Delivery, Source};
use crate::failure::Failure;
use crate::report::Planned;
use crate::saved::Saved;
use crate::send::{signature, user_agent};
use crate::target::Target;
use crate::{input, secret};

pub(crate) async fn run(args: &ReplayArgs) -> Result<(), Failure> {
    Target::parse(&args.url)?;
    let has_secret = args.secret.secret_file.is_some() || args.secret.secret.is_some();
    if has_secret && !args.resign {
        return Err(Failure::usage(
            "a secret is of use only with --resign: add that, or leave the secret out",
        ));
    }
    let secret = if args.resign { Some(secret::load(&args.secret)?) } else { None };
    let deliveries = read(args)?;
    let planned = Planned { events: deliveries.len() as u64, ..Planned::default() };
    let source = Replayed { deliveries, secret, next: AtomicUsize::new(0) };
    deliver::run(&args.url, source, &args.deliver).await?.end(planned, args.deliver.json)
}

/// All of the file, so that a broken line is known before anything is sent.
fn read(args: &ReplayArgs) -> Result<Vec<Saved>, Failure> {
    let file = args.file.display();
    let bytes = input::read(Some(&args.file))?;
    let lines =
        bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.trim_ascii().is_empty());
    let deliveries: Vec<_> = lines
        .map(|(index, line)| {
            Saved::from_line(line).map_err(|what| {
                let line = index + 1;
                Failure::failed(format!(
                    "line {line} of {file} {what}; mend or remove that line; nothing was sent"
                ))
            })
        })
        .collect::<Result<_, _>>()?;
    if deliveries.is_empty() {
        return Err(Failure::failed(format!(
            "{file} holds no delivery; `roomz listen --save FILE` writes such files"
        )));
    }
    Ok(deliveries)
}

struct Replayed {
    deliveries: Vec<Saved>,
    /// Where bodies are signed anew.
    secret: Option<Secret>,
    next: AtomicUsize,
}

impl Source for Replayed {
    fn total(&self) -> u64 {
        self.deliveries.len() as u64
    }

    fn next(&self) -> Option<Delivery> {
        let saved = self.deliveries.get(self.next.fetch_add(1, Ordering::Relaxed))?;
        let mut headers = saved.headers.clone();
        // Those that belong to the connection are this one's, whatever stands in the file.
        for name in [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION] {
            headers.remove(name);
        }
        headers.insert(header::USER_AGENT, user_agent());
        if let Some(secret) = &self.secret {
            headers.insert(SIGNATURE_HEADER, signature(secret, &saved.body)?);
        }
        let outgoing = Outgoing { method: saved.method.clone(), headers, body: saved.body.clone() };
        Some(Delivery { outgoing, forged: false })
    }
}
