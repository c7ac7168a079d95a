//! The socket interface: every behaviour runs twice, over the kernel's loopback and over the stack's, and must look the
//! same, except where `docs/differences-from-linux.md` says how it differs and why.

/// Makes a test of each behaviour.
macro_rules! behaviours {
    ($($name:ident: |$world:ident, $log:ident| $body:block)*) => {
        $(#[test]
        fn $name() {
            fn behaviour($world: &crate::world::World, $log: &mut crate::world::Log) $body
            crate::compare(stringify!($name), behaviour);
        })*
    };
}

mod binding;
mod connecting;
mod corners;
mod datagram;
mod ending;
mod faces;
mod fresh;
mod kernel;
mod lifetime;
mod like_std;
mod options;
mod owned;
mod readiness;
mod rounds;
mod running;
mod stream;
mod wires;
mod world;

use world::{Log, World};

/// The reviewed list: rows of the table `| behaviour | Linux | tunstack | why |`.
const DIFFERENCES: &str = include_str!("../../docs/differences-from-linux.md");

/// What the list says that a behaviour looks like on Linux and here.
fn listed(name: &str) -> Option<(String, String)> {
    let cell = |text: &str| text.trim().trim_matches('`').to_owned();
    DIFFERENCES.lines().find_map(|line| {
        let cells: Vec<&str> = line.trim().strip_prefix('|')?.split('|').collect();
        let [first, linux, here, ..] = cells[..] else { return None };
        (cell(first) == name).then(|| (cell(linux), cell(here)))
    })
}

/// Runs one behaviour in both worlds and compares.
fn compare(name: &str, behaviour: fn(&World, &mut Log)) {
    let see = move |world: World| {
        let mut log = Log::default();
        behaviour(&world, &mut log);
        log.finish()
    };
    let stack = tunstack::runtime::Stack::builder().start().expect("a stack");
    let kernel = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        kernel::enter_own_network().expect("a network of its own");
        see(World::Kernel)
    });
    let linux = kernel.expect("a thread").join().expect("the kernel's side");
    let here = see(World::Stack(stack));
    assert!(!linux.is_empty(), "a behaviour that shows nothing tests nothing");
    judge(name, &linux, &here);
}

fn judge(name: &str, linux: &str, here: &str) {
    match listed(name) {
        None => assert_eq!(here, linux, "{name}: left is the stack, right is Linux"),
        Some((then, now)) => {
            assert_ne!(here, linux, "{name} is listed as a difference and is none");
            assert_eq!(
                (linux, here),
                (then.as_str(), now.as_str()),
                "{name}: not the difference that is listed"
            );
        }
    }
}
