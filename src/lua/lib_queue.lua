--[[
  lib_queue — jobs that wait for a node, and those handed to one.

  Needs: lib_job, lib_node, acceptMs, requeueMs, degradedProbeMs. Gives: lookAgain, intoQueue,
  enqueue, takeSlot, assign.
]]
-- So many at the head of a queue are looked at again after `requeueMs`, the next so many after
-- twice that, and so on: the work of looking again stays small however long the queue is.
local LOOK_STEP = 64

-- The rescuer's next look at a waiting job; returns the job's place in the queue, from 1.
local function lookAgain(job)
  local rank = redis.call('ZRANK', queueKey(job.pool), job.id)
  if not rank then rank = 0 end
  local at = now + requeueMs * (1 + math.floor(rank / LOOK_STEP))
  redis.call('ZADD', activeKey, math.min(job.deadline, at), job.id)
  return rank + 1
end

-- The caller writes the record.
local function intoQueue(job)
  local tag, pool = tonumber(job.tag), job.pool
  anyWaiting = true
  heads[pool] = nil
  redis.call('ZADD', queueKey(pool), tag, job.id)
  if not lowest[pool] or tag < lowest[pool] then
    redis.call('ZADD', waitingKey, 'LT', tag, pool)
    lowest[pool] = tag
  end
  return lookAgain(job)
end

local function enqueue(job)
  job.state = 'queued'
  save(job)
  return intoQueue(job)
end

-- Takes a slot of the node for the job's next attempt. The caller writes the record.
local function takeSlot(job, node)
  job.n = job.n + 1
  job.state = 'assigned'
  job.a[job.n] = {
    state = 'live', node = node.id, instance = node.instance, at = now, revivable = false,
  }
  local member = memberOf(job.id, job.n)
  local used = usedSlots(node)
  node.used = used + redis.call('SADD', slotsKey(node.id), member)
  redis.call('ZADD', activeKey, math.min(job.deadline, now + acceptMs), job.id)
  if node.state == 'degraded' then
    node.probe = member
    node.probeAt = now + degradedProbeMs
    redis.call('HSET', nodeKey(node.id), 'probe', member, 'probeAt', node.probeAt)
  end
  return { job.id, job.n, node.id, node.instance, job.owner }
end

-- Hands a job that has a record to the node; returns the assignment.
local function assign(job, node)
  if job.state == 'queued' then dequeue(job.pool, job.id) end
  local assignment = takeSlot(job, node)
  save(job, job.n)
  return assignment
end
