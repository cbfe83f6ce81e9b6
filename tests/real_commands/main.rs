//! The real world as operators meet it: processes of this executable on loopback, with HTTP and npm. No outcome depends on
//! how fast the machine is.

mod api;
mod cluster;
mod commands;
mod hostile;
mod large;
mod nodes;
mod refusals;
mod web;
