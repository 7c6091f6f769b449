import type { Script } from './scripts.js';

// A gate's key is four keys of one hash tag. A hash of its state: `seq` the last number in the queue, `round` how often it was refused,
// `refusals` those in a row that named no time, `limit` and `successes` where it adapts, `closed` and `spent` until when it is closed by a refusal
// and by a budget that is used up, `version`, and for each process its last batch (`b:PROCESS`). A sorted set of the queue, by number. A sorted
// set of what runs, all of score 0: so what one process has is a range by name. A sorted set of processes, by the end of their leases.
// A stream is PROCESS:TICKET in both; a process has a name of 16 characters. What waits in the name of a process that is gone is passed over.

/** So many streams are let through in one run at most. */
const MOST_GRANTS = 500;

/**
 * All that a process has to say of a key, and to hear. It may be told twice: a batch has a number.
 *
 * KEYS: state, queue, running, processes. ARGV: process, batch, '1' where the process counts on being known, '1' to hear of all its places,
 * leaseMs, expireMs, perKey, adapt.min ('0' where it does not adapt), adapt.initial, pauseMs, maxPauseMs, what channels begin with, the key's
 * name, '1' where the process has nothing there any more; then by fours what happened (what, ticket, number, ms): `l` a stream has left, `s` it
 * came through well, `x` it was refused, `w` a warning, `i` a first item, `t` it runs whatever the limit, `d` a budget is used up for so long,
 * `e` it enters, with the number that it had where it had one. Those that enter come last.
 *
 * Gives 'lost' where the process is not known, and nothing was done. Else 'ok', version, round, refusals, ms until it opens, how many may run,
 * how many run, how many wait, 1 where more could be let through, the tickets that were, the numbers of those that entered, and its places.
 */
