//! The image: one file that holds a frozen group. Its layout is `core/FORMAT.md`.
