//! F1, the status screen: one light for the box, its disks, what it keeps, what to look at.
//!
//! From top to bottom: title and light; the disks, one line each; what is kept; what runs; what to look at; the
//! keys that work here.

use crate::glyphs::{self, BAR_DONE, BAR_REST};
use crate::state::{Shown, State};
use crate::text::Word;
use coffre_core::wire::{DiskInfo, DiskState, JobInfo, Light, Standing, Status};
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Wrap};

/// The smallest window that is drawn.
pub const MIN_WIDTH: u16 = 80;
/// The smallest window that is drawn.
pub const MIN_HEIGHT: u16 = 24;
/// Jobs shown; more are counted on the last line.
const MAX_JOBS: usize = 3;
const BAR_CELLS: u64 = 20;

/// What a part of the screen is to be felt as. Always beside a word and a shape.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tone {
    Good,
    Watch,
    Bad,
}

/// Draws the whole screen.
pub fn draw(frame: &mut Frame<'_>, state: &State) {
    let area = frame.area();
    if area.width < MIN_WIDTH || area.height < MIN_HEIGHT {
        frame.render_widget(
            Paragraph::new(state.language.word(Word::TooSmall)).wrap(Wrap { trim: true }),
            area,
        );
    } else {
        draw_parts(frame, area, state);
    }
    glyphs::fold(frame.buffer_mut(), state.tier);
}

fn draw_parts(frame: &mut Frame<'_>, area: Rect, state: &State) {
    // What a silent box said some time ago is not how things are now: it is not shown as if it were.
    let heard = state.status.as_ref().filter(|_| matches!(state.shown(), Shown::Light(_)));
    let disks = heard.map_or(0, |status| status.disks.len() as u16 + 2);
    let jobs = heard.map_or(0, |status| status.jobs.len().min(MAX_JOBS) as u16);
    let parts = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(disks),
        Constraint::Length(if heard.is_some() { 4 } else { 0 }),
        Constraint::Length(jobs),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .split(area);
    title(frame, parts[0], state);
    if let Some(status) = heard {
        disk_list(frame, parts[1], state, status);
        kept(frame, parts[2], state, status);
        running(frame, parts[3], state, status);
    }
    to_look_at(frame, parts[4], state, heard);
    keys(frame, parts[5], state);
}

fn title(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let language = state.language;
    let name = state.status.as_ref().map_or("", |status| &status.name);
    frame.render_widget(Line::from(vec![strong(" COFFRE "), Span::raw(name.to_owned())]), area);
    let (shape, word, tone) = match state.shown() {
        Shown::Light(Light::Green) => (glyphs::GOOD, language.light(Light::Green), Tone::Good),
        Shown::Light(Light::Amber) => (glyphs::WATCH, language.light(Light::Amber), Tone::Watch),
        Shown::Light(Light::Red) => (glyphs::BAD, language.light(Light::Red), Tone::Bad),
        Shown::Silent => (glyphs::UNKNOWN, language.silent(), Tone::Bad),
        Shown::Waiting => (glyphs::UNKNOWN, language.waiting(), Tone::Watch),
    };
    let light = Span::styled(format!(" {shape} {word} "), style(state, tone));
    frame.render_widget(Line::from(light).alignment(Alignment::Center), area);
    if state.status.as_ref().is_some_and(|status| status.try_out) {
        let note = Span::styled(format!("{} ", language.word(Word::TryOut)), style(state, Tone::Watch));
        frame.render_widget(Line::from(note).alignment(Alignment::Right), area);
    }
}

