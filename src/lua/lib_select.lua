--[[
  lib_select — the node for a job.

  Needs: lib_job, lib_node. Gives: jobsOfPool (for the caller to fill), choose, anotherExists.
  A job's own last node first (affinity), if it has room; else the best of a small sample; else one
  pass over the pool. A node the job has tried is only taken when no other could serve it.
]]
-- So many are drawn, and the best taken of the first few that have room: that spreads a burst nearly
-- as evenly as looking at all, for a cost that does not grow with the pool. In a large pool each look
-- finds a record that nobody has looked at for long, so it is two choices there.
local SAMPLE = 8
local CANDIDATES_SMALL = 4
local CANDIDATES_LARGE = 2
-- The pass stops at the first node with room; beyond this many a random part of the pool is seen.
local EXACT_MAX = 512
-- pool → how many jobs this call chooses nodes for; nothing: one. What they look at is drawn at once.
local jobsOfPool = {}
-- pool → what was drawn in this call, `from` and `at`: where looking began and how far it came, `whole`: it is all
-- of the pool.
local draws = {}
-- Pool and needs → samples in a row in which this call has found no room. After so many it looks no further, as
-- what has no room in this call gets none later in it.
local misses = {}
local MISSES_MAX = 4

-- Latencies within a fifth of each other are equal: otherwise one node would win every tie.
local function latencyClass(node)
  return math.floor(math.log(1 + node.latency) * 5)
end

local function failuresOf(node)
  -- A degraded node that may have a probe is treated as well, or it would never get one.
  if node.state == 'degraded' then return 0 end
  local _, failures = string.gsub(node.health, 'x', '')
  return failures
end

-- Above 0: a is the better one. 0: equals.
local function compare(a, b)
  local free = (a.slots - usedSlots(a)) / a.slots - (b.slots - usedSlots(b)) / b.slots
  if free ~= 0 then return free end
  local healthier = failuresOf(b) - failuresOf(a)
  if healthier ~= 0 then return healthier end
  return latencyClass(b) - latencyClass(a)
end

-- The best of the first `enough` untried nodes that have room, of `count` nodes behind `from`; else the
-- best tried one, and whether an untried one could serve before long. Last, how many were looked at.
local function scan(ids, from, count, job, enough)
  local best, fallback, another
  local equals, found = 1, 0
  for i = 1, count do
    local id = ids[(from + i - 1) % #ids + 1]
    local node = loadNode(id)
    local word = verdict(node, job.needs)
    if job.tried[id] then
      if word == 'eligible' and (not fallback or compare(node, fallback) > 0) then
        fallback = node
      end
    elseif word == 'eligible' then
      local better = best and compare(node, best) or 1
      if better > 0 then
        best, equals = node, 1
      elseif better == 0 then
        equals = equals + 1
        if math.random(equals) == 1 then best = node end
      end
      found = found + 1
      if found == enough then return best, nil, nil, i end
    elseif couldServe(word) then
      another = true
    end
  end
  return best, fallback, another, count
end

-- What is drawn is random, its order is not: whoever looks at it begins anywhere.
local function anywhere(ids)
  return #ids > 0 and math.random(#ids) or 0
end

local function sample(pool)
  local draw = draws[pool]
  if not draw or (not draw.whole and draw.at + SAMPLE > #draw.ids) then
    local count = SAMPLE + CANDIDATES_LARGE * ((jobsOfPool[pool] or 1) - 1)
    local ids = redis.call('SRANDMEMBER', poolKey(pool), count)
    draw = { ids = ids, from = anywhere(ids), at = 0, whole = #ids < count }
    draws[pool] = draw
  end
  return draw
end

local function affinityNode(job)
  if job.affinity == '' or job.tried[job.affinity] then return nil end
  local node = loadNode(job.affinity)
  if not node or node.state ~= 'ready' or verdict(node, job.needs) ~= 'eligible' then return nil end
  if redis.call('SISMEMBER', poolKey(job.pool), node.id) == 0 then return nil end
  return node
end

-- The best node of a sample, as `scan`; and whether the sample was the whole pool.
local function fromSample(job)
  local draw = sample(job.pool)
  local ids = draw.ids
  local count = draw.whole and #ids or SAMPLE
  local from = draw.whole and anywhere(ids) or draw.from + draw.at
  local enough = #ids < SAMPLE and CANDIDATES_SMALL or CANDIDATES_LARGE
  local best, fallback, another, looked = scan(ids, from, count, job, enough)
  draw.at = draw.at + looked
  return best, fallback, another, draw.whole
end

-- `thorough`: also look at the whole pool while others wait in its queue. A new job need not: if a
-- node had room for any job, the first in the queue would have it.
local function choose(job, thorough)
  local node = affinityNode(job)
  if node then return node end
  local new = job.n == 0
  local kind = job.pool .. ' ' .. job.needs
  if new and (misses[kind] or 0) >= MISSES_MAX then return nil end
  local best, fallback, another, whole = fromSample(job)
  if new then misses[kind] = best and 0 or (misses[kind] or 0) + 1 end
  if best then return best end
  if not whole then
    if new and not thorough and redis.call('EXISTS', queueKey(job.pool)) == 1 then return nil end
    local ids = redis.call('SRANDMEMBER', poolKey(job.pool), EXACT_MAX)
    best, fallback, another = scan(ids, anywhere(ids), #ids, job, 1)
    if best then
      misses[kind] = 0
      return best
    end
  end
  if new then misses[kind] = MISSES_MAX end
  if another then return nil end
  return fallback
end

-- Whether a node that the job has not tried could serve it, now or soon.
local function anotherExists(job)
  for _, count in ipairs({ SAMPLE, EXACT_MAX }) do
    local ids = redis.call('SRANDMEMBER', poolKey(job.pool), count)
    for _, id in ipairs(ids) do
      if not job.tried[id] and couldServe(verdict(loadNode(id), job.needs)) then return true end
    end
    if #ids < count then return false end
  end
  return false
end
