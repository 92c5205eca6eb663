//! A broker that answers at once and keeps nothing, so that its share of the machine stays small. It has a thread of
//! its own.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, PoisonError, RwLock},
    thread,
};

use anyhow::Result;
use axum::{
    Router,
    extract::State,
    http::{Method, StatusCode, Uri, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use testkit::broker::{Offering, catalog};

/// The plans of one offering.
pub const PLANS_OF_OFFERING: usize = 10;

/// The text of the catalog.
type Catalog = Arc<RwLock<String>>;

pub struct Broker {
    catalog: Catalog,
    address: SocketAddr,
}

impl Broker {
    pub fn start() -> Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let (catalog, address) = (Catalog::default(), listener.local_addr()?);
        let router = Router::new().fallback(answer).with_state(Arc::clone(&catalog));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::spawn(move || {
            runtime
                .block_on(async { axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await })
        });
        Ok(Self { catalog, address })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Offers so many plans from now on.
    pub fn offer(&self, plans: usize) {
        let offerings = (0..plans.div_ceil(PLANS_OF_OFFERING)).map(|number| {
            let name = offering(number);
            let plans = PLANS_OF_OFFERING.min(plans - number * PLANS_OF_OFFERING);
            Offering::new(&name, &name).many_plans(plans)
        });
        *self.catalog.write().unwrap_or_else(PoisonError::into_inner) = catalog(offerings).to_string();
    }
}

/// The name and the id of an offering. All have the same length, so that one can stand for another in a text.
pub fn offering(number: usize) -> String {
    format!("offering-{number:06}")
}

async fn answer(State(catalog): State<Catalog>, method: Method, uri: Uri) -> Response {
    let (status, body) = match (method, uri.path()) {
        (Method::GET, "/v2/catalog") => {
            (StatusCode::OK, catalog.read().unwrap_or_else(PoisonError::into_inner).clone())
        }
        (Method::PUT, path) if path.contains("/service_bindings/") => {
            let credentials =
                r#"{"credentials":{"uri":"postgresql://u:p@db:5432/d","username":"u","password":"p"}}"#;
            (StatusCode::CREATED, credentials.to_owned())
        }
        (Method::PUT, _) => (StatusCode::CREATED, "{}".to_owned()),
        _ => (StatusCode::OK, "{}".to_owned()),
    };
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}