fn disk_list(frame: &mut Frame<'_>, area: Rect, state: &State, status: &Status) {
    let block =
        Block::bordered().title(format!(" {} {} ", state.language.word(Word::Disks), status.geometry));
    let lines: Vec<Line<'_>> = status.disks.iter().map(|disk| disk_line(state, disk, area.width)).collect();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn disk_line(state: &State, disk: &DiskInfo, width: u16) -> Line<'static> {
    let language = state.language;
    let (shape, tone) = match disk.state {
        DiskState::Active => (glyphs::GOOD, Tone::Good),
        DiskState::CatchingUp => (glyphs::UNDER_WAY, Tone::Watch),
        DiskState::Suspect => (glyphs::WATCH, Tone::Watch),
        DiskState::Absent | DiskState::Retired => (glyphs::NOTHING, Tone::Bad),
        DiskState::Foreign | DiskState::Held => (glyphs::BAD, Tone::Bad),
    };
    let right = match (&disk.reason, disk.free_bytes, disk.total_bytes) {
        (Some(reason), _, _) => reason.clone(),
        (None, Some(free), Some(total)) => format!(
            "{} {} {} {}",
            language.bytes(free),
            language.word(Word::Free),
            language.word(Word::Of),
            language.bytes(total)
        ),
        _ => String::new(),
    };
    // Inside the frame; number, shape and state take 20 cells, a third of the rest is for the path.
    let rest = usize::from(width).saturating_sub(2 + 20);
    let path = cut(&disk.path, rest / 2 - 1);
    let right = cut(&right, rest / 2 - 1);
    Line::from(vec![
        Span::raw(format!(" {} ", disk.number)),
        Span::styled(format!("{shape} {:<13}", language.disk(disk.state)), style(state, tone)),
        Span::raw(format!(" {path:<width$} {right:>width$}", width = rest / 2 - 1)),
    ])
}

fn kept(frame: &mut Frame<'_>, area: Rect, state: &State, status: &Status) {
    let language = state.language;
    let count =
        |of: &[Standing]| status.senders.iter().filter(|s| of.contains(&s.rhythm.standing)).count() as u64;
    let mut title = format!(" {} ", language.word(Word::Kept));
    for (word, many) in [
        (Word::Late, count(&[Standing::Late, Standing::VeryLate])),
        (Word::NeverCame, count(&[Standing::Never])),
    ] {
        if many > 0 {
            title.push_str(&format!("· {} {} ", language.count(many), language.word(word)));
        }
    }
    let block = Block::bordered().title(title);
    let tone = match status.can_lose_disks {
        0 => Tone::Bad,
        _ => Tone::Good,
    };
    let (taken, taken_tone) =
        if status.writable { (Word::Accepted, Tone::Good) } else { (Word::ReadOnly, Tone::Bad) };
    let first = Line::from(vec![
        Span::raw(format!(" {} ", language.word(Word::CanLose))),
        Span::styled(format!(" {} ", status.can_lose_disks), style(state, tone)),
        Span::raw(" · "),
        Span::styled(language.word(taken), style(state, taken_tone)),
    ]);
    let second = format!(
        " {} {} · {} {} · {} {}",
        language.count(status.snapshots),
        language.word(Word::Snapshots),
        language.bytes(status.logical_bytes),
        language.word(Word::Received),
        language.bytes(status.stored_bytes),
        language.word(Word::Stored),
    );
    frame.render_widget(Paragraph::new(vec![first, Line::from(second)]).block(block), area);
}

fn running(frame: &mut Frame<'_>, area: Rect, state: &State, status: &Status) {
    let line = |job: &JobInfo| {
        let name = cut(state.language.job(&job.kind), 34);
        let done = match job.total {
            Some(total) if total > 0 => bar(job.done, total),
            _ => state.language.count(job.done),
        };
        Line::from(format!(" {} {name:<34} {done}", glyphs::UNDER_WAY))
    };
    let lines: Vec<Line<'_>> = status.jobs.iter().take(MAX_JOBS).map(line).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

fn bar(done: u64, total: u64) -> String {
    let done = done.min(total);
    let cells = (u128::from(done) * u128::from(BAR_CELLS) / u128::from(total)) as usize;
    let percent = u128::from(done) * 100 / u128::from(total);
    let bar: String =
        (0..BAR_CELLS as usize).map(|cell| if cell < cells { BAR_DONE } else { BAR_REST }).collect();
    format!("{bar} {percent:>3} %")
}

fn to_look_at(frame: &mut Frame<'_>, area: Rect, state: &State, heard: Option<&Status>) {
    let language = state.language;
    let block = Block::bordered().title(format!(" {} ", language.word(Word::ToSee)));
    let mut lines: Vec<Line<'_>> = Vec::new();
    if state.shown() == Shown::Silent {
        let since =
            state.age_ms().map(|ms| format!(" ({} {})", language.word(Word::LastAnswer), language.ago(ms)));
        let text = format!(" {} {}{}", glyphs::BAD, language.word(Word::NoAnswer), since.unwrap_or_default());
        lines.push(Line::from(Span::styled(text, style(state, Tone::Bad))));
        lines.extend(state.trouble.iter().map(|why| Line::from(format!("   {why}"))));
    }
    if let Some(status) = heard {
        lines.extend(status.reasons.iter().map(|reason| Line::from(format!(" {} {reason}", glyphs::WATCH))));
        if status.debt_packs > 0 {
            let debt = language.count(status.debt_packs);
            let (packs, todo) = (language.word(Word::Packs), language.word(Word::Debt));
            lines.push(Line::from(format!(" {} {debt} {packs} {todo}", glyphs::WATCH)));
        }
        if !status.index_ready {
            lines.push(Line::from(format!(
                " {} {}",
                glyphs::UNDER_WAY,
                language.word(Word::IndexRebuilding)
            )));
        }
        if lines.is_empty() {
            lines.push(Line::from(format!(" {}", language.word(Word::NothingToSee))));
        }
    }
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }).block(block), area);
}

fn keys(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let language = state.language;
    let mut parts = Vec::new();
    for (key, what) in [
        ("F1", language.word(Word::Status)),
        ("L", language.word(Word::KeyLanguage)),
        ("G", language.word(Word::KeyGlyphs)),
        ("Q", language.word(Word::KeyQuit)),
    ] {
        parts.push(strong(" "));
        parts.push(Span::styled(key, Style::new().add_modifier(Modifier::BOLD)));
        parts.push(Span::raw(format!(" {what} ")));
    }
    frame.render_widget(Line::from(parts), area);
}

fn strong(text: &'static str) -> Span<'static> {
    Span::styled(text, Style::new().add_modifier(Modifier::BOLD))
}

/// Blue, yellow, reverse: never red against green.
fn style(state: &State, tone: Tone) -> Style {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    match tone {
        Tone::Bad => bold.add_modifier(Modifier::REVERSED),
        _ if !state.colour => bold,
        Tone::Good => bold.fg(Color::LightBlue),
        Tone::Watch => bold.fg(Color::Yellow),
    }
}

/// At most so many characters; the end of what is cut is marked.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_full_only_at_the_end() {
        assert!(bar(0, 3).starts_with('░') && bar(0, 3).ends_with("  0 %"));
        assert!(bar(999, 1000).contains('░') && bar(999, 1000).ends_with(" 99 %"));
        assert!(!bar(5, 3).contains('░') && bar(5, 3).ends_with("100 %"));
        assert!(bar(u64::MAX, u64::MAX).ends_with("100 %"));
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(cut("/mnt/a", 6), "/mnt/a");
        assert_eq!(cut("/mnt/ab", 6), "/mnt/…");
        assert_eq!(cut("éé", 2), "éé");
    }
}
