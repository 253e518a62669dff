//! A TCP proxy that fails on demand.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the proxy does with its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Forwards everything.
    Forwards,
    /// Delays each chunk.
    Delays(Duration),
    /// Closes all connections, and new ones immediately.
    Closes,
    /// Closes the direction from the server to the client. Requests are still forwarded.
    HalfCloses,
    /// Forwards requests and drops replies. A connection that lost a reply is closed when this state ends,
    /// because it cannot continue.
    DropsReplies,
    /// Forwards nothing. Everything arrives when this state ends.
    Stalls,
    /// Forwards nothing. These connections stay open and never forward anything again, as after a firewall
    /// dropped their state.
    Blackholes,
}

/// A TCP proxy between a client and a server. Its behaviour can change while it is used.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    network: watch::Sender<Network>,
    lost_replies: Arc<AtomicUsize>,
}

impl Proxy {
    /// Listens on a free port and forwards everything to the server.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (network, state) = watch::channel(Network::Forwards);
        let lost_replies = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&lost_replies);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(client, server, state.clone(), Arc::clone(&counter)));
            }
        });
        Self { address, network, lost_replies }
    }

    /// The address of the proxy.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of chunks from the server that [`Network::DropsReplies`] dropped.
    pub fn lost_replies(&self) -> usize {
        self.lost_replies.load(Ordering::SeqCst)
    }

    /// Changes the behaviour of all connections, including open ones.
    pub fn set(&self, network: Network) {
        self.network.send_replace(network);
    }
}

async fn connect(
    client: TcpStream,
    server: SocketAddr,
    network: watch::Receiver<Network>,
    lost_replies: Arc<AtomicUsize>,
) -> io::Result<()> {
    if *network.borrow() == Network::Closes {
        return Ok(());
    }
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // When one direction ends, both streams are dropped, which closes them.
    tokio::select! {
        result = forward(from_client, to_server, network.clone(), None) => result,
        result = forward(from_server, to_client, network.clone(), Some(&lost_replies)) => result,
    }
}

async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut network: watch::Receiver<Network>,
    lost_replies: Option<&AtomicUsize>,
) -> io::Result<()> {
    let is_reply = lost_replies.is_some();
    let mut buffer = vec![0; 64 * 1024];
    // States that this direction does not leave again.
    let (mut shut, mut blackholed, mut reply_lost) = (false, false, false);
    loop {
        let now = *network.borrow_and_update();
        match now {
            Network::Closes => return Ok(()),
            Network::HalfCloses if is_reply && !shut => {
                to.shutdown().await?;
                shut = true;
            }
            Network::Blackholes => blackholed = true,
            Network::Stalls => {
                if network.changed().await.is_err() {
                    return Ok(());
                }
                continue;
            }
            _ if reply_lost && now != Network::DropsReplies => return Ok(()),
            _ => {}
        }
        let length = tokio::select! {
            biased;
            changed = network.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return Ok(()),
            },
            length = from.read(&mut buffer) => length?,
        };
        if length == 0 {
            return Ok(());
        }
        if let Network::Delays(time) = now {
            tokio::time::sleep(time).await;
        }
        if let Some(lost_replies) = lost_replies
            && now == Network::DropsReplies
        {
            lost_replies.fetch_add(1, Ordering::SeqCst);
            reply_lost = true;
        }
        if !(shut || blackholed || reply_lost) {
            to.write_all(buffer.get(..length).unwrap()).await?;
        }
    }
}
