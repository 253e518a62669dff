use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// The time for a client to send the rest of the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The time in which a client must read some of a response.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// The phase of a connection: a part of a head was read, or nothing yet.
const HEAD: u8 = 0;
/// The service handles a request. It sets this phase and the next one, in the task that polls the stream.
pub(super) const HANDLING: u8 = 1;
/// Between two requests.
pub(super) const IDLE: u8 = 2;

/// A connection that fails if the head of a request arrives too slowly, or if the client does not read the
/// response.
///
/// hyper has one timeout for a head and for an idle connection, and none for writing.
pub(super) struct TimedStream {
    stream: TcpStream,
    phase: Arc<AtomicU8>,
    /// Created when the rest of the head is not there yet.
    deadline: Option<Pin<Box<Sleep>>>,
    /// Created when the client must read before more can be written.
    write_deadline: Option<Pin<Box<Sleep>>>,
}

impl TimedStream {
    pub(super) fn new(stream: TcpStream, phase: Arc<AtomicU8>) -> Self {
        Self { stream, phase, deadline: None, write_deadline: None }
    }

    fn poll_written(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.write_deadline = None;
            return written;
        }
        let deadline = self.write_deadline.get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for TimedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let phase = self.phase.load(Ordering::Relaxed);
        if phase != HEAD {
            self.deadline = None;
        }
        let filled = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Pending if phase == HEAD => {
                let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(HEAD_TIMEOUT)));
                ready!(deadline.as_mut().poll(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            read => {
                if phase == IDLE && buffer.filled().len() > filled {
                    self.phase.store(HEAD, Ordering::Relaxed);
                }
                read
            }
        }
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buffer);
        self.poll_written(cx, written)
    }

    /// Without vectored writes, hyper copies each response into a buffer of the connection, which keeps its
    /// size until the connection closes.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.poll_written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
