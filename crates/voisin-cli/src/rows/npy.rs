//! NumPy's `.npy`, versions 1 to 3: a header that tells type and shape, then the array.
//!
//! The header is the text of a Python dictionary with three entries; only what NumPy itself writes
//! is read.

use super::raw::Fixed;
use super::{Element, Name, Open, Rows, Wanted};
use crate::failure::Result;

/// The longest header, in bytes. NumPy writes 128 for plain arrays.
const MAX_HEADER_BYTES: usize = 1 << 16;

/// Opens an array of rows.
pub(super) fn open(mut open: Open, wanted: &Wanted) -> Result<Box<dyn Rows>> {
    let text = header(&mut open)?;
    let name = open.name.clone();
    let (element, is_big_endian) = element_of(&name, &entry(&name, &text.1, "descr")?)?;
    if entry(&name, &text.1, "fortran_order")? != "False" {
        return Err(name.wrong(
            "the array is in Fortran order, column by column: save numpy.ascontiguousarray of it",
        ));
    }
    let (rows, dimensions) = shape_of(&name, &entry(&name, &text.1, "shape")?)?;
    name.check("row", 1, dimensions, wanted.dimensions.filter(|_| rows > 0))?;
    let expected = rows
        .checked_mul((dimensions * element.bytes()) as u64)
        .and_then(|bytes| bytes.checked_add(text.0))
        .ok_or_else(|| name.wrong("its shape is larger than a file can be"))?;
    if let Some(bytes) = open.bytes.filter(|bytes| *bytes != expected) {
        let what = format_args!(
            "it has {bytes} bytes, and its header of {rows} rows of {dimensions} components needs \
             {expected}: it was cut off, or written on; save it again"
        );
        return Err(name.wrong(what));
    }
    let count = Some(rows);
    Ok(Box::new(Fixed {
        open,
        element,
        is_big_endian,
        dimensions,
        count,
        done: 0,
        bytes: Vec::new(),
    }))
}

