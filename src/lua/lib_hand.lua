--[[
  lib_hand — late binding: a node with room takes the oldest waiting job it may have.

  Needs: lib_select, lib_queue, lib_waiting. Gives: handTo.
]]
-- Behind a job that this node may not have (tried it, a service is down) others are looked at.
local QUEUE_LOOK = 8
local JOBS_LOOK = 64

local function fits(job, node)
  return verdict(node, job.needs) == 'eligible'
    and (not job.tried[node.id] or not anotherExists(job))
end

local function headOf(pool)
  local known = heads[pool]
  if not known then
    known = redis.call('ZRANGE', queueKey(pool), 0, QUEUE_LOOK - 1, 'WITHSCORES')
    known.at = 1
    heads[pool] = known
  end
  return known
end

-- Looks at the head of one queue. Entries that can never be handed out are dropped on the way:
-- what is overdue stays in `active`, where the rescuer finds it.
local function firstFitting(pool, node, budget)
  local again = true
  while again do
    local head = headOf(pool)
    local from = head.at
    again = false
    for i = from, #head, 2 do
      local id = head[i]
      if budget.looks == 0 then return nil end
      budget.looks = budget.looks - 1
      local job = loadJob(id)
      if not job or job.state ~= 'queued' or job.deadline <= now then
        dequeue(pool, id)
        again = true
      elseif fits(job, node) then
        return job
      end
    end
    -- Of a head that others took from, only the rest was looked at.
    if from > 1 then
      heads[pool] = nil
      again = true
    end
  end
  return nil
end

-- The oldest job the node may have. Where a queue's head is not for it, the next pool's may be
-- older than what stands behind that head.
local function oldestFitting(node, budget)
  local oldest
  for _, head in ipairs(waitingPools(node)) do
    if oldest and tonumber(oldest.tag) <= head[2] then return oldest end
    local job = firstFitting(head[1], node, budget)
    if job and (not oldest or tonumber(job.tag) < tonumber(oldest.tag)) then oldest = job end
  end
  return oldest
end

-- Hands at most `limit` waiting jobs to the node; appends the assignments to `handed`.
local function handTo(id, limit, handed)
  local node = loadNode(id)
  local budget = { looks = JOBS_LOOK }
  while limit > 0 and verdict(node, '') == 'eligible' do
    local job = oldestFitting(node, budget)
    if not job then return end
    handed[#handed + 1] = assign(job, node)
    limit = limit - 1
  end
end
