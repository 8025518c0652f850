//! Real desktop programs and services, and what an expert would say of them: which processes are one group, what it is
//! called, its windows, what ties it to others, and why it cannot be frozen. One file a scene.
#![allow(missing_docs, clippy::panic)]

mod chromium;
mod firefox;
mod message_bus;
mod postgres;
mod redis;
mod said;
mod scene;
mod sockets;
mod wayland;
mod x11;
