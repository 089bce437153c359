--[[
  lib_job — a job's record and its attempts.

  Needs: lib_keys. Gives: isLive, memberOf, attemptText, stateText, loadJob, liveAttempts, save,
  loseAttempt, anyWaiting, someWait, heads, lowest, dequeue.
  The record has few fields, as each costs Redis its own pieces of memory. `state`: the state, how often
  it was handed over, and how many of those count. `spec`: what never changes (lib_record). An
  attempt is one field `a<n>`: state, node, instance, time of the hand-over, and whether the node
  may still be running it although it was given up (`1`). Whether it holds a slot is told only by
  the node's set of jobs.
]]
local function isLive(state)
  return state == 'queued' or state == 'assigned' or state == 'running'
end

local function memberOf(id, n)
  return id .. '#' .. string.format('%d', n)
end

local function readAttempt(text)
  local state, node, instance, at, revivable =
    string.match(text, '^(%S+) (%S+) (%S+) (%d+) (%d)$')
  return {
    state = state, node = node, instance = instance, at = tonumber(at),
    revivable = revivable == '1',
  }
end

local function attemptText(attempt)
  return attempt.state .. ' ' .. attempt.node .. ' ' .. attempt.instance .. ' '
    .. string.format('%d', attempt.at) .. ' ' .. (attempt.revivable and '1' or '0')
end

-- Most jobs have one attempt, which comes with the record.
local function readAttempts(job, first)
  job.a = {}
  job.tried = {}
  local texts = { first }
  if job.n > 1 then
    local names = {}
    for n = 1, job.n do names[n] = 'a' .. n end
    texts = redis.call('HMGET', jobKey(job.id), unpack(names))
  end
  for n = 1, job.n do
    job.a[n] = readAttempt(texts[n])
    job.tried[job.a[n].node] = true
  end
end

local function orNone(text)
  return text == '-' and '' or text
end

local function loadJob(id)
  local v = redis.call('HMGET', jobKey(id), 'state', 'spec', 'a1')
  if not v[1] then return nil end
  local state, n, counted = string.match(v[1], '^(%a+) (%d+) (%d+)$')
  local pool, owner, first, last, deadline, tag, affinity, needs =
    string.match(v[2], '^(%S+) (%S+) (%d+) (%d+) (%d+) (%d+) (%S+) (%S+)')
  local job = {
    id = id, state = state, pool = pool, deadline = tonumber(deadline), n = tonumber(n),
    counted = tonumber(counted), needs = orNone(needs), owner = owner, tag = tag,
    affinity = orNone(affinity), first = first, last = last,
  }
  readAttempts(job, v[3])
  return job
end

local function liveAttempts(job)
  local count = 0
  for n = 1, job.n do
    if job.a[n].state == 'live' then count = count + 1 end
  end
  return count
end

local function stateText(job)
  return job.state .. ' ' .. job.n .. ' ' .. job.counted
end

-- What is said of the job as a whole, and one attempt of it if any is named.
local function save(job, n)
  if n then
    redis.call('HSET', jobKey(job.id), 'state', stateText(job), 'a' .. n, attemptText(job.a[n]))
  else
    redis.call('HSET', jobKey(job.id), 'state', stateText(job))
  end
end

-- The attempt no longer counts as under way. Its slot is another matter (see above).
local function loseAttempt(job, n, loss)
  job.a[n].state = loss.word
  job.a[n].revivable = loss.revivable
  if loss.countsAttempt then job.counted = job.counted + 1 end
  save(job, n)
end

-- Whether jobs may be waiting; nil: this call has not looked yet.
local anyWaiting
local function someWait()
  if anyWaiting == nil then anyWaiting = redis.call('EXISTS', waitingKey) == 1 end
  return anyWaiting
end

-- pool → the first of its queue as this call knows them, {id, tag, id, tag, …} from `at` on (lib_hand).
local heads = {}
-- pool → a tag of `waiting` that this call knows to be there, or a lower one.
local lowest = {}

-- The tag of the queue's first job, once `id` is out of it; nil: it is empty.
local function nextTag(pool, id)
  local known = heads[pool]
  if known and known[known.at] == id then
    known.at = known.at + 2
    if known[known.at] then return known[known.at + 1] end
  end
  heads[pool] = nil
  return redis.call('ZRANGE', queueKey(pool), 0, 0, 'WITHSCORES')[2]
end

-- Takes the job out of its pool's queue. `waiting` names the pools whose queue is not empty, by the
-- tag of their first job.
local function dequeue(pool, id)
  if redis.call('ZREM', queueKey(pool), id) == 0 then return end
  lowest[pool] = nil
  local tag = nextTag(pool, id)
  if tag then
    redis.call('ZADD', waitingKey, tag, pool)
  else
    redis.call('ZREM', waitingKey, pool)
  end
end
