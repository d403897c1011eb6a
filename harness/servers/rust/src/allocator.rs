//! The allocator a variant of the servers was built with, and what it says of itself.

#[cfg(all(feature = "jemalloc", feature = "mimalloc"))]
compile_error!("a program has one global allocator: choose jemalloc or mimalloc");

#[cfg(feature = "jemalloc")]
#[global_allocator]
static GLOBAL: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Name and version, from the allocator itself, if it says that memory allocated
/// just now is its own. Without a variant nobody is there to ask.
pub fn in_charge() -> Option<String> {
    let fresh = Box::new([0_u8; 1024]);
    owner(std::hint::black_box(&raw const *fresh).cast())
}

#[cfg(feature = "jemalloc")]
fn owner(memory: *const std::ffi::c_void) -> Option<String> {
    use std::ffi::{CStr, c_char};
    use std::mem::size_of;
    use std::ptr::{null, null_mut};
    use tikv_jemalloc_sys::mallctl;

    let mut arena = 0_u32;
    let mut arena_size = size_of::<u32>();
    let mut version: *const c_char = null();
    let mut version_size = size_of::<*const c_char>();
    // SAFETY: both names are jemalloc's own, and each gets room of the type that
    // its documentation gives. `arenas.lookup` fails for memory it does not own.
    unsafe {
        let owned = mallctl(
            c"arenas.lookup".as_ptr(),
            (&raw mut arena).cast(),
            &raw mut arena_size,
            (&raw const memory).cast_mut().cast(),
            size_of::<*const std::ffi::c_void>(),
        );
        let named = mallctl(
            c"version".as_ptr(),
            (&raw mut version).cast(),
            &raw mut version_size,
            null_mut(),
            0,
        );
        (owned == 0 && named == 0)
            .then(|| format!("jemalloc {}", CStr::from_ptr(version).to_string_lossy()))
    }
}

#[cfg(feature = "mimalloc")]
fn owner(memory: *const std::ffi::c_void) -> Option<String> {
    // SAFETY: the address is only looked up.
    let owned = unsafe { libmimalloc_sys::mi_is_in_heap_region(memory) };
    owned.then(|| format!("mimalloc {}", GLOBAL.version()))
}

#[cfg(not(any(feature = "jemalloc", feature = "mimalloc")))]
fn owner(_: *const std::ffi::c_void) -> Option<String> {
    None
}
