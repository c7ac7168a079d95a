//! Readers of the trace: the text ladder, the packet capture, and charts.
//!
//! A reader is a [`Sink`]; it sees what a host tells and nothing else. [`Shared`] keeps a handle on a reader that was
//! given away, [`Tee`] feeds several.

mod chart;
mod exchange;
mod ladder;
mod packet;
mod pcapng;
mod peer;
#[cfg(test)]
mod script;
mod text;
mod track;
mod window;

pub use chart::{Curve, Curves, Ratios};
pub use exchange::{Recorder, ladder_of_both};
pub use ladder::Ladder;
pub use pcapng::Capture;
pub use text::{Style, octets};
pub use window::{Formula, Sample, Windows};

use crate::trace::{Event, Sink};
use std::sync::{Arc, Mutex, PoisonError};

/// Hands every event to several readers, in order.
#[derive(Default)]
pub struct Tee(Vec<Box<dyn Sink>>);

impl Tee {
    /// A tee without readers.
    pub fn new() -> Tee {
        Tee::default()
    }

    /// The same with one reader more.
    #[must_use]
    pub fn with(mut self, sink: impl Sink + 'static) -> Tee {
        self.0.push(Box::new(sink));
        self
    }

    /// Has it no reader at all?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sink to give to a host: nothing when nobody reads.
    pub fn into_sink(self) -> Option<Box<dyn Sink>> {
        if self.is_empty() { None } else { Some(Box::new(self)) }
    }
}

impl Sink for Tee {
    fn event(&mut self, event: &Event<'_>) {
        for sink in &mut self.0 {
            sink.event(event);
        }
    }
}

/// A reader with several owners: one is given to the host, another asks it for its summary at the end.
pub struct Shared<S>(Arc<Mutex<S>>);

impl<S> Shared<S> {
    /// The first owner.
    pub fn new(sink: S) -> Shared<S> {
        Shared(Arc::new(Mutex::new(sink)))
    }

    /// Works on the reader itself. Events wait meanwhile, so be quick.
    pub fn with<T>(&self, work: impl FnOnce(&mut S) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Shared<S> {
        Shared(self.0.clone())
    }
}

impl<S: Sink> Sink for Shared<S> {
    fn event(&mut self, event: &Event<'_>) {
        self.with(|sink| sink.event(event));
    }
}
