//! A network that breaks on demand.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What a network does to its connections.
#[allow(clippy::exhaustive_enums)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Everything goes through.
    Passes,
    /// Every piece is held up for so long.
    Delays(Duration),
    /// Connections are closed, new ones at once.
    Cuts,
    /// The server's direction is closed; what the client sends still goes through.
    HalfCloses,
    /// Requests go through, and their replies do not: the server has done what the client does not know of.
    /// Connections that lost a reply are closed in the end; none could go on.
    LosesReplies,
    /// Nothing goes either way, and everything arrives in the end.
    Holds,
    /// Nothing goes either way, and on these connections never again, although they stay open.
    Forgets,
}

/// A network between a client and a server, to be broken while it is used.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    network: watch::Sender<Network>,
}

impl Proxy {
    /// Listens on a free port, and passes everything on to the server.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (network, of_connections) = watch::channel(Network::Passes);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(client, server, of_connections.clone()));
            }
        });
        Self { address, network }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what becomes of all connections, the open ones too.
    pub fn set(&self, network: Network) {
        self.network.send_replace(network);
    }
}

async fn connect(client: TcpStream, server: SocketAddr, network: watch::Receiver<Network>) -> io::Result<()> {
    if *network.borrow() == Network::Cuts {
        return Ok(());
    }
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // When one of them ends, both streams are dropped, and with that closed.
    tokio::select! {
        ended = pump(from_client, to_server, network.clone(), false) => ended,
        ended = pump(from_server, to_client, network.clone(), true) => ended,
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut network: watch::Receiver<Network>,
    replies: bool,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    // What this direction has been through and does not recover from.
    let (mut shut, mut forgotten, mut lost) = (false, false, false);
    loop {
        let now = *network.borrow_and_update();
        match now {
            Network::Cuts => return Ok(()),
            Network::HalfCloses if replies && !shut => {
                to.shutdown().await?;
                shut = true;
            }
            Network::Forgets => forgotten = true,
            Network::Holds => {
                if network.changed().await.is_err() {
                    return Ok(());
                }
                continue;
            }
            _ if lost && now != Network::LosesReplies => return Ok(()),
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
        lost |= replies && now == Network::LosesReplies;
        if !(shut || forgotten || lost) {
            to.write_all(buffer.get(..length).unwrap()).await?;
        }
    }
}
