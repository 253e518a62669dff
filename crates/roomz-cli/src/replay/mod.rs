mod select;

use std::sync::atomic::{AtomicUsize, Ordering};

use http::header;
use roomz_protocol::{SIGNATURE_HEADER, Secret};

use self::select::Selection;
use crate::args::ReplayArgs;
use crate::client::{
    ExtraHeaders, Outgoing, Target, remove_connection_headers, signature_header, user_agent,
};
use crate::deliver::report::PlannedCounts;
use crate::deliver::{self, Delivery, Source};
use crate::error::CliError;
use crate::saved_delivery::SavedDelivery;
use crate::secret;

pub(crate) async fn run(args: &ReplayArgs) -> Result<(), CliError> {
    let target = Target::parse(&args.url)?;
    let has_secret = args.secret.secret_file.is_some() || args.secret.secret.is_some();
    if has_secret && !args.re_sign {
        return Err(CliError::usage("a secret requires --re-sign: add --re-sign or remove the secret"));
    }
    let extra_headers = ExtraHeaders::parse(&args.deliver.connect.header)?;
    let secret = if args.re_sign { Some(secret::load(&args.secret)?) } else { None };
    let Selection { deliveries, unverified } = select::select(args)?;
    let planned = PlannedCounts { events: deliveries.len() as u64, unverified, ..PlannedCounts::default() };
    let source = SavedSource { deliveries, extra_headers, secret, next: AtomicUsize::new(0) };
    deliver::run(target, source, &args.deliver).await?.finish(planned, args.deliver.json)
}

/// The deliveries of a file.
struct SavedSource {
    deliveries: Vec<SavedDelivery>,
    extra_headers: ExtraHeaders,
    /// Replaces the saved signatures when present.
    secret: Option<Secret>,
    next: AtomicUsize,
}

impl Source for SavedSource {
    fn total(&self) -> u64 {
        self.deliveries.len() as u64
    }

    fn next(&self) -> Option<Delivery> {
        let saved = self.deliveries.get(self.next.fetch_add(1, Ordering::Relaxed))?;
        let mut headers = saved.headers.clone();
        // These belong to the new connection. Saved values, possibly edited by hand, would break the request.
        remove_connection_headers(&mut headers);
        headers.remove(header::HOST);
        headers.insert(header::USER_AGENT, user_agent());
        self.extra_headers.apply(&mut headers);
        if let Some(secret) = &self.secret {
            headers.insert(SIGNATURE_HEADER, signature_header(secret, &saved.body)?);
        }
        let outgoing = Outgoing { method: saved.method.clone(), headers, body: saved.body.clone() };
        Some(Delivery { outgoing, forged: false })
    }
}
