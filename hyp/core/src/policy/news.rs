//! Whether the policy program has been told that there is something to take.

/// What is raised at most once between two looks of the policy program, whatever guests do meanwhile: one that asks and cancels
/// in a loop costs it no more than one that asks once.
///
/// Whoever takes something, or finds nothing, is told again of what comes after that.
#[derive(Clone, Copy, Debug, Default)]
pub struct News {
    is_told: bool,
}

impl News {
    /// There is something to take. True if the policy program is to be told.
    #[must_use = "who is not told sleeps on it"]
    pub const fn raise(&mut self) -> bool {
        !core::mem::replace(&mut self.is_told, true)
    }

    /// The policy program looks.
    pub const fn look(&mut self) {
        self.is_told = false;
    }
}

#[cfg(test)]
mod tests {
    use super::News;

    #[test]
    fn who_asks_and_cancels_without_end_is_told_of_once_between_two_looks() {
        let mut news = News::default();
        let mut told = 0_u32;
        for _ in 0..3 {
            for _ in 0..1000 {
                told += u32::from(news.raise());
            }
            news.look();
            news.look();
        }
        assert_eq!(told, 3);
    }
}
