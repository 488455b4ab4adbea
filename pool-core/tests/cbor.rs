//! `serde_json::Value`, the type that is most often asked for, on its way to a worker and back.
#![cfg(feature = "cbor")]

use pool_core::prelude::*;
use serde_json::{Value, json};

#[pool_task(codec = "cbor")]
fn same(value: Value, maybe: Option<Value>) -> (Value, Option<Value>) {
    (value, maybe)
}

#[pool_task]
fn without(value: Value) -> Value {
    value
}

#[test]
fn json_values_travel() {
    let pool = Pool::new(1).unwrap();
    let values = [
        json!(null),
        json!({"a": [1, -2, 2.5, null, "x", true, {}], "b": null, "c": u64::MAX, "d": i64::MIN}),
        json!([[], [null], ""]),
        json!(1e300),
    ];
    for value in values {
        for maybe in [None, Some(Value::Null), Some(value.clone())] {
            assert_eq!(pool.apply(same::Task, (value.clone(), maybe.clone())).unwrap(), (value.clone(), maybe));
        }
    }
    let error = pool.apply(without::Task, json!(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.to_string().contains("`serde_json::Value`") && error.to_string().contains("codec"), "{error}");
}
