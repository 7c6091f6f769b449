/** A Lua script, and its name for error messages. */
export interface Script {
  readonly verb: string;
  readonly source: string;
}

// A stream is two keys. Its entries are a Redis stream, whose ids are `seq-token`: `seq` counts from 1 without a gap, `token` is
// the writer's lease. So ids grow, none is given twice by two writers, and a write that is told again is known by them. Fields: `d` the
// data, `p` the position before where another writer wrote that (else it is seq - 1 of the same writer), `c` on the last entry of all.
// Its lease is a hash: `t` token, `o` owner, `e` end in ms, `w` length in ms, `s` a stop was asked, `n` the note, `r` its readers are watched.
// Only where they are, there is a third key: a sorted set of readers, each with the time until which it counts as one. One that leaves keeps
// that time as its score. So the highest score says whether the stream is read, and if not, since when.
// Scripts are replicated by their effects (the default since Redis 5), so TIME and `XADD *` mean the same on a replica and in the AOF.

const COMMON = `
local E, L, NEWS, R = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local function field(row, name)
  local fields = row[2]
  for i = 1, #fields, 2 do if fields[i] == name then return fields[i + 1] end end
  return false
end
local function top() return redis.call('XREVRANGE', E, '+', '-', 'COUNT', 1)[1] end
local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000), t[1] * 1000000 + t[2]
end
local function whole(number) return string.format('%.0f', number) end
local function keep(ms)
  redis.call('PEXPIRE', E, whole(ms))
  redis.call('PEXPIRE', L, whole(ms))
end
local function tell(name)
  redis.call('XADD', NEWS, 'MAXLEN', '~', 1000, '*', 's', name)
  redis.call('PEXPIRE', NEWS, 86400000)
end
`;

// What all writes begin with: the fencing token, looked at in the step that writes.
const WRITER = `
local token, owner, expected, ttl, expire = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local m = redis.call('HMGET', L, 't', 'o', 's')
local last = top()
local at = last and last[1] or ''
local function refusal()
  if m[1] == token and m[2] == owner then return false end
  if m[1] then
    -- Tokens grow. One from before this lease: Redis has forgotten what came since.
    if tonumber(m[1]) < tonumber(token) then return 'lost' end
    return 'lease-lost'
  end
  if last and field(last, 'c') then return 'lease-lost' end
  return 'lost'
end
local function renew()
  local now = clock()
  redis.call('HSET', L, 'e', whole(now + ttl), 'w', whole(ttl))
  if expire > 0 then keep(ttl + expire) end
  if not R then return false end
  if expire > 0 then redis.call('PEXPIRE', R, whole(ttl + expire)) end
  local score = redis.call('ZREVRANGE', R, 0, 0, 'WITHSCORES')[2]
  local rest = score and tonumber(score) - now
  return rest and rest <= 0 and -rest
end
`;

/**
 * Adds entries, and closes the stream if so asked. ARGV: token, owner, expected last position, ttl, expire, maxEntries, 'close' or 'append', seq
 * of the first, data... Gives 'ok', the position, whether a stop was asked, and since how many ms nobody has read the stream, where its readers are
 * watched (a fourth key) and it was read; or why not.
 */
