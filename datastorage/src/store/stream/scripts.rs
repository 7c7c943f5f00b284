//! Lua scripts of the streams, each one round trip and atomic.
//!
//! `KEYS` are always [`super::Kind::keys`]: 1 the stream, 2 its dead-letter queue, 3 the attempts, 4 the counter of
//! bytes, 5 and 6 stream and dead-letter queue of the other kind.
//!
//! At `maxmemory` Redis rejects a command that needs memory only if it is the first write of a script. So scripts that
//! empty the streams begin with a write that needs none: otherwise a full Redis could never be drained.

/// The size of an entry: the sum of its field names and values. And the counter, which is wrong after a version that
/// does not count, until everything is empty.
const SIZES: &str = "
local function size_of(fields)
  local size = 0
  for i = 1, #fields do size = size + #fields[i] end
  return size
end
local function count_bytes(change)
  local bytes = tonumber(redis.call('GET', KEYS[4]) or '0') + change
  redis.call('SET', KEYS[4], string.format('%.0f', math.max(bytes, 0)))
end
";

/// Adds units, each completely or not at all. `ARGV`: maximum of entries, maximum of bytes, and of each unit the number
/// of its bodies, 1 if it may only be added behind another entry, and the bodies. Returns per unit 1 (added), 0 (no
/// space), or -1 (behind nothing).
const ADD: &str = "
local entries = redis.call('XLEN', KEYS[1])
local used = redis.call('XLEN', KEYS[2]) + redis.call('XLEN', KEYS[5]) + redis.call('XLEN', KEYS[6])
local before = 0
if entries + used > 0 then before = tonumber(redis.call('GET', KEYS[4]) or '0') end
local bytes, results, at = before, {}, 3
while at <= #ARGV do
  local count, behind, size = tonumber(ARGV[at]), ARGV[at + 1] == '1', 0
  for i = at + 2, at + 1 + count do size = size + 6 + #ARGV[i] end
  if behind and entries == 0 then
    results[#results + 1] = -1
  elseif entries + count > tonumber(ARGV[1]) or bytes + size > tonumber(ARGV[2]) then
    results[#results + 1] = 0
  else
    for i = at + 2, at + 1 + count do redis.call('XADD', KEYS[1], '*', 'v', '1', 'body', ARGV[i]) end
    entries, bytes = entries + count, bytes + size
    results[#results + 1] = 1
  end
  at = at + 2 + count
end
if bytes ~= before then redis.call('SET', KEYS[4], string.format('%.0f', bytes)) end
return results";

/// Removes stored entries. `ARGV`: the group, the ids.
const DONE: &str = "
local freed = 0
for i = 2, #ARGV do
  local entry = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
  if entry then freed = freed + size_of(entry[2]) end
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
  redis.call('XDEL', KEYS[1], ARGV[i])
  redis.call('HDEL', KEYS[3], ARGV[i])
end
count_bytes(-freed)
return #ARGV - 1";

/// Moves an entry to the dead-letter queue. `ARGV`: the group, the id, then fields of the dead letter.
const DEAD_LETTER: &str = "
local entry = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
redis.call('XDEL', KEYS[1], ARGV[2])
redis.call('HDEL', KEYS[3], ARGV[2])
if not entry then return 0 end
local fields = {}
for i = 3, #ARGV do fields[i - 2] = ARGV[i] end
redis.call('XADD', KEYS[2], '*', unpack(fields))
count_bytes(size_of(fields) - size_of(entry[2]))
return 1";

/// Returns a dead letter to the stream, or deletes it. `ARGV`: the id, 1 to return it.
const TAKE_OUT: &str = "
local letter = redis.call('XRANGE', KEYS[2], ARGV[1], ARGV[1])[1]
if not letter then return 0 end
local change = -size_of(letter[2])
redis.call('XDEL', KEYS[2], ARGV[1])
if ARGV[2] == '1' then
  local fields = {'v', '1', 'body', ''}
  for i = 1, #letter[2], 2 do
    if letter[2][i] == 'body' then fields[4] = letter[2][i + 1] end
  end
  redis.call('XADD', KEYS[1], '*', unpack(fields))
  change = change + size_of(fields)
end
count_bytes(change)
return 1";

/// Reads unread entries until a number or a size is reached. `ARGV`: the group, the consumer, both maxima.
const READ: &str = "
local entries, bytes = {}, 0
while #entries < tonumber(ARGV[3]) and bytes < tonumber(ARGV[4]) do
  local reply = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', 1, 'STREAMS', KEYS[1], '>')
  if not reply then break end
  local entry = reply[1][2][1]
  entries[#entries + 1] = entry
  bytes = bytes + size_of(entry[2])
end
return entries";

/// Claims entries that were read and not stored, like [`READ`]; `ARGV[5]` is the start. Returns the next start, too.
const CLAIM: &str = "
local entries, bytes, start = {}, 0, ARGV[5]
repeat
  local reply = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, start, 'COUNT', 1)
  start = reply[1]
  for i = 1, #reply[2] do
    local entry = reply[2][i]
    if entry and entry[2] then
      entries[#entries + 1] = entry
      bytes = bytes + size_of(entry[2])
    end
  end
until start == '0-0' or #entries >= tonumber(ARGV[3]) or bytes >= tonumber(ARGV[4])
return {start, entries}";

/// Lists dead letters until a number or a size is reached. `ARGV`: the start, both maxima.
const LIST: &str = "
local entries, bytes, start = {}, 0, ARGV[1]
while #entries < tonumber(ARGV[2]) and bytes < tonumber(ARGV[3]) do
  local entry = redis.call('XRANGE', KEYS[2], start, '+', 'COUNT', 1)[1]
  if not entry then break end
  entries[#entries + 1] = entry
  bytes = bytes + size_of(entry[2])
  start = '(' .. entry[1]
end
return entries";

/// Counts a rejection of an entry. `ARGV`: the id.
const COUNT: &str = "
redis.call('HDEL', KEYS[3], '')
return redis.call('HINCRBY', KEYS[3], ARGV[1], 1)";

/// Creates the consumer group if it is missing, from the stream's first entry. `ARGV`: the group.
const GROUP: &str = "
redis.call('HDEL', KEYS[3], '')
local reply = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if reply.err and not string.find(reply.err, 'BUSYGROUP') then return reply end
return redis.status_reply('OK')";

/// Returns the number of entries, the id of the oldest, the number of dead letters, and the counter of bytes.
const STATE: &str = "
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
return {redis.call('XLEN', KEYS[1]), oldest and oldest[1] or '', redis.call('XLEN', KEYS[2]),
  tonumber(redis.call('GET', KEYS[4]) or '0')}";

/// A script.
#[derive(Clone, Copy, Debug)]
pub(super) enum Script {
    Add,
    Done,
    DeadLetter,
    TakeOut,
    Read,
    Claim,
    List,
    Count,
    Group,
    State,
}

impl Script {
    /// Its source; functions that it does not use cost nothing.
    pub(super) fn source(self) -> String {
        let own = match self {
            Self::Add => ADD,
            Self::Done => DONE,
            Self::DeadLetter => DEAD_LETTER,
            Self::TakeOut => TAKE_OUT,
            Self::Read => READ,
            Self::Claim => CLAIM,
            Self::List => LIST,
            Self::Count => COUNT,
            Self::Group => GROUP,
            Self::State => STATE,
        };
        format!("{SIZES}{own}")
    }
}
