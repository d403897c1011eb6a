//! The system calls of the loop, as thin as they can be: a failed one is its errno.

use std::mem::{MaybeUninit, size_of};
use std::net::IpAddr;
use std::ptr;
use std::sync::LazyLock;

use libc::{c_int, c_void, socklen_t};

pub type File = c_int;
pub type Errno = c_int;
pub type Result<T> = std::result::Result<T, Errno>;

fn checked(returned: isize) -> Result<usize> {
    if returned < 0 {
        Err(errno())
    } else {
        Ok(returned as usize)
    }
}

fn errno() -> Errno {
    // SAFETY: it points to this thread's own.
    unsafe { *libc::__errno_location() }
}

/// CLOCK_MONOTONIC in nanoseconds.
pub fn now_ns() -> i64 {
    clock_ns(libc::clock_gettime, libc::CLOCK_MONOTONIC)
}

/// How long the kernel's timer interrupt, by which it dates much, takes to come again (1/HZ).
fn tick_ns() -> i64 {
    clock_ns(libc::clock_getres, libc::CLOCK_MONOTONIC_COARSE)
}

type Clock = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> c_int;

fn clock_ns(ask: Clock, clock: libc::clockid_t) -> i64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes what it is given the address of.
    unsafe { ask(clock, &mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// A time between two dates in TCP_INFO that is no longer than this cannot be told from none.
pub static RESOLUTION_NS: LazyLock<i64> = LazyLock::new(|| 2 * tick_ns());

pub fn new_socket(family: c_int) -> Result<File> {
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes no pointers.
    checked(unsafe { libc::socket(family, kind, 0) } as isize).map(|file| file as File)
}

pub fn close(file: File) {
    // SAFETY: takes no pointers.
    unsafe { libc::close(file) };
}

pub fn set_option(file: File, level: c_int, option: c_int, value: c_int) -> Result<()> {
    // SAFETY: reads as much as it is told.
    let returned = unsafe {
        libc::setsockopt(
            file,
            level,
            option,
            ptr::from_ref(&value).cast(),
            size_of::<c_int>() as socklen_t,
        )
    };
    checked(returned as isize).map(drop)
}

/// An address as the kernel takes it, made once.
pub struct Address {
    storage: libc::sockaddr_storage,
    size: socklen_t,
    pub family: c_int,
}

impl Address {
    pub fn new(ip: IpAddr, port: u16) -> Self {
        // SAFETY: all zeros is a valid address of no family.
        let mut storage: libc::sockaddr_storage = unsafe { MaybeUninit::zeroed().assume_init() };
        let place = ptr::from_mut(&mut storage);
        let (family, size) = match ip {
            IpAddr::V4(ip) => {
                let address = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: port.to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from(ip).to_be(),
                    },
                    sin_zero: [0; 8],
                };
                // SAFETY: the storage is larger than any address and aligned for it.
                unsafe { place.cast::<libc::sockaddr_in>().write(address) };
                (libc::AF_INET, size_of::<libc::sockaddr_in>())
            }
            IpAddr::V6(ip) => {
                let address = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: port.to_be(),
                    sin6_flowinfo: 0,
                    sin6_addr: libc::in6_addr {
                        s6_addr: ip.octets(),
                    },
                    sin6_scope_id: 0,
                };
                // SAFETY: as above.
                unsafe { place.cast::<libc::sockaddr_in6>().write(address) };
                (libc::AF_INET6, size_of::<libc::sockaddr_in6>())
            }
        };
        Self {
            storage,
            size: size as socklen_t,
            family,
        }
    }

    pub fn bind(&self, file: File) -> Result<()> {
        // SAFETY: reads the address, whose size it is told.
        checked(
            unsafe { libc::bind(file, ptr::from_ref(&self.storage).cast(), self.size) } as isize,
        )
        .map(drop)
    }

    pub fn connect(&self, file: File) -> Result<()> {
        // SAFETY: as above.
        checked(
            unsafe { libc::connect(file, ptr::from_ref(&self.storage).cast(), self.size) } as isize,
        )
        .map(drop)
    }
}

