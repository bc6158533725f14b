//! error[E0382]: a unit is kept, or given back, once.
#![no_std]
#![no_main]

use shikiri_object::Unit;

pub fn keep(unit: Unit<'_>) {
    unit.keep();
    unit.keep();
}
