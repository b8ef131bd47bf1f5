//! Pages, which go on where the one before has ended, in another run of the command.

use voisin::{ItemName, PageToken, Query, Searchable};

use super::shown::Shown;
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::keys::Key;

/// The page after a token, or the first.
pub(super) fn page<S>(
    query: &Query<'_, S>,
    vector: &[f32],
    after: &str,
) -> Result<Shown<<S::Key as ItemName>::Owned>>
where
    S: Searchable,
    S::Key: Key,
{
    let cancel = interrupt::is_requested;
    let mut pages = match after {
        "first" => query.pages(vector)?,
        token => query.pages_after(vector, &parse(token)?)?,
    };
    let page = pages.next_page(&cancel)?;
    // There is nothing after the last.
    let next = pages.token().filter(|_| !page.nns.is_empty());
    Ok(Shown::Page(page, next))
}

fn parse(text: &str) -> Result<PageToken> {
    text.parse().map_err(|error: voisin::Error| {
        Failure::usage(format!("--page {text:?}: {error}; \"first\" begins anew"))
    })
}
