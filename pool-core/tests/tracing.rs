//! The example of tracing prints the records of its workers, those before a crash included.

use std::process::Command;

#[path = "../examples/tracing.rs"]
#[allow(unreachable_pub, dead_code)]
mod example;

const AS_EXAMPLE: &str = "POOL_CORE_AS_EXAMPLE";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::var_os(AS_EXAMPLE).is_some() {
        return example::main();
    }
    let output = Command::new(std::env::current_exe()?).env(AS_EXAMPLE, "1").output()?;
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout)?;
    let has = |parts: &[&str]| text.lines().filter(|line| parts.iter().all(|part| line.contains(part))).count();
    assert_eq!(
        has(&["INFO month{name=\"May\"}:item{worker=", " item=0}:order{order=31}: ", "billed total=31"]),
        1,
        "{text}"
    );
    assert_eq!(has(&["ERROR month", "order{order=42}", "this order is corrupt"]), 1, "{text}");
    // The second attempt at item 1 says so.
    assert_eq!(has(&["item=1 attempt=2}:order{order=42}", "billed total=83"]), 1, "{text}");
    assert_eq!(has(&["WARN", "item=2}", "a busy day total=156"]), 1, "{text}");
    assert_eq!(has(&["done sum=378"]), 1, "{text}");
    Ok(())
}
