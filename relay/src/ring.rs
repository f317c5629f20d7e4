//! Bounded rings between threads, each with one sender and one receiver, and the wake-up that belongs to them.

use crate::driver::Waker;
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::Thread;
use tokio::sync::Notify;

/// The receiving end.
pub type Receiver<T> = rtrb::Consumer<T>;

/// How the receiver is told that there is something.
#[derive(Clone, Debug)]
pub enum Wake {
    /// It waits in its driver.
    Shard(Waker),
    /// It parks.
    Thread(Thread),
    /// It is a task.
    Task(Arc<Notify>),
}

impl Wake {
    pub(crate) fn wake(&self) {
        match self {
            Self::Shard(waker) => waker.wake(),
            Self::Thread(thread) => thread.unpark(),
            Self::Task(notify) => notify.notify_one(),
        }
    }
}

/// The sending end. Nothing is received for certain before [`Self::flush`], so that many messages cost one wake-up.
#[derive(Debug)]
pub struct Sender<T> {
    ring: rtrb::Producer<T>,
    waiting: VecDeque<T>,
    wake: Wake,
    unsaid: bool,
}

/// A ring of `capacity` messages.
pub fn ring<T>(capacity: usize, wake: Wake) -> (Sender<T>, Receiver<T>) {
    let (ring, receiver) = rtrb::RingBuffer::new(capacity);
    (Sender { ring, waiting: VecDeque::new(), wake, unsaid: false }, receiver)
}

impl<T> Sender<T> {
    /// For messages that may be refused: gives the message back when the ring is full.
    pub fn offer(&mut self, message: T) -> Result<(), T> {
        if !self.waiting.is_empty() {
            return Err(message);
        }
        self.ring.push(message).map_err(|rtrb::PushError::Full(message)| message)?;
        self.unsaid = true;
        Ok(())
    }

    /// For messages that must arrive: when the ring is full they wait here. There are only a few of them for each
    /// participant, whose number is limited.
    pub fn send(&mut self, message: T) {
        if let Err(message) = self.offer(message) {
            self.waiting.push_back(message);
        }
    }

    /// Wakes the receiver if there is news. `false`: messages still wait, come again soon.
    pub fn flush(&mut self) -> bool {
        while let Some(message) = self.waiting.pop_front() {
            if let Err(rtrb::PushError::Full(message)) = self.ring.push(message) {
                self.waiting.push_front(message);
                break;
            }
            self.unsaid = true;
        }
        if std::mem::take(&mut self.unsaid) {
            self.wake.wake();
        }
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_must_arrive_do_in_order() {
        let notify = Arc::new(Notify::new());
        let (mut sender, mut receiver) = ring(2, Wake::Task(notify));
        (0..5).for_each(|number| sender.send(number));
        assert_eq!(sender.offer(9), Err(9), "nothing overtakes what waits");
        let mut received = Vec::new();
        while received.len() < 5 {
            sender.flush();
            while let Ok(number) = receiver.pop() {
                received.push(number);
            }
        }
        assert_eq!(received, [0, 1, 2, 3, 4]);
        assert!(sender.flush());
        assert_eq!(sender.offer(9), Ok(()));
    }
}
