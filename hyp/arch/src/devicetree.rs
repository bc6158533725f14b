//! A flattened device tree as a stream of tokens (Devicetree Specification 0.4, chapter 5).
//!
//! One pass, bounds checked, nothing allocated and nothing compared twice: the board's tree is read inside the
//! boot's instruction budget, where a library that finds each node by walking from the start cost three times
//! the rest of the boot (`hyp/doc/decisions`). Whatever the bytes are, reading ends and never panics.

/// A flattened tree's header and blocks.
#[derive(Clone, Copy, Debug)]
pub struct Blob<'a> {
    reservations: &'a [u8],
    structure: &'a [u8],
    strings: &'a [u8],
}

/// A token of the structure block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// A node begins; its name with the unit address. The root's is empty.
    Begin(&'a [u8]),
    /// A property of the node that began last and has not ended; properties come before child nodes.
    Property {
        /// Its name.
        name: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// The node ends.
    End,
}

/// The tokens that are left.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a> {
    structure: &'a [u8],
    strings: &'a [u8],
    /// Names by some bits of their offset: a tree has the same few hundred times, and the end of each would be
    /// looked for byte by byte.
    known: [Option<Known<'a>>; KNOWN_NAMES],
}

/// A property's name that has been read before.
#[derive(Clone, Copy, Debug)]
struct Known<'a> {
    /// Where it lies in the strings block.
    offset: u32,
    name: &'a [u8],
}

/// A power of two.
const KNOWN_NAMES: usize = 32;

/// The first word of a flattened tree.
pub const MAGIC: u32 = 0xd00d_feed;
/// The header's first eight words are all that is read of it.
const HEADER_WORDS: usize = 8;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;

impl<'a> Blob<'a> {
    /// Looks at the header; `None` if this is no flattened tree or its blocks do not lie in `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let mut words = [0_u32; HEADER_WORDS];
        let mut rest = bytes;
        for word in &mut words {
            *word = take_word(&mut rest)?;
        }
        let [magic, total, structure, strings, reservations, ..] = words;
        let all = bytes.get(..usize::try_from(total).ok()?)?;
        let block = |offset: u32| all.get(usize::try_from(offset).ok()?..);
        (magic == MAGIC).then_some(())?;
        Some(Self {
            reservations: block(reservations)?,
            structure: block(structure)?,
            strings: block(strings)?,
        })
    }

    /// The total size that a header claims, from its first eight bytes; `None` without the magic.
    #[must_use]
    pub fn claimed_bytes(head: &[u8]) -> Option<u64> {
        let mut rest = head;
        let magic = take_word(&mut rest)?;
        let total = take_word(&mut rest)?;
        (magic == MAGIC).then_some(u64::from(total))
    }

    /// The entries of `/memreserve/`: address and size.
    pub fn reservations(&self) -> impl Iterator<Item = (u64, u64)> + use<'a> {
        let mut rest = self.reservations;
        core::iter::from_fn(move || {
            let address = take_double(&mut rest)?;
            let size = take_double(&mut rest)?;
            (address != 0 || size != 0).then_some((address, size))
        })
    }

    /// The tokens, from the root on.
    #[must_use]
    pub const fn tokens(&self) -> Tokens<'a> {
        Tokens { structure: self.structure, strings: self.strings, known: [None; KNOWN_NAMES] }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    #[inline]
    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            match take_word(&mut self.structure)? {
                BEGIN_NODE => {
                    let name = string(self.structure)?;
                    self.skip(name.len().checked_add(1)?)?;
                    return Some(Token::Begin(name));
                }
                END_NODE => return Some(Token::End),
                PROPERTY => return self.property(),
                NOP => {}
                _ => return None,
            }
        }
    }
}

impl<'a> Tokens<'a> {
    /// Goes behind the end of the node that began last, over all that is in it.
    pub fn skip_node(&mut self) {
        // Whatever is wrong, the tokens end there.
        if self.try_skip_node().is_none() {
            self.structure = &[];
        }
    }

    /// As [`Tokens::next`], without a look at the properties.
    fn try_skip_node(&mut self) -> Option<()> {
        let mut depth = 1_u32;
        while depth > 0 {
            match take_word(&mut self.structure)? {
                BEGIN_NODE => {
                    let name = string(self.structure)?;
                    self.skip(name.len().checked_add(1)?)?;
                    depth = depth.checked_add(1)?;
                }
                END_NODE => depth = depth.saturating_sub(1),
                PROPERTY => {
                    let length = usize::try_from(take_word(&mut self.structure)?).ok()?;
                    let _name = take_word(&mut self.structure)?;
                    self.skip(length)?;
                }
                NOP => {}
                _ => return None,
            }
        }
        Some(())
    }

    #[inline]
    fn property(&mut self) -> Option<Token<'a>> {
        let length = usize::try_from(take_word(&mut self.structure)?).ok()?;
        let offset = take_word(&mut self.structure)?;
        let value = self.structure.get(..length)?;
        self.skip(length)?;
        Some(Token::Property { name: self.name(offset)?, value })
    }

    /// The name at this offset of the strings block.
    #[inline]
    fn name(&mut self, offset: u32) -> Option<&'a [u8]> {
        let at = usize::try_from(offset).ok()?;
        // Names have five letters or more as a rule, so that neighbours seldom share a place.
        let place = self.known.get_mut((at >> 2) & KNOWN_NAMES.wrapping_sub(1))?;
        if let Some(known) = place.filter(|known| known.offset == offset) {
            return Some(known.name);
        }
        let name = string(self.strings.get(at..)?)?;
        *place = Some(Known { offset, name });
        Some(name)
    }

    /// Goes on by `bytes`, rounded up to a word.
    #[inline]
    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.structure = self.structure.get(bytes.checked_next_multiple_of(4)?..)?;
        Some(())
    }
}

