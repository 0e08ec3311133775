//! The store on disk, without counters: what was kept is found again, whatever happens to the power and to the bytes.

mod crashes;
mod damage;
mod powerless;
