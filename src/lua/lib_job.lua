--[[
  lib_job — a job's record and its attempts.

  Needs: lib_keys. Gives: isLive, memberOf, attemptText, loadJob, liveAttempts, saveAttempt,
  loseAttempt, anyWaiting, dequeue.
  An attempt is one field `a<n>`: state, node, instance, time of the hand-over, and whether the node
  may still be running it although it was given up (`1`). Whether it holds a slot is told only by
  the node's set of jobs.
]]
local JOB_FIELDS = {
  'state', 'pool', 'deadline', 'attempts', 'counted', 'needs', 'owner', 'tag', 'affinity',
  'start', 'end', 'a1', 'a2', 'a3', 'a4',
}
local FIRST_ATTEMPT = 11
-- Most jobs have one attempt; up to this many come with the record in one command.
local ATTEMPTS_READ = 4

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

local function readAttempts(job, values)
  job.a = {}
  job.tried = {}
  for n = 1, job.n do
    local text = values[FIRST_ATTEMPT + n]
    if n > ATTEMPTS_READ then text = redis.call('HGET', jobKey(job.id), 'a' .. n) end
    job.a[n] = readAttempt(text)
    job.tried[job.a[n].node] = true
  end
end

local function loadJob(id)
  local v = redis.call('HMGET', jobKey(id), unpack(JOB_FIELDS))
  if not v[1] then return nil end
  local job = {
    id = id, state = v[1], pool = v[2], deadline = tonumber(v[3]), n = tonumber(v[4]),
    counted = tonumber(v[5]), needs = v[6], owner = v[7], tag = v[8], affinity = v[9],
    first = v[10], last = v[11],
  }
  readAttempts(job, v)
  return job
end

local function liveAttempts(job)
  local count = 0
  for n = 1, job.n do
    if job.a[n].state == 'live' then count = count + 1 end
  end
  return count
end

local function saveAttempt(job, n)
  redis.call('HSET', jobKey(job.id), 'a' .. n, attemptText(job.a[n]))
end

-- The attempt no longer counts as under way. Its slot is another matter (see above).
local function loseAttempt(job, n, loss)
  job.a[n].state = loss.word
  job.a[n].revivable = loss.revivable
  if loss.countsAttempt then
    job.counted = job.counted + 1
    redis.call('HSET', jobKey(job.id), 'counted', job.counted, 'a' .. n, attemptText(job.a[n]))
  else
    saveAttempt(job, n)
  end
end

-- Whether jobs may be waiting; nil: this call has not looked yet.
local anyWaiting

-- Takes the job out of its pool's queue. `waiting` names the pools whose queue is not empty, by the
-- tag of their first job.
local function dequeue(pool, id)
  if redis.call('ZREM', queueKey(pool), id) == 0 then return end
  local head = redis.call('ZRANGE', queueKey(pool), 0, 0, 'WITHSCORES')
  if head[1] then
    redis.call('ZADD', waitingKey, head[2], pool)
  else
    redis.call('ZREM', waitingKey, pool)
  end
end
