//! Typed frames on one QUIC stream.

use crate::watch::{Peer, Watch};
use crate::{LinkError, Result};
use bytes::{Buf, BytesMut};
use plausch_relay_api::framing::{self, Unreadable};
use plausch_relay_api::limits::LINK_FRAME_BYTES;
use serde::{Serialize, de::DeserializeOwned};
use std::marker::PhantomData;
use std::time::Duration;

/// Ends a link on purpose. A connection that is dropped ends with code 0: its process goes on, and something failed.
const GOODBYE: quinn::VarInt = quinn::VarInt::from_u32(1);
/// How long [`Sender::close`] waits for the other side to know.
const CLOSE_WAIT: Duration = Duration::from_millis(500);

/// An authenticated link that receives `In` and sends `Out`.
#[derive(Debug)]
pub struct Connection<In, Out> {
    receiver: Receiver<In>,
    sender: Sender<Out>,
}

/// The receiving half.
#[derive(Debug)]
pub struct Receiver<In> {
    stream: quinn::RecvStream,
    input: BytesMut,
    message: PhantomData<fn() -> In>,
}

/// The sending half.
#[derive(Debug)]
pub struct Sender<Out> {
    endpoint: quinn::Endpoint,
    connection: quinn::Connection,
    stream: quinn::SendStream,
    output: BytesMut,
    message: PhantomData<fn(Out)>,
}

impl<In: DeserializeOwned, Out: Serialize> Connection<In, Out> {
    pub(crate) fn new(
        endpoint: quinn::Endpoint,
        connection: quinn::Connection,
        send: quinn::SendStream,
        receive: quinn::RecvStream,
    ) -> Self {
        Self {
            receiver: Receiver { stream: receive, input: BytesMut::new(), message: PhantomData },
            sender: Sender { endpoint, connection, stream: send, output: BytesMut::new(), message: PhantomData },
        }
    }

    /// See [`Receiver::recv`].
    pub async fn recv(&mut self) -> Result<Option<Result<In, Unreadable>>> {
        self.receiver.recv().await
    }

    /// See [`Sender::send`].
    pub async fn send(&mut self, message: &Out) -> Result<()> {
        self.sender.send(message).await
    }

    /// The other side's socket.
    pub fn peer(&self) -> Peer {
        Peer::new(self.sender.connection.remote_address())
    }

    /// To be told of the other side's death sooner than by the idle timeout.
    pub fn watch(&self) -> Watch {
        Watch::new(self.sender.connection.clone(), self.peer())
    }

    /// Two halves for two tasks. The link lives until the sending half is closed or both are dropped.
    pub fn split(self) -> (Receiver<In>, Sender<Out>) {
        (self.receiver, self.sender)
    }

    /// See [`Sender::close`].
    pub async fn close(self) {
        self.sender.close().await;
    }
}

impl<In: DeserializeOwned> Receiver<In> {
    /// The next message, or what can be said of one that is not understood; `None` when the other side ended the link
    /// on purpose. May be cancelled.
    pub async fn recv(&mut self) -> Result<Option<Result<In, Unreadable>>> {
        loop {
            if let Some(message) = framing::decode(&mut self.input)? {
                return Ok(Some(message));
            }
            match self.stream.read_chunk(LINK_FRAME_BYTES, true).await {
                Ok(Some(chunk)) => self.input.extend_from_slice(&chunk.bytes),
                Ok(None) if self.input.is_empty() => return Ok(None),
                Ok(None) => return Err(LinkError::Truncated),
                Err(quinn::ReadError::ConnectionLost(quinn::ConnectionError::ApplicationClosed(close)))
                    if close.error_code == GOODBYE =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl<Out: Serialize> Sender<Out> {
    /// Sends a message. When this is cancelled, what is left of the message goes out before the next one.
    pub async fn send(&mut self, message: &Out) -> Result<()> {
        framing::encode(message, &mut self.output)?;
        while !self.output.is_empty() {
            let written = self.stream.write(&self.output).await?;
            self.output.advance(written);
        }
        Ok(())
    }

    /// Ends the link, so that the other side need not wait for the idle timeout.
    pub async fn close(self) {
        self.connection.close(GOODBYE, b"");
        // Gives the closing packet time to leave the socket; on control's side other links may go on meanwhile.
        let _ = tokio::time::timeout(CLOSE_WAIT, self.endpoint.wait_idle()).await;
    }
}
