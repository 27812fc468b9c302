//! HTTPS servers to compare with, and to be called: as little as hyper and rustls allow.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use causeway::trust::Tls;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::Failure;

/// Serves mutual TLS until the process ends.
pub async fn serve<F, A>(address: SocketAddr, tls: Arc<Tls>, answer: F) -> Result<Infallible, Failure>
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Full<Bytes>>> + Send,
{
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (acceptor, answer) = (TlsAcceptor::from(tls.server()), answer.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| {
                let answer = answer(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            // A client that hangs up is no concern of a benchmark.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

/// Reads each request and answers it with as many bytes as were asked for.
pub async fn echo(address: SocketAddr, tls: Arc<Tls>, size: usize) -> Result<Infallible, Failure> {
    let body = Bytes::from(vec![b'x'; size]);
    serve(address, tls, move |request: Request<Incoming>| {
        let body = body.clone();
        async move {
            let mut incoming = request.into_body();
            while let Some(Ok(_)) = incoming.frame().await {}
            Response::new(Full::new(body))
        }
    })
    .await
}
