//! What is true of every connection after every step, by what the hosts tell in their traces.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tunstack::base::Duration;
use tunstack::trace::{Event, EventKind, Flow, Sink, TcpState, View};

/// The latest view of each connection of one host.
#[derive(Clone, Default)]
pub struct Views(Arc<Mutex<HashMap<Flow, View>>>);

struct Collector(Views);

impl Views {
    pub fn sink(&self) -> Box<dyn Sink> {
        Box::new(Collector(self.clone()))
    }
}

impl Sink for Collector {
    fn event(&mut self, event: &Event<'_>) {
        let Some(flow) = event.flow else { return };
        let mut views = self.0.0.lock().expect("no panic while collecting");
        match &event.kind {
            EventKind::Packet(packet) => {
                if let Some(view) = packet.after {
                    views.insert(flow, view);
                }
            }
            EventKind::Ended { .. } => {
                views.remove(&flow);
            }
            EventKind::State { .. } | EventKind::Timer { .. } | EventKind::Congestion { .. } => {}
        }
    }
}

fn before_or_at(a: u32, b: u32) -> bool {
    b.wrapping_sub(a) as i32 >= 0
}

/// Checks both hosts, each by itself and against the other.
pub fn check(a: &Views, b: &Views) {
    let (a, b) = (a.0.lock().expect("no panic"), b.0.lock().expect("no panic"));
    for (flow, view) in a.iter().chain(b.iter()) {
        check_one(flow, view);
    }
    for (flow, ours) in a.iter() {
        let mirrored = Flow { local: flow.remote, remote: flow.local };
        if let Some(theirs) = b.get(&mirrored) {
            check_both(flow, ours, theirs);
        }
    }
}

fn synchronized(state: TcpState) -> bool {
    match state {
        TcpState::Closed | TcpState::Listen | TcpState::SynSent | TcpState::SynReceived => false,
        TcpState::Established
        | TcpState::FinWait1
        | TcpState::FinWait2
        | TcpState::CloseWait
        | TcpState::Closing
        | TcpState::LastAck
        | TcpState::TimeWait => true,
    }
}

fn check_one(flow: &Flow, view: &View) {
    let say = || format!("{flow:?}: {view:?}");
    assert!(before_or_at(view.iss, view.snd_una), "SND.UNA before ISS: {}", say());
    assert!(before_or_at(view.snd_una, view.snd_nxt), "SND.UNA beyond SND.NXT: {}", say());
    if synchronized(view.state) && view.state != TcpState::TimeWait {
        assert!(view.cwnd > 0, "cwnd is zero: {}", say());
        assert!(
            view.rto >= Duration::from_millis(200) && view.rto <= Duration::from_secs(120),
            "RTO: {}",
            say()
        );
        assert!(before_or_at(view.irs, view.rcv_nxt), "RCV.NXT before IRS: {}", say());
    }
}

fn check_both(flow: &Flow, ours: &View, theirs: &View) {
    let same = ours.iss == theirs.irs && theirs.iss == ours.irs;
    if !same || !synchronized(ours.state) || !synchronized(theirs.state) {
        return; // another incarnation, or one side does not know the other yet
    }
    let say = || format!("{flow:?}:\n  {ours:?}\n  {theirs:?}");
    for (sender, receiver) in [(ours, theirs), (theirs, ours)] {
        assert!(before_or_at(sender.snd_una, receiver.rcv_nxt), "acknowledged before it arrived: {}", say());
        assert!(before_or_at(receiver.rcv_nxt, sender.snd_nxt), "received before it was sent: {}", say());
    }
}
