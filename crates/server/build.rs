//! Builds the crate again when a vendor's folder has changed: the macro that compiles them in cannot say so itself.

fn main() {
    println!("cargo:rerun-if-changed=../../vendors");
}
