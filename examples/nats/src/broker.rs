//! The stream of events in NATS JetStream.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, PersistenceMode, RetentionPolicy, StorageType, Stream,
};
use async_nats::jetstream::{self, Context, ErrorCode};
use async_nats::{ConnectErrorKind, ConnectOptions, ServerAddr};
use axum::body::Bytes;
use roomz_axum::EventId;

/// The stream that stores the events.
pub const STREAM: &str = "ROOMZ";
/// Each event has its own subject, `roomz.events.ID`. Nothing but the id may be a part of it: the subject is
/// what makes the event unique in the stream.
const SUBJECT_PREFIX: &str = "roomz.events.";
/// How long the stream keeps each event and recognizes its duplicates, as long as the layer remembers ids.
/// Consumers have this time to handle an event.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The time for one event to be stored. ROOMZ waits 30 s for the answer.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause while the servers of a cluster agree on an event.
const REPLICATION_INTERVAL: Duration = Duration::from_millis(20);

/// A connection to NATS, and the stream of events. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Broker {
    context: Context,
    stream: Stream,
}

/// What happened to a published event. It is stored in both cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    New,
    /// The stream had the event already.
    Duplicate,
}

impl Broker {
    /// Connects with the settings `NATS_URL`, `NATS_USER` and `NATS_PASSWORD` of the environment.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect), and a user without a password or the other way round.
    pub async fn from_env() -> Result<Self, String> {
        let setting = |name| std::env::var(name).ok();
        let login = match (setting("NATS_USER"), setting("NATS_PASSWORD")) {
            (Some(user), Some(password)) => Some((user, password)),
            (None, None) => None,
            _ => {
                return Err(
                    "NATS_USER and NATS_PASSWORD: only one of them is set; set both or none".to_owned()
                );
            }
        };
        let urls = setting("NATS_URL").unwrap_or_else(|| "nats://127.0.0.1:4222".to_owned());
        Self::connect(&urls, login).await.map_err(|error| format!("NATS_URL: {error}"))
    }

    /// Connects to one server, or to the servers of a cluster (`URL,URL`), with a user name and a password or
    /// without. Creates the stream if it does not exist.
    ///
    /// # Errors
    ///
    /// A URL is invalid, no server can be reached or accepts the login, JetStream is not enabled, or a stream
    /// of this name exists and could lose events or store one twice.
    pub async fn connect(urls: &str, login: Option<(String, String)>) -> Result<Self, String> {
        let servers = urls.split(',').map(parse_server).collect::<Result<Vec<_>, _>>()?;
        let hosts: Vec<_> =
            servers.iter().map(|server| format!("{}:{}", server.host(), server.port())).collect();
        let hosts = hosts.join(", ");
        let mut options = ConnectOptions::new().name("roomz");
        if let Some((user, password)) = login {
            options = options.user_and_password(user, password);
        }
        let client = options.connect(servers).await.map_err(|error| {
            let hint = match error.kind() {
                ConnectErrorKind::AuthorizationViolation => "set NATS_USER and NATS_PASSWORD",
                _ => "start a server there, or set another URL",
            };
            format!("cannot connect to NATS on {hosts}: {error}; {hint}")
        })?;
        let context = jetstream::new(client);
        let stream = context.get_or_create_stream(stream_config()).await.map_err(|error| {
            format!("cannot create the stream {STREAM} on {hosts}: {error}; does its configuration enable `jetstream`?")
        })?;
        check(&stream.cached_info().config)
            .map_err(|problem| format!("the stream {STREAM} on {hosts} is not usable: {problem}"))?;
        Ok(Self { context, stream })
    }

    /// Stores an event, unless the stream has it already. Returns once the server has acknowledged it.
    ///
    /// # Errors
    ///
    /// The event may be stored or not. If it is, the next call returns [`Published::Duplicate`].
    pub async fn publish(&self, id: EventId, body: &Bytes) -> Result<Published, PublishError> {
        // Without a connection, the client would queue the event and wait.
        if !self.is_connected() {
            return Err(PublishError::Disconnected);
        }
        tokio::time::timeout(PUBLISH_TIMEOUT, self.store(id, body))
            .await
            .unwrap_or(Err(PublishError::Timeout))
    }

