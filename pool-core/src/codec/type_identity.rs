//! The identity of a type parameter, also for types that borrow.

#![allow(unsafe_code)]

use std::any::TypeId;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::mem;

/// The identity of `T`, which is the same for all lifetimes in it. Names of types are no identity: two types that are
/// declared in blocks of one function have the same.
#[cfg_attr(not(debug_assertions), inline(always))]
pub(crate) fn of<T: ?Sized>() -> TypeId {
    trait Identified {
        fn type_id(&self) -> TypeId
        where
            Self: 'static;
    }
    impl<T: ?Sized> Identified for PhantomData<T> {
        #[cfg_attr(not(debug_assertions), inline(always))]
        fn type_id(&self) -> TypeId
        where
            Self: 'static,
        {
            TypeId::of::<T>()
        }
    }
    let phantom = PhantomData::<T>;
    let of_any_lifetime: &dyn Identified = &phantom;
    // SAFETY:
    // - the two types differ in a lifetime only, and so have one layout and one vtable;
    // - the reference is used while `phantom` lives, and nothing is read through it: the method looks at no data of `T`,
    //   and `TypeId` does not depend on lifetimes.
    let of_static = unsafe { mem::transmute::<&dyn Identified, &(dyn Identified + 'static)>(of_any_lifetime) };
    of_static.type_id()
}

/// A number for the identity, the same in all processes of one executable, and never 0.
#[cfg_attr(not(debug_assertions), inline(always))]
pub(crate) fn number(identity: TypeId) -> u64 {
    // An identity is a hash by itself, and gives the hasher a word of it.
    struct Words(u64);
    impl Hasher for Words {
        fn write(&mut self, bytes: &[u8]) {
            bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
        }
        fn write_u64(&mut self, word: u64) {
            self.0 = self.0.rotate_left(5) ^ word;
        }
        fn finish(&self) -> u64 {
            self.0
        }
    }
    let mut words = Words(0);
    identity.hash(&mut words);
    // 0 has another meaning where it travels.
    words.finish().max(1)
}

#[cfg(test)]
mod tests {
    use std::any::TypeId;

    use super::of;

    #[test]
    fn lifetimes_make_no_difference_and_types_do() {
        fn lent<'a>(_: &'a str) -> TypeId {
            of::<&'a str>()
        }
        assert_eq!(lent(&String::from("x")), TypeId::of::<&'static str>());
        assert_ne!(of::<&str>(), of::<String>());
        let [first, second] = [
            {
                struct Same;
                (of::<Same>(), std::any::type_name::<Same>())
            },
            {
                struct Same;
                (of::<Same>(), std::any::type_name::<Same>())
            },
        ];
        assert_ne!(first.0, second.0);
        assert_eq!(first.1, second.1);
        assert_ne!(super::number(first.0), super::number(second.0));
    }
}
