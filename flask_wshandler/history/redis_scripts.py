"""What Redis does with a log in one step each: scripts in its Lua.

Of a topic there are

- a hash, with the log's id, the generation and the last number; the `run_id` of the Redis that has
  given it; how many entries there are and of how many bytes; how old they may get; and the last
  sequence number of each process that has appended, so that none is appended twice;
- a stream of the entries, whose ids are `<number>-<milliseconds since 1970>`. The value of an
  entry's only field is the end of a LOGGED envelope's body: excluded, is text, payload.

Of an app there is a sorted set of the topics, with the moments when their streams expire.

Invariants:
- What Redis refuses, for want of memory or of a permission, it refuses before anything is changed:
  with the first command of a script that would change something.
- A hash that was lost is begun anew with another id, and what there is of its stream is deleted.
- A number is above all that another Redis, or this one before it was restarted, can have given:
  where the `run_id` is another one, the numbers go on `JUMP` higher, in the next generation.
"""

from __future__ import annotations

import hashlib

from .log import ENTRY_COST_BYTES, EXCLUDED_BYTES

#: What APPEND is told of what is before the first message.
NO_GAP = 0
GENERATION = 1
"""Something was broadcast that is not in the log."""
HOLE = 2
"""Something was to be appended, and was dropped: a number is left out, by which all learn it."""

#: What APPEND answers, beside an error; or a list, with the reason why nobody is told.
APPENDED = 1
KNOWN = 0
"""All was appended before."""
EARLY = -1
"""One that was sent before it, in the same pipeline, is not appended."""
DOUBTFUL = -2
"""It may have been appended to a log that was lost."""

TAIL_BYTES = EXCLUDED_BYTES + 1
"""What an entry has before its payload."""

JUMP = 2**20

STATE_MS = 86_400_000
"""How long a hash is kept beyond the last entry, or the last look at it."""


class Script:
    """Lua, and the name that Redis knows it by."""

    def __init__(self, body: str) -> None:
        self.text = (_COMMON + body).encode()
        self.digest = hashlib.sha1(self.text).hexdigest()


_COMMON = (
    f"""
local JUMP, STATE_MS, COST, TAIL = {JUMP}, {STATE_MS}, {ENTRY_COST_BYTES}, {TAIL_BYTES}
"""
    + """
if redis.replicate_commands then redis.replicate_commands() end  -- before Redis 7
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function text(number)
    return string.format('%.0f', number)
end

-- Not every Redis says in a script which command it refuses.
local function refusal_of(command, answer)
    return {err = 'ERR ' .. command .. ': ' .. answer.err}
end

-- What is known of a topic, as if this Redis had it. `sender` may be nil.
local function look(hash, fresh, run, sender)
    local got = redis.pcall('HMGET', hash, 'id', 'generation', 'number', 'run', 'count', 'bytes',
                            'age', 'oldest', 'newest', 'listed', 'doubt', sender or 'id')
    if got.err then
        if not string.find(got.err, 'WRONGTYPE', 1, true) then
            return nil, refusal_of('HMGET', got)
        end
        redis.call('DEL', hash)
        got = {}
    end
    local number, generation = tonumber(got[3] or nil), tonumber(got[2] or nil)
    if not (got[1] and number and generation) then
        return {id = fresh, generation = 0, number = 0, run = run, count = 0, bytes = 0, age = 0,
                oldest = now, newest = 0, listed = 0, doubt = now, is_new = true}
    end
    local state = {id = got[1], generation = generation, number = number, run = run,
                   count = tonumber(got[5] or 0), bytes = tonumber(got[6] or 0),
                   age = tonumber(got[7] or 0), oldest = tonumber(got[8] or 0),
                   newest = tonumber(got[9] or 0), listed = tonumber(got[10] or 0),
                   doubt = tonumber(got[11] or 0)}
    if got[4] ~= run then
        state.is_moved = true
        state.generation = generation + 1
        state.number = number + JUMP
    end
    if sender and got[12] then
        state.sequence = tonumber(string.match(got[12], '^(%d+):'))
    end
    return state
end

local function appended_ms(id)
    return tonumber(string.match(id, '-(%d+)$'))
end

-- Drop from the front of a stream what is too much, and what is too old; some thousands at most.
local function trim(stream, state, most, most_bytes)
    for step = 1, 50 do
        local is_much = state.count > most or state.bytes > most_bytes
        if state.count == 0 or not (is_much or state.oldest + state.age < now) then
            return
        end
        local wanted = 1  -- which suffices nearly always
        if state.count > most then
            wanted = math.min(state.count - most, 100)
        elseif step > 1 then
            wanted = math.max(1, math.min(math.floor(1048576 * state.count / state.bytes), 100))
        end
        local found = redis.call('XRANGE', stream, '-', '+', 'COUNT', wanted)
        local before = state.count
        for _, entry in ipairs(found) do
            local at = appended_ms(entry[1])
            state.oldest = at
            is_much = state.count > most or state.bytes > most_bytes
            if not is_much and at + state.age >= now then
                break
            end
            state.count = state.count - 1
            state.bytes = state.bytes - (#entry[2][2] - TAIL + COST)
        end
        if #found == 0 then
            state.count = 0
        elseif state.count < before then
            redis.call('XTRIM', stream, 'MAXLEN', state.count)
        end
        if state.count <= 0 or state.bytes < 0 then
            state.bytes = 0
        end
    end
end
"""
)

