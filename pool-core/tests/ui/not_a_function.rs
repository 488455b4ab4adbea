//! Other items.

use pool_core::pool_task;

#[pool_task]
struct Square(u64);
//~ `#[pool_task]` goes on a function, and a struct is none

#[pool_task]
enum Shape {
    //~ `#[pool_task]` goes on a function, and an enum is none
    Round,
}

#[pool_task]
trait Area {
    //~ `#[pool_task]` goes on a function, and a trait is none
    #[pool_task]
    fn area() -> u64;
    //~ a task is a function with a body
}

#[pool_task]
impl Area for Square {
    //~ `#[pool_task]` goes on a function, and an impl block is none
    fn area() -> u64 {
        1
    }
}

#[pool_task]
mod shapes {}
//~ `#[pool_task]` goes on a function, and a module is none

#[pool_task]
const SIDE: u64 = 1;
//~ `#[pool_task]` goes on a function, and a constant is none

fn main() {
    // The items stay.
    println!("{} {}", Square(SIDE).0 + Square::area(), matches!(Shape::Round, Shape::Round));
}