export const WRITE: Script = {
  verb: 'write',
  source: `${COMMON}${WRITER}
local maxEntries, closing, seq, count = ARGV[6], ARGV[7] == 'close', tonumber(ARGV[8]), #ARGV - 8
local function id(i) return whole(seq + i - 1) .. '-' .. token end
-- True when these very entries are there: the reply to this command was lost, and it is told again.
local function done()
  if count == 0 or at ~= id(count) then return false end
  local rows = redis.call('XRANGE', E, id(1), id(count))
  for i = 0, #rows - 1 do
    if field(rows[#rows - i], 'd') ~= ARGV[8 + count - i] then return false end
  end
  return closing == (field(last, 'c') ~= false)
end
local why = refusal()
if why then
  -- Closing takes the lease away.
  if closing and not m[1] and done() then return {'ok', at, 0} end
  return {why}
end
if at ~= expected then
  if not done() then return {'lost'} end
else
  for i = 1, count do
    local add = {'XADD', E}
    if maxEntries ~= '0' then
      add[3], add[4], add[5] = 'MAXLEN', '=', maxEntries
    end
    add[#add + 1] = id(i)
    add[#add + 1] = 'd'
    add[#add + 1] = ARGV[8 + i]
    if i == 1 and string.match(expected, '%d+$') ~= token then
      add[#add + 1] = 'p'
      add[#add + 1] = expected
    end
    if closing then
      add[#add + 1] = 'c'
      add[#add + 1] = '1'
    end
    redis.call(unpack(add))
  end
  if count > 0 then at = id(count) end
end
if closing then
  redis.call('DEL', L)
  if R then redis.call('DEL', R) end
  if expire > 0 then redis.call('PEXPIRE', E, whole(expire)) end
  return {'ok', at, m[3] and 1 or 0}
end
return {'ok', at, m[3] and 1 or 0, renew()}
`,
};

/**
 * Renews a lease. ARGV: token, owner, expected last position, ttl, expire, another position that is right too, and a note where there is one.
 * Gives as {@link WRITE} does.
 */
export const RENEW: Script = {
  verb: 'renew the lease',
  source: `${COMMON}${WRITER}
local why = refusal()
if why then return {why} end
if at ~= expected and at ~= ARGV[6] then return {'lost'} end
if ARGV[7] then redis.call('HSET', L, 'n', ARGV[7]) end
return {'ok', expected, m[3] and 1 or 0, renew()}
`,
};

/** Gives a lease back, where it is one. ARGV: token, owner, -, -, expire, the stream's name. */
export const RELEASE: Script = {
  verb: 'release the lease',
  source: `${COMMON}
local m = redis.call('HMGET', L, 't', 'o')
if m[1] == ARGV[1] and m[2] == ARGV[2] then
  redis.call('HDEL', L, 'o', 'e')
  if tonumber(ARGV[5]) > 0 then keep(tonumber(ARGV[5])) end
  tell(ARGV[6])
end
return {'ok'}
`,
};

/**
 * Takes a stream. ARGV: owner, ttl, expire, the stream's name, '1' where its readers are to be watched. Gives 'closed', 'taken', or 'ok' with token, note, and the last entry's id and
 * fields.
 */
export const LEASE: Script = {
  verb: 'lease',
  source: `${COMMON}
local owner, ttl, expire, watches = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[5] == '1'
local last = top()
if last and field(last, 'c') then return {'closed'} end
local m = redis.call('HMGET', L, 't', 'o', 'e', 'n', 'r')
local now, micros = clock()
local token = m[1]
-- Its own: the reply to this command was lost, and it is told again.
if m[2] ~= owner then
  if m[2] and tonumber(m[3]) > now then return {'taken'} end
  -- By the clock, so that a stream that is made anew repeats no position; higher than any before, whatever the clock says.
  local highest = tonumber(m[1] or 0)
  if last then highest = math.max(highest, tonumber(string.match(last[1], '%d+$'))) end
  token = whole(math.max(micros, highest + 1))
end
redis.call('HSET', L, 't', token, 'o', owner, 'e', whole(now + ttl), 'w', whole(ttl))
if (m[5] ~= false) ~= watches then
  redis.call('DEL', R) -- what was known of readers while nobody watched them, or of a stream before this one
  if watches then redis.call('HSET', L, 'r', '1') else redis.call('HDEL', L, 'r') end
end
if expire > 0 then keep(ttl + expire) end
if m[1] or last then tell(ARGV[4]) end
return {'ok', token, m[4], last and last[1] or false, last and last[2] or false}
`,
};