APPEND = Script("""
local hash, stream, index = unpack(KEYS)
local run, fresh, sender = ARGV[1], ARGV[2], 's' .. ARGV[3]
local before, tried_ms, gap = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local most, age, most_bytes = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local channel, head, topic = unpack(ARGV, 10, 12)
local FIRST, sequence = 13, tonumber(ARGV[#ARGV - 1])

local state, refusal = look(hash, fresh, run, sender)
if refusal then
    return refusal
end
if state.sequence and state.sequence >= sequence then
    return 0
end
if tried_ms >= 0 and not state.sequence and state.doubt >= now - tried_ms then
    return -2
end
if before > 0 and (state.sequence or 0) < before then
    return -1
end

local function is_error(answer)
    return type(answer) == 'table' and answer.err
end

local function add(number, tail)
    return redis.pcall('XADD', stream, text(number) .. '-' .. text(now), 'm', tail)
end

-- Of no other type, and with nothing that the hash does not know of.
local kept = redis.pcall('XLEN', stream)
if is_error(kept) then
    redis.call('DEL', stream)
    kept = 0
elseif state.is_new and kept > 0 then
    redis.call('DEL', stream)
    kept = 0
end
if kept ~= state.count then
    if kept < state.count and now < state.newest + state.age then
        state.generation = state.generation + 1  -- they have not expired, so they were lost
    end
    state.bytes = state.count > 0 and math.floor(state.bytes * kept / state.count) or kept * COST
    state.count = kept
end
if gap > 0 then
    state.generation = state.generation + 1
end
if gap == 2 then
    state.number = state.number + 1
end
if state.count == 0 then
    state.oldest = now
end
if age > state.age then
    trim(stream, state, most, most_bytes)  -- what was too old already does not come back
end
state.age = age

local known = state.sequence or 0
local is_first = true
local trouble
for at = FIRST, #ARGV, 2 do
    local this, tail = tonumber(ARGV[at]), ARGV[at + 1]
    if this > known then
        local added = add(state.number + 1, tail)
        if is_first and is_error(added) and string.find(added.err, 'equal or smaller', 1, true) then
            redis.call('DEL', hash, stream)
            state = look(hash, fresh, run, sender)
            state.age = age
            added = add(1, tail)
        end
        if is_error(added) then
            if is_first then
                return refusal_of('XADD', added)
            end
            trouble, sequence = refusal_of('XADD', added), known
            break
        end
        is_first = false
        known = this
        state.number = state.number + 1
        state.count = state.count + 1
        state.bytes = state.bytes + #tail - TAIL + COST
        local high = math.floor(state.number / 4294967296)
        local place = struct.pack('>I4I4I4', state.generation, high, state.number % 4294967296)
        local told = redis.pcall('PUBLISH', channel, head .. state.id .. place .. tail)
        if is_error(told) then
            trouble = {1, told.err}
        end
    end
end
trim(stream, state, most, most_bytes)

-- The last of each process is remembered for at least a minute, unless there are very many.
if not state.sequence and redis.call('HLEN', hash) > 220 then
    local known = redis.call('HGETALL', hash)
    local seen = {}
    for at = 1, #known, 2 do
        local ms = string.sub(known[at], 1, 1) == 's' and string.match(known[at + 1], ':(%d+)$')
        if ms and #known[at] == 9 then
            seen[#seen + 1] = {tonumber(ms), known[at]}
        end
    end
    table.sort(seen, function(one, other) return one[1] < other[1] end)
    for at, each in ipairs(seen) do
        if each[1] > now - 60000 and #seen - at < 150 then
            break
        end
        redis.call('HDEL', hash, each[2])
        state.doubt = math.max(state.doubt, each[1])
    end
end

if now - state.listed >= 1000 or now < state.listed then
    state.listed = now
    redis.call('ZADD', index, text(now + age + 1000), topic)
    if redis.call('PTTL', index) < age + STATE_MS then
        redis.call('PEXPIRE', index, text(age + 2 * STATE_MS))
    end
end
redis.call('HSET', hash, 'id', state.id, 'generation', text(state.generation),
           'number', text(state.number), 'run', run, 'count', text(state.count),
           'bytes', text(state.bytes), 'age', text(age), 'oldest', text(state.oldest),
           'newest', text(now), 'listed', text(state.listed), 'doubt', text(state.doubt),
           sender, text(sequence) .. ':' .. text(now))
redis.call('PEXPIRE', hash, text(age + STATE_MS))
redis.call('PEXPIRE', stream, text(age))
return trouble or 1
""")
"""Appends messages of one topic, in their order, each with its sequence number."""

