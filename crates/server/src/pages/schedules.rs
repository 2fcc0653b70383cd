//! What the server does by itself, as a section of the security page.

use maud::{Markup, html};
use ringfence_engine::schedule::{Came, Job, ScheduleView};

use super::{
    frame::Frame,
    parts::{Field, Tone, age, badge, duration, hidden, moment, passage, table},
    paths,
};

/// The section; `may_schedule`: with the forms that change it.
pub fn schedules(frame: &Frame, schedules: &[ScheduleView], may_schedule: bool) -> Markup {
    let rows: Vec<Vec<Markup>> = schedules
        .iter()
        .map(|schedule| {
            let last = schedule.last.as_ref();
            let mut row = vec![
                html! { b { (schedule.job) } " " span class="quiet" { (schedule.job.says()) } },
                html! { (duration(schedule.every_ms)) },
                html! { (moment(schedule.due)) " " span class="quiet" { (age(schedule.due, frame.now)) } },
                html! { @match last { Some(last) => (moment(last.ended)), None => "not yet" } },
                html! { @if let Some(last) = last { (came(last.came)) " " (passage(&last.said)) @if last.missed > 0 { " " span class="quiet" { "made up for once; " (last.missed) " more were missed" } } } },
            ];
            row.extend(may_schedule.then(|| remove(frame, schedule)));
            row
        })
        .collect();
    let heads = ["what", "every", "next", "last", "what came of it", "change"];
    let heads = heads.get(..if may_schedule { 6 } else { 5 }).unwrap_or_default();
    html! {
        section aria-labelledby="schedules" {
            h2 id="schedules" { "What is done by itself" }
            @if rows.is_empty() { p class="quiet" { "Nothing yet." } }
            @else { (table("What is done by itself", heads, &rows)) }
            @if may_schedule { (add(frame)) }
        }
    }
}

fn came(came: Came) -> Markup {
    match came {
        Came::Clean => badge(Tone::Good, "clean"),
        Came::Found => badge(Tone::Bad, "found something"),
        Came::Failed => badge(Tone::Warn, "failed"),
    }
}

fn remove(frame: &Frame, schedule: &ScheduleView) -> Markup {
    html! {
        form method="post" action=(paths::SCHEDULE_REMOVE) data-confirm=(format!("Do {} no more?", schedule.job)) {
            (frame.token()) (hidden("schedule", &schedule.id))
            button class="danger" aria-label=(format!("Remove: {} every {}", schedule.job, duration(schedule.every_ms))) { "Remove" }
        }
    }
}

fn add(frame: &Frame) -> Markup {
    html! {
        details {
            summary { "Have something done by itself" }
            form method="post" action=(paths::SCHEDULE_ADD) {
                (frame.token())
                p class="field" {
                    label for="schedule-job" { "What" }
                    select id="schedule-job" name="job" {
                        @for job in Job::ALL { option value=(job.name()) { (job) ": " (job.says()) } }
                    }
                }
                (Field::new("schedule-every", "every", "How often (such as 6h or 1d)", "text").draw())
                (Field::new("schedule-at", "at", "At which time of the day, in UTC (such as 03:30; may be empty)", "text").optional("").draw())
                p { button { "Have it done" } }
                p class="quiet" { "The server does it with the right to look, check and raise alerts, and no other. Each time is in the trail; one that fails is an alert." }
            }
        }
    }
}
