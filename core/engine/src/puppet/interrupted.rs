//! System calls that the stop has interrupted.
