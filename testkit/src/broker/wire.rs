//! The connections: TCP or TLS, and the ways to break one.
//!
//! axum's own listener gives a handler no hold on its connection. This one hands each request a
//! [`Line`], through which the handler can end the connection in the middle of everything.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker, ready};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What becomes of a connection.
#[derive(Clone, Debug, Default)]
pub(super) enum Fate {
    #[default]
    Alive,
    Closed,
    Reset,
    /// These bytes replace whatever the HTTP layer writes; then the connection ends.
    Raw(Vec<u8>),
}

/// The fate of a connection, and who waits on it.
type Shared = Mutex<(Fate, Option<Waker>)>;

/// A handler's hold on its connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Line(Arc<Shared>);

impl Line {
    /// Decides the fate of the connection and wakes it, for it may be waiting for the platform.
    pub(super) fn cut(&self, fate: Fate) {
        let waker = {
            let mut state = self.0.lock().unwrap();
            state.0 = fate;
            state.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Connected<IncomingStream<'_, Incoming>> for Line {
    fn connect_info(stream: IncomingStream<'_, Incoming>) -> Self {
        stream.remote_addr().clone()
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// One accepted connection.
pub(super) struct Connection {
    stream: Stream,
    line: Line,
    raw_sent: usize,
}

impl Connection {
    fn stream(&mut self) -> Pin<&mut (dyn Io + '_)> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream),
            Stream::Tls(stream) => Pin::new(stream),
        }
    }

    fn fate(&self) -> Fate {
        self.line.0.lock().unwrap().0.clone()
    }

    fn poll_raw(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<()>> {
        while self.raw_sent < bytes.len() {
            let sent = self.raw_sent;
            self.raw_sent += ready!(self.stream().poll_write(cx, &bytes[sent..]))?;
        }
        ready!(self.stream().poll_flush(cx))?;
        self.stream().poll_shutdown(cx)
    }
}

trait Io: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

impl Drop for Connection {
    fn drop(&mut self) {
        if matches!(self.fate(), Fate::Reset) {
            let tcp = match &self.stream {
                Stream::Plain(stream) => stream,
                Stream::Tls(stream) => stream.get_ref().0,
            };
            // Without lingering, closing sends a reset. A socket that is already dead needs none.
            let _ = tcp.set_zero_linger();
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        {
            let mut state = self.line.0.lock().unwrap();
            if matches!(state.0, Fate::Closed | Fate::Reset) {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            state.1 = Some(cx.waker().clone());
        }
        self.stream().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.fate() {
            Fate::Alive => self.stream().poll_write(cx, data),
            Fate::Closed | Fate::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            Fate::Raw(bytes) => {
                ready!(self.poll_raw(cx, &bytes))?;
                Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.fate() {
            // The end of a reset is the drop: a FIN sent before would be read as an orderly end.
            Fate::Reset => Poll::Ready(Ok(())),
            _ => self.stream().poll_shutdown(cx),
        }
    }
}

/// The connections as axum takes them. It outlives the port, which can be closed and opened again.
pub(super) struct Incoming(mpsc::UnboundedReceiver<Connection>);

impl Listener for Incoming {
    type Io = Connection;
    type Addr = Line;

    async fn accept(&mut self) -> (Connection, Line) {
        match self.0.recv().await {
            Some(connection) => {
                let line = connection.line.clone();
                (connection, line)
            }
            // The broker is gone; its server task is about to be aborted.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Line> {
        Ok(Line::default())
    }
}

/// The listening port.
pub(super) struct Port {
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    connections: mpsc::UnboundedSender<Connection>,
    lines: Arc<Mutex<Vec<Weak<Shared>>>>,
    accepting: Option<JoinHandle<()>>,
    /// Keeps the number taken while nobody listens: bound but not listening refuses connections.
    reserved: Option<TcpSocket>,
}

impl Port {
    /// Listens on a free port of this address.
    pub(super) fn open(address: Ipv4Addr, tls: Option<TlsAcceptor>) -> (Self, Incoming) {
        let listener = bind((address, 0).into()).listen(1024).unwrap();
        let (connections, incoming) = mpsc::unbounded_channel();
        let mut port = Self {
            address: listener.local_addr().unwrap(),
            tls,
            connections,
            lines: Arc::default(),
            accepting: None,
            reserved: None,
        };
        port.accept(listener);
        (port, Incoming(incoming))
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn close(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            // The listener is closed only once the task is gone.
            let _ = accepting.await;
            self.reserved = Some(bind(self.address));
        }
        self.hang_up();
    }

    pub(super) fn reopen(&mut self) {
        if let Some(socket) = self.reserved.take() {
            self.accept(socket.listen(1024).unwrap());
        }
    }

    /// Ends every open connection.
    pub(super) fn hang_up(&self) {
        for line in self.lines.lock().unwrap().drain(..).filter_map(|line| line.upgrade()) {
            Line(line).cut(Fate::Closed);
        }
    }

    fn accept(&mut self, listener: TcpListener) {
        let (tls, connections) = (self.tls.clone(), self.connections.clone());
        let lines = Arc::clone(&self.lines);
        self.accepting = Some(tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                let (tls, connections, lines) = (tls.clone(), connections.clone(), Arc::clone(&lines));
                let deliver = move |stream| {
                    let line = Line::default();
                    lines.lock().unwrap().push(Arc::downgrade(&line.0));
                    let _ = connections.send(Connection { stream, line, raw_sent: 0 });
                };
                match tls {
                    None => deliver(Stream::Plain(stream)),
                    // In a task of its own: a platform that never finishes the handshake holds up nobody.
                    Some(tls) => drop(tokio::spawn(async move {
                        if let Ok(stream) = tls.accept(stream).await {
                            deliver(Stream::Tls(Box::new(stream)));
                        }
                    })),
                }
            }
        }));
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
        }
        self.hang_up();
    }
}

fn bind(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    // Connections of before the stop may still be in TIME_WAIT.
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket
}