export const SYNC: Script = {
  verb: 'ask for places at the gate',
  source: `
local H, Q, R, P = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local me, batch, isKnown, isFull = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1', ARGV[4] == '1'
local lease, expire, most = tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7])
local min, initial, pause, maxPause = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local channel, name, isBye = ARGV[12], ARGV[13], ARGV[14] == '1'
local function whole(number) return string.format('%.0f', number) end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

if isKnown and not redis.call('ZSCORE', P, me) then return {'lost'} end
redis.call('ZADD', P, whole(now + lease), me)
local m = redis.call('HMGET', H, 'seq', 'round', 'refusals', 'limit', 'successes', 'closed', 'spent', 'version', 'b:' .. me)
local seq, round, refusals = tonumber(m[1] or 0), tonumber(m[2] or 0), tonumber(m[3] or 0)
local limit, successes = math.min(tonumber(m[4] or initial), most), tonumber(m[5] or 0)
local closed, spent, version = tonumber(m[6] or 0), tonumber(m[7] or 0), tonumber(m[8] or 0) + 1
-- The reply to this command was lost.
local isAgain = m[9] and batch <= tonumber(m[9])

local function forget(process)
  redis.call('ZREMRANGEBYLEX', R, '[' .. process .. ':', '(' .. process .. ';')
  redis.call('ZREM', P, process)
  redis.call('HDEL', H, 'b:' .. process)
end
for _, process in ipairs(redis.call('ZRANGEBYSCORE', P, '-inf', whole(now))) do forget(process) end

local running, queued = redis.call('ZCARD', R), redis.call('ZCARD', Q)
local ran, isTold = running, false
local entered, granted, others = {}, {}, {}

local function free(ticket)
  local member = me .. ':' .. ticket
  if redis.call('ZREM', R, member) == 1 then
    running = running - 1
  elseif queued > 0 and redis.call('ZREM', Q, member) == 1 then
    queued = queued - 1
  end
end
local function slow(of, asked, isRefusal)
  if of == round then
    round = round + 1
    isTold = true
    local isLower = false
    if min > 0 then
      local lower = math.max(min, math.floor(math.min(limit, ran) / 2))
      isLower = lower < limit
      limit, successes = lower, 0
    end
    if isRefusal and not asked and not isLower then refusals = refusals + 1 end
  end
  local ms = asked or pause * 2 ^ (math.min(math.max(refusals, 1), 52) - 1)
  local opens = now + math.min(ms, maxPause)
  if opens > closed then
    closed = opens
    isTold = true
  end
end
local function succeed(of)
  if min == 0 or of ~= round or ran < limit or limit >= most then return end
  successes = successes + 1
  if successes < limit then return end
  limit, successes = limit + 1, 0
end
local function hasRoom()
  return running < most and (min == 0 or running < limit) and closed <= now and spent <= now
end
local function enter(ticket, number)
  local member = me .. ':' .. ticket
  if isAgain then
    local place = redis.call('ZSCORE', Q, member)
    local isIn = not place and redis.call('ZSCORE', R, member)
    if place or isIn then
      entered[#entered + 1] = place or ''
      return
    end
  end
  if number then
    seq = math.max(seq, number)
  else
    seq = seq + 1
    number = seq
  end
  entered[#entered + 1] = whole(number)
  if queued == 0 and hasRoom() then
    redis.call('ZADD', R, 0, member)
    running = running + 1
    granted[#granted + 1] = ticket
  else
    redis.call('ZADD', Q, whole(number), member)
    queued = queued + 1
  end
end

for i = 15, #ARGV, 4 do
  local what, ticket, number, ms = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  if not isAgain then
    if what == 's' then succeed(number)
    elseif what == 'x' then slow(number, ms, true)
    elseif what == 'w' then slow(number, ms, false)
    elseif what == 'i' and number == round then refusals = 0
    elseif what == 'd' then
      spent = now + math.min(ms, maxPause)
      isTold = true
    end
  end
  if what == 'e' then enter(ticket, number)
  elseif what == 'l' or what == 's' or what == 'x' then free(ticket)
  elseif what == 't' then running = running + redis.call('ZADD', R, 0, me .. ':' .. ticket)
  end
end
if isBye then
  forget(me)
  running = redis.call('ZCARD', R)
end

local passed, isAlive = 0, {[me] = not isBye}
while queued > 0 and passed < ${String(MOST_GRANTS)} and hasRoom() do
  local member = redis.call('ZPOPMIN', Q)[1]
  local process = string.sub(member, 1, #me)
  queued, passed = queued - 1, passed + 1
  if isAlive[process] == nil then isAlive[process] = redis.call('ZSCORE', P, process) and true or false end
  if isAlive[process] then
    redis.call('ZADD', R, 0, member)
    running = running + 1
    local ticket = string.sub(member, #me + 2)
    if process == me then
      granted[#granted + 1] = ticket
    else
      others[process] = others[process] or {}
      table.insert(others[process], ticket)
    end
  end
end

local fields = {'seq', whole(seq), 'round', whole(round), 'refusals', whole(refusals), 'limit', whole(limit), 'successes', whole(successes),
  'closed', whole(closed), 'spent', whole(spent), 'version', whole(version)}
if not isBye then fields[17], fields[18] = 'b:' .. me, whole(batch) end
redis.call('HSET', H, unpack(fields))
redis.call('PEXPIRE', H, expire)
redis.call('PEXPIRE', P, expire)
if running > 0 then redis.call('PEXPIRE', R, expire) end
if queued > 0 then redis.call('PEXPIRE', Q, expire) end

local closedFor = math.max(0, math.max(closed, spent) - now)
local permits = {}
if isFull or isAgain then
  for i, member in ipairs(redis.call('ZRANGEBYLEX', R, '[' .. me .. ':', '(' .. me .. ';')) do
    permits[i] = string.sub(member, #me + 2)
  end
end
-- What is written is whole, should nobody be allowed to publish.
if isTold then
  for _, process in ipairs(redis.call('ZRANGE', P, 0, -1)) do
    if process ~= me then others[process] = others[process] or {} end
  end
end
for process, tickets in pairs(others) do
  local news = {key = name, version = version, round = round, refusals = refusals, closedForMs = closedFor, limit = limit,
    running = running, waiting = queued}
  if #tickets > 0 then news.granted = tickets end
  redis.call('PUBLISH', channel .. process, cjson.encode(news))
end
local isMore = queued > 0 and hasRoom() and 1 or 0
return {'ok', version, round, refusals, closedFor, limit, running, queued, isMore, granted, entered, (isFull or isAgain) and permits or false}
`,
};