/// The bytes before the first zero.
#[inline]
fn string(bytes: &[u8]) -> Option<&[u8]> {
    // Four at a time, as long as none of them is zero.
    let (words, _) = bytes.as_chunks::<4>();
    let has_zero = |word: &[u8; 4]| {
        let word = u32::from_ne_bytes(*word);
        word.wrapping_sub(0x0101_0101) & !word & 0x8080_8080 != 0
    };
    let words = words.iter().position(has_zero).unwrap_or(words.len());
    let start = words.checked_mul(4)?;
    let tail = bytes.get(start..)?.iter().position(|byte| *byte == 0)?;
    bytes.get(..start.checked_add(tail)?)
}

#[inline]
fn take_word(bytes: &mut &[u8]) -> Option<u32> {
    let (word, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    Some(u32::from_be_bytes(*word))
}

fn take_double(bytes: &mut &[u8]) -> Option<u64> {
    let (high, low) = (take_word(bytes)?, take_word(bytes)?);
    Some((u64::from(high) << 32) | u64::from(low))
}

#[cfg(test)]
mod tests {
    use super::{Blob, Token};
    use std::string::String;
    use std::vec::Vec;

    const TREES: [&[u8]; 2] = [
        include_bytes!("../../../tools/describe/tests/board/qemu-virt-gic2.dtb"),
        include_bytes!("../../../tools/describe/tests/board/qemu-virt-gic3.dtb"),
    ];

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    /// Every property as `path name value`, by our walk.
    fn ours(bytes: &[u8]) -> Vec<(String, String, Vec<u8>)> {
        let mut path = Vec::new();
        let mut all = Vec::new();
        for token in Blob::new(bytes).unwrap().tokens() {
            match token {
                Token::Begin(name) => path.push(text(name)),
                Token::End => drop(path.pop()),
                Token::Property { name, value } => {
                    all.push((path.join("/"), text(name), value.to_vec()))
                }
            }
        }
        assert!(path.is_empty(), "nodes left open: {path:?}");
        all
    }

    fn theirs(
        node: fdt::node::FdtNode<'_, '_>,
        above: &str,
        all: &mut Vec<(String, String, Vec<u8>)>,
    ) {
        let name = if node.name == "/" { "" } else { node.name };
        let path = if above.is_empty() && name.is_empty() {
            String::new()
        } else {
            std::format!("{above}/{name}")
        };
        for property in node.properties() {
            all.push((path.clone(), property.name.into(), property.value.to_vec()));
        }
        for child in node.children() {
            theirs(child, &path, all);
        }
    }

    #[test]
    fn the_walk_finds_what_the_fdt_library_finds() {
        for tree in TREES {
            let mut expected = Vec::new();
            theirs(fdt::Fdt::new(tree).unwrap().find_node("/").unwrap(), "", &mut expected);
            assert!(expected.len() > 100);
            assert_eq!(ours(tree), expected);
        }
    }

    #[test]
    fn a_damaged_tree_ends_the_walk_and_nothing_else() {
        for tree in TREES {
            for position in 0..2048 {
                let mut damaged = tree.to_vec();
                damaged[position * tree.len().min(9000) / 2048] ^= 0xa5;
                if let Some(blob) = Blob::new(&damaged) {
                    let _tokens = blob.tokens().count();
                    let _reservations = blob.reservations().count();
                }
            }
        }
        assert!(Blob::new(&[]).is_none());
        assert!(Blob::new(&[0; 64]).is_none());
        assert!(Blob::new(&TREES[0][..100]).is_none());
    }

    #[test]
    fn a_node_is_skipped_with_all_that_is_in_it() {
        let mut tokens = Blob::new(TREES[0]).unwrap().tokens();
        assert_eq!(tokens.next(), Some(Token::Begin(b"")));
        tokens.skip_node();
        assert_eq!(tokens.next(), None);
    }

    /// The names of the root's children, by skipping each.
    fn children(bytes: &[u8]) -> Vec<String> {
        let mut tokens = Blob::new(bytes).unwrap().tokens();
        let mut names = Vec::new();
        tokens.next();
        while let Some(token) = tokens.next() {
            if let Token::Begin(name) = token {
                names.push(text(name));
                tokens.skip_node();
            }
        }
        names
    }

    #[test]
    fn behind_a_skipped_node_its_neighbour_follows() {
        for tree in TREES {
            let tree_of_theirs = fdt::Fdt::new(tree).unwrap();
            let root = tree_of_theirs.find_node("/").unwrap();
            let expected: Vec<String> = root.children().map(|node| node.name.into()).collect();
            assert!(expected.len() > 10);
            assert_eq!(children(tree), expected);
        }
    }

    #[test]
    fn a_node_that_does_not_end_ends_the_tokens() {
        for tree in TREES {
            let total = Blob::new(tree).unwrap().structure.len();
            for cut in 0..total.min(3000) {
                let mut blob = Blob::new(tree).unwrap();
                blob.structure = &blob.structure[..cut];
                let mut tokens = blob.tokens();
                if tokens.next().is_some() {
                    tokens.skip_node();
                    assert_eq!(tokens.next(), None, "cut at {cut}");
                }
            }
        }
    }
}
