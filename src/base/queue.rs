//! A queue whose first element lies in place: most have no more than one, and that one needs no memory of its own.

use std::collections::VecDeque;

/// First in, first out.
#[derive(Clone, Debug)]
pub struct Queue<T> {
    first: Option<T>,
    /// Empty without a first one.
    rest: VecDeque<T>,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue::new()
    }
}

impl<T> Queue<T> {
    /// Empty.
    pub const fn new() -> Queue<T> {
        Queue { first: None, rest: VecDeque::new() }
    }

    /// Is there nothing in it?
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The oldest.
    pub fn front(&self) -> Option<&T> {
        self.first.as_ref()
    }

    /// The oldest, to be changed.
    pub fn front_mut(&mut self) -> Option<&mut T> {
        self.first.as_mut()
    }

    /// The newest, to be changed.
    pub fn back_mut(&mut self) -> Option<&mut T> {
        self.rest.back_mut().or(self.first.as_mut())
    }

    /// Adds one.
    pub fn push_back(&mut self, value: T) {
        match &self.first {
            None => self.first = Some(value),
            Some(_) => self.rest.push_back(value),
        }
    }

    /// Takes the oldest out. When it was the last, no memory is kept.
    pub fn pop_front(&mut self) -> Option<T> {
        let value = self.first.take()?;
        self.first = self.rest.pop_front();
        if self.first.is_none() && self.rest.capacity() > 0 {
            self.rest = VecDeque::new();
        }
        Some(value)
    }

    /// All, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.rest)
    }

    /// Those that are not `past`, which the first ones are.
    pub fn iter_from(&self, past: impl Fn(&T) -> bool) -> impl Iterator<Item = &T> {
        let first = self.first.as_ref().filter(|first| !past(first));
        let skip = if first.is_some() { 0 } else { self.rest.partition_point(past) };
        first.into_iter().chain(self.rest.range(skip..))
    }

    /// Octets of memory behind it.
    pub fn memory_octets(&self) -> usize {
        self.rest.capacity() * size_of::<T>()
    }
}

impl<T> FromIterator<T> for Queue<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Queue<T> {
        let mut values = values.into_iter();
        Queue { first: values.next(), rest: values.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    #[test]
    fn it_is_a_queue() {
        let (mut queue, mut model) = (Queue::new(), VecDeque::new());
        let mut rng = Rng::from_seed(3);
        for number in 0..2000 {
            if rng.chance(0.5) {
                queue.push_back(number);
                model.push_back(number);
            } else {
                assert_eq!(queue.pop_front(), model.pop_front());
            }
            assert!(queue.iter().eq(&model));
            assert_eq!(queue.front(), model.front());
            assert_eq!(queue.front_mut(), model.front_mut());
            assert_eq!(queue.back_mut(), model.back_mut());
            assert_eq!(queue.is_empty(), model.is_empty());
            assert!(!model.is_empty() || queue.memory_octets() == 0);
            let limit = number - rng.below(6) as i32;
            let from = model.partition_point(|value| *value < limit);
            assert!(queue.iter_from(|value| *value < limit).eq(model.range(from..)));
            assert!(model.iter().copied().collect::<Queue<i32>>().iter().eq(&model));
        }
    }
}
