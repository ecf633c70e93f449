/**
 * Writes an entry unless Redis has a newer one, and tells the other nodes of a change in the same step.
 *
 * An entry is the text "version seal expiry content"; a floor, without content, says only that there is no older
 * version. The seal is the server's id and the epoch of the namespace: a server that was restarted, or took over, may have
 * old data, and one DEL of the epoch makes everything of a namespace invalid. Whoever finds no epoch makes one that never
 * was, so an epoch may also be evicted.
 *
 * KEYS: epoch, entry. ARGV: server id, version, "expiry content", life in ms, epoch at which it was read (empty: any),
 * channel, message (empty: none), the epoch if there is none.
 *
 * Returns -1 when it was written, -2 when there was no memory for it, -3 when the epoch has changed, or the version of
 * the newer entry that stays.
 */
export const STORE = `
local epoch = redis.call("GET", KEYS[1])
if ARGV[5] ~= "" and ARGV[5] ~= epoch then return -3 end
if not epoch then
  epoch = ARGV[8]
  -- Without memory for it there is none for the entry.
  redis.pcall("SET", KEYS[1], epoch)
end
local seal = ARGV[1] .. "." .. epoch
local version = tonumber(ARGV[2])

-- Something else than a text may be there, which is an error to GET.
local current = redis.pcall("GET", KEYS[2])
if type(current) == "string" then
  local known, itsSeal = string.match(current, "^(%d+) (%S+) ")
  known = tonumber(known)
  -- What a floor says, an entry of its version says too.
  local isFloor = string.match(ARGV[3], " $") ~= nil
  if known and itsSeal == seal and (known > version or (known == version and isFloor)) then return known end
end
-- Of a newer entry, the others have heard.
if ARGV[7] ~= "" then redis.call("PUBLISH", ARGV[6], ARGV[7]) end
local reply = redis.pcall("SET", KEYS[2], ARGV[2] .. " " .. seal .. " " .. ARGV[3], "PX", ARGV[4])
if reply.err then
  -- What is there is older, and must not stay because there is no memory for what is newer.
  redis.call("DEL", KEYS[2])
  return -2
end
return -1
`;
