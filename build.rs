//! Tells cargo that a new migration file is a change: the macro that embeds them sees only old ones.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
