//! Times, sizes, amounts of memory and addresses, as they are written on the command line.

use std::time::Duration;

/// A time with its unit, such as `10s`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("write a number and ms, s, m or h, such as 10s".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| format!("`{number}` is no number"))?;
    let time = Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())?;
    if time.is_zero() { Err("a limit of zero leaves no time to run".to_owned()) } else { Ok(time) }
}

/// Bytes, such as `512M`; the units are powers of 1024.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let shift = match unit {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err("write a number, and K, M, G or T if wanted, such as 512M".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| format!("`{number}` is no whole number"))?;
    match number.checked_mul(1 << shift) {
        None => Err("more than an address space holds".to_owned()),
        Some(0) => Err("nothing can run in no memory".to_owned()),
        Some(bytes) => Ok(bytes),
    }
}

/// The address of a server. A password in it is refused: everybody on the machine can read command lines.
#[cfg(feature = "redis")]
pub(crate) fn server(text: &str) -> Result<String, String> {
    let (place, query) = text.split_once('?').unwrap_or((text, ""));
    let authority = place.split_once("://").map_or(place, |(_, rest)| rest.split('/').next().unwrap_or_default());
    let in_authority = authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
    if in_authority || query.split('&').any(|setting| setting.starts_with("pass=")) {
        let message = "a password on the command line can be read by everybody on this machine: put it into \
                       POOL_REDIS_PASSWORD, or into a file that POOL_REDIS_PASSWORD_FILE names";
        return Err(message.to_owned());
    }
    Ok(text.to_owned())
}

/// A width and a height, such as `1920x1080`.
pub(crate) fn size(text: &str) -> Result<(u32, u32), String> {
    let side = |text: &str| text.parse().ok().filter(|side| (1..=SIDE_MAX).contains(side));
    let sides = text.split_once('x').and_then(|(width, height)| Some((side(width)?, side(height)?)));
    sides.ok_or_else(|| format!("write two numbers from 1 to {SIDE_MAX}, such as 1920x1080"))
}

/// Pixels of a side: about a gigabyte for the whole image.
const SIDE_MAX: u32 = 16_384;

/// The number, and all behind it.
fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_sizes_and_memory() {
        assert_eq!(time("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(time("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(time("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(bytes("512M"), Ok(512 << 20));
        assert_eq!(bytes("7"), Ok(7));
        assert_eq!(size("1920x1080"), Ok((1920, 1080)));
    }

    #[test]
    fn others_are_refused() {
        for text in ["", "10", "s", "-1s", "0s", "1d", "1e300h", "infs", "10 s"] {
            assert!(time(text).is_err(), "{text}");
        }
        for text in ["", "M", "-1", "0", "0G", "1.5M", "1X", "99999999999T"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        for text in ["", "10", "10x", "0x10", "10x10x10", "20000x1"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
