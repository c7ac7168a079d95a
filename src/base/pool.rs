//! Recycled buffer memory: chunks of two sizes, kept for the next buffer up to a bound.
//!
//! Small chunks serve connections that exchange messages, large ones bulk transfer (three of them hold any 64 KiB run).
//! Chunks are zeroed once, when they are made; what a buffer leaves in them is never read by the next one.

/// One piece of buffer memory, [`Pool::SMALL`] or [`Pool::LARGE`] octets.
pub type Chunk = Box<[u8]>;

/// The chunks that wait for a buffer.
#[derive(Debug, Default)]
pub struct Pool {
    small: Vec<Chunk>,
    large: Vec<Chunk>,
}

impl Pool {
    /// Octets of a small chunk.
    pub const SMALL: usize = 4 << 10;
    /// Octets of a large chunk.
    pub const LARGE: usize = 32 << 10;
    /// Octets of each size that are kept at most.
    const KEEP: usize = 4 << 20;

    /// A small chunk with any contents.
    pub fn take_small(&mut self) -> Chunk {
        self.small.pop().unwrap_or_else(|| vec![0; Pool::SMALL].into_boxed_slice())
    }

    /// A large chunk with any contents.
    pub fn take_large(&mut self) -> Chunk {
        self.large.pop().unwrap_or_else(|| vec![0; Pool::LARGE].into_boxed_slice())
    }

    /// Takes a chunk back.
    pub fn give(&mut self, chunk: Chunk) {
        let list = if chunk.len() == Pool::SMALL { &mut self.small } else { &mut self.large };
        if (list.len() + 1) * chunk.len() <= Pool::KEEP {
            list.push(chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_back_and_what_is_kept_is_bounded() {
        let mut pool = Pool::default();
        let mut chunk = pool.take_small();
        assert_eq!(chunk.len(), Pool::SMALL);
        chunk[0] = 7;
        pool.give(chunk);
        assert_eq!(pool.take_small()[0], 7, "the same chunk again");
        for _ in 0..1000 {
            pool.give(vec![0; Pool::LARGE].into_boxed_slice());
        }
        assert_eq!(pool.large.len(), Pool::KEEP / Pool::LARGE);
    }
}