    async fn store(&self, id: EventId, body: &Bytes) -> Result<Published, PublishError> {
        let subject = format!("{SUBJECT_PREFIX}{id}");
        let message = PublishMessage::build()
            .payload(body.clone())
            // The server remembers message ids for two minutes, which saves it a search in the stream.
            .message_id(id.to_string())
            // The server rejects the event if the stream has a message with its subject.
            .expected_last_subject_sequence(0);
        let acknowledgement = loop {
            let acknowledgement = match self.context.send_publish(subject.clone(), message.clone()).await {
                Ok(acknowledgement) => acknowledgement.await,
                Err(error) => Err(error),
            };
            match acknowledgement {
                // Another receiver has published the event, and the replicas do not have it yet. If they
                // never get it, this call stores it.
                Err(error) if is_being_stored(&error) => tokio::time::sleep(REPLICATION_INTERVAL).await,
                acknowledgement => break acknowledgement,
            }
        };
        match acknowledgement {
            Ok(acknowledgement) if !acknowledgement.duplicate => return Ok(Published::New),
            Ok(_) => {}
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {}
            Err(error) => return Err(PublishError::Nats(error.into())),
        }
        // Read the event, so that a duplicate is acknowledged only if the event is in the stream.
        let stored = self
            .stream
            .get_last_raw_message_by_subject(&subject)
            .await
            .map_err(|error| PublishError::Nats(error.into()))?;
        if stored.payload != *body {
            let hint = "the first body is kept; ask ROOMZ support why one id has two bodies";
            tracing::warn!(event_id = %id, hint, "event id reused with another body");
        }
        Ok(Published::Duplicate)
    }

    /// Returns whether there is a connection to a server. A lost connection is opened again in the
    /// background.
    pub fn is_connected(&self) -> bool {
        self.context.client().connection_state() == State::Connected
    }

    /// Returns the JetStream context, for consumers.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Returns the stream of events.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }
}

/// Whether the servers of a cluster are about to store an event with the same message id or subject.
fn is_being_stored(error: &jetstream::context::PublishError) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<jetstream::Error>());
    let code = source.map(jetstream::Error::error_code);
    matches!(
        code,
        Some(ErrorCode::STREAM_DUPLICATE_MESSAGE_CONFLICT | ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT)
    )
}

fn parse_server(url: &str) -> Result<ServerAddr, String> {
    const USAGE: &str = "use nats://HOST:PORT or tls://HOST:PORT";
    let server: ServerAddr = url.trim().parse().map_err(|error| format!("{error}; {USAGE}"))?;
    // The client ignores a login in the URL. With a `/`, `?` or `#` in its password, a part of it would be
    // taken for the host, and printed.
    let parts = server.clone().into_inner();
    let has_rest = !matches!(parts.path(), "" | "/") || parts.query().is_some() || parts.fragment().is_some();
    if server.username().is_some() || server.password().is_some() || has_rest {
        return Err(format!(
            "the URL has more than a host and a port; {USAGE}, and set NATS_USER and NATS_PASSWORD to log in"
        ));
    }
    Ok(server)
}

fn stream_config() -> Config {
    Config {
        name: STREAM.to_owned(),
        subjects: vec![format!("{SUBJECT_PREFIX}*")],
        // Keeps events after they are acknowledged. With the other policies, a duplicate of a handled event
        // is stored again.
        retention: RetentionPolicy::Limits,
        max_age: RETENTION,
        // If you add a size limit, a full stream rejects new events instead of deleting old ones.
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        // In a cluster, set 3.
        num_replicas: 1,
        ..Config::default()
    }
}

/// Checks an existing stream for settings that could lose an event or store it twice.
fn check(config: &Config) -> Result<(), String> {
    let days = RETENTION.as_secs() / (24 * 60 * 60);
    let problem = if config.retention != RetentionPolicy::Limits {
        "it deletes handled events, so their duplicates are stored again; its retention must be `limits`"
            .to_owned()
    } else if !config.max_age.is_zero() && config.max_age < RETENTION {
        format!("it deletes events after {:?}; its max_age must be at least {days} days", config.max_age)
    } else if config.discard != DiscardPolicy::New {
        "when it is full, it deletes old events; its discard policy must be `new`".to_owned()
    } else if config.storage != StorageType::File {
        "it is in memory; its storage must be `file`".to_owned()
    } else if config.persist_mode == Some(PersistenceMode::Async) {
        "it acknowledges events before it stores them; its persist_mode must be `default`".to_owned()
    } else {
        return Ok(());
    };
    Err(format!("{problem}. Change it with the NATS command line, or use another name for `STREAM`"))
}

/// Why an event was not stored, or may not be.
#[derive(Debug)]
pub enum PublishError {
    /// There is no connection to a server.
    Disconnected,
    /// The server did not acknowledge the event within 5 s.
    Timeout,
    /// The server rejected the event, or the connection broke.
    Nats(async_nats::Error),
}

impl PublishError {
    /// Returns what an operator can do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Disconnected => {
                "start the NATS server, or check the network; the connection is opened again"
            }
            Self::Timeout => "check the load and the disk of the NATS server",
            Self::Nats(_) => {
                "check the log of the NATS server; to create a deleted stream again, restart this program"
            }
        }
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected => f.write_str("not connected to NATS"),
            Self::Timeout => write!(f, "NATS did not acknowledge the event within {PUBLISH_TIMEOUT:?}"),
            Self::Nats(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PublishError {}