/// The port that the kernel has chosen for a socket; 0 where it cannot be told.
pub fn local_port(file: File) -> u16 {
    // SAFETY: all zeros is a valid address, and the kernel writes no more than the size it is told.
    let storage = unsafe {
        let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
        let mut size = size_of::<libc::sockaddr_storage>() as socklen_t;
        libc::getsockname(file, storage.as_mut_ptr().cast(), &mut size);
        storage.assume_init()
    };
    // The port follows the family in addresses of both families.
    let address = ptr::from_ref(&storage).cast::<libc::sockaddr_in>();
    // SAFETY: the storage is larger, and aligned.
    u16::from_be(unsafe { (*address).sin_port })
}

pub fn send(file: File, bytes: &[u8]) -> Result<usize> {
    // SAFETY: reads as much as it is told.
    checked(unsafe { libc::send(file, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) })
}

pub fn receive(file: File, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: writes no more than it is told.
    checked(unsafe { libc::recv(file, buffer.as_mut_ptr().cast(), buffer.len(), 0) })
}

/// Whether bytes have come that were not read.
pub fn has_unread(file: File) -> bool {
    let mut unread: c_int = 0;
    // SAFETY: writes one number.
    unsafe { libc::ioctl(file, libc::FIONREAD, &mut unread) };
    unread != 0
}

/// The error that a socket has come to.
pub fn error_of(file: File) -> Errno {
    let mut found: c_int = 0;
    get_option(
        file,
        libc::SOL_SOCKET,
        libc::SO_ERROR,
        ptr::from_mut(&mut found).cast(),
        size_of::<c_int>(),
    );
    found
}

fn get_option(file: File, level: c_int, option: c_int, place: *mut c_void, size: usize) {
    let mut size = size as socklen_t;
    // SAFETY: callers own as many bytes at that place.
    unsafe { libc::getsockopt(file, level, option, place, &mut size) };
}

pub const ESTABLISHED: u8 = 1;
pub const SYN_SENT: u8 = 2;
pub const CLOSE: u8 = 7;

/// What the kernel knows of a connection now (struct tcp_info in include/uapi/linux/tcp.h).
#[derive(Clone, Copy)]
pub struct TcpInfo {
    pub state: u8,
    /// The SYN-ACK acknowledged what was in the SYN (TCPI_OPT_SYN_DATA).
    pub data_in_syn: bool,
    pub unacked: u32,
    /// Data, sent again or not.
    pub last_sent_ms_ago: i64,
    pub last_received_ms_ago: i64,
    pub last_ack_ms_ago: i64,
    /// All segments sent again, SYNs included.
    pub retransmits: u32,
    pub bytes_received: u64,
}

const TCP_INFO_BYTES: usize = 136;
const TCPI_OPT_SYN_DATA: u8 = 32;

pub fn tcp_info(file: File) -> TcpInfo {
    let mut bytes = [0u8; TCP_INFO_BYTES];
    get_option(
        file,
        libc::IPPROTO_TCP,
        libc::TCP_INFO,
        bytes.as_mut_ptr().cast(),
        TCP_INFO_BYTES,
    );
    let u32_at = |offset: usize| {
        u32::from_ne_bytes(bytes[offset..offset + 4].try_into().expect("four bytes"))
    };
    TcpInfo {
        state: bytes[0],
        data_in_syn: bytes[5] & TCPI_OPT_SYN_DATA != 0,
        unacked: u32_at(24),
        last_sent_ms_ago: u32_at(44).into(),
        last_received_ms_ago: u32_at(52).into(),
        last_ack_ms_ago: u32_at(56).into(),
        retransmits: u32_at(100),
        bytes_received: u64::from_ne_bytes(bytes[128..136].try_into().expect("eight bytes")),
    }
}

pub const READABLE: u32 = (libc::EPOLLIN | libc::EPOLLHUP | libc::EPOLLERR) as u32;
pub const HUNG_UP: u32 = libc::EPOLLRDHUP as u32;
/// Edge-triggered, so that a connection is registered once.
pub const UNTIL_ANSWERED: u32 = (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET) as u32;
pub const UNTIL_CONNECTED: u32 = UNTIL_ANSWERED | libc::EPOLLOUT as u32;
pub const EVENTS_PER_POLL: usize = 256;

