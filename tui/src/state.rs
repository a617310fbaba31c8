//! What the console knows, as plain data, and how each event changes it.

use crate::glyphs::Tier;
use crate::text::Language;
use coffre_core::wire::{Light, Status};

/// After so long without an answer the last one says nothing about now.
pub const STALE_MS: u64 = 5_000;

/// Everything that happens, in one order.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A key that means something.
    Key(Key),
    /// Time has passed; milliseconds since the console started.
    Tick {
        /// Now.
        now_ms: u64,
    },
    /// The box answered.
    Status(Box<Status>),
    /// The box did not answer, and why.
    NoAnswer(String),
    /// The terminal changed its size, or must be drawn again.
    Redraw,
}

/// The keys of this screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The other language.
    Language,
    /// The next tier of glyphs.
    Glyphs,
    /// Leave.
    Quit,
}

/// What the loop is to do after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Draw and wait for the next event.
    Draw,
    /// Leave.
    Quit,
}

/// The light as the console may show it: what the box said, unless it says nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The box said so within [`STALE_MS`].
    Light(Light),
    /// The box does not answer: silence is a fault.
    Silent,
    /// The first answer is still awaited.
    Waiting,
}

/// What the console knows.
#[derive(Clone, Debug)]
pub struct State {
    /// Language of the screen.
    pub language: Language,
    /// Glyphs of the terminal.
    pub tier: Tier,
    /// Whether colours may be used.
    pub colour: bool,
    /// The last status.
    pub status: Option<Status>,
    /// Why there was no answer the last time, if there was none.
    pub trouble: Option<String>,
    /// When the last status came.
    pub answered_ms: Option<u64>,
    /// Now, as the last tick said.
    pub now_ms: u64,
}

impl State {
    /// A console that has not heard anything yet.
    pub fn new(language: Language, tier: Tier, colour: bool) -> Self {
        Self { language, tier, colour, status: None, trouble: None, answered_ms: None, now_ms: 0 }
    }

    /// Takes an event in.
    pub fn apply(&mut self, event: Event) -> Command {
        match event {
            Event::Key(Key::Quit) => return Command::Quit,
            Event::Key(Key::Language) => self.language = self.language.other(),
            Event::Key(Key::Glyphs) => self.tier = self.tier.next(),
            Event::Tick { now_ms } => self.now_ms = self.now_ms.max(now_ms),
            Event::Status(status) => {
                self.status = Some(*status);
                self.answered_ms = Some(self.now_ms);
                self.trouble = None;
            }
            Event::NoAnswer(why) => self.trouble = Some(why),
            Event::Redraw => {}
        }
        Command::Draw
    }

    /// How old the last answer is.
    pub fn age_ms(&self) -> Option<u64> {
        self.answered_ms.map(|answered_ms| self.now_ms.saturating_sub(answered_ms))
    }

    /// The light to show.
    pub fn shown(&self) -> Shown {
        match (&self.status, self.age_ms()) {
            (Some(status), Some(age_ms)) if age_ms < STALE_MS => Shown::Light(status.light),
            (None, _) if self.trouble.is_none() && self.now_ms < STALE_MS => Shown::Waiting,
            _ => Shown::Silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State::new(Language::French, Tier::Rich, true)
    }

    #[test]
    fn keys_change_what_they_say() {
        let mut state = state();
        assert_eq!(state.apply(Event::Key(Key::Language)), Command::Draw);
        assert_eq!(state.language, Language::English);
        state.apply(Event::Key(Key::Glyphs));
        assert_eq!(state.tier, Tier::Cp437);
        assert_eq!(state.apply(Event::Key(Key::Quit)), Command::Quit);
    }

    #[test]
    fn silence_is_a_fault_from_the_first_second() {
        let mut state = state();
        assert_eq!(state.shown(), Shown::Waiting);
        state.apply(Event::NoAnswer("no daemon".into()));
        assert_eq!(state.shown(), Shown::Silent);
        let mut quiet = self::state();
        quiet.apply(Event::Tick { now_ms: STALE_MS });
        assert_eq!(quiet.shown(), Shown::Silent);
    }

    #[test]
    fn time_never_goes_back() {
        let mut state = state();
        state.apply(Event::Tick { now_ms: 10 });
        state.apply(Event::Tick { now_ms: 5 });
        assert_eq!(state.now_ms, 10);
    }
}
