//! What encrypted archives are tried with: words that the message itself offers as its password, then a list of the
//! operator's. Bounded in number; the time is the budget's.

/// Candidates, the likeliest first, without repetition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Passwords {
    list: Vec<String>,
}

impl Passwords {
    /// In the order they are to be tried.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(String::as_str)
    }
}