/** Asks for a stop. ARGV: -. Gives 'asked', 'closed' or 'missing'. */
export const STOP: Script = {
  verb: 'ask for a stop',
  source: `${COMMON}
local last = top()
if last and field(last, 'c') then return {'closed'} end
if not last and redis.call('EXISTS', L) == 0 then return {'missing'} end
redis.call('HSET', L, 's', '1')
if redis.call('PTTL', L) < 0 then
  local rest = redis.call('PTTL', E)
  if rest > 0 then redis.call('PEXPIRE', L, rest) end
end
return {'asked'}
`,
};

/**
 * Reads a page and how the stream stands after it. ARGV: position ('' for the beginning, '?' for one that cannot be), the most entries, the most
 * bytes. Gives the state ('more' where the page is not the last), milliseconds of the lease that are left, its length, milliseconds until the
 * stream expires (-1: never), the last of the lane's news, the entries, and whether readers are watched.
 */
export const READ: Script = {
  verb: 'read',
  source: `${COMMON}
local after, maxCount, maxBytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local m = redis.call('HMGET', L, 't', 'o', 'e', 'w', 'r')
local told = redis.call('XREVRANGE', NEWS, '+', '-', 'COUNT', 1)[1]
local expires = redis.call('PTTL', E)
if expires == -2 then expires = redis.call('PTTL', L) end
local rows, bytes, state = {}, 0, false
if after ~= '?' then
  local from, chunk = after == '' and '-' or '(' .. after, 4
  repeat
    local part = redis.call('XRANGE', E, from, '+', 'COUNT', chunk)
    for _, row in ipairs(part) do
      local size = #(field(row, 'd') or '')
      if #rows >= maxCount or (#rows > 0 and bytes + size > maxBytes) then
        state = 'more'
        break
      end
      rows[#rows + 1] = row
      bytes = bytes + size
    end
    if #part < chunk then break end
    from = '(' .. rows[#rows][1]
    -- Not much more than there is still place for.
    chunk = math.max(1, math.min(200, math.floor((maxBytes - bytes) / (bytes / #rows + 1)) + 1))
  until state
end
if not state then
  local last = rows[#rows] or top()
  local at = last and last[1] or ''
  if #rows == 0 and at ~= after then
    state = (last or m[1]) and 'trimmed' or 'missing'
  elseif last and field(last, 'c') then
    state = 'closed'
  elseif not last and not m[1] then
    state = 'missing'
  end
end
local rest = 0
if m[2] then rest = math.max(0, tonumber(m[3]) - clock()) end
if not state then state = rest > 0 and 'open' or 'orphaned' end
return {state, rest, tonumber(m[4] or 0), expires, told and told[1] or '0-0', rows, m[5] and 1 or 0}
`,
};

/**
 * Notes who reads streams, and who does no more. KEYS: of each its lease and its readers. ARGV: for how many ms a reader counts as one, and for how
 * many leases where that is longer; of each the reader's name, and '1' where it reads.
 */
export const ATTEND: Script = {
  verb: 'tell who reads',
  source: `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
for i = 1, #KEYS, 2 do
  local L, R, reader, reads = KEYS[i], KEYS[i + 1], ARGV[i + 2], ARGV[i + 3] == '1'
  local m = redis.call('HMGET', L, 'r', 'w')
  if m[1] then
    local rest = reads and math.max(tonumber(ARGV[1]), ARGV[2] * m[2]) or 0
    redis.call('ZADD', R, string.format('%.0f', now + rest), reader)
    -- Who was gone before says nothing beside one who is here, and leaves later.
    if reads then redis.call('ZREMRANGEBYSCORE', R, '-inf', string.format('%.0f', now)) end
    local expires = redis.call('PTTL', L)
    if expires > 0 then redis.call('PEXPIRE', R, expires) end
  end
end
return {'ok'}
`,
};

/** Ends a store's blocked XREAD. KEYS: the lane's wake. ARGV: an id. */
export const WAKE: Script = {
  verb: 'wake',
  source: `
redis.call('XADD', KEYS[1], 'MAXLEN', 1, ARGV[1], 'w', '1')
redis.call('PEXPIRE', KEYS[1], 60000)
return {'ok'}
`,
};
