//! Nodes and properties, as a tree's text form has them.

use alloc::string::String;
use alloc::vec::Vec;

use dtoolkit::ToPropertyValue;
use dtoolkit::model::{DeviceTreeNode, DeviceTreeProperty};

/// A node without properties.
#[must_use]
pub fn node(name: impl Into<String>) -> DeviceTreeNode {
    DeviceTreeNode::new_unchecked(name)
}

/// Adds a node without properties below another.
pub fn add(parent: &mut DeviceTreeNode, name: impl Into<String>) -> &mut DeviceTreeNode {
    parent.add_child_mut(node(name))
}

/// Sets a property.
pub fn set<T: ToPropertyValue>(node: &mut DeviceTreeNode, name: &str, value: T) {
    node.add_property(DeviceTreeProperty::new_unchecked(name, value));
}

/// A property without a value.
pub fn flag(node: &mut DeviceTreeNode, name: &str) {
    set(node, name, Vec::<u8>::new());
}

/// Ranges as a `reg` with two cells for each number.
#[must_use]
pub fn reg(ranges: &[(u64, u64)]) -> Vec<u32> {
    ranges
        .iter()
        .flat_map(|(start, bytes)| [high(*start), low(*start), high(*bytes), low(*bytes)])
        .collect()
}

/// The upper cell of a number.
#[must_use]
pub const fn high(value: u64) -> u32 {
    let [_, _, _, _, a, b, c, d] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The lower one.
#[must_use]
pub const fn low(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
