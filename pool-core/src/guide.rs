//! Guides: one page for each question.
//!
#![doc = include_str!("../guide/index.md")]

macro_rules! pages {
    ($($page:ident)*) => {$(
        pub mod $page {
            #![doc = include_str!(concat!("../guide/", stringify!($page), ".md"))]

            // For the links in the text.
            #[allow(unused_imports)]
            use crate::*;
        }
    )*};
}
pages! {
    from_multiprocessing many_machines threads_or_processes isolation inherits values errors worker_state shared_data streaming
    async_and_web shutting_down seeing_inside testing tuning
}
