//! The JSON schema of the description, for editors.

use crate::text::Description;

/// The schema as JSON text; `hyp/doc/schema/system.json` is a copy.
#[must_use]
pub fn json_schema() -> String {
    let schema = schemars::schema_for!(Description);
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}
