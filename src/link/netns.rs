//! Private network namespaces: a network of one's own, as root or without any right, that vanishes with the process.
//!
//! Nothing is mounted or named, so nothing is left behind however the process ends. Entering one is for the first lines
//! of `main`: threads that exist already would stay outside.

use super::LinkError;
use super::interface::Kernel;
use crate::base::Cidr;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// Index of the loopback interface in every namespace.
const LOOPBACK: u32 = 1;

/// How a private namespace was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// With rights that the process had.
    Own,
    /// In a user namespace of its own, in which it is root. `nsenter` needs `-U --preserve-credentials` to follow.
    UserNamespace,
}

impl Privilege {
    /// The command that does the same and starts a shell in it.
    pub fn command(self) -> &'static str {
        match self {
            Privilege::Own => "unshare --net",
            Privilege::UserNamespace => "unshare --map-root-user --net",
        }
    }
}

/// Moves this process into a new network namespace with nothing in it but loopback, which is up. Without the right to
/// do that, a new user namespace is made around it, in which this process is root.
///
/// # Errors
/// [`LinkError::Threads`] when threads have been started, [`LinkError::NoNamespace`] when the system forbids it.
pub fn enter_private() -> Result<Privilege, LinkError> {
    let count = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if count > 1 {
        return Err(LinkError::Threads { count });
    }
    let privilege = match unshare(UnshareFlags::NEWNET) {
        Ok(()) => Privilege::Own,
        Err(_) => {
            enter_user_namespace()?;
            Privilege::UserNamespace
        }
    };
    // A system that lets us have the namespace and then no right in it (AppArmor) shows here.
    loopback_up().map_err(|errno| forbidden("bringing its loopback up")(errno.into()))?;
    Ok(privilege)
}

/// Could [`enter_private`] make a namespace here? A child process tries; nothing changes for this one.
///
/// # Errors
/// [`LinkError::NoNamespace`] when the system forbids it.
pub fn check() -> Result<Privilege, LinkError> {
    let failed = |source| forbidden("trying it in a child process")(source);
    // SAFETY: the child makes system calls only, all async-signal-safe, and ends.
    let child = unsafe { libc::fork() };
    match child {
        -1 => return Err(failed(io::Error::last_os_error())),
        // SAFETY: ends the child without running anything of the parent's.
        0 => unsafe { libc::_exit(try_private()) },
        _ => {}
    }
    let mut status = 0;
    // SAFETY: `child` is ours and was not waited for; `status` is valid.
    while unsafe { libc::waitpid(child, &mut status, 0) } == -1 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(failed(error));
        }
    }
    match libc::WEXITSTATUS(status) {
        OWN => Ok(Privilege::Own),
        USER => Ok(Privilege::UserNamespace),
        errno => Err(failed(io::Error::from_raw_os_error(errno - ERRNO))),
    }
}

/// How the child of [`check`] ends: with one of these, or with an error number above the last.
const OWN: i32 = 0;
const USER: i32 = 1;
const ERRNO: i32 = 2;

/// Makes a namespace and brings its loopback up, with nothing but system calls.
fn try_private() -> i32 {
    let errno = || io::Error::last_os_error().raw_os_error().unwrap_or(libc::EPERM) + ERRNO;
    // SAFETY: system calls without pointers, and one `ifreq` that outlives its call.
    unsafe {
        let ending = match libc::unshare(libc::CLONE_NEWNET) {
            0 => OWN,
            _ if libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET) == 0 => USER,
            _ => return errno(),
        };
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        let mut request: libc::ifreq = core::mem::zeroed();
        request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
        request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
        match libc::ioctl(socket, libc::SIOCSIFFLAGS, &request) {
            0 => ending,
            _ => errno(),
        }
    }
}

/// Makes a user namespace with a network namespace in it, and this user root there.
fn enter_user_namespace() -> Result<(), LinkError> {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET)
        .map_err(|errno| forbidden("unshare(CLONE_NEWUSER | CLONE_NEWNET)")(errno.into()))?;
    // user_namespaces(7): without setgroups denied, an unprivileged process may not map its group.
    for (file, text) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {user} 1")),
        ("/proc/self/gid_map", format!("0 {group} 1")),
    ] {
        std::fs::write(file, text).map_err(forbidden("mapping this user to root"))?;
    }
    Ok(())
}