_SETTLE = """
-- Have written what a look has found to be new. A topic that is looked at does not expire.
local function settle(hash, stream, state)
    if state.is_new then
        redis.call('DEL', stream)
        redis.call('HSET', hash, 'id', state.id, 'generation', '0', 'number', '0',
                   'run', state.run, 'doubt', text(now))
        redis.call('PEXPIRE', hash, STATE_MS)
    elseif state.is_moved then
        redis.pcall('HSET', hash, 'generation', text(state.generation),
                    'number', text(state.number), 'run', state.run)
    end
    if redis.call('PTTL', hash) < STATE_MS / 2 then
        redis.pcall('PEXPIRE', hash, text(state.age + STATE_MS))
    end
end
"""

READ = Script(
    _SETTLE
    + """
local hash, stream = unpack(KEYS)
local after, most, most_bytes = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local is_newest = ARGV[6] == '1'
local state, refusal = look(hash, ARGV[2], ARGV[1])
if refusal then
    return refusal
end
settle(hash, stream, state)

local function number_of(id)
    return tonumber(string.match(id, '^(%d+)'))
end

local function is_kept(id)
    return appended_ms(id) + state.age >= now
end

local function first_number()
    local from, count = '-', 1
    while true do
        local found = redis.call('XRANGE', stream, from, '+', 'COUNT', count)
        for _, entry in ipairs(found) do
            if is_kept(entry[1]) then
                return number_of(entry[1])
            end
        end
        if #found < count then
            return state.number + 1
        end
        from, count = text(number_of(found[#found][1]) + 1), 50
    end
end

local first = first_number()
local entries, bytes, is_full = {}, 0, false
local from = text(math.max(first, after + 1))
local till = '+'
while #entries < 2 * most and not is_full do
    local count = math.min(32, most - #entries / 2)
    local found
    if is_newest then
        found = redis.call('XREVRANGE', stream, till, text(first), 'COUNT', count)
    else
        found = redis.call('XRANGE', stream, from, '+', 'COUNT', count)
    end
    for _, entry in ipairs(found) do
        bytes = bytes + #entry[2][2] - TAIL
        if bytes > most_bytes and #entries > 0 then
            is_full = true
            break
        end
        entries[#entries + 1] = entry[1]
        entries[#entries + 1] = entry[2][2]
    end
    if #found < count then
        break
    end
    local last = number_of(found[#found][1])
    from, till = text(last + 1), text(last - 1)
end
return {state.id, state.generation, state.number, first, entries}
"""
)

LAST = Script(
    _SETTLE
    + """
local run, answer = ARGV[1], {}
for at = 1, #KEYS, 2 do
    local state, refusal = look(KEYS[at], ARGV[(at + 3) / 2], run)
    if refusal then
        return refusal
    end
    settle(KEYS[at], KEYS[at + 1], state)
    answer[#answer + 1] = state.id
    answer[#answer + 1] = state.generation
    answer[#answer + 1] = state.number
end
return answer
"""
)
"""Where topics stand: their ids, generations and numbers."""

LEAVE_OUT = Script(
    _SETTLE
    + """
local hash, stream = unpack(KEYS)
local state, refusal = look(hash, ARGV[2], ARGV[1])
if refusal then
    return refusal
end
settle(hash, stream, state)
redis.call('HSET', hash, 'generation', text(state.generation + 1), 'number', text(state.number + 1))
return 1
"""
)
"""Leave out a number, so that all learn that something was dropped."""

SURVEY = Script("""
local index, answer = KEYS[1], {}
for at = 2, #KEYS, 2 do
    local hash, stream = KEYS[at], KEYS[at + 1]
    local topic, most_bytes = ARGV[at], tonumber(ARGV[at + 1])
    local state, refusal = look(hash, '', ARGV[1])
    if refusal then
        return refusal
    end
    local kept = redis.call('XLEN', stream)
    if state.is_new or kept == 0 then
        redis.call('DEL', stream)
        redis.call('ZREM', index, topic)
        kept, state.bytes = 0, 0
    else
        local before = state.count
        if before ~= kept then
            state.bytes = before > 0 and math.floor(state.bytes * kept / before) or kept * COST
            state.count = kept
        end
        trim(stream, state, math.huge, most_bytes)
        kept = redis.call('XLEN', stream)
        if state.count ~= before then
            redis.call('HSET', hash, 'count', text(state.count), 'bytes', text(state.bytes),
                       'oldest', text(state.oldest))
        end
    end
    answer[#answer + 1] = kept
    answer[#answer + 1] = state.bytes
end
return answer
""")
"""How many entries and bytes topics have, without those that are too old or past so many bytes."""
