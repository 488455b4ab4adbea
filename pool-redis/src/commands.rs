//! The commands of client and agent, and the reading of their answers. Each that changes more than one key is a script, so that the
//! server carries it out as a whole.

use std::sync::LazyLock;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, Script, Value, cmd, from_redis_value};

use crate::connection::Trouble;
use crate::keys::Keys;
use crate::protocol::{AgentId, Delivery, JobNumber, Question, SessionId, Submitted, Tended};

macro_rules! scripts {
    ($($name:ident $file:literal),*) => {$(
        fn $name() -> &'static Script {
            static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!(concat!("scripts/", $file))));
            &SCRIPT
        }
    )*};
}

scripts! {
    submit_script "submit.lua",
    claim_script "claim.lua",
    renew_script "renew.lua",
    finish_script "finish.lua",
    tend_script "tend.lua",
    cancel_script "cancel.lua",
    put_script "put.lua"
}

/// Those that a client writes with.
pub(crate) const WRITER_SCRIPTS: &[fn() -> &'static Script] = &[submit_script, cancel_script];
/// Those of a client's reader, which submits and cancels, too.
pub(crate) const READER_SCRIPTS: &[fn() -> &'static Script] = &[tend_script, submit_script, cancel_script];
/// Those of the threads of an agent that take jobs, and hand in outcomes on the way.
pub(crate) const TAKER_SCRIPTS: &[fn() -> &'static Script] = &[claim_script, finish_script];
/// Those of the thread of an agent that keeps its leases.
pub(crate) const KEEPER_SCRIPTS: &[fn() -> &'static Script] = &[renew_script];
/// Those of the thread of an agent that hands in outcomes.
pub(crate) const FINISHER_SCRIPTS: &[fn() -> &'static Script] = &[finish_script];

/// That of the connections for payloads, of clients and agents.
pub(crate) const BLOB_SCRIPTS: &[fn() -> &'static Script] = &[put_script];

fn call(script: fn() -> &'static Script, keys: &[String]) -> Cmd {
    let mut command = cmd("EVALSHA");
    command.arg(script().get_hash()).arg(keys.len()).arg(keys);
    command
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A blocking pop of at most `count` elements of the first of the lists that has any.
fn pop(keys: &[String], count: usize, blocks: Duration) -> Cmd {
    let mut command = cmd("BLMPOP");
    command.arg(blocks.as_secs_f64()).arg(keys.len()).arg(keys).arg("LEFT").arg("COUNT").arg(count);
    command
}

fn read<T: FromRedisValue>(value: Value) -> Result<T, Trouble> {
    from_redis_value(value).map_err(Trouble::odd)
}

/// The elements that a blocking pop has brought.
fn popped<T: FromRedisValue>(value: Value) -> Result<Vec<T>, Trouble> {
    let popped: Option<(Value, Vec<T>)> = read(value)?;
    Ok(popped.map_or_else(Vec::new, |(_, elements)| elements))
}

// ---- the client --------------------------------------------------------------------------------------------------------

pub(crate) fn submit(
    keys: &Keys,
    (session, job): (SessionId, JobNumber),
    queue: &str,
    body: &[u8],
    life: Duration,
    queue_max: usize,
) -> Cmd {
    let mut command = call(submit_script, &[keys.session(session), queue.to_owned()]);
    command.arg(session.to_string()).arg(job.0).arg(body).arg(ms(life)).arg(queue_max).arg(QUEUED_BODY_BYTES_MAX);
    command
}

/// Larger bodies would be in the memory of the server twice, for little gain.
pub(crate) const QUEUED_BODY_BYTES_MAX: usize = 4 << 10;

pub(crate) fn submitted(value: Value) -> Result<Submitted, Trouble> {
    let text: String = read(value)?;
    text.parse().map_err(|_| Trouble::odd(text))
}

pub(crate) fn cancel(keys: &Keys, (session, job): (SessionId, JobNumber), queue: &str) -> Cmd {
    let mut command = call(cancel_script, &[keys.session(session), queue.to_owned()]);
    command.arg(session.to_string()).arg(job.0).arg(keys.orders_prefix());
    command
}

pub(crate) fn take_replies(keys: &Keys, session: SessionId, count: usize, blocks: Duration) -> Cmd {
    pop(&[keys.replies(session)], count, blocks)
}

/// The outcomes, each with the number of its job; those that are none of ours are left out.
pub(crate) fn replies(value: Value) -> Result<Vec<(JobNumber, Vec<u8>)>, Trouble> {
    let elements: Vec<Vec<u8>> = popped(value)?;
    let reply = |mut element: Vec<u8>| {
        let end = element.iter().position(|&byte| byte == b' ')?;
        let number = std::str::from_utf8(&element[..end]).ok()?.parse().ok()?;
        element.drain(..=end);
        Some((JobNumber(number), element))
    };
    Ok(elements.into_iter().filter_map(reply).collect())
}

pub(crate) fn tend<T>(
    keys: &Keys,
    session: SessionId,
    life: Duration,
    deliveries_max: u32,
    may_expire: bool,
    questions: &[Question<T>],
    queue: impl Fn(&T) -> String,
) -> Cmd {
    let mut names = vec![keys.session(session), keys.replies(session), keys.agents(), keys.losses()];
    names.extend(questions.iter().map(|question| queue(&question.job)));
    let mut command = call(tend_script, &names);
    command.arg(session.to_string()).arg(ms(life)).arg(deliveries_max).arg(u8::from(may_expire));
    for question in questions {
        command.arg(question.number.0).arg(u8::from(question.requeue));
    }
    command
}

pub(crate) fn tended(value: Value, questions: usize) -> Result<Tended, Trouble> {
    let mut answer: Vec<Value> = read(value)?;
    if answer.len() != questions + 1 {
        return Err(Trouble::odd(answer));
    }
    let standings = answer.split_off(1);
    let agents: Vec<String> = read(answer.remove(0))?;
    let agents = agents.into_iter().map(|text| text.parse().map_err(|_| Trouble::odd(text)));
    let standings = standings.into_iter().map(|value| {
        let text: String = read(value)?;
        text.parse().map_err(|_| Trouble::odd(text))
    });
    Ok(Tended { agents: agents.collect::<Result<_, _>>()?, standings: standings.collect::<Result<_, _>>()? })
}

/// The last commands of a client: its jobs are forgotten, and its reader is woken.
pub(crate) fn close(keys: &Keys, session: SessionId) -> [Cmd; 3] {
    let [mut forget, mut wake, mut expire] = [cmd("DEL"), cmd("RPUSH"), cmd("PEXPIRE")];
    forget.arg(keys.session(session));
    wake.arg(keys.replies(session)).arg("end");
    expire.arg(keys.replies(session)).arg(ms(CLOSED_EXPIRES));
    [forget, wake, expire]
}

/// A client that has ended reads no more; its reader deletes the list, and this is for the case that it cannot.
const CLOSED_EXPIRES: Duration = Duration::from_secs(5);

pub(crate) fn forget_replies(keys: &Keys, session: SessionId) -> Cmd {
    let mut command = cmd("DEL");
    command.arg(keys.replies(session));
    command
}

pub(crate) fn advertisement(keys: &Keys, agent: AgentId) -> Cmd {
    let mut command = cmd("GET");
    command.arg(keys.agent(agent));
    command
}

// ---- payloads ----------------------------------------------------------------------------------------------------------

pub(crate) fn put_piece(key: &str, index: usize, piece: &[u8], life: Duration) -> Cmd {
    let mut command = call(put_script, &[key.to_owned()]);
    command.arg(index).arg(piece).arg(ms(life));
    command
}

/// A piece of a result, for as long as the session has; 0 if there is none.
pub(crate) fn put_result(key: &str, session: &str, index: usize, piece: &[u8]) -> Cmd {
    let mut command = call(put_script, &[key.to_owned(), session.to_owned()]);
    command.arg(index).arg(piece);
    command
}

pub(crate) fn count_pieces(key: &str) -> Cmd {
    let mut command = cmd("HLEN");
    command.arg(key);
    command
}

pub(crate) fn get_piece(key: &str, index: usize) -> Cmd {
    let mut command = cmd("HGET");
    command.arg(key).arg(index);
    command
}

pub(crate) fn renew_blob(key: &str, life: Duration) -> Cmd {
    let mut command = cmd("PEXPIRE");
    command.arg(key).arg(ms(life));
    command
}

/// It goes after this time, if nobody else renews it.
pub(crate) fn end_blob(key: &str, lingers: Duration) -> Cmd {
    let mut command = renew_blob(key, lingers);
    command.arg("LT");
    command
}

pub(crate) fn forget(key: &str) -> Cmd {
    let mut command = cmd("UNLINK");
    command.arg(key);
    command
}

pub(crate) fn number(value: Value) -> Result<usize, Trouble> {
    read(value)
}

pub(crate) fn bytes(value: Value) -> Result<Option<Vec<u8>>, Trouble> {
    read(value)
}

// ---- the agent ---------------------------------------------------------------------------------------------------------

/// A blocking take of at most `count` deliveries of the first of the queues that has any, by their turns.
pub(crate) fn take(queues: &[String], count: usize, blocks: Duration) -> Cmd {
    let mut command = cmd("BZMPOP");
    command.arg(blocks.as_secs_f64()).arg(queues.len()).arg(queues).arg("MIN").arg("COUNT").arg(count);
    command
}

pub(crate) fn take_orders(keys: &Keys, agent: AgentId, blocks: Duration) -> Cmd {
    pop(&[keys.orders(agent)], ORDERS_MAX, blocks)
}

const ORDERS_MAX: usize = 1_000;

/// A delivery, with its body if that is small.
pub(crate) type Taken = (Delivery, Option<Vec<u8>>);

/// The deliveries that were popped; those that are none of ours are left out.
pub(crate) fn taken(value: Value) -> Result<Vec<Taken>, Trouble> {
    let elements: Vec<(Vec<u8>, Value)> = popped(value)?;
    let delivery = |(mut element, _): (Vec<u8>, Value)| {
        let mut spaces = element.iter().enumerate().filter(|(_, byte)| **byte == b' ');
        let body = spaces.nth(2).map(|(at, _)| at);
        let text = std::str::from_utf8(&element[..body.unwrap_or(element.len())]).ok()?;
        let delivery = text.parse().ok()?;
        let body = body.map(|at| {
            element.drain(..=at);
            element
        });
        Some((delivery, body))
    };
    Ok(elements.into_iter().filter_map(delivery).collect())
}

/// The deliveries; those that are none of ours are left out.
pub(crate) fn deliveries(value: Value) -> Result<Vec<Delivery>, Trouble> {
    let elements: Vec<String> = popped(value)?;
    Ok(elements.iter().filter_map(|element| element.parse().ok()).collect())
}

pub(crate) fn claim(keys: &Keys, agent: AgentId, lease: Duration, deliveries: &[Delivery]) -> Cmd {
    let sessions: Vec<_> = deliveries.iter().map(|delivery| keys.session(delivery.session)).collect();
    let mut command = call(claim_script, &sessions);
    command.arg(agent.to_string()).arg(ms(lease));
    for delivery in deliveries {
        command.arg(delivery.job.0).arg(delivery.count);
    }
    command
}

pub(crate) fn claimed(value: Value, deliveries: usize) -> Result<Vec<Option<Vec<u8>>>, Trouble> {
    let bodies: Vec<Option<Vec<u8>>> = read(value)?;
    if bodies.len() == deliveries { Ok(bodies) } else { Err(Trouble::odd(bodies.len())) }
}

pub(crate) fn renew(
    keys: &Keys,
    agent: AgentId,
    lease: Duration,
    (advertisement, status): (&[u8], &str),
    deliveries: &[Delivery],
) -> Cmd {
    let mut names = vec![keys.agents(), keys.agent(agent), keys.status(agent)];
    names.extend(deliveries.iter().map(|delivery| keys.session(delivery.session)));
    let mut command = call(renew_script, &names);
    command.arg(agent.to_string()).arg(ms(lease)).arg(advertisement).arg(status);
    for delivery in deliveries {
        command.arg(delivery.job.0).arg(delivery.count);
    }
    command
}

pub(crate) fn renewed(value: Value, deliveries: usize) -> Result<Vec<bool>, Trouble> {
    let held: Vec<bool> = read(value)?;
    if held.len() == deliveries { Ok(held) } else { Err(Trouble::odd(held)) }
}

pub(crate) fn finish(keys: &Keys, agent: AgentId, delivery: Delivery, outcome: &[u8]) -> Cmd {
    let names = [keys.session(delivery.session), keys.replies(delivery.session)];
    let mut command = call(finish_script, &names);
    command.arg(agent.to_string()).arg(delivery.job.0).arg(delivery.count).arg(outcome);
    command
}

pub(crate) fn finished(value: Value) -> Result<bool, Trouble> {
    read(value)
}

/// The last commands of an agent.
pub(crate) fn leave(keys: &Keys, agent: AgentId) -> [Cmd; 2] {
    let [mut unlist, mut forget] = [cmd("ZREM"), cmd("DEL")];
    unlist.arg(keys.agents()).arg(agent.to_string());
    forget.arg(keys.agent(agent)).arg(keys.orders(agent)).arg(keys.status(agent));
    [unlist, forget]
}
