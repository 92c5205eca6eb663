//! A server that reads a request, notes it, and then does what the test says to the socket.

use std::{
    env,
    net::SocketAddr,
    sync::{Arc, Mutex, atomic::AtomicUsize, atomic::Ordering},
    time::Duration,
};

use service_catalog::{
    json::RawObject,
    osb::{
        Authentication, Client, ClientSettings, Endpoint, Outcome, Refusal, UnknownOutcome,
        wire::{
            BindRequest, BindResource, ContextObject, PLATFORM, PreviousValues, ProvisionRequest, Target,
            UpdateRequest,
        },
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;

/// What to do with a request that was read.
#[derive(Clone)]
pub enum Act {
    /// Writes this and waits for the next request.
    Say(String),
    /// Writes this and closes the connection in order.
    SayAndClose(String),
    /// Writes this and resets the connection (plain connections only).
    SayAndReset(String),
    /// Writes this and then nothing, ever.
    SayAndHang(String),
    /// Writes this, then one byte after the other.
    Drip(String),
    /// Writes this, then without end.
    Flood(String),
    /// Writes this over and over.
    Repeat(String),
    /// Writes these bytes and closes the connection in order.
    SayBytes(Vec<u8>),
}

pub struct Broker {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    /// One permit for each connection that both sides have closed.
    parted: Arc<Semaphore>,
}

impl Broker {
    /// A broker that acts in this order and repeats the last act for ever.
    pub async fn start(acts: Vec<Act>) -> Self {
        Self::start_with(acts, None).await
    }

    pub async fn start_with(acts: Vec<Act>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let broker = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            connections: Arc::default(),
            parted: Arc::new(Semaphore::new(0)),
        };
        let (requests, connections) = (broker.requests.clone(), broker.connections.clone());
        let parted = broker.parted.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.fetch_add(1, Ordering::SeqCst);
                let (acts, requests, tls) = (acts.clone(), requests.clone(), tls.clone());
                let parted = parted.clone();
                tokio::spawn(async move {
                    match tls {
                        None => plain(stream, &acts, &requests, &parted).await,
                        Some(tls) => {
                            if let Ok(mut stream) = tls.accept(stream).await {
                                serve(&mut stream, &acts, &requests).await;
                                let _ = stream.shutdown().await;
                            }
                        }
                    }
                });
            }
        });
        broker
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until the client, too, has closed a connection that the broker closed in order.
    pub async fn parts(&self) {
        self.parted.acquire().await.unwrap().forget();
    }

    pub fn client(&self) -> Client {
        client(&format!("http://{}", self.address))
    }

    /// A client that gives up after half a second.
    pub fn hasty_client(&self) -> Client {
        let settings =
            ClientSettings { request_timeout: Duration::from_millis(500), ..ClientSettings::default() };
        Client::new(&endpoint(&format!("http://{}", self.address)), &settings).unwrap()
    }
}

async fn plain(mut stream: TcpStream, acts: &[Act], requests: &Mutex<Vec<String>>, parted: &Semaphore) {
    if serve(&mut stream, acts, requests).await == End::Reset {
        // Let what was written arrive: a reset discards what is still under way.
        tokio::time::sleep(Duration::from_millis(50)).await;
        stream.set_zero_linger().unwrap();
    } else if stream.shutdown().await.is_ok() {
        let mut unread = Vec::new();
        let _ = stream.read_to_end(&mut unread).await;
        parted.add_permits(1);
    }
}

#[derive(PartialEq)]
enum End {
    Close,
    Reset,
}

async fn serve(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    acts: &[Act],
    requests: &Mutex<Vec<String>>,
) -> End {
    while let Some(request) = read_request(stream).await {
        let act = {
            let mut requests = requests.lock().unwrap();
            requests.push(request);
            acts[(requests.len() - 1).min(acts.len() - 1)].clone()
        };
        let bytes = match &act {
            Act::Say(text)
            | Act::SayAndClose(text)
            | Act::SayAndReset(text)
            | Act::SayAndHang(text)
            | Act::Drip(text)
            | Act::Flood(text)
            | Act::Repeat(text) => text.as_bytes(),
            Act::SayBytes(bytes) => bytes,
        };
        if stream.write_all(bytes).await.is_err() || stream.flush().await.is_err() {
            return End::Close;
        }
        match act {
            Act::Say(_) => {}
            Act::SayAndClose(_) | Act::SayBytes(_) => return End::Close,
            Act::SayAndReset(_) => return End::Reset,
            Act::SayAndHang(_) => std::future::pending().await,
            Act::Drip(_) => loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                if stream.write_all(b" ").await.is_err() {
                    return End::Close;
                }
            },
            Act::Flood(_) => return flood(stream, " ").await,
            Act::Repeat(text) => return flood(stream, &text).await,
        }
    }
    End::Close
}