pub type Events = [libc::epoll_event; EVENTS_PER_POLL];
pub const NO_EVENTS: Events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_PER_POLL];

pub struct Epoll {
    file: File,
}

impl Epoll {
    pub fn new() -> Result<Self> {
        // SAFETY: takes no pointers.
        checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) } as isize)
            .map(|file| Self { file: file as File })
    }

    pub fn add(&self, file: File, events: u32, place: usize) {
        self.control(libc::EPOLL_CTL_ADD, file, events, place);
    }

    /// What is left to read makes another edge.
    pub fn modify(&self, file: File, events: u32, place: usize) {
        self.control(libc::EPOLL_CTL_MOD, file, events, place);
    }

    fn control(&self, operation: c_int, file: File, events: u32, place: usize) {
        let mut event = libc::epoll_event {
            events,
            u64: place as u64,
        };
        // SAFETY: reads the event.
        unsafe { libc::epoll_ctl(self.file, operation, file, &mut event) };
    }

    /// Return how many of the events are there now.
    pub fn poll(&self, events: &mut Events) -> usize {
        // SAFETY: writes no more than it is told.
        let found = unsafe {
            libc::epoll_wait(self.file, events.as_mut_ptr(), EVENTS_PER_POLL as c_int, 0)
        };
        found.max(0) as usize
    }

    /// Sleep until there are some, `for_ns` at most, and return how many.
    pub fn wait(&self, events: &mut Events, for_ns: i64) -> usize {
        let time = libc::timespec {
            tv_sec: for_ns / 1_000_000_000,
            tv_nsec: for_ns % 1_000_000_000,
        };
        // epoll_wait's own timeout is whole milliseconds, too coarse to pace by.
        // SAFETY: reads the time, writes no more events than it is told, and leaves the signals as they are.
        let found = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.file,
                events.as_mut_ptr(),
                EVENTS_PER_POLL as c_int,
                ptr::from_ref(&time),
                ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        if found < 0 && errno() != libc::EINTR {
            self.sleep(&time); // before Linux 5.11, or forbidden
            return self.poll(events);
        }
        found.max(0) as usize
    }

    fn sleep(&self, time: &libc::timespec) {
        let mut asked = libc::pollfd {
            fd: self.file,
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: reads and writes the one file it is told of.
        unsafe { libc::ppoll(&mut asked, 1, time, ptr::null()) };
    }
}

pub fn page_bytes() -> usize {
    // SAFETY: takes no pointers.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// Make pages of a mapping writable at once; before Linux 5.14 each is when it is written to.
///
/// # Safety
/// The bytes are mapped.
pub unsafe fn populate(start: *mut u8, bytes: usize) {
    // SAFETY: they are mapped, says the caller.
    unsafe { libc::madvise(start.cast(), bytes, libc::MADV_POPULATE_WRITE) };
}

/// Keep this process on some CPUs.
pub fn stay_on(cpus: &[usize]) -> Result<()> {
    // SAFETY: all zeros is the empty set, and the numbers are a CPU's.
    unsafe {
        let mut set: libc::cpu_set_t = MaybeUninit::zeroed().assume_init();
        cpus.iter().for_each(|&cpu| libc::CPU_SET(cpu, &mut set));
        checked(libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) as isize).map(drop)
    }
}

/// Raise the limit of open files to the hard one.
pub fn open_as_many_as_allowed() -> Result<()> {
    // SAFETY: reads and writes what it is given the address of.
    unsafe {
        let mut limit: libc::rlimit = MaybeUninit::zeroed().assume_init();
        checked(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) as isize)?;
        limit.rlim_cur = limit.rlim_max;
        checked(libc::setrlimit(libc::RLIMIT_NOFILE, &limit) as isize).map(drop)
    }
}

/// CPU seconds that this process has used: (user, system).
pub fn cpu_seconds() -> (f64, f64) {
    // SAFETY: writes what it is given the address of.
    let used = unsafe {
        let mut used: libc::rusage = MaybeUninit::zeroed().assume_init();
        libc::getrusage(libc::RUSAGE_SELF, &mut used);
        used
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    (seconds(used.ru_utime), seconds(used.ru_stime))
}
