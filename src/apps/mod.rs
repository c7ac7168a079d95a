//! The application layer: sample programs and the commands of the binary.

pub mod chat;
mod cli;
pub mod failure;
pub mod http;
mod service;
