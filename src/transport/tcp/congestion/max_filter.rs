//! The greatest of recent values, where "recent" is this slot of time and the one before (BBR's windowed maxima, as Linux keeps them).

/// Two slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MaxFilter {
    previous: u64,
    current: u64,
}

impl MaxFilter {
    /// The greatest value of both slots; 0 before any.
    pub fn get(&self) -> u64 {
        self.previous.max(self.current)
    }

    pub fn note(&mut self, value: u64) {
        self.current = self.current.max(value);
    }

    /// A new slot begins; what lies before the last one is forgotten.
    pub fn advance(&mut self) {
        self.previous = core::mem::take(&mut self.current);
    }

    /// Did this slot see anything?
    pub fn is_fresh(&self) -> bool {
        self.current > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_maximum_lasts_for_two_slots() {
        let mut filter = MaxFilter::default();
        assert_eq!((filter.get(), filter.is_fresh()), (0, false));
        filter.note(5);
        filter.note(3);
        filter.advance();
        assert_eq!((filter.get(), filter.is_fresh()), (5, false));
        filter.note(4);
        assert_eq!(filter.get(), 5);
        filter.advance();
        assert_eq!(filter.get(), 4);
        filter.note(9);
        assert_eq!(filter.get(), 9);
    }
}
