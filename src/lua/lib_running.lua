--[[
  lib_running — a node says that it runs an attempt.

  Needs: lib_job, progressMs. Gives: runs.
]]
-- Makes the attempt live if it is not, with its slot, and the job running. That it was given up was
-- wrong then, and no longer counts.
local function runs(job, n)
  local attempt = job.a[n]
  if attempt.state ~= 'live' then
    attempt.state = 'live'
    attempt.revivable = false
    redis.call('SADD', slotsKey(attempt.node), memberOf(job.id, n))
    job.counted = math.max(0, job.counted - 1)
    save(job, n)
  end
  if job.state ~= 'running' then
    if job.state == 'queued' then dequeue(job.pool, job.id) end
    job.state = 'running'
    save(job)
  end
  redis.call('ZADD', activeKey, math.min(job.deadline, now + progressMs), job.id)
end
