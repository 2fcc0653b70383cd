//! What a set of policies says of every cell of the [`matrix`](crate::matrix), as text that people review.
//!
//! [`Policies::table`] shows who may do what when everything is in order, [`Policies::rails`] which policy stops what as
//! soon as one thing is not. Both list every custody; the tests hold them as snapshots.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use crate::{
    Action, Custody, Policies, Request, Role,
    decision::NOTHING_PERMITS,
    matrix::{ASKS, IN_ORDER, SITUATIONS, Situation, in_order, person, resources},
};

/// Policy → action → resources.
type Stops = BTreeMap<String, BTreeMap<Action, Vec<String>>>;

impl Policies {
    /// Role × action × resource for every custody, everything being in order.
    pub fn table(&self) -> String {
        let mut table = String::from("`+` allowed, `.` denied, `-` the action does not apply to the resource\n");
        for custody in [Custody::Solo, Custody::Shared] {
            for role in Role::ALL {
                let rows = self.rows(custody, role);
                let _ = write!(table, "\n{custody:?} {}", role.name());
                if rows.iter().any(|(_, cells)| cells.contains(&'+')) {
                    let head: Vec<_> = Action::ALL.iter().map(|action| action.name()).collect();
                    let _ = write!(table, "\n{:<24}{}", "", head.join(" "));
                    for (label, cells) in rows {
                        let _ = write!(table, "\n{label:<24}");
                        for (action, cell) in Action::ALL.iter().zip(cells) {
                            let _ = write!(table, "{cell:<width$}", width = action.name().len() + 1);
                        }
                        table.truncate(table.trim_end().len());
                    }
                } else {
                    table.push_str(": nothing");
                }
                table.push('\n');
            }
        }
        table
    }

    fn rows(&self, custody: Custody, role: Role) -> Vec<(String, Vec<char>)> {
        let mut rows = Vec::new();
        for (label, resource) in resources() {
            let cell = |action| {
                let request = in_order(person(ASKS, role), action, resource.clone(), custody);
                match self.verdict(&request) {
                    _ if !self.applies(&request) => '-',
                    (true, _) => '+',
                    (false, _) => '.',
                }
            };
            rows.push((label, Action::ALL.iter().map(|action| cell(*action)).collect()));
        }
        rows
    }

    /// For every custody and situation: which policies stop the owner in what, and what each other role gains or loses.
    pub fn rails(&self) -> String {
        let mut text = String::new();
        for custody in [Custody::Solo, Custody::Shared] {
            let cells: Vec<Cell> = Role::ALL.iter().flat_map(|role| self.cells(custody, *role)).collect();
            for situation in SITUATIONS {
                let mut lines = Vec::new();
                for role in Role::ALL {
                    lines.extend(self.lines(cells.iter().filter(|cell| cell.role == role), situation));
                }
                if !lines.is_empty() {
                    let _ = writeln!(text, "\n{custody:?}, {}", situation.says);
                    for line in &lines {
                        text.extend(["  ", line, "\n"]);
                    }
                }
            }
        }
        text
    }

    /// What one role can ask, and what is answered when everything is in order.
    fn cells(&self, custody: Custody, role: Role) -> Vec<Cell> {
        let mut cells = Vec::new();
        for (label, resource) in resources() {
            for action in Action::ALL {
                let request = in_order(person(ASKS, role), action, resource.clone(), custody);
                if self.applies(&request) {
                    cells.push(Cell { role, label: label.clone(), verdict: self.verdict(&request), request });
                }
            }
        }
        cells
    }

    fn lines<'a>(&self, cells: impl Iterator<Item = &'a Cell>, situation: &Situation) -> Vec<String> {
        // What stops the owner when everything is in order is listed there, and not again.
        let first = situation.says == IN_ORDER.says;
        let mut stops = Stops::new();
        for Cell { role, label, request, verdict: base } in cells {
            let mut changed = request.clone();
            situation.apply(&mut changed);
            let now = self.verdict(&changed);
            let mut note = |words: String| {
                stops.entry(words).or_default().entry(request.action).or_default().push(label.clone());
            };
            // The owner is permitted everything, so that the rails show.
            if *role == Role::Owner {
                let of_base: BTreeSet<_> = base.1.iter().filter(|_| !base.0).collect();
                let of_now: BTreeSet<_> = now.1.iter().filter(|_| !now.0).collect();
                of_now.iter().filter(|id| first || !of_base.contains(*id)).for_each(|id| note(format!("{id} stops")));
                of_base.difference(&of_now).for_each(|id| note(format!("{id} no longer stops")));
            } else if base.0 != now.0 {
                let gains = if now.0 { "gains" } else { "loses" };
                let why = now.1.iter().any(|id| !now.0 && id == NOTHING_PERMITS);
                note(format!("{} {gains}{}", role.name(), if why { " (nothing permits)" } else { "" }));
            }
        }
        let line = |(words, actions): (String, BTreeMap<Action, Vec<String>>)| {
            let all = actions.into_iter().map(|(action, on)| format!("{action}: {}", joined(&on)));
            format!("{words} {}", all.collect::<Vec<_>>().join("; "))
        };
        stops.into_iter().map(line).collect()
    }
}

/// A request in which everything is in order, and what is answered.
struct Cell {
    role: Role,
    label: String,
    request: Request,
    verdict: (bool, Vec<String>),
}

/// Labels in words, those of all states of one kind as one: "every model", and those of all kinds: "every artifact".
pub(crate) fn joined(labels: &[String]) -> String {
    let all = resources();
    let mut words = Vec::new();
    if all.iter().skip(1).all(|(label, _)| labels.contains(label)) {
        words.extend(labels.iter().filter(|label| *label == "vault").cloned());
        words.push("every artifact".to_owned());
        return words.join(", ");
    }
    let kinds: Vec<&str> = labels.iter().filter_map(|label| label.rsplit(' ').next()).collect();
    for label in labels {
        let kind = label.rsplit(' ').next().unwrap_or(label);
        let states = all.iter().filter(|(name, _)| name.ends_with(&format!(" {kind}"))).count();
        // A label counts itself, so that none of an unknown kind is all of none.
        let whole = kinds.iter().filter(|other| **other == kind).count() == states;
        let word = if whole { format!("every {kind}") } else { label.clone() };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words.join(", ")
}
