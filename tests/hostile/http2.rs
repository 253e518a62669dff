//! Floods of HTTP/2 frames, for a server that an application serves over HTTP/2.

use super::*;

/// What a flood consists of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Flood {
    /// Streams that begin and never end.
    Streams,
    /// Pings.
    Pings,
    /// Streams that are reset as soon as they begin.
    Resets,
    /// Empty settings.
    Settings,
}

/// A frame: its type, flags, stream and payload.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The beginning of a connection, and a flood of this many steps.
pub(super) fn flood(flood: Flood, steps: u32) -> Vec<u8> {
    // POST, http, /, and the authority "x", from the static table of HPACK.
    const HEAD: &[u8] = &[0x83, 0x86, 0x84, 0x41, 1, b'x'];
    let mut bytes = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &*frame(4, 0, 0, &[])].concat();
    for step in 0..steps {
        let head = frame(1, 4, 2 * step + 1, HEAD);
        bytes.extend(match flood {
            Flood::Streams => head,
            Flood::Pings => frame(6, 0, 0, &[0; 8]),
            Flood::Resets => [head, frame(3, 0, 2 * step + 1, &[0, 0, 0, 8])].concat(),
            Flood::Settings => frame(4, 0, 0, &[]),
        });
    }
    bytes
}

/// A flood on one connection after the other, with or without reading what the server sends.
async fn flood_repeatedly(address: SocketAddr, bytes: Arc<Vec<u8>>, reads: bool, honest: Arc<Honest>) {
    while !honest.stopped.load(SeqCst) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let (mut read, mut write) = stream.split();
        let _ = timeout(Duration::from_secs(1), async {
            let send = async { while write.write_all(&bytes).await.is_ok() {} };
            let receive =
                async { while reads && read.read(&mut [0; 4096]).await.is_ok_and(|length| length > 0) {} };
            tokio::join!(send, receive)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_deliveries_pass_http2_floods() {
    let receiver = CountingReceiver::start(env!("CARGO_BIN_EXE_counting-receiver"), &["--http2"]);
    let before = receiver.usage().await;
    let (mut stream, mut first_frame) = (TcpStream::connect(receiver.address).await.unwrap(), [0; 9]);
    stream.write_all(&flood(Flood::Pings, 1)).await.unwrap();
    stream.read_exact(&mut first_frame).await.unwrap();
    assert_eq!(first_frame.get(3), Some(&4), "the server speaks HTTP/2");
    let mut tasks = JoinSet::new();
    let honest = Honest::start(receiver.address, &mut tasks);
    for kind in [Flood::Streams, Flood::Pings, Flood::Resets, Flood::Settings] {
        let bytes = Arc::new(flood(kind, 10_000));
        for reads in [true, false] {
            tasks.spawn(flood_repeatedly(receiver.address, bytes.clone(), reads, honest.clone()));
        }
    }
    wait_for(&honest.accepted, rounds(200, 20_000), &mut tasks).await;
    let usage = honest.check(tasks, &receiver).await;
    assert!(usage.peak - before.peak < 32 * 1024, "{before:?} {usage:?}");
}
