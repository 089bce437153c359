--[[
  lib_retry — where a job goes when an attempt of it was lost.

  Needs: lib_select, lib_queue, attemptsMax, retryBudget, retryBudgetPerS, budgetTtlMs,
  rescueLeaseMs. Gives: retry.
]]
-- Handing back counts against nobody, so it needs a bound of its own: the record grows with each.
local HANDOVERS_MAX = 64

-- A token bucket per pool: a failing model must not multiply its own load.
local function takeToken(pool)
  local v = redis.call('HMGET', budgetKey(pool), 'tokens', 'at')
  local tokens = retryBudget
  if v[1] then
    tokens = math.min(retryBudget, v[1] + (now - v[2]) * retryBudgetPerS / 1000)
  end
  local granted = tokens >= 1
  if granted then tokens = tokens - 1 end
  redis.call('HSET', budgetKey(pool), 'tokens', tokens, 'at', now)
  if budgetTtlMs > 0 then redis.call('PEXPIRE', budgetKey(pool), budgetTtlMs) end
  return granted
end

-- Returns `reassigned` with the assignment, `queued`, or `exhausted`. It never ends the job: that
-- is for job_complete, after the result is recorded; until then a rescuer finds it again.
local function retry(job, costsToken)
  if job.counted >= attemptsMax or job.n >= HANDOVERS_MAX
    or (costsToken and not takeToken(job.pool)) then
    redis.call('ZADD', activeKey, now + rescueLeaseMs, job.id)
    return 'exhausted'
  end
  local node = job.deadline > now and choose(job, true)
  if node then return 'reassigned', assign(job, node) end
  enqueue(job)
  return 'queued'
end
