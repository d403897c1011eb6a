//! The same with the remedy for memory: the crate `jemallocator`, which is no longer maintained, as global allocator.

#[path = "published.rs"]
mod published;

#[global_allocator]
static GLOBAL: jemallocator::Jemalloc = jemallocator::Jemalloc;

fn main() {
    published::main();
}
