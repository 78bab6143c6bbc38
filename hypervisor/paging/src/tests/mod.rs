//! The walker against a reference that knows no tables.

mod fixture;
mod properties;
mod shapes;
mod unmapping;