/// Reads the header: the number of bytes before the array, and the dictionary.
fn header(open: &mut Open) -> Result<(u64, String)> {
    let short = open.name.wrong("it ends in its header: it was cut off, save it again");
    let foreign = open.name.wrong(
        "it does not begin as a .npy file does: give one that numpy.save has written (not an \
         archive of numpy.savez), or another --format",
    );
    let mut magic = [0; 8];
    match open.fill(&mut magic, 0) {
        Ok(true) => {}
        _ => return Err(foreign),
    }
    let [0x93, b'N', b'U', b'M', b'P', b'Y', version @ 1..=3, _] = magic else {
        return Err(foreign);
    };
    let mut length = [0; 4];
    let width = if version == 1 { 2 } else { 4 };
    let (read, _) = length.split_at_mut(width);
    if !matches!(open.fill(read, 0), Ok(true)) {
        return Err(short);
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_HEADER_BYTES {
        let what = format_args!(
            "its header has {length} bytes, the limit is {MAX_HEADER_BYTES}: save a plain array"
        );
        return Err(open.name.wrong(what));
    }
    let mut text = vec![0; length];
    if !matches!(open.fill(&mut text, 0), Ok(true)) {
        return Err(short);
    }
    let text = String::from_utf8(text).map_err(|_| open.name.wrong("its header is not text"))?;
    Ok(((magic.len() + width + length) as u64, text))
}

/// The value of an entry of the dictionary, as text.
fn entry(name: &Name, text: &str, key: &str) -> Result<String> {
    let missing =
        || name.wrong(format_args!("its header has no {key:?}: save it again with numpy.save"));
    let at = text.find(&format!("'{key}'")).ok_or_else(missing)?;
    let value = text.get(at + key.len() + 2..).and_then(|rest| rest.trim_start().strip_prefix(':'));
    let value = value.ok_or_else(missing)?.trim_start();
    let end = match value.chars().next() {
        Some('(') => value.find(')').map(|end| end + 1),
        Some('[') => value.find(']').map(|end| end + 1),
        _ => value.find([',', '}']),
    };
    end.and_then(|end| value.get(..end)).map(|value| value.trim().to_owned()).ok_or_else(missing)
}

/// The type of the components, and whether they are big-endian.
fn element_of(name: &Name, descr: &str) -> Result<(Element, bool)> {
    let text = descr.trim_matches('\'');
    let (order, code) = text.split_at_checked(1).unwrap_or(("", text));
    let element = match code {
        "f2" => Element::F16,
        "f4" => Element::F32,
        "f8" => Element::F64,
        "i1" => Element::I8,
        "u1" => Element::U8,
        _ => {
            let what = format_args!(
                "its components are of type {descr}, not of f4, f8, f2, i1 or u1: save \
                 array.astype('float32')"
            );
            return Err(name.wrong(what));
        }
    };
    Ok((element, order == ">"))
}

/// Rows, and components of each.
fn shape_of(name: &Name, shape: &str) -> Result<(u64, usize)> {
    let numbers = shape.trim_matches(['(', ')']).split(',').map(str::trim);
    let numbers: Vec<&str> = numbers.filter(|number| !number.is_empty()).collect();
    let parsed = match numbers[..] {
        [rows, dimensions] => rows.parse().ok().zip(dimensions.parse::<u32>().ok()),
        _ => None,
    };
    let (rows, dimensions) = parsed.ok_or_else(|| {
        name.wrong(format_args!(
            "its shape is {shape}, and must be (rows, components): save array.reshape(rows, \
             components)"
        ))
    })?;
    Ok((rows, dimensions as usize))
}

#[cfg(test)]
mod tests {
    use crate::rows::tests::{all, opened, wanted};

    fn npy(version: u8, dictionary: &str, array: &[u8]) -> Vec<u8> {
        let length = dictionary.len() as u32;
        let width = if version == 1 { 2 } else { 4 };
        let magic = [b"\x93NUMPY", &[version, 0][..], &length.to_le_bytes()[..width]].concat();
        [&magic, dictionary.as_bytes(), array].concat()
    }

    fn dictionary(descr: &str, order: &str, shape: &str) -> String {
        format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}  \n")
    }

    #[test]
    fn an_array_of_every_version_is_read() {
        for version in 1..=3 {
            let array: Vec<u8> =
                [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|x| x.to_le_bytes()).collect();
            let file = npy(version, &dictionary("<f4", "False", "(2, 2)"), &array);
            let rows = super::open(opened(&file), &wanted(Some(2))).unwrap();
            assert_eq!((rows.count(), rows.dimensions()), (Some(2), Some(2)));
            let vectors: Vec<_> = all(rows).unwrap().into_iter().map(|row| row.vector).collect();
            assert_eq!(vectors, [[1.0, 2.0], [3.0, 4.0]]);
        }
        let file = npy(1, &dictionary("|i1", "False", "(1, 2)"), &[255, 1]);
        assert_eq!(
            all(super::open(opened(&file), &wanted(None)).unwrap()).unwrap()[0].vector,
            [-1.0, 1.0]
        );
        let file = npy(1, &dictionary(">f4", "False", "(1, 1)"), &7f32.to_be_bytes());
        assert_eq!(
            all(super::open(opened(&file), &wanted(None)).unwrap()).unwrap()[0].vector,
            [7.0]
        );
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_before_its_first_row() {
        let told = |file: &[u8], dimensions| {
            super::open(opened(file), &wanted(dimensions)).err().unwrap().to_string()
        };
        let file = |descr, order, shape| npy(1, &dictionary(descr, order, shape), &[0; 16]);
        assert!(told(&file("<f4", "False", "(2, 2)"), Some(3)).contains("give 3 components"));
        assert!(told(&file("<f4", "True", "(2, 2)"), None).contains("ascontiguousarray"));
        assert!(told(&file("<f4", "False", "(4,)"), None).contains("reshape"));
        assert!(told(&file("<f4", "False", "(4, 2)"), None).contains("needs"));
        assert!(told(&file("<c8", "False", "(1, 2)"), None).contains("astype"));
        assert!(told(&file("<f4", "False", "(99999999999999999999, 2)"), None).contains("shape"));
        let whole = file("<f4", "False", "(2, 2)");
        for length in 0..whole.len() {
            told(&whole[..length], None);
        }
    }
}
