//! One connection against a test that plays the peer.
