//! Every maximum of a dialect, each with its reason.

/// Longest dialect file in bytes. The longest shipped one has a thirtieth of it.
pub const MAX_FILE_BYTES: usize = 256 * 1024;

/// Header families of one dialect. A family is looked at on every answer.
pub const MAX_FAMILIES: usize = 32;

/// Headers of one family. Clients and proxies accept about a hundred fields of an answer in all.
pub const MAX_HEADERS: usize = 32;

/// Longest name of a header in bytes.
pub const MAX_HEADER_NAME_BYTES: usize = 64;

/// Longest template in bytes, of a header or a body.
pub const MAX_TEMPLATE_BYTES: usize = 8 * 1024;

/// Placeholders of one template: with the bounds on inserted text it bounds what is rendered.
pub const MAX_PLACEHOLDERS: usize = 32;

/// Most bytes of an attribute's value or a name that are written into one place of a header. Percent-encoding makes
/// three of one at worst, and a field of 8 KiB is where proxies begin to refuse.
pub const MAX_INSERTED_HEADER_BYTES: usize = 256;

/// Most bytes of an attribute's value or a name that are written into one place of a body. The longest identifier of
/// the shipped vendors has 255; what is longer was not meant to be read back.
pub const MAX_INSERTED_BODY_BYTES: usize = 1_024;

/// Largest integer of a structured field: 15 digits (RFC 9651, section 3.3.1). Larger amounts are written as this one.
pub const MAX_STRUCTURED_INTEGER: u64 = 999_999_999_999_999;

/// Variants of a refusal, groups of an inspection, tables of words: more are a mistake.
pub const MAX_ENTRIES: usize = 256;