async fn flood(stream: &mut (impl AsyncWrite + Unpin), text: &str) -> End {
    let block = text.repeat(1 + 65536 / text.len());
    while stream.write_all(block.as_bytes()).await.is_ok() {}
    End::Close
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut text = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        if let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&text[..end]).to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            if text.len() >= end + 4 + length {
                return Some(String::from_utf8(text).unwrap());
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => text.extend_from_slice(&buffer[..read]),
        }
    }
}

/// A complete answer.
pub fn answer(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The beginning of an answer whose body is said to be longer than it is.
pub fn cut(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} x\r\nContent-Length: 1000\r\n\r\n{body}")
}

pub fn endpoint(url: &str) -> Endpoint {
    Endpoint { url: url.into(), auth: Authentication::None, ca_bundle: None, insecure_skip_tls_verify: false }
}

pub fn client(url: &str) -> Client {
    Client::new(&endpoint(url), &ClientSettings::default()).unwrap()
}

pub fn context() -> ContextObject {
    ContextObject {
        platform: PLATFORM,
        namespace: "ns".into(),
        clusterid: "cluster".into(),
        instance_name: Some("db".into()),
        namespace_annotations: None,
        instance_annotations: None,
    }
}

pub fn provision_request() -> ProvisionRequest {
    ProvisionRequest {
        service_id: "s".into(),
        plan_id: "p".into(),
        organization_guid: "cluster".into(),
        space_guid: "ns-uid".into(),
        context: context(),
        parameters: None,
        maintenance_info: None,
    }
}

pub fn update_request() -> UpdateRequest {
    UpdateRequest {
        service_id: "s".into(),
        plan_id: None,
        parameters: Some(RawObject::default()),
        context: context(),
        previous_values: PreviousValues {
            service_id: "s".into(),
            plan_id: "p".into(),
            maintenance_info: None,
        },
        maintenance_info: None,
    }
}

pub fn bind_request() -> BindRequest {
    BindRequest {
        service_id: "s".into(),
        plan_id: "p".into(),
        context: context(),
        bind_resource: BindResource { app_guid: "ns-uid".into() },
        parameters: None,
        predecessor_binding_id: None,
    }
}

pub fn target() -> Target {
    Target { service_id: "s".into(), plan_id: "p".into() }
}

fn name<T>(outcome: &Outcome<T>) -> String {
    match outcome {
        Outcome::Answered(_) => "answered".to_owned(),
        Outcome::Refused(refusal) => format!("{refusal:?}"),
        Outcome::Unsent(unsent) => format!("{unsent:?}"),
        Outcome::Unknown(doubt) => format!("{doubt:?}"),
    }
}

/// Runs an ignored test in a process with these variables, because the proxy of the environment is read once in a process.
pub async fn in_process(test: &str, variables: &[(&str, &str)]) {
    let mut asking = Command::new(env::current_exe().unwrap());
    asking.args(["--exact", test, "--ignored"]).env_remove("no_proxy").env_remove("NO_PROXY");
    let output = asking.envs(variables.iter().copied()).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[track_caller]
pub fn answered<T>(outcome: Outcome<T>) -> T {
    let name = name(&outcome);
    let Outcome::Answered(answer) = outcome else { panic!("not answered: {name}") };
    answer
}

#[track_caller]
pub fn refused<T>(outcome: Outcome<T>) -> Refusal {
    let name = name(&outcome);
    let Outcome::Refused(refusal) = outcome else { panic!("not refused: {name}") };
    refusal
}

#[track_caller]
pub fn unsent<T>(outcome: Outcome<T>) -> String {
    let name = name(&outcome);
    let Outcome::Unsent(unsent) = outcome else { panic!("not unsent: {name}") };
    unsent.message.to_string()
}

#[track_caller]
pub fn unknown<T>(outcome: Outcome<T>) -> UnknownOutcome {
    let name = name(&outcome);
    let Outcome::Unknown(doubt) = outcome else { panic!("not unknown: {name}") };
    doubt
}
