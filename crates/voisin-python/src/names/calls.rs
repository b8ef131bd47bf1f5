//! What all kinds of names have in common.

/// What all kinds have in common: calls by a name that `$borrow` makes of an owned one.
macro_rules! calls {
    ($variant:ident, $at:ident, $owned:ty, |$name:ident| $borrow:expr) => {
        fn one(found: Searched<$owned>) -> One {
            One::$variant(found)
        }

        fn many(found: Vec<Searched<$owned>>) -> Many {
            Many::$variant(found)
        }

        fn kept(filter: &Kept) -> Option<Filter<Self>> {
            match filter {
                Kept::$variant(filter) => Some(filter.clone()),
                _ => None,
            }
        }

        fn keep(filter: Filter<Self>) -> Kept {
            Kept::$variant(filter)
        }

        fn of_names(names: &Names) -> Option<&[$owned]> {
            match names {
                Names::$variant(names) => Some(names),
                _ => None,
            }
        }

        fn by_item<S: Searchable<Key = Self>>(
            query: &Query<'_, S>,
            $name: &$owned,
        ) -> Result<Option<Searched<$owned>>> {
            query.by_item($borrow)
        }

        fn pages_by_item<'a, S: Searchable<Key = Self>>(
            query: &Query<'a, S>,
            $name: &$owned,
        ) -> Result<Option<voisin::Pages<S::Pinned<'a>, Self>>> {
            query.pages_by_item($borrow)
        }

        fn pages(pages: PagesOf<Self>) -> Any {
            Any::$variant(pages)
        }

        fn next_page(
            pages: &mut PagesOf<Self>,
            cancel: &(dyn Fn() -> bool + Sync),
        ) -> Result<Searched<$owned>> {
            pages.next_page(cancel)
        }

        fn contains(snapshot: &Snapshot<AnyMetric, Self>, $name: &$owned) -> Result<bool> {
            snapshot.contains($borrow)
        }

        fn vector(
            snapshot: &Snapshot<AnyMetric, Self>,
            $name: &$owned,
        ) -> Result<Option<Vec<f32>>> {
            snapshot.vector($borrow)
        }

        fn record(snapshot: &Snapshot<AnyMetric, Self>, $name: &$owned) -> Result<Record> {
            snapshot.record($borrow)
        }

        fn has(batch: &Batch<'_, AnyMetric, Self>, $name: &$owned) -> Result<bool> {
            batch.contains($borrow)
        }

        fn add(
            batch: &mut Batch<'_, AnyMetric, Self>,
            names: &[$owned],
            vectors: &[impl Component],
        ) -> Result<()> {
            batch.add_items(names, vectors)
        }

        fn add_with_records<T: Component>(
            batch: &mut Batch<'_, AnyMetric, Self>,
            names: &[$owned],
            vectors: &[T],
            records: &[Record],
        ) -> Result<()> {
            let dimensions = vectors.len() / names.len().max(1);
            let rows = names.iter().zip(vectors.chunks_exact(dimensions.max(1))).zip(records);
            let rows =
                rows.filter_map(|(($name, row), record)| Some(($borrow, row, record.as_deref()?)));
            batch.add_items_with_records(rows).map(drop)
        }

        fn set_record(
            batch: &mut Batch<'_, AnyMetric, Self>,
            $name: &$owned,
            record: &[u8],
        ) -> Result<bool> {
            batch.set_record($borrow, record)
        }

        fn remove_record(batch: &mut Batch<'_, AnyMetric, Self>, $name: &$owned) -> Result<bool> {
            batch.remove_record($borrow)
        }

        fn add_unless(
            batch: &mut Batch<'_, AnyMetric, Self>,
            $name: &$owned,
            vector: &[impl Component],
            unless: Unless,
        ) -> Result<Option<($owned, f32)>> {
            let near = batch.unless_within(unless.radius);
            let mut near = if unless.is_approximate { near.approximate() } else { near };
            match unless.replaces {
                true => near.add_or_replace($borrow, vector),
                false => near.add($borrow, vector),
            }
        }

        fn delete(batch: &mut Batch<'_, AnyMetric, Self>, names: &[$owned]) -> Result<u64> {
            batch.delete_items(names.iter().map(|$name| $borrow))
        }

        fn delete_matching(
            batch: &mut Batch<'_, AnyMetric, Self>,
            condition: &Condition,
        ) -> Result<u64> {
            batch.delete_matching(condition)
        }

        fn load<T: Component, V: AsRef<[T]>>(
            loader: &Loader<'_, AnyMetric, Self>,
            rows: impl Iterator<Item = ($owned, V, Record)>,
        ) -> Result<u64> {
            loader.load_given(rows)
        }

        fn erase(index: &Handle<Self>, names: &[$owned]) -> Result<u64> {
            index.erase(names.iter().map(|$name| $borrow))
        }

        fn erase_matching(index: &Handle<Self>, condition: &Condition) -> Result<u64> {
            index.erase_matching(condition)
        }

        fn snapshot(held: &Held) -> Option<Result<Snapshot<AnyMetric, Self>>> {
            match held {
                Held::$variant(index) => Some(index.snapshot()),
                Held::$at(snapshot) => Some(Ok(snapshot.clone())),
                _ => None,
            }
        }

        fn index(held: &Held) -> Option<&Handle<Self>> {
            match held {
                Held::$variant(index) => Some(index),
                _ => None,
            }
        }
    };
}

/// What all kinds but ids have in common: calls with closures, which get keys by reference.
macro_rules! calls_by_key {
    ($owned:ty) => {
        fn copy(
            loader: &Loader<'_, AnyMetric, Self>,
            source: &Snapshot<AnyMetric, Self>,
            rename: impl FnMut(&$owned) -> Option<$owned>,
        ) -> Result<u64> {
            loader.copy_from(source, rename)
        }

        fn split(
            source: &Snapshot<AnyMetric, Self>,
            targets: &[Handle<Self>],
            choose: impl Fn(&$owned) -> usize,
        ) -> Result<Vec<u64>> {
            source.split_into(targets, choose)
        }
    };
}

pub(super) use {calls, calls_by_key};
