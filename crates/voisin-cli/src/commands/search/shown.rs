//! Answers, printed for a person or a program.

use serde::Serialize;
use serde_json::{Value, json};
use voisin::{Explanation, FieldValue, Groups, PageToken, Searched};

use crate::failure::Result;
use crate::fields::{value_json, value_text};
use crate::keys;
use crate::record::{self, Record};
use crate::ui::Ui;

/// What a search has found.
pub(super) enum Shown<N> {
    /// The answer to each query.
    Answers(Vec<Searched<N>>),
    /// A page, and the token of the next.
    Page(Searched<N>, Option<PageToken>),
    Groups(Groups<FieldValue, N>),
    Explained(Explanation<N>),
}

/// The answer to a query, for a program.
#[derive(Serialize)]
struct Answer<'a> {
    query: usize,
    neighbors: Vec<Neighbor<'a>>,
    strategy: &'static str,
    exact: bool,
    timed_out: bool,
    has_more: bool,
    distances: u64,
    estimates: u64,
    lists: u64,
    pending: u64,
}

#[derive(Serialize)]
struct Neighbor<'a> {
    key: Value,
    distance: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    vector: Option<&'a [f32]>,
    #[serde(flatten)]
    record: Record<'a>,
}

impl<N: keys::Named> Shown<N> {
    pub(super) fn print(&self, ui: &mut Ui) -> Result<()> {
        match self {
            Self::Answers(answers) => {
                for (number, answer) in answers.iter().enumerate() {
                    if ui.is_json {
                        ui.json(&value_of(number, answer))?;
                        continue;
                    }
                    if answers.len() > 1 {
                        ui.line(format_args!("query {number}"))?;
                    }
                    lines(ui, answer)?;
                }
                Ok(())
            }
            Self::Page(page, next) => {
                let next = next.as_ref().map(ToString::to_string);
                if ui.is_json {
                    let mut value = json!(value_of(0, page));
                    value["next"] = next.into();
                    return ui.json(&value);
                }
                lines(ui, page)?;
                match next {
                    Some(next) => ui.line(format_args!("\nnext: --page {next}")),
                    None => Ok(()),
                }
            }
            Self::Groups(found) => groups(ui, found),
            Self::Explained(explained) => {
                if ui.is_json {
                    let mut value = json!(value_of(0, &explained.answer));
                    value["explained"] = explained_json(explained);
                    return ui.json(&value);
                }
                ui.line(explained)?;
                lines(ui, &explained.answer)
            }
        }
    }
}

fn value_of<N: keys::Named>(number: usize, answer: &Searched<N>) -> Answer<'_> {
    let (mut vectors, mut records) = (answer.vectors.iter(), answer.records.iter());
    let neighbor = |(name, distance): &(N, f32)| Neighbor {
        key: keys::json(&name.clone().any()),
        distance: *distance,
        vector: vectors.next().map(Vec::as_slice),
        record: Record::of(records.next().and_then(Option::as_deref)),
    };
    Answer {
        query: number,
        neighbors: answer.nns.iter().map(neighbor).collect(),
        strategy: answer.strategy.name(),
        exact: answer.strategy.is_exact(),
        timed_out: answer.timed_out,
        has_more: answer.has_more,
        distances: answer.distances,
        estimates: answer.estimates,
        lists: answer.lists,
        pending: answer.pending,
    }
}

/// A line for each item.
fn lines<N: keys::Named>(ui: &mut Ui, answer: &Searched<N>) -> Result<()> {
    let (mut vectors, mut records) = (answer.vectors.iter(), answer.records.iter());
    for (rank, (name, distance)) in (1..).zip(&answer.nns) {
        let vector = vectors.next().map_or(String::new(), |vector| format!("  {vector:?}"));
        let record = records.next().and_then(Option::as_deref).map(record::text);
        let record = record.map_or(String::new(), |record| format!("  {record}"));
        let (distance, key) = (figure(*distance), keys::text(&name.clone().any()));
        ui.line(format_args!("{rank:>4}  {distance:>12}  {key}{vector}{record}"))?;
    }
    if answer.timed_out {
        ui.note("the deadline has ended the search: these are the nearest seen so far");
    }
    Ok(())
}

fn groups<N: keys::Named>(ui: &mut Ui, found: &Groups<FieldValue, N>) -> Result<()> {
    if ui.is_json {
        let groups = found.groups.iter().map(|group| {
            let neighbor = |(name, distance): &(N, f32)| {
                json!({ "key": keys::json(&name.clone().any()), "distance": distance })
            };
            json!({
                "value": value_json(&group.group),
                "neighbors": group.nns.iter().map(neighbor).collect::<Vec<_>>(),
            })
        });
        return ui.json(&json!({
            "query": 0, "groups": groups.collect::<Vec<_>>(),
            "strategy": found.strategy.name(), "exact": found.strategy.is_exact(),
            "timed_out": found.timed_out, "distances": found.distances,
            "estimates": found.estimates,
        }));
    }
    for group in &found.groups {
        ui.line(value_text(&group.group))?;
        for (name, distance) in &group.nns {
            let (distance, key) = (figure(*distance), keys::text(&name.clone().any()));
            ui.line(format_args!("      {distance:>12}  {key}"))?;
        }
    }
    if found.timed_out {
        ui.note("the deadline has ended the search: groups may be missing, or lack items");
    }
    Ok(())
}

fn explained_json<N>(explained: &Explanation<N>) -> Value {
    let ways = explained.ways.iter().map(|way| {
        let micros = |time: std::time::Duration| 1e6 * time.as_secs_f64();
        json!({
            "strategy": way.strategy.name(), "chosen": way.is_chosen,
            "changed_over": way.changed_over, "estimated_us": way.estimated.map(micros),
            "took_us": micros(way.took), "lists": way.lists, "distances": way.distances,
            "estimates": way.estimates, "pages": way.pages,
        })
    });
    json!({
        "possible": explained.possible, "ef": explained.ef_search, "recall": explained.recall,
        "ways": ways.collect::<Vec<_>>(),
    })
}

/// A distance in six digits.
fn figure(distance: f32) -> String {
    let size = distance.abs();
    if size == 0.0 || (1e-4..1e6).contains(&size) {
        format!("{distance:.6}")
    } else {
        format!("{distance:.5e}")
    }
}
