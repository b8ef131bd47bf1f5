//! Pages, which go on where the one before has ended, in another run of the command.

use voisin::{ItemName, PageToken, Query, Searchable};

use super::shown::Shown;
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::keys::Key;

/// The name of an item, as answers have it.
type Owned<S> = <<S as Searchable>::Key as ItemName>::Owned;

/// The page after a token, or the first. `None` if there is no such item.
pub(super) fn page<S>(
    query: &Query<'_, S>,
    (vector, item): (Option<&[f32]>, Option<Owned<S>>),
    after: &str,
) -> Result<Option<Shown<Owned<S>>>>
where
    S: Searchable,
    S::Key: Key,
{
    let cancel = interrupt::is_requested;
    let is_first = after == "first";
    let pages = match (vector, item) {
        (Some(vector), _) if is_first => Some(query.pages(vector)?),
        (Some(vector), _) => Some(query.pages_after(vector, &token(after)?)?),
        (None, Some(item)) if is_first => query.pages_by_item(item)?,
        _ => {
            return Err(Failure::usage(
                "--page goes on with a vector alone: give --vector, as voisin get prints it",
            ));
        }
    };
    let Some(mut pages) = pages else { return Ok(None) };
    let page = pages.next_page(&cancel)?;
    // There is nothing after the last.
    let next = pages.token().filter(|_| !page.nns.is_empty());
    Ok(Some(Shown::Page(page, next)))
}

fn token(text: &str) -> Result<PageToken> {
    text.parse().map_err(|error: voisin::Error| {
        Failure::usage(format!("--page {text:?}: {error}; \"first\" begins anew"))
    })
}