fn forbidden(what: &'static str) -> impl Fn(io::Error) -> LinkError {
    move |source| LinkError::NoNamespace { what, source }
}

fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: neither flag used here takes the file table or anything else that memory safety rests on from the thread.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

fn loopback_up() -> Result<(), Errno> {
    Kernel::open()?.set_up(LOOPBACK, true)
}

/// A network namespace that is held open. It lives at least as long as this value.
#[derive(Debug)]
pub struct Namespace(OwnedFd);

impl Namespace {
    /// The one of the calling thread.
    ///
    /// # Errors
    /// When `/proc` is not there.
    pub fn current() -> Result<Namespace, LinkError> {
        Namespace::open(Path::new("/proc/thread-self/ns/net"))
    }

    /// The one of another process.
    ///
    /// # Errors
    /// When there is no such process or it is somebody else's.
    pub fn of_process(pid: u32) -> Result<Namespace, LinkError> {
        Namespace::open(Path::new(&format!("/proc/{pid}/ns/net")))
    }

    /// A new one with loopback up, which this process stays outside of. Needs root, or [`enter_private`] before.
    ///
    /// # Errors
    /// [`LinkError::NoNamespace`] without the right.
    pub fn new() -> Result<Namespace, LinkError> {
        // A thread of its own makes it and ends; our descriptor keeps it.
        let made = std::thread::scope(|scope| {
            let maker = || {
                unshare(UnshareFlags::NEWNET)
                    .and_then(|()| loopback_up())
                    .map_err(|errno| forbidden("unshare(CLONE_NEWNET)")(errno.into()))?;
                Namespace::current()
            };
            scope.spawn(maker).join()
        });
        made.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The one that `path` stands for: `/proc/PID/ns/net`, or what `ip netns add` made in `/run/netns`.
    ///
    /// # Errors
    /// When there is nothing, or it may not be opened. Whether it is a network namespace shows when it is entered.
    pub fn open(path: &Path) -> Result<Namespace, LinkError> {
        open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map(Namespace)
            .map_err(LinkError::system("opening a network namespace"))
    }

    /// Runs `work` in this namespace, in a thread of its own, and waits for it. Sockets and devices that it opens
    /// belong to this namespace for ever.
    ///
    /// # Errors
    /// When this process has no right to enter. A panic in `work` goes on in the caller.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LinkError> {
        let done = std::thread::scope(|scope| {
            let entered = || {
                move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
                    .map_err(LinkError::system("entering a network namespace"))?;
                Ok(work())
            };
            scope.spawn(entered).join()
        });
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Makes `command` start its program in this namespace.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn enter_in(&self, command: &mut Command) -> io::Result<()> {
        let namespace = self.0.try_clone()?;
        // SAFETY: between fork and exec only setns is called, which is async-signal-safe.
        unsafe {
            command.pre_exec(move || match libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            })
        };
        Ok(())
    }
}

/// Joins two namespaces by a pair of virtual Ethernet interfaces called `name`, one in each with its address.
///
/// # Errors
/// When the kernel has none, or refuses.
pub fn join(a: (&Namespace, Cidr), b: (&Namespace, Cidr), name: &str, mtu: u32) -> Result<(), LinkError> {
    let failed = LinkError::system("making a veth pair");
    a.0.run(|| Kernel::open()?.add_veth(name, mtu, b.0.as_fd()))?.map_err(&failed)?;
    for (space, address) in [a, b] {
        let set_up = || {
            let mut kernel = Kernel::open()?;
            let index = kernel.by_name(name)?.ok_or(Errno::NODEV)?.index;
            kernel.add_address(index, address)?;
            kernel.set_up(index, true)
        };
        space.run(set_up)?.map_err(&failed)?;
    }
    Ok(())
}

impl AsFd for Namespace {
    fn as_fd(&self) -> rustix::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}
